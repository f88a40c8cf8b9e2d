"""`forebay featurize`: stage 2."""

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.folders import require_writable
from pipeline.tools.cli.output import Bootstrap, Prefix

app = typer.Typer(no_args_is_help=True, help="Stage 2: event-time windows and features: run.")


@app.callback()
def featurize() -> None:
    """Stage 2: event-time windows and features."""


@app.command()
def run(bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Turn `flows` into `features` until stopped."""
    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    from pipeline.featurize import worker

    require_writable(settings, "state_uri")
    worker.run(settings)
