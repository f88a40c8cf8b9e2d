"""The highest rate that a system holds: doubled or halved from a first one on, then halfway to what did not hold."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

MAX_SLOPE_SHARE = 0.01
"""Of the rate: a lag that grows more slowly than that counts as one that does not grow. A system whose lag grows by
that share carries the rest, so that a rate that held is at most that much too high: a tenth of how close a search
brings its ends to each other."""
SLOPE_ERRORS = 2.0
"""What is said of a slope holds for all slopes within so many of its standard errors: its bounds."""
STEADY, GROWS, NOT_KNOWN = "does not grow", "grows", "not known"
"""What a slope and its error say of a lag."""
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
    had nothing left to do afterwards; tries: how many runs it took; known: false where nothing speaks against the rate
    but that the run was too short to say whether the lag grows.
    """

    rate: float
    why: tuple[str, ...]
    report: dict[str, Any]
    rested: bool = True
    tries: int = 1
    known: bool = True

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
            "known": self.known,
            "why": list(self.why),
            "tries": self.tries,
            "seconds": report["seconds"],
            "sent_per_s": report["sent"]["records_per_s"],
            "out_per_s": report["out"]["records_per_s"],
            **{
                f"{place}_{percentile}_ms": latency[f"raw_to_{place}"][percentile]
                for place, percentiles in (("scored", ("p50", "p99", "p99.9")), ("alert", ("p50", "p99")))
                for percentile in percentiles
            },
            "alerts": latency["raw_to_alert"]["count"],
            "lag": growth(self.rate, lag["slope_per_s"], lag["slope_error_per_s"]),
            "lag_slope_per_s": lag["slope_per_s"],
            "lag_slope_error_per_s": lag["slope_error_per_s"],
            "lag_max": lag["max"],
            "lag_end": lag["end"],
            "drain_s": report["drain_s"],
            "generator_behind_p99_ms": report["generator_behind_ms"]["p99"],
            "other_work_cores": report.get("other_work_cores"),
        }


def growth(rate: float, slope_per_s: float | None, error_per_s: float | None) -> str:
    """Whether a lag grows by more than the allowed share of the rate; not known where only one bound says so.

    slope_per_s, error_per_s: by how many records a second it grows, and the standard error; None of a run too short.
    """
    if slope_per_s is None or error_per_s is None:
        return NOT_KNOWN
    allowed, beside = MAX_SLOPE_SHARE * rate, SLOPE_ERRORS * error_per_s
    if slope_per_s + beside <= allowed:
        return STEADY
    return GROWS if slope_per_s - beside > allowed else NOT_KNOWN


def judged(rate: float, report: dict[str, Any], objectives: Collection[str] | None = None, rested: bool = True) -> Step:
    """Whether a run at a rate holds: every objective, nothing lost or doubled, a lag known not to grow.

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
    behind_ms = report["generator_behind_ms"]["p99"] or 0
    if behind_ms > MAX_BEHIND_SHARE * report["seconds"] * 1e3:
        why.append(f"the generator itself was late, p99 {_ms(behind_ms)}: the rate was not offered as planned")
    if not report["sent"]["finished"]:
        why.append("not all was sent")
    grows = growth(rate, lag["slope_per_s"], lag["slope_error_per_s"])
    known = bool(why) or grows != NOT_KNOWN
    if grows != STEADY:
        why.append(_lag_said(rate, grows, lag["slope_per_s"], lag["slope_error_per_s"]))
    return Step(rate, tuple(why), report, rested, known=known)


def _lag_said(rate: float, grows: str, slope_per_s: float | None, error_per_s: float | None) -> str:
    """What a lag that is not steady does, as a part of a sentence."""
    if slope_per_s is None or error_per_s is None:
        return "not known whether the lag grows: the run was too short for a slope"
    if grows == GROWS:
        return f"the lag grows by {slope_per_s:,.0f} ± {error_per_s:,.0f} records a second"
    return (
        f"not known whether the lag grows: {slope_per_s:+,.0f} ± {error_per_s:,.0f} records a second, up to "
        f"{slope_per_s + SLOPE_ERRORS * error_per_s:,.0f} with {SLOPE_ERRORS:g} errors, {MAX_SLOPE_SHARE * rate:,.0f} "
        "allowed"
    )


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
    """What the steps say: the highest rate that held, the lowest that did not, why that, and how the search ended.

    known: false where the lowest that did not hold is one of which it is not known.
    """
    held, broke = _ends(steps)
    return {
        "capacity_per_s": None if held is None else round(held, 1),
        "did_not_hold_per_s": None if broke is None else round(broke, 1),
        "why": next((list(step.why) for step in steps if step.rate == broke), []),
        "known": next((step.known for step in steps if step.rate == broke), True),
        "ended": _ended(steps, bounds),
        "steps": [step.document() for step in steps],
    }
