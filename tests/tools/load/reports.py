"""Reports of runs, as `measure` makes them, for tests of what is made of them."""

from typing import Any


def report(
    p99_ms: float | None = 20.0,
    holds: bool = True,
    slope: float | None = 0.0,
    error: float | None = 0.0,
    lost: int = 0,
    doubled: int = 0,
    behind_ms: float = 0.1,
    finished: bool = True,
) -> dict[str, Any]:
    """What a search for a capacity reads of a run of ten seconds with one objective, p99 <= 50 ms."""
    return {
        "seconds": 10.0,
        "objectives": [{"objective": "scored p99 <= 50 ms", "value_ms": p99_ms, "holds": holds}],
        "out": {"lost": lost, "doubled": doubled, "records_per_s": 1.0},
        "sent": {"finished": finished, "records_per_s": 1.0},
        "lag_records": {"slope_per_s": slope, "slope_error_per_s": error, "max": 7, "end": 0},
        "latency_ms": {
            "raw_to_scored": {"count": 9, "p50": 5.0, "p99": p99_ms, "p99.9": p99_ms},
            "raw_to_alert": {"count": 0, "p50": None, "p99": None, "p99.9": None},
        },
        "drain_s": 0.4,
        "generator_behind_ms": {"p99": behind_ms},
    }
