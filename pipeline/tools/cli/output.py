"""What a command prints: text for people on stderr, one JSON document as stdout's last line for machines."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Annotated, Any, NoReturn

import orjson
import typer
from confluent_kafka import KafkaException
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from pipeline.errors import ForebayError, Misconfigured
from pipeline.runtime.kafka.errors import refused_request
from pipeline.runtime.terminal import printable
from pipeline.settings import load_settings
from pipeline.tools.cli import folders


class PeopleConsole(Console):
    """A console on which no text steers the terminal, wherever it is from: what Rich makes of it is spelled out."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments; those with codes of Rich's own are as they are."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            plain = control is not None or text.isprintable()
            yield segment if plain else Segment("\n".join(map(printable, text.split("\n"))), style)


people = PeopleConsole(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Only the JSON document; no text for people.")]
Bootstrap = Annotated[
    str | None, typer.Option("--bootstrap", help="Kafka, HOST:PORT. [env: FOREBAY_BOOTSTRAP]", show_default=False)
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", help="Put before every topic's name. [env: FOREBAY_TOPIC_PREFIX]", show_default=False),
]


def say(text: object = "", quiet: bool = False) -> None:
    """Print for people, on stderr."""
    if not quiet:
        people.print(text)


def busy(text: str, as_json: bool) -> AbstractContextManager[object]:
    """Show people that something takes its time."""
    return nullcontext() if as_json else people.status(text, spinner="dots")


def emit(document: dict[str, Any]) -> None:
    """Print the command's JSON document: the last line of stdout."""
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    # JSON allows control characters above 0x7f, and terminals obey them: escaped, they are the same text.
    sys.stdout.write("".join(map(_escaped, text)) if not text.isprintable() else text)
    sys.stdout.write("\n")
    sys.stdout.flush()


def _escaped(character: str) -> str:
    """A character of a JSON text, as an escape where it is not printable."""
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


@contextmanager
def guard() -> Iterator[None]:
    """Turn an error of ours into its message on stderr and its exit code; everything else stays a traceback."""
    try:
        yield
    except ForebayError as error:
        fail(str(error), error.exit_code)
    except KafkaException as error:
        known = refused_request(error.args[0], "Kafka")
        fail(str(known), known.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[:2] != ["models", "lab"]:
            raise
        fail(
            f"got no {error.name}, expected the laboratory: it is in no image (models/lab/README.md); run the command "
            "in a checkout, with pip install '.[evaluate]'",
            1,
        )
    except BrokenPipeError:
        raise SystemExit(0) from None
    except OSError as error:
        fail(*_refused_by_the_system(error))


def _refused_by_the_system(error: OSError) -> tuple[str, int]:
    """The message and exit code of a file or folder that cannot be used; any other error passes unchanged."""
    if error.filename is None or error.errno not in folders.REFUSALS:
        raise error
    path = os.fsdecode(error.filename)
    setting = folders.setting_of(path, load_settings())
    if setting is None:
        return f"{path}: got {error.strerror}, expected a file or folder that can be used; name another", 1
    where = folders.variable(setting)
    return (
        f"{where}: {path}: got {error.strerror}, expected a folder that can be written; "
        f"correct the folder, or set {where} to another"
    ), Misconfigured.exit_code


def fail(message: str, exit_code: int) -> NoReturn:
    """Print an error, with --json as a document too, and leave."""
    # The message may quote what a hostile sensor sent: it is text, never markup.
    shown = "\n".join(map(printable, message.split("\n")))
    people.print(Text.assemble(("error: ", "bold red"), shown), soft_wrap=True)
    if "--json" in sys.argv:
        emit({"error": message, "exit_code": exit_code})
    raise SystemExit(exit_code)
