"""`forebay triage`: the page on which people see incidents and judge them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import Misconfigured
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say

app = typer.Typer(no_args_is_help=True, help="The page: incidents, map and sensors in a browser.")

FOLDER = Path("var/triage")
PACKAGES = ("argon2", "fastapi", "httpx", "joserfc", "psycopg", "starlette", "uvicorn")
Data = Annotated[Path, typer.Option("--data", help="Folder of the page's store.")]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="postgresql://... of a store that several servers share.")
]


@app.callback()
def triage() -> None:
    """A page for people, and who may use it."""


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback with TLS and accounts only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0: a free one.")] = 9480,
    data: Data = FOLDER,
    store: StoreUrl = None,
    alerts: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Alerts of a file instead of Kafka's, one a line; may be repeated."),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the store again from its topics first.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, with its chain, in PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, in PEM.")] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Serve the page until Ctrl-C; its store follows the topics.

    Without accounts it is for this machine alone. The document says where it listens, once it answers.

    Example: forebay triage serve --alerts alerts.jsonl
    """
    with packages():
        from pipeline.tools.triage.serving import Request, serve

    def started(url: str, at: int) -> None:
        say(f"the page: {url}", quiet=as_json)
        emit({"url": url, "port": at})

    serve(Request(host, port, data, store, tuple(alerts or ()), rebuild, tls_cert, tls_key), started)


@contextmanager
def packages() -> Iterator[None]:
    """Misconfigured where the extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in PACKAGES:
            raise
        raise Misconfigured(
            f"the page: got no package {missing}, expected those of its extra; in the checkout: pip install '.[triage]'"
        ) from error
