"""`forebay load capacity`: the highest rate that holds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Failed, Usage
from pipeline.tools.cli.load_run import (
    Drain,
    Local,
    NotLocal,
    Pack,
    ScenarioName,
    Seed,
    Slo,
    WarmUp,
    objectives_of,
    scenario_of,
)
from pipeline.tools.cli.load_target import target_of
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people
from pipeline.tools.cli.progress import progress

if TYPE_CHECKING:
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.load.capacity import Bounds, Step
    from pipeline.tools.load.trials import Progress, Trials

Duration = Annotated[
    float,
    typer.Option(
        min=1.0, max=3_600.0, help="Seconds a step; up to four times that where it is not known if the lag grows."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Write capacity.json, capacity.md and capacity.svg there.")]


def capacity(
    scenario: ScenarioName = "steady-plant",
    slo: Slo = None,
    start: Annotated[float, typer.Option(min=1.0, help="Records a second to start with; halved if need be.")] = 4_000.0,
    lowest: Annotated[float, typer.Option(min=1.0, help="No rate below that is tried.")] = 100.0,
    highest: Annotated[float, typer.Option(min=1.0, max=10_000_000.0, help="No rate above that is tried.")] = 200_000.0,
    within: Annotated[float, typer.Option(min=0.01, max=1.0, help="How close to each other the ends must be.")] = 0.1,
    steps: Annotated[int, typer.Option(min=1, max=50, help="Rates to try at most.")] = 12,
    duration: Duration = 30.0,
    warm_up: WarmUp = 5.0,
    drain: Drain = 60.0,
    seed: Seed = 0,
    pack: Pack = 1,
    out: Out = None,
    local: Local = False,
    not_local: NotLocal = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Search the highest rate at which the objectives hold and the lag does not grow; every step is shown.

    Without --slo only the lag counts, and that nothing is lost or doubled. A rate of which it is not known whether the
    lag grows is run longer, and then counts as not held. Exit 1 where no rate held.

    Example: forebay load capacity --slo p99=1s --local
    """
    from loadtest.workload.streams import tapes_of
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.load.capacity import Bounds, summary
    from pipeline.tools.load.capacity_report import facts_of, verdict, write_capacity
    from pipeline.tools.load.machine import machine
    from pipeline.tools.load.run import LoadRequest
    from pipeline.tools.load.trials import Trials

    wanted, objectives = scenario_of(scenario), objectives_of(slo)
    if warm_up >= duration or not lowest <= start <= highest:
        raise Usage(
            f"got --warm-up {warm_up:g} of --duration {duration:g}, --lowest {lowest:g}, --start {start:g}, "
            f"--highest {highest:g}; expected less warm-up than duration, and --start between the other two"
        )
    bounds, here = Bounds(start, lowest, highest, within, steps), machine()
    request = LoadRequest(wanted, start, duration, warm_up, drain, seed, pack)
    tapes = tapes_of(wanted, seed)
    stop = Stop().listen()
    with target_of(request, tapes, local, not_local, bootstrap, prefix, as_json) as target:

        def shown(rate: float) -> AbstractContextManager[Progress]:
            return progress(f"{rate:,.0f}/s", as_json)

        trials = Trials(target, request, tapes, objectives, shown, lambda: stop.requested)
        tried = _searched(trials, bounds, stop, as_json)
    document = {**facts_of(request, objectives, bounds), "machine": here, **summary(tried, bounds)}
    if out is not None:
        document["files"] = write_capacity(document, out)
    _line(verdict(document), as_json)
    emit(document)
    if stop.requested:
        raise typer.Exit(130)
    if document["capacity_per_s"] is None:
        raise typer.Exit(1)


def _searched(trials: Trials, bounds: Bounds, stop: Stop, quiet: bool) -> list[Step]:
    """The steps of a search, each shown as it ends; that during which it was stopped is none."""
    from pipeline.tools.load.capacity import search
    from pipeline.tools.load.capacity_report import step_line

    _line(f"{bounds.start:10,.0f}/s  once to warm the system up", quiet)
    tried: list[Step] = []
    if not trials.warm_up() and not stop.requested:
        raise Failed(
            f"{bounds.start:,.0f} records/s to warm up: got a system that is still at work, expected it to come to "
            "rest; start lower with --start, or let it do nothing else meanwhile"
        )
    for step in search(trials.step, bounds):
        if stop.requested:
            break
        tried.append(step)
        _line(step_line(step), quiet)
    return tried


def _line(text: str, quiet: bool) -> None:
    """A line for people that no narrow terminal breaks: scripts read it, too."""
    if not quiet:
        people.print(text, markup=False, soft_wrap=True)
