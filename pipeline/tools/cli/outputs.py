"""`forebay output`: alerts to where people look. (`output.py` prints; so the noun's file is named for many.)"""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Failed, KafkaUnreachable
from pipeline.runtime.terminal import printable
from pipeline.settings import load_settings
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.output_options import Outputs, chosen_outputs
from pipeline.tools.cli.output_parked import count_parked, parked, resend
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table

if TYPE_CHECKING:
    from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Alerts to syslog, webhooks, e-mail, files: run, check, list, resend.")

ANSWERS_S = 3.0
COLUMNS = ("name", "destination", "format", "send", "updates", "behind", "parked")


@app.command()
def run(outputs: Outputs = None, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Send alerts to the outputs until stopped (SIGINT, SIGTERM)."""
    from pipeline.tools.outputs import worker

    worker.run(load_settings(outputs=outputs, bootstrap=bootstrap, topic_prefix=prefix))


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="The output's name; all of them by default.")] = None,
    outputs: Outputs = None,
    as_json: Json = False,
) -> None:
    """Send a test event, marked as one, and say what each receiver answered; exits 1 where one did not take it."""
    from pipeline.tools.outputs.check import check as checked_of

    chosen = chosen_outputs(load_settings(outputs=outputs), name)
    checked = [checked_of(output, time.time_ns() // 1000) for output in chosen]
    for each in checked:
        say(f"{each.name}: {'delivered' if each.is_delivered else 'NOT delivered'}: {printable(each.answer)}", as_json)
    documents = [{"name": each.name, "delivered": each.is_delivered, "answer": each.answer} for each in checked]
    emit({"outputs": documents, "delivered": sum(each.is_delivered for each in checked)})
    if not all(each.is_delivered for each in checked):
        raise typer.Exit(1)


@app.command("list")
def list_(outputs: Outputs = None, bootstrap: Bootstrap = None, prefix: Prefix = None, as_json: Json = False) -> None:
    """List the outputs: where each goes, how many messages of topic `alerts` it is behind, how many it has parked."""
    from schemas.outputs import destination_of

    settings = settings_here(outputs=outputs, bootstrap=bootstrap, topic_prefix=prefix)
    behind = _behind(settings) if settings.outputs else {}
    held = count_parked(settings) if behind else {}
    documents: list[dict[str, Any]] = [
        {
            "name": output.name,
            "destination": destination_of(output),
            "format": output.format,
            "send": output.send,
            "updates": output.updates,
            "behind": behind.get(output.name),
            "parked": held.get(output.name, 0) if behind else None,
        }
        for output in settings.outputs
    ]
    say(table(["output", *COLUMNS[1:]], [[each[key] for key in COLUMNS] for each in documents]), as_json)
    if settings.outputs and not behind:
        say("Kafka does not answer, or no output was ever started: how far they are is not known", as_json)
    emit({"outputs": documents})


app.command()(parked)
app.command()(resend)


def _behind(settings: "Settings") -> dict[str, int]:
    """Messages that each output has still to deal with; those left out whose position is not known."""
    from pipeline.runtime.kafka.clients import require_broker
    from pipeline.tools.outputs.positions import behind

    try:
        require_broker(settings, ANSWERS_S)
        return behind(settings)
    except (KafkaUnreachable, Failed):
        return {}
