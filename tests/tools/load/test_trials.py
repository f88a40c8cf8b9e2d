import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.workload.scenario import read_scenario
from pipeline.settings import load_settings
from pipeline.tools.load import resources, trials
from pipeline.tools.load.resources import OtherWork, Rest
from pipeline.tools.load.run import LoadRequest, LoadResult, Target
from pipeline.tools.load.trials import Progress, Trials
from pipeline.tools.system.identity import Usage
from tests.tools.load.reports import report

SCENARIO = read_scenario("steady-plant")


@contextmanager
def unseen(_rate: float) -> Iterator[Progress]:
    yield lambda _done, _total: None


def trials_of(monkeypatch: pytest.MonkeyPatch, *reports: dict[str, object]) -> tuple[Trials, list[LoadRequest]]:
    """Trials of a system whose runs have these reports, one after the other; and what was asked of it."""
    asked: list[LoadRequest] = []

    def measured(_target: object, request: LoadRequest, *_more: object) -> LoadResult:
        asked.append(request)
        return LoadResult(dict(reports[len(asked) - 1]), None)  # type: ignore[arg-type]

    monkeypatch.setattr(trials, "measure", measured)
    request = LoadRequest(SCENARIO, 500, 10)
    return Trials(Target(load_settings(), {}), request, [], [], unseen), asked


def test_every_run_has_sensors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = trials_of(monkeypatch, *[report()] * 3)
    assert made.warm_up()
    assert made.step(500).holds and made.step(1_000).holds
    assert [request.rate for request in asked] == [500, 500, 1_000]
    names = [name for request in asked for name in request.scenario.sensor_names]
    assert len(set(names)) == 3 * len(SCENARIO.sensor_names)


def test_a_rate_that_does_not_hold_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = report(p99_ms=80, holds=False)
    made, asked = trials_of(monkeypatch, slow, report(), slow, slow)
    assert (made.step(500).holds, made.step(500).tries, len(asked)) == (True, 2, 2)
    assert (made.step(1_000).holds, made.step(1_000).tries, len(asked)) == (False, 2, 4)
    assert made.step(1_000, ()).holds and made.step(1_000, ()).tries == 1  # the lag alone: no run more
    assert [step.rate for step in made.runs] == [500, 500, 1_000, 1_000] and len(asked) == 4
    assert [(step.rate, step.holds) for step in made.known()] == [(500, True), (1_000, False)]


def test_where_a_lag_may_grow_or_not_the_next_run_is_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, slow = report(error=40), report(p99_ms=80, holds=False)
    made, asked = trials_of(monkeypatch, noisy, report(), *[noisy] * 3, slow, noisy, slow)
    assert made.step(500).holds and [request.duration_s for request in asked] == [10, 20]
    step = made.step(1_000)
    assert [request.duration_s for request in asked[2:]] == [10, 20, 40]
    assert not step.holds and not step.known and step.tries == 3
    step = made.step(2_000)
    assert [request.duration_s for request in asked[5:]] == [10, 10, 20]
    assert not step.holds and step.known and step.tries == 3
    assert made.step(1_000).tries == 3 and len(asked) == 8  # the runs that were made are enough


def test_what_has_not_come_out_is_still_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = trials_of(monkeypatch, report(lost=5))
    step = made.step(500)
    assert not step.rested and len(asked) == 1  # not tried again meanwhile


def test_processes_are_at_rest_when_they_use_what_they_used_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "LOOK_S", 0.001)
    cpu_s = iter([0.0] * 10 + [5.0, 9.0, 9.0, 9.0, 20.0, 30.0, 40.0, 50.0] + [60.0 + number for number in range(99)])
    monkeypatch.setattr(resources, "usage_of", lambda _pid, with_pss: Usage(None, None, next(cpu_s)))
    rest = Rest({"score": os.getpid()})
    assert rest.wait(60)  # busy twice, then nothing
    assert not rest.wait(0)  # busy all the time
    assert not rest.wait(60, lambda: True)
    assert Rest({}).wait(0)  # of processes nobody knows


def test_what_others_use_is_what_the_machine_uses_and_its_own_processes_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    stat = tmp_path / "stat"
    monkeypatch.setattr(resources, "STAT", stat)
    assert OtherWork(()).cores() is None
    cpu_s, clock_s = iter([3.0, 7.0]), iter([0.0, 10.0])
    monkeypatch.setattr(resources, "usage_of", lambda _pid, with_pss: Usage(None, None, next(cpu_s)))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock_s))
    stat.write_text(f"cpu {10 * ticks} 0 0 {500 * ticks} 0 0 0 0 0 0\ncpu0 1 2\n", encoding="ascii")
    others = OtherWork((os.getpid(),))
    stat.write_text(f"cpu {16 * ticks} {ticks} 0 {900 * ticks} {9 * ticks} 0 0 0 0 0\ncpu0 1 2\n", encoding="ascii")
    assert others.cores() == pytest.approx((7 - 4) / 10)
