"""`forebay alert verdict`: judge an alert; retraining and the sensor's baseline learn of it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Failed, Usage
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from pipeline.contracts.baseline_commands import BaselineCommand
    from pipeline.settings import Settings
    from pipeline.tools.sensors.histories import SensorHistory

Uid = Annotated[str, typer.Argument(help="The alert's uid, or its first characters.", metavar="UID")]


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
