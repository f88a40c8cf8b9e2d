"""`forebay demo`: the whole flow on real plant traffic, through every stage, on a real Kafka."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.tools.cli.output import Bootstrap, Json, emit, people, say

app = typer.Typer(
    add_completion=False, help="Attacks on a real plant's network found, explained and archived, on a real Kafka."
)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Each run gets a folder of its own in here.")] = Path("var/demo"),
    speed: Annotated[
        float, typer.Option(help="Times real time; 27 takes 90 s for 41 minutes. 0: as fast as it goes.")
    ] = 27,
    bootstrap: Bootstrap = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running afterwards, to be explored; says how.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stream 41 minutes of the Westermo plant from two sensors; report every event found or missed, and the accounting.

    Exits 0 if the accounting is exact, 1 otherwise; 130 after Ctrl-C, with everything stopped.
    """
    from rich.console import Console

    from pipeline.tools.demo.run import Interrupted, Options, folder_name, run

    console = Console(quiet=True) if as_json else people
    options = Options((folder / folder_name()).resolve(), speed, bootstrap, keep)
    try:
        document = run(options, console)
    except Interrupted:
        say(f"interrupted; everything is stopped; what there was is in {options.folder}")
        raise typer.Exit(130) from None
    emit(document)
    if not document["accounting_exact"]:
        raise typer.Exit(1)
