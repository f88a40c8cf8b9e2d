"""The highest rate that a system holds: doubled or halved from a first one on, then halfway to what did not hold."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

MAX_SLOPE_SHARE = 0.01
"""Of the rate: a lag that grows faster than that does not hold, whatever the latency still is."""
SLOPE_ERRORS = 2.0
"""A slope within so many of its standard errors is the up and down of messages, and no growth."""
MAX_BEHIND_SHARE = 0.01
"""Of a step's length: a generator later than that with one message in a hundred has not offered the rate. What it is
late by is no gift to the system: latencies count from when a record was due."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a search goes: rates in records a second, none below `lowest` or above `highest`.

    within: how close to each other, as a share, what held and what did not have to be; steps: rates at most.
    """

    start: float
    lowest: float
    highest: float
    within: float
    steps: int


@dataclass(frozen=True, slots=True)
class Step:
    """A rate that was tried.

    why: what did not hold, empty where all did; report: of the run, as `measure` makes it; rested: whether the system
    had nothing left to do afterwards; tries: how many runs it took.
    """

    rate: float
    why: tuple[str, ...]
    report: dict[str, Any]
    rested: bool = True
    tries: int = 1

    @property
    def holds(self) -> bool:
        """Whether all held."""
        return not self.why

    def document(self) -> dict[str, Any]:
        """The step's figures."""
        latency, lag, report = self.report["latency_ms"], self.report["lag_records"], self.report
        return {
            "rate": round(self.rate, 1),
            "holds": self.holds,
            "why": list(self.why),
            "tries": self.tries,
            "sent_per_s": report["sent"]["records_per_s"],
            "out_per_s": report["out"]["records_per_s"],
            **{
                f"{place}_{percentile}_ms": latency[f"raw_to_{place}"][percentile]
                for place, percentiles in (("scored", ("p50", "p99", "p99.9")), ("alert", ("p50", "p99")))
                for percentile in percentiles
            },
            "alerts": latency["raw_to_alert"]["count"],
            "lag_slope_per_s": lag["slope_per_s"],
            "lag_slope_error_per_s": lag["slope_error_per_s"],
            "lag_max": lag["max"],
            "lag_end": lag["end"],
            "drain_s": report["drain_s"],
            "generator_behind_p99_ms": report["generator_behind_ms"]["p99"],
            "other_work_cores": report.get("other_work_cores"),
        }


def judged(rate: float, report: dict[str, Any], objectives: Collection[str] | None = None, rested: bool = True) -> Step:
    """Whether a run at a rate holds: every objective, nothing lost or doubled, a lag that does not grow.

    objectives: those of the report that count; None for all.
    """
    why = [
        f"{each['objective']}: got {_ms(each['value_ms'])}"
        for each in report["objectives"]
        if not each["holds"] and (objectives is None or each["objective"] in objectives)
    ]
    out, lag = report["out"], report["lag_records"]
    if out["lost"]:
        why.append(f"{out['lost']:,} records had not come out when the wait for them ended")
    if out["doubled"]:
        why.append(f"{out['doubled']:,} records came out twice")
    # Neither is known of a run that was stopped at once.
    slope_per_s, error_per_s = lag["slope_per_s"] or 0.0, lag["slope_error_per_s"] or 0.0
    if slope_per_s > max(MAX_SLOPE_SHARE * rate, SLOPE_ERRORS * error_per_s):
        why.append(f"the lag grows by {slope_per_s:,.0f} records a second")
    behind_ms = report["generator_behind_ms"]["p99"] or 0
    if behind_ms > MAX_BEHIND_SHARE * report["seconds"] * 1e3:
        why.append(f"the generator itself was late, p99 {_ms(behind_ms)}: the rate was not offered as planned")
    if not report["sent"]["finished"]:
        why.append("not all was sent")
    return Step(rate, tuple(why), report, rested)


def _ms(value: float | None) -> str:
    return "nothing" if value is None else f"{value:,.0f} ms"


def search(try_rate: Callable[[float], Step], bounds: Bounds, known: Collection[Step] = ()) -> Iterator[Step]:
    """Rates from `start` on, doubled while they hold and halved while they do not, then halved in between.

    known: of earlier searches; with them it goes on where they end.
    Ends where the answer is as close as it was asked, at a bound, after so many steps, or where the system did not come
    to rest: the next step would then be measured with the last one's records.
    """
    steps = list(known)
    rate = _next(steps, bounds) if steps else bounds.start
    while rate is not None and len(steps) < bounds.steps + len(known):
        steps.append(try_rate(rate))
        yield steps[-1]
        rate = _next(steps, bounds)


def _ends(steps: list[Step]) -> tuple[float | None, float | None]:
    """The highest rate that held, and the lowest above it that did not."""
    held = max((step.rate for step in steps if step.holds), default=None)
    broke = min((step.rate for step in steps if not step.holds and step.rate > (held or 0)), default=None)
    return held, broke


def _next(steps: list[Step], bounds: Bounds) -> float | None:
    """The rate to try next; None where the search is over."""
    held, broke = _ends(steps)
    if _ended(steps, bounds) != UNFINISHED:
        return None
    if broke is None:
        return min(2 * (held or bounds.start), bounds.highest)
    if held is None:
        return max(broke / 2, bounds.lowest)
    return (held + broke) / 2


FOUND, UNFINISHED = "found", "unfinished"
HIGHEST_HELD, LOWEST_DID_NOT, NOT_AT_REST = "the highest rate held", "the lowest rate did not hold", "not at rest"


def _ended(steps: list[Step], bounds: Bounds) -> str:
    """How a search stands after some steps."""
    held, broke = _ends(steps)
    if held is not None and broke is not None and broke <= held * (1 + bounds.within):
        return FOUND
    if held is not None and held >= bounds.highest:
        return HIGHEST_HELD
    if broke is not None and broke <= bounds.lowest:
        return LOWEST_DID_NOT
    return UNFINISHED if all(step.rested for step in steps) else NOT_AT_REST


def summary(steps: list[Step], bounds: Bounds) -> dict[str, Any]:
    """What the steps say: the highest rate that held, the lowest that did not, why that, and how the search ended."""
    held, broke = _ends(steps)
    return {
        "capacity_per_s": None if held is None else round(held, 1),
        "did_not_hold_per_s": None if broke is None else round(broke, 1),
        "why": next((list(step.why) for step in steps if step.rate == broke), []),
        "ended": _ended(steps, bounds),
        "steps": [step.document() for step in steps],
    }
