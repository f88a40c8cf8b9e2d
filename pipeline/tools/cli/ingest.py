"""`forebay ingest`: stage 1."""

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.output import Bootstrap, Prefix

app = typer.Typer(no_args_is_help=True, help="Stage 1: decode and normalise raw records.")


@app.callback()
def ingest() -> None:
    """Stage 1: raw records in, flows and rejects out."""


@app.command()
def run(bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Decode raw records until stopped (SIGINT, SIGTERM)."""
    from pipeline.ingest import worker

    worker.run(load_settings(bootstrap=bootstrap, topic_prefix=prefix))
