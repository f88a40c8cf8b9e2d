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
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Run:
    report: dict[str, Any]
    rested: bool


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
        return self._run(self._request.rate).rested

    def step(self, rate: float, objectives: Collection[str] | None = None) -> Step:
        """The rate's run that holds, else its last; objectives: those that count, None for all."""
        runs = self._runs[rate]
        for number in range(TRIES):
            if number == len(runs):
                runs.append(self._run(rate))
            step = judged(rate, runs[number].report, objectives, runs[number].rested)
            if step.holds or not step.rested or self._stopped():
                break
        return replace(step, tries=number + 1)

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

    def _run(self, rate: float) -> _Run:
        request = self._request
        self._made += 1
        # Sensors of their own: what those of the step before have learnt makes no difference.
        own = replace(request.scenario, name=f"{request.scenario.name}-step-{self._made}")
        with self._shown(rate) as progress:
            step = replace(request, scenario=own, rate=rate)
            result = measure(self._target, step, self._tapes, self._objectives, self._stopped, progress)
        all_came = not result.report["out"]["lost"]
        rested = self._rest.wait(request.drain_s, self._stopped) if self._target.pids else all_came
        return _Run(result.report, rested)
