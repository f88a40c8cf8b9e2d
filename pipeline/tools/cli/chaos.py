"""`forebay chaos`: seeded fault campaigns, and what they must leave unharmed."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.tools.cli.load_target import LOCAL
from pipeline.tools.cli.output import Bootstrap, Json, emit, people, say

app = typer.Typer(no_args_is_help=True, help="Fault campaigns: break everything on purpose, then compare.")

Seed = Annotated[int, typer.Option(min=0, help="The same seed injects the same faults in the same order.")]
Faults = Annotated[int, typer.Option(min=1, max=1_000, help="Faults a round.")]
Only = Annotated[list[str] | None, typer.Option(help="Only faults of this name; may be given again.")]


@app.command()
def run(
    seed: Seed = 1,
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Rounds; each has topics and an archive.")] = 1,
    faults: Faults = 12,
    only: Only = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the campaign is recorded. [default: var/chaos/SEED-TIME]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the campaign in the folder.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the files of rounds that went well, too.")] = False,
    broken_order: Annotated[
        str,
        typer.Option(help="Commit in a wrong order, to see it found: ingest-offsets-first, state-pointers-first."),
    ] = "",
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Inject faults into stages and broker while traffic flows; then prove that nothing was lost or doubled.

    A round's archive, alerts, features and samples are compared with what a reference run makes of the same `raw`.
    Exit 1 unless lost, doubled, differing_rows and differing_files are 0 and every invariant holds.
    Without --bootstrap it has a Kafka of its own, which is killed as well.

    Example: forebay chaos run --seed 7 --rounds 2 --faults 20
    """
    from pipeline.errors import Usage
    from pipeline.settings import load_settings
    from pipeline.tools.chaos import campaign as campaigns

    if broken_order:
        load_settings(broken_order=broken_order)
    if bootstrap is not None and any(server.rpartition(":")[0] not in LOCAL for server in bootstrap.split(",")):
        raise Usage(f"--bootstrap: got {bootstrap}, expected a Kafka of this machine: a campaign loads it all it can")
    chosen = folder or Path("var/chaos") / f"{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    if resume and folder is None:
        raise Usage("--resume: got no --folder, expected the folder of the campaign to resume")
    asked = campaigns.Campaign(
        seed, rounds, faults, chosen.absolute(), tuple(only or ()), bootstrap, broken_order, keep
    )
    # Whoever ends the campaign ends its Kafka and its workers as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    document = campaigns.run(asked, resume, lambda text: None if as_json else people.print(text, markup=False))
    say(_grid(("fault", "times"), [[name, str(count)] for name, count in document["faults"].items()]), quiet=as_json)
    verdict = "nothing lost, nothing twice" if document["ok"] else "NOT in order"
    say(
        f"seed {seed}: {sum(document['faults'].values())} faults in {document['rounds']} rounds, "
        f"{document['sent']:,} records, {document['alerts']} incidents, {document['repeated']} messages re-emitted: "
        f"{verdict}",
        quiet=as_json,
    )
    emit(document)
    if not document["ok"]:
        raise typer.Exit(1)


@app.command()
def plan(
    seed: Seed = 1,
    round_number: Annotated[int, typer.Option("--round", min=1, help="Which round.")] = 1,
    faults: Faults = 12,
    only: Only = None,
    as_json: Json = False,
) -> None:
    """Show what a round of a seed would do; nothing is done."""
    from loadtest.chaos.plan import as_document
    from loadtest.chaos.plan import plan as make
    from pipeline.tools.chaos.campaign import require_faults

    require_faults(only or ())
    injections = make(seed, round_number - 1, faults, only or ())
    for injection in injections:
        say(f"{injection.number + 1:4}  after {injection.after_s:.2f} s  {injection}", quiet=as_json)
    emit({"seed": seed, "round": round_number, "injections": as_document(injections)})


@app.command()
def kinds(as_json: Json = False) -> None:
    """List the faults, and the points at which a worker can be made to die."""
    from rich.table import Table

    from loadtest.chaos.plan import faults, points

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("fault", "what happens", "to whom"):
        table.add_column(column)
    for fault in faults().values():
        table.add_row(fault.name, fault.what, ", ".join(filter(None, fault.stages)) or "-")
    say(table, quiet=as_json)
    for stage_points in points().values():
        say(f"points: {', '.join(stage_points)}", quiet=as_json)
    emit(
        {
            "faults": {fault.name: {"what": fault.what, "stages": fault.stages} for fault in faults().values()},
            "points": points(),
        }
    )


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of campaigns, or rounds.jsonl of them.", metavar="FOLDER...")
    ],
    markdown: Annotated[Path | None, typer.Option(help="Write the table here, too, as Markdown.")] = None,
    as_json: Json = False,
) -> None:
    """Add up the recorded rounds of campaigns, unfinished ones too: fault, times, rounds, result.

    Exit 1 where a round was not in order.
    """
    from pipeline.tools.chaos import campaign as campaigns

    rounds = [each for folder in folders for each in campaigns.read(folder)]
    rows = campaigns.table(rounds)
    totals = {
        name: sum(document[name] for document in rounds) for name in ("sent", "seconds", "repeated", *campaigns.FIGURES)
    }
    injected = sum(row["times"] for row in rows)
    columns = ("fault", "times", "rounds", "rounds not in order")
    cells = [[row["fault"], str(row["times"]), str(row["rounds"]), str(row["not_in_order"])] for row in rows]
    say(_grid(columns, cells), quiet=as_json)
    figures = ", ".join(f"{name.replace('_', ' ')} {totals[name]}" for name in campaigns.FIGURES)
    line = (
        f"{injected} faults in {len(rounds)} rounds, {injected / max(totals['seconds'], 1) * 3600:.0f} an hour; "
        f"{totals['sent']:,} records: {figures}; {totals['repeated']:,} messages re-emitted"
        + (", each with the same bytes" if all(each["ok"] for each in rounds) else "")
    )
    say(line, quiet=as_json)
    if markdown is not None:
        lines = ["| " + " | ".join(line_cells) + " |" for line_cells in (columns, ("---",) * len(columns), *cells)]
        markdown.write_text("\n".join([*lines, "", line + ".", ""]), encoding="utf-8")
    ok = all(each["ok"] for each in rounds)
    emit({"faults": rows, "rounds": len(rounds), "ok": ok, **totals})
    if not ok:
        raise typer.Exit(1)


def _grid(columns: Sequence[str], cells: list[list[str]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in cells:
        table.add_row(*row)
    return table
