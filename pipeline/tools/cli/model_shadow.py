"""`forebay model shadow`: a model beside the one in use, on live rows, before it is promoted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from pipeline.errors import RefusedState
from pipeline.runtime.terminal import printable
from pipeline.tools.cli.model_options import Registry, refusals, registry_of
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table
from pipeline.tools.cli.time_spans import seconds

if TYPE_CHECKING:
    from pipeline.runtime.storage.storage import Storage
    from pipeline.tools.shadow.state import ShadowState

SHIPPED = "shipped"
# Of each table and kind of example, so many lines for people; the document has all of them.
SHOWN = 10
Start = Literal["now", "earliest"]
MinHours = Annotated[float | None, typer.Option(help="Gate: hours of event time seen.", min=0)]
MinRows = Annotated[int | None, typer.Option(help="Gate: rows seen.", min=0)]
MaxAdded = Annotated[
    float | None, typer.Option(help="Gate: share of rows that only this model calls suspects.", min=0, max=1)
]
MaxDropped = Annotated[
    float | None, typer.Option(help="Gate: share of rows that only the model in use does.", min=0, max=1)
]


def shadow(
    model: Annotated[str, typer.Argument(help="A model's id or folder, or 'shipped'.", metavar="MODEL")],
    span: Annotated[
        str, typer.Option("--for", help="End after so long, earlier runs included, as in 24h; 0: when stopped.")
    ] = "0",
    start: Annotated[
        Start, typer.Option(help="Of a first run: from now on, or with what the topic holds (three days).")
    ] = "now",
    anew: Annotated[bool, typer.Option("--anew", help="Drop what an earlier run counted.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Say what it has seen, also while it runs; needs no Kafka.")] = (
        False
    ),
    min_hours: MinHours = None,
    min_rows: MinRows = None,
    max_added: MaxAdded = None,
    max_dropped: MaxDropped = None,
    nice: Annotated[int, typer.Option(help="Niceness: what the stages need goes first.", min=0, max=19)] = 19,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda. [env: FOREBAY_DEVICE]", show_default=False)
    ] = None,
    registry: Registry = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Score live rows with a model beside the one in use, count where they differ; exit 1 where a gate is not passed.

    A process of its own that reads the topic `archive` and writes to none. After a kill the same command goes on, and
    every row counts once.

    Example: forebay model shadow igan-0123456789ab --for 24h --max-added 0.0005 --max-dropped 0.0001
    """
    from models.serving import registry as models
    from pipeline.tools.shadow import report, state
    from pipeline.tools.shadow.report import Bounds

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, device=device)
    folder = registry_of(registry, settings)
    name = "" if model == SHIPPED else model
    with refusals():
        loaded = models.load(name, folder)
    if show:
        seen = state.read(folder, loaded.id)
        if seen is None:
            raise RefusedState(f"{loaded.id}: got no shadow in the registry, expected one; without --show it begins")
    else:
        from pipeline.tools.shadow.follower import Request
        from pipeline.tools.shadow.run import Process, run

        beside = state.Beside(loaded.id, loaded.sha256, settings.topics.archive)
        request = Request(folder, start == "earliest", seconds(span))
        with _progress(as_json) as notify:
            seen = run(settings, request, beside, Process(name, nice, anew), notify)
    document = report.document(seen)
    say_report(document, as_json)
    bounds = Bounds(min_hours, min_rows, max_added, max_dropped)
    against = report.gate(document, bounds) if bounds != Bounds() else []
    for reason in against:
        say(f"not passed: {reason}", quiet=as_json)
    emit({**document, "passed": not against, "refusals": against})
    if against:
        raise typer.Exit(1)


