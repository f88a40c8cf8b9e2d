"""`forebay intake`: before stage 1."""

from typing import Annotated

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.output import Bootstrap, Prefix

app = typer.Typer(no_args_is_help=True, help="Before stage 1: topics of other tools into `raw`.")


@app.callback()
def intake() -> None:
    """Topics of other tools in, `raw` with headers and key out."""


@app.command()
def run(
    sources: Annotated[str | None, typer.Option(help="YAML file of sources; FOREBAY_SOURCES by default.")] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Read the topics of other tools until stopped (SIGINT, SIGTERM)."""
    from pipeline.ingest.intake import worker

    worker.run(load_settings(sources=sources, bootstrap=bootstrap, topic_prefix=prefix))
