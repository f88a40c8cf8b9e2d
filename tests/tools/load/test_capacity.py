from typing import Any

import pytest

from pipeline.tools.load.capacity import GROWS, NOT_KNOWN, STEADY, Bounds, Step, growth, judged, search, summary
from tests.tools.load.reports import report


def bounds(lowest: float = 100, highest: float = 100_000, within: float = 0.1, steps: int = 20) -> Bounds:
    return Bounds(500, lowest, highest, within, steps)


def tried(limit: float, where: Bounds) -> list[Step]:
    """A system that holds up to a limit."""
    return list(search(lambda rate: Step(rate, ("slow",) * (rate > limit), report()), where))


@pytest.mark.parametrize("limit", [130.0, 499.0, 1_000.0, 1_234.0, 7_777.0, 63_000.0])
def test_the_highest_rate_is_found_as_close_as_was_asked(limit: float) -> None:
    steps = tried(limit, bounds())
    found = summary(steps, bounds())
    assert found["capacity_per_s"] <= limit < found["did_not_hold_per_s"] <= found["capacity_per_s"] * 1.1 + 0.2
    assert found["ended"] == "found" and found["why"] == ["slow"]
    assert len({step.rate for step in steps}) == len(steps)  # no rate is tried in vain


def rates(limit: float, where: Bounds) -> tuple[list[float], str, float | None]:
    steps = tried(limit, where)
    found = summary(steps, where)
    return [step.rate for step in steps], found["ended"], found["capacity_per_s"]


def test_the_search_ends() -> None:
    assert rates(10, bounds()) == ([500, 250, 125, 100], "the lowest rate did not hold", None)
    assert rates(10, bounds(lowest=500)) == ([500], "the lowest rate did not hold", None)
    assert rates(1e9, bounds(highest=3_000)) == ([500, 1_000, 2_000, 3_000], "the highest rate held", 3_000)
    assert rates(1e9, bounds(steps=2)) == ([500, 1_000], "unfinished", 1_000)
    assert len(tried(63_000, bounds(within=0.01, steps=7))) == 7
    assert summary([], bounds()) == {
        **{"capacity_per_s": None, "did_not_hold_per_s": None},
        **{"why": [], "known": True, "ended": "unfinished", "steps": []},
    }


def test_a_search_goes_on_where_earlier_ones_ended() -> None:
    known = [Step(500, (), report()), Step(1_000, (), report()), Step(2_000, ("slow",), report())]
    steps = list(search(lambda rate: Step(rate, ("slow",) * (rate > 1_300), report()), bounds(), known))
    assert [step.rate for step in steps] == [1_500, 1_250, 1_375]
    assert not list(search(lambda rate: Step(rate, (), report()), bounds(within=1), known))


def test_no_rate_is_tried_of_a_system_that_is_still_at_work() -> None:
    steps = list(search(lambda rate: Step(rate, ("slow",) * (rate > 600), report(), rested=rate < 600), bounds()))
    assert [step.rate for step in steps] == [500, 1_000]
    assert summary(steps, bounds())["ended"] == "not at rest"


def test_a_rate_that_broke_below_one_that_held_is_no_bound() -> None:
    steps = [Step(500, ("once",), report()), Step(1_000, (), report()), Step(1_050, ("slow",), report())]
    assert summary(steps, bounds())["did_not_hold_per_s"] == 1_050


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ()),
        ({"p99_ms": 1_080, "holds": False}, ("scored p99 <= 50 ms: got 1,080 ms",)),
        ({"slope": 9}, ()),
        ({"slope": 40}, ("the lag grows by 40 ± 0 records a second",)),
        ({"slope": 2, "error": 4}, ()),
        ({"slope": 40, "error": 14}, ("the lag grows by 40 ± 14 records a second",)),
        ({"lost": 3}, ("3 records had not come out when the wait for them ended",)),
        ({"doubled": 2}, ("2 records came out twice",)),
        ({"behind_ms": 90}, ()),  # counts as latency
        ({"behind_ms": 110}, ("the generator itself was late, p99 110 ms: the rate was not offered as planned",)),
        ({"finished": False}, ("not all was sent",)),
    ],
)
def test_a_step_says_what_does_not_hold(changed: dict[str, Any], why: tuple[str, ...]) -> None:
    step = judged(1_000, report(**changed))
    assert (step.why, step.holds, step.known) == (why, not why, True)


@pytest.mark.parametrize(
    ("slope", "error", "said"),
    [
        (10, 0, STEADY),
        (10.1, 0, GROWS),
        (-90, 50, STEADY),
        (-90, 50.1, NOT_KNOWN),  # the noisier, the less is known
        (2, 4.1, NOT_KNOWN),
        (40, 14, GROWS),
        (40, 15, NOT_KNOWN),
        (40, 400, NOT_KNOWN),
        (None, None, NOT_KNOWN),
        (0, None, NOT_KNOWN),
    ],
)
def test_a_lag_grows_or_does_not_where_both_bounds_of_its_slope_say_so(
    slope: float | None, error: float | None, said: str
) -> None:
    assert growth(1_000, slope, error) == said
    step = judged(1_000, report(slope=slope, error=error))
    assert (step.holds, step.known, step.document()["lag"]) == (said == STEADY, said != NOT_KNOWN, said)


def test_what_is_not_known_does_not_hold_and_says_so() -> None:
    assert judged(32_000, report(slope=1_591, error=870)).why == (
        "not known whether the lag grows: +1,591 ± 870 records a second, up to 3,331 with 2 errors, 320 allowed",
    )
    assert judged(1_000, report(slope=None, error=None)).why[0].endswith("the run was too short for a slope")
    slow = judged(1_000, report(p99_ms=80, holds=False, error=50))
    assert slow.known and len(slow.why) == 2  # that it is too slow is known
    steps = [judged(1_000, report()), judged(1_050, report(error=50))]
    assert summary(steps, bounds())["known"] is False and summary(steps[:1], bounds())["known"] is True


def test_of_a_run_only_the_objectives_that_are_asked_for_count() -> None:
    broken = report(p99_ms=80, holds=False)
    assert judged(1_000, broken, ()).holds and judged(1_000, broken, ["alerts p99 <= 1000 ms"]).holds
    assert not judged(1_000, broken, ["scored p99 <= 50 ms"]).holds