def say_shadow(model: str, folder: Path | Storage, quiet: bool) -> dict[str, Any] | None:
    """Say what a model's shadow has seen; the same in short, None where there was none or it cannot be read."""
    from pipeline.tools.shadow import report, state

    try:
        found = state.read(folder, model)
    except RefusedState as error:
        say(f"[yellow]its shadow cannot be read:[/] {escape(str(error))}", quiet)
        return None
    figures = None if found is None or not found.messages else report.summary(found)
    say(f"{model}: {report.sentence(figures)}", quiet)
    return figures


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[ShadowState], None]]:
    """Show how far it is, on a terminal."""
    from pipeline.tools.shadow.report import sentence, summary

    if quiet or not people.is_terminal:
        yield lambda _state: None
        return
    with people.status("waiting for rows", spinner="dots") as status:

        def shown(state: ShadowState) -> None:
            behind = f"; {state.behind_s:.0f} s behind" if state.behind_s >= 1 else ""
            status.update(f"{sentence(summary(state))}{behind}" if state.messages else "waiting for rows")

        yield shown


def say_report(document: dict[str, Any], quiet: bool) -> None:
    """The document, for people."""
    from pipeline.contracts.notice_words import moment
    from pipeline.tools.shadow.report import sentence

    say(f"{document['model']}: {sentence(document)}", quiet)
    if not document["rows"]:
        return
    ago_s = max(0.0, time.time() - document["saved_us"] / 1e6)
    say(f"  saved {ago_s:,.0f} s ago, then {document['behind_s']:,.0f} s behind the flow", quiet)
    say(
        f"  suspects: {document['suspects_in_use']:,} of the model in use, {document['suspects_candidate']:,} of this "
        f"one, {document['suspects_both']:,} of both; {document['rows_that_differ']:,} rows differ in anything",
        quiet,
    )
    say(f"  p-values: {_moved(document['p_changes'])}", quiet)
    in_use = document["models_in_use"]
    rows = [[each["model"], moment(each["from_us"]), moment(each["to_us"]), *_agreement(each)] for each in in_use]
    say(table(["in use", "from (UTC)", "to", *_AGREEMENT], rows), quiet)
    for name, keys in (("sensors", ("site", "sensor")), ("classes", ("in_use", "candidate"))):
        chosen = sorted(document[name], key=lambda each: -(each["added"] + each["dropped"]))[:SHOWN]
        say(table([*keys, *_AGREEMENT], [[*(each[key] for key in keys), *_agreement(each)] for each in chosen]), quiet)
    for kind, examples in document["examples"].items():
        for example in examples[:SHOWN]:
            say(f"  {kind}: {escape(printable(_example(example)))}", quiet)


def _moved(changes: dict[str, Any]) -> str:
    """By how much p-values differ, of which a document has more bins than a person reads."""
    rows, edges = changes["rows"], changes["decades"]
    middle, near = len(rows) // 2, edges.index(1.0) + 1
    same, within = rows[middle], sum(rows[middle - near : middle + near + 1])
    rarer, commoner = sum(rows[middle + near + 1 :]), sum(rows[: middle - near])
    return f"{same:,} the same, {within - same:,} within a factor of ten, {rarer:,} rarer here, {commoner:,} commoner"


_AGREEMENT = ("rows", "in use", "candidate", "both", "added", "dropped")


def _agreement(entry: dict[str, Any]) -> list[int]:
    suspects = (entry[f"suspects_{name}"] for name in ("in_use", "candidate", "both"))
    return [entry["rows"], *suspects, entry["added"], entry["dropped"]]


def _example(example: dict[str, Any]) -> str:
    from pipeline.contracts.notice_words import moment

    ends = [
        f"{example[f'{end}_addr']}{'' if example[f'{end}_port'] is None else ':' + str(example[f'{end}_port'])}"
        for end in ("src", "dst")
    ]
    said = [
        f"{each['class']}{'' if each['nearest_class'] is None else ' near ' + each['nearest_class']}, "
        f"p {each['p_value']:.3g}, score {each['score']:.3f}"
        for each in (example["in_use"], example["candidate"])
    ]
    where = f"{example['site']}/{example['sensor']} {moment(example['end_ts_us'])}"
    return f"{where} {ends[0]} to {ends[1]}: {said[0]} by the model in use; {said[1]} by this one"
