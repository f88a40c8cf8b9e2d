"""`forebay replay`: play history again, and compare what comes of it."""

import re
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from pipeline.errors import Usage
from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here

app = typer.Typer(no_args_is_help=True, help="Replay: history again through the same functions; two runs compared.")

EPOCH_SECONDS = re.compile(r"\d{1,11}(\.\d+)?")

Since = Annotated[
    str | None, typer.Option("--from", help="Event time, ISO 8601 or epoch seconds; what is before is gone through.")
]
Until = Annotated[str | None, typer.Option("--to", help="Event time, exclusive.")]
Model = Annotated[
    str | None, typer.Option(help="A model's id or folder, or 'shipped'; else the models that scored live.")
]
Source = Annotated[str, typer.Option(help="topic (flows in Kafka) or archive (closed files, without Kafka).")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes the partitions are spread over.")]
Archive = Annotated[
    str | None,
    typer.Option("--archive", help="A folder, or s3://bucket/prefix. [env: FOREBAY_ARCHIVE_URI]", show_default=False),
]


def event_us(text: str | None, option: str) -> int | None:
    """An event time as typed, in microseconds; a time without a zone is UTC. Usage where it is none."""
    if text is None:
        return None
    if EPOCH_SECONDS.fullmatch(text):
        return round(float(text) * 1e6)
    try:
        moment = datetime.fromisoformat(text)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)
    except (ValueError, OverflowError):
        raise Usage(f"{option} {text!r}: expected a time as 2023-03-10T10:00:00Z, or epoch seconds") from None


def times_us(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """`--from` and `--to` in microseconds; Usage where nothing lies between."""
    from_us, to_us = event_us(since, "--from"), event_us(until, "--to")
    if from_us is not None and to_us is not None and from_us >= to_us:
        raise Usage(f"--from {since} --to {until}: nothing lies between, expected --from before --to")
    return from_us, to_us


def replayed(settings: Settings, request: Any, workers: int, quiet: bool) -> dict[str, Any]:
    """Run a replay with its progress on stderr."""
    from rich.progress import BarColumn, Progress, TextColumn

    from pipeline.tools.replay.run import Progress as Far
    from pipeline.tools.replay.run import run as run_replay

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[far]}"))
    shown = Progress(*columns, console=people, transient=True)
    with nullcontext() if quiet else shown:
        task = shown.add_task(f"replay {request.run}", total=None, far="")

        def notify(far: Far) -> None:
            shown.update(task, total=1.0, completed=far.done, far=as_words(far))

        return run_replay(
            settings, request, workers, notify, lambda text: say(f"[yellow]warning[/]: {escape(text)}", quiet)
        )


def as_words(far: Any) -> str:
    """A replay's progress in words: flows, rate, event time, time left."""
    reached = "" if far.reached_us < 0 else f", {datetime.fromtimestamp(far.reached_us / 1e6, UTC):%Y-%m-%d %H:%M}"
    left = "" if far.left_s != far.left_s else f", {timedelta(seconds=round(far.left_s))} left"
    return f"{far.taken:,} flows, {far.rows_per_s:,.0f} a second{reached}{left}"


