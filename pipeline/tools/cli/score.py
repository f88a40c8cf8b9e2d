"""`forebay score`: stage 3."""

from typing import Annotated

import typer

from pipeline.settings import load_settings
from pipeline.tools.cli.output import Bootstrap, Prefix
from pipeline.tools.cli.score_bench import bench
from pipeline.tools.cli.score_serve import serve

app = typer.Typer(no_args_is_help=True, help="Stage 3: score flows with the model: run; bench; serve.")
app.command()(bench)
app.command()(serve)


@app.callback()
def score() -> None:
    """Stage 3: score flows with the model."""


@app.command()
def run(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda. [env: FOREBAY_DEVICE]", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model before any promotion: id or folder. [env: FOREBAY_MODEL]", show_default=False),
    ] = None,
) -> None:
    """Score `features` into `suspects`, `archive` and `retrain` until stopped."""
    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix, device=device, model=model)
    from pipeline.score import worker

    worker.run(settings)
