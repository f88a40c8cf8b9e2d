"""`forebay load run`, `forebay load capacity`: a scenario at a rate, with a report; the highest rate that holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Usage
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.progress import progress
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from loadtest.workload.objectives import Objective
    from loadtest.workload.scenario import LoadScenario
    from loadtest.workload.streams import Tapes
    from pipeline.tools.load.run import LoadRequest, Target

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
OutOfCapacity = Annotated[Path | None, typer.Option("--out", help="Write capacity.json and capacity.svg there.")]


def scenarios(as_json: Json = False) -> None:
    """List the scenarios that `load run` knows by name."""
    from loadtest.workload.scenario import read_scenario, shipped

    known = [read_scenario(name) for name in shipped()]
    for each in known:
        say(f"{each.name:15} {len(each.sensor_names):4} sensors  {each.title}", quiet=as_json)
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

    Example: forebay load run flood --rate 2000 --duration 60 --slo p99=500ms --local --out var/load
    """
    from loadtest.workload.report import markdown
    from loadtest.workload.streams import tapes_of
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.load.run import LoadRequest, measure, write_reports

    wanted, objectives = _scenario(scenario), _objectives(slo)
    if warm_up >= duration:
        raise Usage(f"--warm-up: got {warm_up:g} s, expected less than --duration {duration:g}")
    request = LoadRequest(wanted, rate, duration, warm_up, drain, seed, pack, hops)
    tapes = tapes_of(wanted, seed)
    stop = Stop().listen()
    with (
        _target(request, tapes, local, not_local, bootstrap, prefix, as_json) as target,
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


def _scenario(name: str) -> LoadScenario:
    from loadtest.workload.scenario import ScenarioError, read_scenario

    try:
        return read_scenario(name)
    except ScenarioError as error:
        raise Usage(str(error)) from error


def _objectives(texts: list[str] | None) -> list[Objective]:
    from loadtest.workload.objectives import ObjectiveError, objective_of

    try:
        return [objective_of(text) for text in texts or ()]
    except ObjectiveError as error:
        raise Usage(f"--slo: {error}") from error


@contextmanager
def _target(
    request: LoadRequest,
    tapes: list[Tapes],
    local: bool,
    not_local: bool,
    bootstrap: str | None,
    prefix: str | None,
    quiet: bool,
) -> Iterator[Target]:
    """The system the options name, ready for a load."""
    from pipeline.ingest.files.send import require_topic
    from pipeline.tools.cli.load import require_local
    from pipeline.tools.load.run import speed_of
    from pipeline.tools.load.targets import learning_for, local_target, running_target

    if local:
        if bootstrap is not None or prefix is not None:
            raise Usage("--local: got --bootstrap or --prefix as well, expected one system; leave either out")
        say("starting Kafka and the six stages ...", quiet=quiet)
        with local_target(learning_for(speed_of(request, tapes) * request.duration_s)) as target:
            yield target
        return
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    if not not_local:
        require_local(settings.bootstrap)
    require_topic(settings)
    yield running_target(settings)


def capacity(
    scenario: ScenarioName = "steady-plant",
    slo: Slo = None,
    lowest: Annotated[float, typer.Option(min=1.0, help="Records a second to start with.")] = 500.0,
    highest: Annotated[float, typer.Option(min=1.0, max=10_000_000.0, help="No rate above that is tried.")] = 200_000.0,
    within: Annotated[float, typer.Option(min=0.01, max=1.0, help="How close to each other the ends must be.")] = 0.1,
    steps: Annotated[int, typer.Option(min=1, max=50, help="Rates to try at most.")] = 12,
    duration: Annotated[float, typer.Option(min=1.0, max=3_600.0, help="Seconds a step.")] = 30.0,
    warm_up: WarmUp = 5.0,
    drain: Drain = 60.0,
    seed: Seed = 0,
    pack: Pack = 1,
    out: OutOfCapacity = None,
    local: Local = False,
    not_local: NotLocal = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Search the highest rate at which the objectives hold and the lag does not grow; every step is shown.

    Exit 1 where not even the lowest rate holds. Without --slo it is p99=50ms.

    Example: forebay load capacity --slo p99=50ms --local
    """
    from loadtest.workload.streams import tapes_of
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.load import capacity as capacities
    from pipeline.tools.load.run import LoadRequest, measure

    wanted, objectives = _scenario(scenario), _objectives(slo or ["p99=50ms"])
    if warm_up >= duration or lowest > highest:
        raise Usage(
            f"got --warm-up {warm_up:g} of --duration {duration:g}, --lowest {lowest:g}, --highest {highest:g}; "
            "expected less warm-up than duration, and lowest not above highest"
        )
    request = LoadRequest(wanted, lowest, duration, warm_up, drain, seed, pack)
    tapes = tapes_of(wanted, seed)
    stop = Stop().listen()
    tried: list[capacities.Step] = []
    with _target(request, tapes, local, not_local, bootstrap, prefix, as_json) as target:

        def at(rate: float) -> capacities.Step:
            # Sensors of their own: what those of the step before have learnt makes no difference.
            own = replace(wanted, name=f"{wanted.name}-step-{len(tried) + 1}")
            step = replace(request, scenario=own, rate=rate)
            with progress(f"{rate:,.0f}/s", as_json) as shown:
                result = measure(target, step, tapes, objectives, lambda: stop.requested, shown)
            return capacities.judged(rate, result.report)

        for step in capacities.search(at, lowest, highest, within, steps):
            tried.append(step)
            figures = step.document()
            said = "holds" if step.holds else f"does not hold: {'; '.join(step.why)}"
            say(f"{step.rate:10,.0f}/s  p99 {figures['p99_ms']} ms  {said}", quiet=as_json)
            if stop.requested:
                break
    document = {"scenario": scenario, "seed": seed, "pack": pack, **capacities.summary(tried, highest)}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "capacity.svg").write_text(capacities.drawn(scenario, tried), encoding="utf-8")
        (out / "capacity.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    emit(document)
    if stop.requested:
        raise typer.Exit(130)
    if document["capacity_per_s"] is None:
        raise typer.Exit(1)
