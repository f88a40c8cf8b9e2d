"""`forebay sensor`: what each sensor has learnt, how it gets on, and what to do where it does not."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Usage
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.tools.sensors.histories import Remark, SensorHistory
    from pipeline.tools.sensors.reading import NoticesReader

app = typer.Typer(no_args_is_help=True, help="What sensors have learnt: list, show.")

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
    """List sensors: phase, since when, flows, what is usual, what found no room; and why a sensor does not get on.

    Example: forebay sensor list --phase learning
    """
    from pipeline.tools.sensors import histories as of

    if phase is not None and phase not in of.PHASE_NAMES:
        raise Usage(f"--phase: got {phase!r}, expected one of {', '.join(of.PHASE_NAMES)}")
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    reader = _reader(settings)
    try:
        every = of.histories(reader.stored())
    finally:
        reader.close()
    chosen = [
        (history, of.remarks(history, settings.learning_of(history.name[0]), time.time_ns() // 1_000))
        for history in every.values()
        if site in (None, history.name[0]) and sensor in (None, history.name[1]) and phase in (None, history.phase)
    ]
    if not as_json:
        _print(chosen)
        _print_unreadable(reader)
    phases = {name: sum(history.phase == name for history, _ in chosen) for name in of.PHASE_NAMES}
    facts = {"phases": phases, "with_remarks": sum(bool(found) for _, found in chosen), "unreadable": reader.unreadable}
    sensors = [of.document(history, found) for history, found in chosen]
    emit({"sensors": sensors if as_json else len(sensors), **facts})


def _print(chosen: "list[tuple[SensorHistory, list[Remark]]]") -> None:
    from pipeline.tools.sensors import histories as of

    if not chosen:
        say("no sensors: one is listed a minute after its first flow")
        return
    say(table(of.COLUMNS, [of.row(history) for history, _ in chosen]))
    for history, found in chosen:
        for remark in found:
            _line(f"{'/'.join(history.name)}: {remark.what}; {remark.remedy}", style="yellow")


@app.command()
def show(name: Name, as_json: Json = False, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Show what happened to a sensor's baseline, oldest first, with the hosts it is about.

    Example: forebay sensor show my-plant/edge-1
    """
    from pipeline.contracts.notice_words import usual_words
    from pipeline.tools.sensors.histories import document, remarks
    from pipeline.tools.sensors.lines import history_lines
    from pipeline.tools.sensors.reading import history_of

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    reader = _reader(settings)
    try:
        history = history_of(reader, name)
    finally:
        reader.close()
    found = remarks(history, settings.learning_of(history.name[0]), time.time_ns() // 1_000)
    if not as_json:
        _line(f"{name}: {history.phase}; {usual_words(history.last.notice)}", style="bold")
        for line in history_lines(history):
            _line(line)
        for remark in found:
            _line(f"{remark.what}; {remark.remedy}", style="yellow")
        _print_unreadable(reader)
    emit({**document(history, found), "notices": [notice.document() for notice in history.notices]})


def _reader(settings: "Settings") -> "NoticesReader":
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.sensors.reading import NoticesReader

    require_broker(settings)
    return NoticesReader(settings)


def _line(text: str, **style: Any) -> None:
    from pipeline.runtime.terminal import printable

    people.print(printable(text), soft_wrap=True, markup=False, **style)


def _print_unreadable(reader: "NoticesReader") -> None:
    if reader.unreadable:
        _line(f"{reader.unreadable} messages are no notices of featurize; the last: {reader.error}")
