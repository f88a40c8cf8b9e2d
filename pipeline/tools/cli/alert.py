"""`forebay alert`: group suspects into alerts; follow, look at and judge them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Failed, Usage
from pipeline.settings import load_settings
from pipeline.tools.cli.folders import require_writable
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from pipeline.contracts.baseline_commands import BaselineCommand
    from pipeline.settings import Settings
    from pipeline.tools.sensors.histories import SensorHistory

app = typer.Typer(no_args_is_help=True, help="Alerts: run, tail, show, verdict.")

Uid = Annotated[str, typer.Argument(help="The alert's uid, or its first characters.", metavar="UID")]


@app.command()
def run(bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Run stage 4, alert, until stopped: suspects in, alerts out."""
    from pipeline.alert import worker
    from pipeline.runtime import telemetry

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    telemetry.configure(settings.log_level)
    require_writable(settings, "state_uri")
    worker.run(settings)


@app.command()
def tail(
    from_start: Annotated[bool, typer.Option("--from-start", help="Also the alerts there are already.")] = False,
    follow: Annotated[bool, typer.Option(help="Wait for further ones.")] = True,
    pages: Annotated[bool, typer.Option("--pages", help="Only those that somebody should look at now.")] = False,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show alerts as they come, a line each; with --json the events themselves, one a line, and counts as the last."""
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.runtime.shutdown import Stop
    from pipeline.tools.alerts import lines, reading

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    read, incidents, paged = 0, set(), set()
    for alert in reading.alerts(settings, from_start, follow, Stop().listen()):
        if alert is None:
            continue
        read += 1
        incidents.add(alert["finding_info"]["uid"])
        if lines.is_page(alert):
            paged.add(alert["finding_info"]["uid"])
        elif pages:
            continue
        if as_json:
            emit(alert)
        else:
            people.print(lines.line(alert), soft_wrap=True)
    emit({"alerts": read, "incidents": len(incidents), "pages": len(paged)})


@app.command()
def show(uid: Uid, as_json: Json = False, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Show one alert in full: what happened, why it is unusual, who with whom."""
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.alerts import lines, reading

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    alert = reading.latest(settings, uid)
    for part in lines.page(alert):
        say(part, quiet=as_json)
    emit(alert)


@app.command()
def verdict(
    uid: Uid,
    verdict: Annotated[str, typer.Option(help="tp, fp, benign, test or duplicate.")],
    by: Annotated[str, typer.Option(help="Who judged.", metavar="NAME")],
    note: Annotated[str, typer.Option(help="Why, in words.")] = "",
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Judge an alert; the verdict goes to the topic `feedback`, where retraining finds it.

    With tp, an attack, what its sources did anew never becomes usual at the sensor; `forebay sensor undo` undoes that.
    """
    import time

    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.alerts import reading, verdicts
    from pipeline.tools.sensors import commands

    verdicts.require_verdict(verdict, by, note)
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    require_broker(settings)
    alert = reading.latest(settings, uid)
    record = verdicts.verdict_of(alert, verdict, by, time.time_ns() // 1000, note)
    bars = _bars(settings, alert, as_json) if verdict == "tp" else []
    verdicts.send(settings, record)
    for history, command in bars:
        commands.send(settings, history, command)
    say(verdicts.words(record), quiet=as_json)
    emit({**record, "commands": [command.document() for _, command in bars]})


def _bars(settings: "Settings", alert: dict[str, Any], as_json: bool) -> "list[tuple[SensorHistory, BaselineCommand]]":
    """What a verdict of attack asks of the sensor's baseline, once it was said; nothing where it has none."""
    from pipeline.runtime.terminal import printable
    from pipeline.tools.alerts.attacks import attack_commands
    from pipeline.tools.sensors.commands import intention
    from pipeline.tools.sensors.reading import NoticesReader, history_of

    about = alert["unmapped"]
    try:
        reader = NoticesReader(settings)
        try:
            history = history_of(reader, f"{about['site']}/{about['sensor']}")
        finally:
            reader.close()
    except (Usage, Failed) as error:
        say(printable(f"its sensor's baseline is not asked for anything: {error}"), quiet=as_json)
        return []
    learning = settings.learning_of(history.name[0])
    bars = [(history, command) for command in attack_commands(alert)]
    for _, command in bars:
        say(printable(intention(history, command, learning)), quiet=as_json)
    return bars
