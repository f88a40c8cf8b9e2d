"""`forebay load`: made-up plants and attacks, sent into `raw` as load or written as a week's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Failed, Usage
from pipeline.tools.cli import load_capacity, load_run
from pipeline.tools.cli.load_target import require_local
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.progress import positive_or_max, progress, sending_progress
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from loadtest.scenarios import Scenario
    from loadtest.sending import Sent

app = typer.Typer(no_args_is_help=True, help="Load: made-up plants and attacks, sent or written.")


@app.callback()
def load() -> None:
    """Load: made-up plants and attacks, sent or written."""


app.command()(load_run.scenarios)
app.command()(load_run.run)
app.command()(load_capacity.capacity)


@app.command()
def send(
    scenario: Annotated[str, typer.Option(help="steady, scan, flood, sites or untidy.")] = "steady",
    rate: Annotated[str, typer.Option(help="Records a second, or max.")] = "1000",
    records: Annotated[int, typer.Option(min=1, max=1_000_000_000, help="How many, over all sensors.")] = 60_000,
    seconds: Annotated[float, typer.Option(min=0.1, max=86_400.0, help="Stop after this long at the latest.")] = 600.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same records.")] = 0,
    pack: Annotated[int, typer.Option(min=1, max=16_384, help="Records a message.")] = 1,
    sites: Annotated[int | None, typer.Option(min=1, max=10_000, help="Sites; else the scenario's own number.")] = None,
    sensors: Annotated[int | None, typer.Option(min=1, max=64, help="Sensors of each site; likewise.")] = None,
    out_of_order: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of records up to 1.5 s after their turn.")
    ] = None,
    late: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Share of records 5 to 30 s late.")] = None,
    start_us: Annotated[
        int | None, typer.Option(min=0, help="Event time of the first record; else such that the end is now.")
    ] = None,
    end_of_source: Annotated[bool, typer.Option(help="Say at the end that each sensor has sent everything.")] = True,
    not_local: Annotated[
        bool, typer.Option("--not-local", help="Yes, flood that Kafka: without this only one on this machine is.")
    ] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Send made-up flow records (Zeek conn, JSON), each sensor's followed by an end-of-source mark."""
    from loadtest.sending import Load
    from loadtest.sending import send as sending
    from pipeline.ingest.files.send import require_topic
    from pipeline.runtime.kafka import clients
    from pipeline.runtime.shutdown import Stop

    pace = positive_or_max("--rate", rate)
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    if not not_local:
        require_local(settings.bootstrap)
    wanted = _scenario(scenario, {"sites": sites, "sensors": sensors, "out_of_order": out_of_order, "late": late})
    require_topic(settings)
    stop = Stop().listen()
    planned = Load(wanted, records, seed, pace, pack, seconds, start_us, end_of_source)
    with sending_progress(scenario, records, as_json) as shown:
        sent = sending(
            planned, settings.topics.raw, clients.connection(settings, "load"), lambda: stop.requested, shown
        )
    _expect_taken(sent, f"{settings.topics.raw} at {settings.bootstrap}")
    if pace and sent.behind_s > 1.0:
        say(f"[yellow]The generator fell behind its pace[/] by up to {sent.behind_s:.1f} s", quiet=as_json)
    document = {
        "scenario": scenario,
        "seed": seed,
        "sensors": len(wanted.sensor_names),
        "records": records,
        "offered_per_s": round(pace) if pace else None,
        **_sent_document(sent),
    }
    rate_shown = f"{document['records_per_s']:,}/s"
    say(f"{sent.records:,} records sent in {sent.seconds:.1f} s, {rate_shown}", quiet=as_json)
    emit(document)
    if stop.requested:
        raise typer.Exit(130)


@app.command()
def plant(
    out: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    days: Annotated[float, typer.Option(help="How long; it starts on a Monday.")] = 7.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32, help="The same seed makes the same files.")] = 1,
    size: Annotated[str, typer.Option(help="small, medium or large.")] = "medium",
    sensors: Annotated[int, typer.Option(help="One sees everything; several see a segment each.")] = 1,
    attacks: Annotated[str, typer.Option(help="all, none, or names with commas (docs/generated-plant.md).")] = "all",
    attacks_from: Annotated[
        float | None, typer.Option(help="Days after which attacks come; else 2, or a third of a shorter time.")
    ] = None,
    early_attacks: Annotated[
        str, typer.Option(help="The same for the first two hours, where a sensor learns.")
    ] = "none",
    as_json: Json = False,
) -> None:
    """Write days of a made-up plant as its sensors' Zeek logs, and what happened there as events.json."""
    from loadtest.plants.generated.plant import EVENTS_FILE, STEPS, Plan, PlantError, plant_of, write_plant

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Usage(f"--out: got {out}, which is not empty, expected a new or empty folder; name another")
    try:
        plan = Plan(days, seed, size, sensors, _attacks(attacks), _attacks(early_attacks), attacks_from)
    except PlantError as error:
        raise Usage(str(error)) from error
    with progress("plant", as_json) as shown:
        made = plant_of(plan, lambda done: shown(done, STEPS + sensors))
        facts = write_plant(made, out, lambda done: shown(done, STEPS + sensors))
    for name, sensor in facts["sensors"].items():
        records = ", ".join(f"{log} {count:,}" for log, count in sensor["records"].items())
        say(f"{out / name}: {records}", quiet=as_json)
    counted = {kind: sum(event.kind == kind for event in made.events) for kind in ("attack", "fault", "benign")}
    events = ", ".join(f"{count} {kind}" for kind, count in counted.items())
    say(f"{out / EVENTS_FILE}: {events}; forebay flow check {out / made.sensors[0]} reads a sensor", quiet=as_json)
    emit({"out": str(out), "days": days, **facts, "events": counted})


def _attacks(text: str) -> tuple[str, ...]:
    """The attacks that an option names."""
    from loadtest.plants.generated.attacks import ATTACKS

    if text in ("all", "none", ""):
        return tuple(ATTACKS) if text == "all" else ()
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def _scenario(name: str, changes: dict[str, Any]) -> Scenario:
    """A scenario with what was asked of it changed; None changes nothing."""
    from loadtest.scenarios import SCENARIOS

    if name not in SCENARIOS:
        raise Usage(f"--scenario: got {name}, expected one of {', '.join(SCENARIOS)}")
    wanted = replace(SCENARIOS[name], **{key: value for key, value in changes.items() if value is not None})
    if wanted.out_of_order + wanted.late > 1:
        raise Usage(f"--out-of-order and --late: got {wanted.out_of_order} and {wanted.late}, expected a sum up to 1")
    return wanted


def _expect_taken(sent: Sent, where: str) -> None:
    """Failed where Kafka has refused something."""
    if sent.refused:
        raise Failed(
            f"{where}: got {sent.refused} after {sent.records} records, expected all to be taken; look at the broker, "
            "or at --pack where messages are too large"
        )


def _sent_document(sent: Sent) -> dict[str, Any]:
    return {
        "sent": sent.records,
        "messages": sent.messages,
        "seconds": round(sent.seconds, 3),
        "records_per_s": round(sent.records / sent.seconds) if sent.seconds > 0 else 0,
        "behind_s": round(sent.behind_s, 3),
        "start_us": sent.start_us,
        "finished": sent.finished,
    }
