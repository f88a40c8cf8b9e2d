"""`forebay sensor`: what each sensor has learnt, how it gets on, and what to do where it does not."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.measure import Measurement

from pipeline.errors import Failed, Usage
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table

if TYPE_CHECKING:
    from pipeline.contracts.envelope import SensorName
    from pipeline.retrain.fitted_records import Record
    from pipeline.settings import Settings
    from pipeline.tools.sensors.histories import Remark, SensorHistory
    from pipeline.tools.sensors.late_flows import LateFlows
    from pipeline.tools.sensors.reading import NoticesReader

app = typer.Typer(no_args_is_help=True, help="What sensors have learnt: list, show; relearn, accept, undo.")

PICTURES = (".svg", ".png", ".pdf")
WIDEST = 152
"""Columns of the list of sensors, names of forty characters among them."""

Name = Annotated[str, typer.Argument(help="Site and sensor, with a slash between them.", metavar="SITE/SENSOR")]


@app.callback()
def sensor() -> None:
    """Sensors, and what is usual at each."""


@app.command(name="list")
def list_sensors(
    site: Annotated[str | None, typer.Option(help="Only of this site.")] = None,
    sensor: Annotated[str | None, typer.Option(help="Only of this name.")] = None,
    phase: Annotated[
        str | None, typer.Option(help="Only in this phase: learning, settling, anchored or changed.")
    ] = None,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List sensors: phase, flows, what is usual, what found no room, late flows; and why one does not get on.

    Late are those of the last hour, of a busy sensor the last of them; waits is how long flows wait for others.

    Example: forebay sensor list --phase learning
    """
    from pipeline.tools.sensors import histories as of
    from pipeline.tools.sensors.late_flows import late_document, late_remarks
    from pipeline.tools.sensors.wait_words import LISTED, unlisted

    if phase is not None and phase not in of.PHASE_NAMES:
        raise Usage(f"--phase: got {phase!r}, expected one of {', '.join(of.PHASE_NAMES)}")
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    reader = _reader(settings)
    try:
        every = of.histories(reader.stored())
    finally:
        reader.close()
    late, now_us = _late_flows(settings, as_json), time.time_ns() // 1_000
    chosen = [
        (
            history,
            of.remarks(history, settings.learning_of(history.name[0]), now_us)
            + late_remarks(history.name, late.get(history.name), settings),
        )
        for history in every.values()
        if site in (None, history.name[0]) and sensor in (None, history.name[1]) and phase in (None, history.phase)
    ]
    is_whole = (site, sensor, phase) == (None, None, None)
    missing = unlisted(settings, every, late) if is_whole else []
    if not as_json:
        _print(chosen, late)
        for line in missing or ([] if chosen else [f"no sensors: {LISTED}"]):
            _line(line)
        _print_unreadable(reader)
    phases = {name: sum(history.phase == name for history, _ in chosen) for name in of.PHASE_NAMES}
    facts = {"phases": phases, "with_remarks": sum(bool(found) for _, found in chosen), "unreadable": reader.unreadable}
    sensors = [
        {**of.document(history, found), "late": late_document(late.get(history.name))} for history, found in chosen
    ]
    emit({"sensors": sensors if as_json else len(sensors), **facts})


def _print(chosen: "list[tuple[SensorHistory, list[Remark]]]", late: "dict[SensorName, LateFlows]") -> None:
    from pipeline.tools.sensors import histories as of
    from pipeline.tools.sensors.late_flows import share_words, wait_cell

    if not chosen:
        return
    found_of = {history.name: late.get(history.name) for history, _ in chosen}
    rows = [[*of.row(each), wait_cell(found_of[each.name]), share_words(found_of[each.name])] for each, _ in chosen]
    listed = table([*of.COLUMNS, "waits", "late"], rows)
    # A narrow terminal breaks a line better than cells that are folded, and in a file a sensor is one line.
    listed.width = Measurement.get(people, people.options.update_width(WIDEST), listed).maximum
    people.print(listed, crop=False)
    for history, found in chosen:
        for remark in found:
            _line(f"{'/'.join(history.name)}: {remark.what}; {remark.remedy}", style="yellow")


