"""`forebay load run`: a scenario at a rate, with a report; and the options that `load capacity` has as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Usage
from pipeline.tools.cli.load_target import target_of
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people
from pipeline.tools.cli.progress import progress

if TYPE_CHECKING:
    from loadtest.workload.objectives import Objective
    from loadtest.workload.scenario import LoadScenario

ScenarioName = Annotated[str, typer.Argument(metavar="SCENARIO", help="A name of `load scenarios`, or a TOML file.")]
Slo = Annotated[
    list[str] | None,
    typer.Option(help="As in p99=50ms (until scored), alerts:p95=2s, flows:max=1s; may be given again."),
]
WarmUp = Annotated[float, typer.Option(min=0.0, max=3_600.0, help="Seconds at the start that do not count.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32, help="The same seed makes the same records.")]
Pack = Annotated[int, typer.Option(min=1, max=16_384, help="Records a message.")]
Local = Annotated[bool, typer.Option("--local", help="Start a Kafka and the six stages for it, and end them.")]
NotLocal = Annotated[bool, typer.Option("--not-local", help="Yes, load that Kafka: else only one on this machine is.")]
Drain = Annotated[float, typer.Option(min=1.0, max=3_600.0, help="Seconds to wait for what is under way.")]
Out = Annotated[Path | None, typer.Option(help="Write report.json, report.md, report.svg and .hgrm files there.")]


def scenarios(as_json: Json = False) -> None:
    """List the scenarios that `load run` knows by name."""
    from loadtest.workload.scenario import read_scenario, shipped

    known = [read_scenario(name) for name in shipped()]
    for each in known:
        sensors = len(each.sensor_names)
        if not as_json:
            line = f"{each.name:15} {sensors:4} {'sensor ' if sensors == 1 else 'sensors'}  {each.title}"
            people.print(line, markup=False, soft_wrap=True)
    emit({"scenarios": [{"name": each.name, "title": each.title, "sensors": len(each.sensor_names)} for each in known]})


def run(
    scenario: ScenarioName,
    rate: Annotated[float, typer.Option(min=0.1, max=10_000_000.0, help="Records a second: the run's mean.")] = 1_000.0,
    duration: Annotated[float, typer.Option(min=1.0, max=86_400.0, help="Seconds.")] = 60.0,
    slo: Slo = None,
    warm_up: WarmUp = 5.0,
    drain: Drain = 60.0,
    seed: Seed = 0,
    pack: Pack = 1,
    hops: Annotated[bool, typer.Option("--hops", help="Latency until the topics between, too: more is read.")] = False,
    out: Out = None,
    local: Local = False,
    not_local: NotLocal = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Send a scenario by a schedule that waits for nothing, and report what came of it, and when.

    Exit 1 where an objective does not hold, or a record is lost or doubled.

    Example: forebay load run flood --rate 2000 --duration 60 --slo p99=2s --local --out var/load
    """
    from loadtest.workload.report import markdown
    from loadtest.workload.streams import tapes_of
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.load.run import LoadRequest, measure, write_reports

    wanted, objectives = scenario_of(scenario), objectives_of(slo)
    if warm_up >= duration:
        raise Usage(f"--warm-up: got {warm_up:g} s, expected less than --duration {duration:g}")
    request = LoadRequest(wanted, rate, duration, warm_up, drain, seed, pack, hops)
    tapes = tapes_of(wanted, seed)
    stop = Stop().listen()
    with (
        target_of(request, tapes, local, not_local, bootstrap, prefix, as_json) as target,
        progress(scenario, as_json) as shown,
    ):
        result = measure(target, request, tapes, objectives, lambda: stop.requested, shown)
    if out is not None:
        result.report["files"] = write_reports(result, out)
    if not as_json:
        people.print(markdown(result.report), markup=False, soft_wrap=True)
    emit({**result.report, "rate": rate, "seed": seed})
    if stop.requested:
        raise typer.Exit(130)
    if not result.report["ok"]:
        raise typer.Exit(1)


def scenario_of(name: str) -> LoadScenario:
    """The scenario of a name or a file; Usage where it is none."""
    from loadtest.workload.scenario import ScenarioError, read_scenario

    try:
        return read_scenario(name)
    except ScenarioError as error:
        raise Usage(str(error)) from error


def objectives_of(texts: list[str] | None) -> list[Objective]:
    """What `--slo` says; Usage where it is none."""
    from loadtest.workload.objectives import ObjectiveError, objective_of

    try:
        return [objective_of(text) for text in texts or ()]
    except ObjectiveError as error:
        raise Usage(f"--slo: {error}") from error
