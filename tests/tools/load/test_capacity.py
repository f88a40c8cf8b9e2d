from typing import Any

import pytest

from pipeline.tools.load.capacity import Step, drawn, judged, search, summary


def report(p99_ms: float = 20.0, slope: float = 0.0, lost: int = 0, holds: bool = True) -> dict[str, Any]:
    return {
        "objectives": [{"objective": "scored p99 <= 50 ms", "value_ms": p99_ms, "holds": holds}],
        "out": {"lost": lost, "doubled": 0, "records_per_s": 1.0},
        "sent": {"finished": True, "records_per_s": 1.0},
        "lag_records": {"slope_per_s": slope, "end": 0},
        "latency_ms": {"raw_to_scored": {"p50": 5.0, "p99": p99_ms, "p99.9": p99_ms}},
        "generator_behind_ms": {"p99": 0.1},
        "generator_fell_behind": False,
    }


def tried(limit: float, lowest: float, highest: float, within: float = 0.1, steps: int = 20) -> list[Step]:
    """A system that holds up to a limit."""
    return list(search(lambda rate: Step(rate, rate <= limit, (), report()), lowest, highest, within, steps))


@pytest.mark.parametrize("limit", [1_000.0, 1_234.0, 7_777.0, 63_000.0])
def test_the_highest_rate_is_found_as_close_as_was_asked(limit: float) -> None:
    found = summary(tried(limit, 500, 100_000), 100_000)
    assert found["capacity_per_s"] <= limit < found["did_not_hold_per_s"] <= found["capacity_per_s"] * 1.1 + 0.2
    assert not found["bounded_by_highest"]


def test_the_search_ends() -> None:
    assert [step.rate for step in tried(10, 500, 1_000)] == [500]  # not even the lowest
    assert summary(tried(10, 500, 1_000), 1_000)["capacity_per_s"] is None
    assert [step.rate for step in tried(1e9, 500, 3_000)] == [500, 1_000, 2_000, 3_000]
    assert summary(tried(1e9, 500, 3_000), 3_000)["bounded_by_highest"]
    assert len(tried(63_000, 1, 1e6, within=0.01, steps=7)) == 7


def test_a_step_says_what_does_not_hold() -> None:
    assert judged(1_000, report()).holds
    assert judged(1_000, report(p99_ms=80, holds=False)).why == ("scored p99 <= 50 ms: got 80 ms",)
    assert judged(1_000, report(slope=9)).holds and judged(1_000, report(slope=40)).why == (
        "lag grows by 40 records a second",
    )
    assert judged(1_000, report(lost=3)).why == ("3 lost, 0 doubled",)
    behind = report() | {"generator_fell_behind": True}
    assert not judged(1_000, behind).holds and "was not offered" in judged(1_000, behind).why[0]


def test_the_picture_is_drawn_of_any_steps() -> None:
    steps = tried(1_234, 500, 100_000)
    assert drawn("steady <plant>", steps).count("<polyline") == 4
    assert "steady &lt;plant&gt;" in drawn("steady <plant>", steps[:1])
    assert "nothing was measured" in drawn("none", [])
