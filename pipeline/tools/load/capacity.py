"""The highest rate that a system holds: step by step up, then halfway between what held and what did not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from loadtest.workload.pictures import Chart, picture

MAX_SLOPE_SHARE = 0.01
"""Of the rate: a lag that grows faster than that does not hold, whatever the latency still is."""


@dataclass(frozen=True, slots=True)
class Step:
    """A rate that was tried. why: what did not hold, empty where all did."""

    rate: float
    holds: bool
    why: tuple[str, ...]
    report: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """The step's figures."""
        latency, lag = self.report["latency_ms"]["raw_to_scored"], self.report["lag_records"]
        return {
            "rate": round(self.rate, 1),
            "holds": self.holds,
            "why": list(self.why),
            "sent_per_s": self.report["sent"]["records_per_s"],
            "out_per_s": self.report["out"]["records_per_s"],
            "p50_ms": latency["p50"],
            "p99_ms": latency["p99"],
            "lag_slope_per_s": lag["slope_per_s"],
            "lag_end": lag["end"],
            "generator_behind_p99_ms": self.report["generator_behind_ms"]["p99"],
        }


def judged(rate: float, report: dict[str, Any]) -> Step:
    """Whether a run at a rate holds: every objective, nothing lost or doubled, and a lag that does not grow."""
    why = [f"{each['objective']}: got {each['value_ms']} ms" for each in report["objectives"] if not each["holds"]]
    out, slope = report["out"], report["lag_records"]["slope_per_s"]
    if out["lost"] or out["doubled"]:
        why.append(f"{out['lost']} lost, {out['doubled']} doubled")
    if slope > MAX_SLOPE_SHARE * rate:
        why.append(f"lag grows by {slope:,.0f} records a second")
    if report["generator_fell_behind"]:
        behind = report["generator_behind_ms"]["p99"]
        why.append(f"the generator fell behind, p99 {behind} ms: the rate was not offered as planned")
    if not report["sent"]["finished"]:
        why.append("not all was sent")
    return Step(rate, not why, tuple(why), report)


def search(
    try_rate: Callable[[float], Step], lowest: float, highest: float, within: float, steps: int
) -> Iterator[Step]:
    """Rates from `lowest` on, doubled while they hold, then halved in between; at most so many steps.

    Ends where what held and what did not are `within` that share of each other, `highest` held, or `lowest` did not.
    """
    held: float | None = None
    broke: float | None = None
    rate = lowest
    for _ in range(steps):
        step = try_rate(rate)
        yield step
        if step.holds:
            held = rate
        else:
            broke = rate
        if held is None or held >= highest or (broke is not None and broke <= held * (1 + within)):
            return
        rate = min(held * 2, highest) if broke is None else (held + broke) / 2


def summary(steps: list[Step], highest: float) -> dict[str, Any]:
    """What the steps say: the highest rate that held, the lowest that did not, and whether the search is over."""
    held = max((step.rate for step in steps if step.holds), default=None)
    broke = min((step.rate for step in steps if not step.holds), default=None)
    return {
        "capacity_per_s": None if held is None else round(held, 1),
        "did_not_hold_per_s": None if broke is None else round(broke, 1),
        "bounded_by_highest": held is not None and held >= highest,
        "steps": [step.document() for step in steps],
    }


def drawn(title: str, steps: list[Step]) -> str:
    """Latency and the lag's slope by rate, as SVG."""
    every = sorted(steps, key=lambda step: step.rate)
    latencies = {
        name: [(step.rate, value) for step in every if (value := step.report["latency_ms"]["raw_to_scored"][name])]
        for name in ("p50", "p99", "p99.9")
    }
    slopes = [(step.rate, step.report["lag_records"]["slope_per_s"]) for step in every]
    return picture(
        [
            Chart(f"{title}: intended send time until scored", "records a second", "ms", latencies, log_y=True),
            Chart("how fast the lag grows", "records a second", "records a second", {"slope": slopes}),
        ]
    )
