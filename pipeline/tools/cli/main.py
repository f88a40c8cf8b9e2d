"""`forebay`: noun, then verb. A noun's file is imported only when called: no command waits for another's libraries."""

import importlib
import sys
from importlib.metadata import version
from types import ModuleType
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from pipeline.errors import Usage
from pipeline.runtime.kafka.security import require_usable
from pipeline.settings import load_settings
from pipeline.tools.cli.folders import require_folders
from pipeline.tools.cli.output import guard

NOUNS = {
    "up": "Run everything on this machine, supervised: Kafka, topics, the six stages.",
    "status": "How the system of `forebay up` does: workers, Kafka, memory, last errors.",
    "down": "End what `forebay up` runs.",
    "demo": "Attacks on a real plant's network found, explained and archived, on a real Kafka.",
    "flow": "Flow records: check, send, featurize or score a file.",
    "intake": "Before stage 1: topics of other tools, without our headers, into `raw`.",
    "source": "What other tools write: check a topic or file, list the sources.",
    "sensor": "What sensors have learnt: list, show; relearn, accept, undo.",
    "asset": "Devices that the flows show: list, show, edges, map; names in and out.",
    "ingest": "Stage 1: decode and normalise raw records.",
    "rejects": "Records that ingest could not read: counted with remedies, or as they come.",
    "featurize": "Stage 2: event-time windows and features.",
    "score": "Stage 3: score flows with the model.",
    "alert": "Stage 4: group suspects into alerts; follow them.",
    "triage": "The page: incidents in a browser, judged there; its accounts.",
    "output": "Alerts to syslog, webhooks, e-mail and files; check what receivers answer.",
    "archive": "Stage 5: the Parquet archive: write, verify, query.",
    "retrain": "Stage 6: candidates, comparison, promotion.",
    "model": "Models: train, evaluate, calibrate, list, promote.",
    "topic": "Kafka topics: create and check.",
    "load": "Load: made-up plants and attacks, sent or written; runs with a report, and capacity.",
    "size": "Cores, memory, disk and partitions for a plant, from measured figures.",
    "replay": "History again through the same functions; two runs compared.",
    "chaos": "Fault campaigns: break everything on purpose, then compare.",
    "broker": "The local single-node Kafka.",
    "config": "Settings: show, schema.",
    "doctor": "Check this installation and what it reaches.",
}
# A noun's file has its name, but where another file had it before: output.py prints.
FILES = {"output": "outputs"}


def module_of(noun: str) -> ModuleType:
    """The module of a noun, whose `app` is its command."""
    return importlib.import_module(f"pipeline.tools.cli.{FILES.get(noun, noun)}")


class Nouns(TyperGroup):
    """The nouns, each imported when asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """All nouns, in the order of the walk."""
        return list(NOUNS)

    def get_command(self, ctx: typer.Context, cmd_name: str):  # type: ignore[no-untyped-def,override]
        """The noun's command, from its module; its one-line help comes from the table."""
        if cmd_name not in NOUNS:
            return None
        if ctx.invoked_subcommand is None and not ctx.resilient_parsing and cmd_name not in sys.argv:
            # Only the help page asks for nouns that were not typed.
            return TyperCommand(cmd_name, help=NOUNS[cmd_name])
        command = get_command(module_of(cmd_name).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Nouns, context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False, no_args_is_help=True
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"forebay {version('forebay')}")
        raise typer.Exit


def _require_settings() -> None:
    """Every command refuses settings that cannot be, used by it or not: the next one may use them."""
    if not {"-h", "--help"} & set(sys.argv):
        settings = load_settings()
        require_usable(settings.security)
        require_folders(settings)


def _require_plain_options() -> None:
    """Errors of usage repeat an option's name as it was typed."""
    for word in sys.argv[1:]:
        name = word.partition("=")[0]
        if name.startswith("-") and not name.isprintable():
            raise Usage(f"got the option {name}, expected printable characters in its name; correct it")


@app.callback()
def cli(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Watch the network of a plant: flow records in, graded and explained alerts out.

    Exit codes: 0 fine, 1 failed, 2 usage, 64 bad data, 69 Kafka unreachable, 78 configuration.
    """
    _require_settings()


def main() -> None:
    """Entry point of the `forebay` command."""
    with guard():
        _require_plain_options()
        get_command(app)()
