from typing import Any

import pytest

from pipeline.tools.load.capacity import Bounds, Step, judged, search, summary
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
        **{"why": [], "ended": "unfinished", "steps": []},
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
        ({"slope": 40}, ("the lag grows by 40 records a second",)),
        ({"slope": 40, "error": 25}, ()),  # up and down, as messages come
        ({"lost": 3}, ("3 records had not come out when the wait for them ended",)),
        ({"doubled": 2}, ("2 records came out twice",)),
        ({"behind_ms": 90}, ()),  # counts as latency
        ({"behind_ms": 110}, ("the generator itself was late, p99 110 ms: the rate was not offered as planned",)),
        ({"finished": False}, ("not all was sent",)),
    ],
)
def test_a_step_says_what_does_not_hold(changed: dict[str, Any], why: tuple[str, ...]) -> None:
    step = judged(1_000, report(**changed))
    assert (step.why, step.holds) == (why, not why)


def test_of_a_run_only_the_objectives_that_are_asked_for_count() -> None:
    broken = report(p99_ms=80, holds=False)
    assert judged(1_000, broken, ()).holds and judged(1_000, broken, ["alerts p99 <= 1000 ms"]).holds
    assert not judged(1_000, broken, ["scored p99 <= 50 ms"]).holds
