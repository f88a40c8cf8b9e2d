"""One system loaded at one rate after the other, each from rest and with sensors of its own."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from loadtest.workload.objectives import Objective
from loadtest.workload.streams import Tapes
from pipeline.tools.load.capacity import Step, judged
from pipeline.tools.load.resources import Rest
from pipeline.tools.load.run import LoadRequest, Target, measure

TRIES = 2
"""A rate that does not hold is tried again: whatever else happens on a machine makes one fail, and none hold."""
LONGEST = 4
"""Where it is not known whether the lag grows, the next run is twice as long, up to so many times a step's length: the
slope's error falls with the time to the power of 1.5, about."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Run:
    report: dict[str, Any]
    rested: bool
    seconds: float


class Trials:
    """Runs of a scenario at rates, all retained: another objective is judged by the runs that were made.

    request: of the first rate, whose run warms the system up and does not count. shown: the progress of a rate's run.
    """

    def __init__(
        self,
        target: Target,
        request: LoadRequest,
        tapes: list[Tapes],
        objectives: Sequence[Objective],
        shown: Callable[[float], AbstractContextManager[Progress]],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._target, self._request, self._tapes, self._objectives = target, request, tapes, objectives
        self._shown, self._stopped = shown, stopped
        self._rest = Rest(target.pids)
        self._made = 0
        self._runs: dict[float, list[_Run]] = defaultdict(list)

    def warm_up(self) -> bool:
        """Run the first rate once, for nothing; whether the system came to rest."""
        return self._run(self._request.rate, self._request.duration_s).rested

    def step(self, rate: float, objectives: Collection[str] | None = None) -> Step:
        """The rate's run that holds, else its last; objectives: those that count, None for all."""
        runs, shortest_s = self._runs[rate], self._request.duration_s
        failed = number = 0
        next_s = shortest_s
        while True:
            if number == len(runs):
                runs.append(self._run(rate, next_s))
            run = runs[number]
            number += 1
            step = judged(rate, run.report, objectives, run.rested)
            if step.holds or not step.rested or self._stopped():
                break
            failed += step.known
            if failed == TRIES or (not step.known and run.seconds >= LONGEST * shortest_s):
                break
            next_s = max(next_s, run.seconds if step.known else 2 * run.seconds)
        return replace(step, tries=number)

    def known(self, objectives: Collection[str] | None = None) -> list[Step]:
        """What the runs that were made say, by rate: those that hold, else their last."""
        known = []
        for rate, runs in sorted(self._runs.items()):
            steps = [judged(rate, run.report, objectives, run.rested) for run in runs]
            known.append(next((step for step in steps if step.holds), steps[-1]))
        return known

    @property
    def runs(self) -> list[Step]:
        """Every run that counted, by rate, judged by the lag and what came out alone."""
        return [judged(rate, run.report, ()) for rate, runs in sorted(self._runs.items()) for run in runs]

    def _run(self, rate: float, seconds: float) -> _Run:
        request = self._request
        self._made += 1
        # Sensors of their own: what those of the step before have learnt makes no difference.
        own = replace(request.scenario, name=f"{request.scenario.name}-step-{self._made}")
        with self._shown(rate) as progress:
            step = replace(request, scenario=own, rate=rate, duration_s=seconds)
            result = measure(self._target, step, self._tapes, self._objectives, self._stopped, progress)
        all_came = not result.report["out"]["lost"]
        rested = self._rest.wait(request.drain_s, self._stopped) if self._target.pids else all_came
        return _Run(result.report, rested, seconds)