@app.command()
def run(
    run_id: Annotated[str, typer.Option("--run", help="Name of this replay; its folder, and its topics.")],
    since: Since = None,
    until: Until = None,
    offsets: Annotated[str | None, typer.Option(help="Of topic flows: PARTITION:FIRST-END[,..].")] = None,
    source: Source = "topic",
    model: Model = None,
    speed: Annotated[
        str, typer.Option(help="max, or N times as fast as it happened, each partition by its own.")
    ] = "max",
    workers: Workers = 1,
    features: Annotated[bool, typer.Option(help="Keep each flow's feature matrix in what comes out.")] = True,
    topics: Annotated[bool, typer.Option("--topics", help="Also into topics <prefix>replay.<run>.*")] = False,
    states: Annotated[
        bool, typer.Option(help="Start with the last retained states from before; else where flows does.")
    ] = True,
    archive: Archive = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Play history again through featurize, score and alert, as fast as the machine allows; never a live alert.

    Rows and incidents go into var/replays/RUN. After a kill, the same command resumes and ends with the same
    bytes; of a run that has ended it shows the report again.

    Example: forebay replay run --run monday --source archive --model shipped
    """
    from pipeline.tools.replay.request import Request, offsets_of, speed_of

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    request = Request(
        run_id,
        source,
        *times_us(since, until),
        offsets_of(offsets) if offsets else (),
        model,
        features,
        topics,
        speed_of(speed),
        states=states,
    )
    document = replayed(settings, request, workers, as_json)
    say(
        f"{document['taken']:,} flows in {document['seconds']:.1f} s, {document['rows_per_s']:,} a second "
        f"({document['times_real_time']:,.0f} times real time): {document['rows']:,} written, "
        f"{document['suspects']:,} suspects, {document['incidents']} incidents; {document['folder']}",
        quiet=as_json,
    )
    for start in document["began"]:
        if start["windows"]:
            where = f"partition {start['partition']} started at offset {start['position']:,}"
            say(f"{where}, with the state of {_utc(start)}", as_json)
    emit(document)


def _utc(facts: dict[str, Any]) -> str:
    return f"{datetime.fromtimestamp(facts['reached_us'] / 1e6, UTC):%Y-%m-%d %H:%M:%S}"


@app.command()
def states(prefix: Prefix = None, as_json: Json = False) -> None:
    """List the states that are retained for replays to start with: of which event time, at which position, how large.

    Example: forebay replay states
    """
    from rich.table import Table

    from pipeline.tools.replay.states import listed

    retained = listed(load_settings(topic_prefix=prefix))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("stage", "partition", "position", "seq", "event time", "age", "bytes", "alone"):
        table.add_column(name, justify="left" if name in ("stage", "event time") else "right")
    for state in retained:
        age = str(timedelta(seconds=round(state["age_s"])))
        numbers = [f"{state[name]:,}" for name in ("partition", "position", "seq")]
        whole = "" if state["whole"] else " incomplete"
        table.add_row(state["room"], *numbers, _utc(state), age, f"{state['bytes']:,}{whole}", f"{state['alone']:,}")
    say(
        table if retained else "no state is retained; featurize and alert retain one an hour of event time",
        quiet=as_json,
    )
    emit({"states": retained})


Labels = Annotated[
    list[Path] | None, typer.Option(help="CSV of site, sensor, source_record, label; may be given again.")
]
Verdicts = Annotated[
    list[str] | None,
    typer.Option(
        "--verdicts",
        help="Analysts' verdicts as labels: 'topic' (feedback), or a file of a verdict a line; may be given again.",
        metavar="topic|FILE",
    ),
]


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A run, or 'live': the archive.", metavar="A")],
    second: Annotated[str, typer.Argument(help="Another one.", metavar="B")],
    labels: Labels = None,
    verdicts: Verdicts = None,
    html: Annotated[Path | None, typer.Option(help="Where the report goes. [default: in B's folder]")] = None,
    archive: Archive = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Compare two replays of the same history, or one with what the archive holds: flows, incidents, figures, pictures.

    Exit 0 also where they differ: the document says how. Kafka is read for `--verdicts topic` alone.
    """
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    document = compared(settings, first, second, labels or [], verdicts or [], html, as_json)
    emit(document)


def compared(
    settings: Settings,
    first: str,
    second: str,
    labels: list[Path],
    verdicts: list[str],
    html: Path | None,
    quiet: bool,
) -> dict[str, Any]:
    """Compare, show the table, write the report."""
    from pipeline.runtime.kafka import clients
    from pipeline.tools.replay.compare import compare as compare_runs
    from pipeline.tools.replay.page import write
    from pipeline.tools.replay.verdicts import TOPIC

    started_s = time.monotonic()
    if TOPIC in verdicts:
        clients.require_broker(settings, 5.0)
    document = compare_runs(settings, first, second, labels, verdicts)
    target = html or settings.replay_uri / (second if second != "live" else first) / f"compare-{first}-{second}.html"
    write(document, target)
    document["report"] = str(target)
    document["seconds"] = round(time.monotonic() - started_s, 2)
    show(document, quiet)
    return document


def show(document: dict[str, Any], quiet: bool) -> None:
    """The comparison as a table."""
    from rich.table import Table

    from pipeline.tools.replay.page import rows, sources

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for side in ("first", "second"):
        table.add_column(escape(document[side]["name"]), justify="right")
    for label, values in rows(document):
        table.add_row(label, *values)
    say(table, quiet)
    flows, incidents = document["flows"], document["incidents"]
    say(
        f"flows: {flows['both']:,} in both, {flows['only_first']:,} and {flows['only_second']:,} in one only; "
        f"{flows['same_score']:,} with the same score, {flows['gained']:,} suspects gained, {flows['lost']:,} lost",
        quiet,
    )
    say(
        f"incidents: {incidents['same']} the same, {incidents['changed']} changed, {incidents['gained']} gained, "
        f"{incidents['lost']} lost",
        quiet,
    )
    for line in sources(document):
        say(escape(line), quiet)
    for problem in document.get("verdicts", {}).get("problems", ()):
        say(f"no verdict: {escape(problem)}", quiet)
    say(f"report {document['report']}", quiet)
