"""What a run must reach: `p99=50ms`, `alerts:p95=2s`."""

import re
from dataclasses import dataclass

from loadtest.workload.histogram import Histogram

PLACES = {"flows": "flows", "scored": "archive", "alerts": "alerts"}
_TEXT = re.compile(r"(?:(flows|scored|alerts):)?(p(?:\d{1,2}(?:\.\d{1,3})?)|max)=(\d+(?:\.\d+)?)(ms|s)")


class ObjectiveError(ValueError):
    """An objective that is none: the message says what was got and what is expected."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A percentile of a latency that may not be above a limit. place: flows, scored or alerts."""

    place: str
    percent: float
    limit_ms: float

    def __str__(self) -> str:
        name = "max" if self.percent == 100 else f"p{self.percent:g}"
        return f"{self.place} {name} <= {self.limit_ms:g} ms"

    def value_ms(self, latencies: dict[str, Histogram]) -> float | None:
        """The percentile as it was measured; None where nothing was."""
        value_us = latencies[PLACES[self.place]].percentile_us(self.percent)
        return None if value_us is None else value_us / 1e3

    def holds(self, latencies: dict[str, Histogram]) -> bool:
        """Whether it was measured, and is within the limit."""
        value = self.value_ms(latencies)
        return value is not None and value <= self.limit_ms


def objective_of(text: str) -> Objective:
    """The objective of a text; ObjectiveError where it is none."""
    match = _TEXT.fullmatch(text.strip())
    percent = 100.0 if match is None or match[2] == "max" else float(match[2][1:])
    if match is None or percent == 0 or not float(match[3]) > 0:
        raise ObjectiveError(
            f"got {text[:80]!r}, expected as in p99=50ms, max=2s or alerts:p95=2s "
            f"(before the colon: {', '.join(PLACES)})"
        )
    return Objective(match[1] or "scored", percent, float(match[3]) * (1 if match[4] == "ms" else 1_000))