@app.command()
def show(
    name: Name,
    picture: Annotated[
        Path | None, typer.Option(help="Draw it as well: phases, what is usual, incidents; .svg, .png or .pdf.")
    ] = None,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show what happened to a sensor's baseline, oldest first, with the hosts it is about.

    Example: forebay sensor show my-plant/edge-1 --picture edge-1.svg
    """
    from pipeline.contracts.notice_words import moment, usual_words
    from pipeline.tools.sensors.histories import document, remarks
    from pipeline.tools.sensors.late_flows import late_document, late_remarks
    from pipeline.tools.sensors.lines import fitted_line, history_lines
    from pipeline.tools.sensors.reading import history_of

    if picture is not None and picture.suffix not in PICTURES:
        raise Usage(f"--picture {picture}: got the ending {picture.suffix!r}, expected one of {', '.join(PICTURES)}")
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    reader = _reader(settings)
    try:
        history = history_of(reader, name)
    finally:
        reader.close()
    late = _late_flows(settings, as_json).get(history.name)
    found = remarks(history, settings.learning_of(history.name[0]), time.time_ns() // 1_000)
    found += late_remarks(history.name, late, settings)
    fitted = _fitted(settings, name)
    if not as_json:
        _line(f"{name}: {history.phase}; {usual_words(history.last.notice)}", style="bold")
        for line in history_lines(history):
            _line(line)
        for remark in found:
            _line(f"{remark.what}; {remark.remedy}", style="yellow")
        if fitted:
            _line(f"{moment(fitted['at_us'])}  {fitted_line(fitted)}")
        _print_unreadable(reader)
    if picture is not None:
        _draw(settings, history, picture)
    notices = [notice.document() for notice in history.notices]
    emit({**document(history, found), "late": late_document(late), "fitted": fitted, "notices": notices})


def _draw(settings: "Settings", history: "SensorHistory", path: Path) -> None:
    from pipeline.tools.alerts.reading import alerts
    from pipeline.tools.sensors.picture import draw, incidents_of

    incidents = incidents_of(filter(None, alerts(settings, from_start=True, follow=False)), history.name)
    try:
        draw(path, history, incidents)
    except OSError as error:
        why = error.strerror or str(error)
        raise Failed(f"--picture {path}: got {why}, expected a file that can be written; name another one") from None
    say(f"picture: {path}")


Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Wait so many seconds for it to be carried out.")]
WAIT_S = 30.0


@app.command()
def relearn(
    name: Name,
    yes: Yes = False,
    wait: Wait = WAIT_S,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Let a sensor forget what is usual there and learn anew, with its next flow: it was moved, or what it saw was bad.

    Example: forebay sensor relearn my-plant/edge-1
    """
    _command(settings_here(bootstrap=bootstrap, topic_prefix=prefix), name, "relearn", {}, yes, wait, as_json)


@app.command()
def accept(
    name: Name,
    address: Annotated[
        str | None, typer.Option(help="Only what this host does or is done to; public for all public addresses.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="Only by this service: 502/tcp, icmp, arp.")] = None,
    yes: Yes = False,
    wait: Wait = WAIT_S,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Take what came at a sensor so far and is not usual as usual: all of it, or of one host or service.

    Example: forebay sensor accept my-plant/edge-1 --address 10.0.0.7
    """
    from pipeline.tools.sensors.commands import address_meant, service_meant

    facts = {"address": address_meant(address), "service": service_meant(service)}
    _command(settings_here(bootstrap=bootstrap, topic_prefix=prefix), name, "accept", facts, yes, wait, as_json)


@app.command()
def undo(
    name: Name,
    number: Annotated[int, typer.Argument(min=1, help="Number of the notice, as `sensor show` has it.")],
    yes: Yes = False,
    wait: Wait = WAIT_S,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Take back what a notice made usual, which is shown again until it has come back long enough; or an attack's bar.

    Example: forebay sensor undo my-plant/edge-1 3
    """
    facts = {"number": number}
    _command(settings_here(bootstrap=bootstrap, topic_prefix=prefix), name, "undo", facts, yes, wait, as_json)


def _command(
    settings: "Settings", name: str, action: str, facts: dict[str, Any], yes: bool, wait_s: float, as_json: bool
) -> None:
    """Say what a command will do, ask, send it, and show the notice that says it was done."""
    from pipeline.contracts.baseline_commands import BaselineCommand
    from pipeline.contracts.notice_words import headline, relation_lines
    from pipeline.tools.sensors.commands import intention, is_answer, send
    from pipeline.tools.sensors.reading import history_of

    if not yes and (as_json or not sys.stdin.isatty()):
        raise Usage(f"sensor {action}: got no --yes, and nobody to ask, expected --yes; `--help` says what it does")
    reader = _reader(settings)
    try:
        history = history_of(reader, name)
        command = BaselineCommand(site=history.name[0], sensor=history.name[1], action=action, **facts)
        will = intention(history, command, settings.learning_of(command.site))
        if not as_json:
            _line(will)
        if not yes and not typer.confirm("Do it?", err=True):
            emit({"sent": False, "notice": None})
            raise typer.Exit(1)
        send(settings, history, command)
        following = reader.following(wait_s)
        notice = next((each.notice for each in following if is_answer(each.notice, history, command)), None)
    finally:
        reader.close()
    if not as_json and notice is None:
        _line(f"sent; not carried out within {wait_s:g} s: `forebay sensor show {name}` lists it once featurize has")
    elif not as_json and notice is not None:
        _line(f"#{notice.number} {headline(notice)}", style="bold")
        for line in relation_lines(notice):
            _line(f"  {line}")
    emit({"sent": True, "notice": notice.document() if notice is not None else None})


def _reader(settings: "Settings") -> "NoticesReader":
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.sensors.reading import NoticesReader

    require_broker(settings)
    return NoticesReader(settings)


def _late_flows(settings: "Settings", as_json: bool) -> "dict[SensorName, LateFlows]":
    """Of each sensor; of none, and said so, where this principal may not read them."""
    from confluent_kafka import KafkaException

    from pipeline.errors import ForebayError
    from pipeline.tools.sensors.late_flows import late_flows

    try:
        return late_flows(settings)
    except (ForebayError, KafkaException) as error:
        if not as_json:
            _line(f"late flows not read: {error}", style="yellow")
        return {}


def _fitted(settings: "Settings", name: str) -> "Record | None":
    """What came of the last calibration fitted for a sensor; None where the samples cannot be read from here."""
    from pipeline.retrain.fitted_records import records
    from pipeline.runtime.storage.location import open_storage

    storage = open_storage(settings.samples_uri, "samples")
    unreadable: tuple[type[Exception], ...] = (OSError, *storage.errors)
    try:
        return records(storage).get(name)
    except unreadable:
        return None


def _line(text: str, **style: Any) -> None:
    from pipeline.runtime.terminal import printable

    people.print(printable(text), soft_wrap=True, markup=False, **style)


def _print_unreadable(reader: "NoticesReader") -> None:
    if reader.unreadable:
        _line(f"{reader.unreadable} messages are no notices of featurize; the last: {reader.error}")
