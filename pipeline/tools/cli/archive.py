"""`forebay archive`: write the Parquet archive, prove that it is complete, ask it questions."""

import time
from typing import Annotated, Any

import typer

from pipeline.runtime.terminal import printable
from pipeline.settings import load_settings
from pipeline.tools.cli import archive_iceberg
from pipeline.tools.cli.exporter_loss import ranges, shown
from pipeline.tools.cli.folders import require_writable
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.progress import progress
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table as _table

app = typer.Typer(no_args_is_help=True, help="Stage 5: the Parquet archive: write, verify, query, keep small.")

Folder = Annotated[
    str | None,
    typer.Option("--archive", help="A folder, or s3://bucket/prefix. [env: FOREBAY_ARCHIVE_URI]", show_default=False),
]


Grace = Annotated[
    float, typer.Option("--grace-s", min=0, help="How long a replaced file stays for those who still read it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]


@app.command()
def run(archive: Folder = None, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Write flows, late flows and rejects into Parquet until stopped."""
    from pipeline.archive.worker import run as run_worker

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    require_writable(settings, "archive_uri")
    run_worker(settings)


@app.command()
def verify(
    archive: Folder = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    kafka: Annotated[bool, typer.Option(help="Count what was sent in topic raw.")] = True,
    against: Annotated[
        str | None, typer.Option(help="Compare with this archive instead: rows first, then files.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that accepted + rejected + late = sent: every file, every manifest, every raw position.

    Exit 1 where anything is missing, twice, or changed; the positions are named. What exporters' sequence numbers say
    was lost before Kafka is shown beside it, and fails nothing.
    """
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    if against is not None:
        from pipeline.archive.upkeep.diff import compare

        document = compare(settings.archive_uri, against)
        _say_comparison(document, as_json)
    else:
        from pipeline.archive.upkeep.verify import verify as prove
        from pipeline.runtime.kafka import clients

        if kafka:
            clients.require_broker(settings, 5.0)
        document = prove(settings.archive_uri, settings if kafka else None)
        _say_proof(document, as_json)
    emit(document)
    if not document["ok"]:
        raise typer.Exit(1)


@app.command()
def account(
    archive: Folder = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    kafka: Annotated[bool, typer.Option(help="Count what was sent in topic raw.")] = True,
    follow: Annotated[bool, typer.Option("--follow", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.2, max=3600.0, help="Seconds between two looks.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Show, per sensor, what was sent and where it is: accepted, rejected, late, in open files, still on its way.

    From the manifests' counts: `archive verify` proves what this shows. Of data files only exporters' sequence numbers
    are read, for what was lost before Kafka. With --json a line a refresh.
    """
    from contextlib import nullcontext

    from rich.console import Group
    from rich.live import Live

    from pipeline.archive.upkeep.ledger import Ledger
    from pipeline.runtime.kafka import clients
    from pipeline.runtime.shutdown import Stop

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    if kafka:
        clients.require_broker(settings, 5.0)
    stop = Stop().listen()
    names = ["site", "sensor", "sent", "accepted", "rejected", "late", "open", "on_its_way"]
    live = Live(console=people, auto_refresh=False, transient=False)
    with Ledger(settings, kafka) as ledger, live if follow and not as_json else nullcontext():
        while True:
            document = ledger.refresh()
            table = _table(
                [name.replace("_", " ") for name in names],
                [[row[name] for name in names] for row in document["sensors"]],
            )
            text = Group(table, *shown(document["before_kafka"]))
            if follow and not as_json:
                live.update(text, refresh=True)
            else:
                say(text, as_json)
            if as_json or not follow:
                emit(document)
            if not follow or not stop.wait(every):
                return


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over the views flows, late and rejects.")],
    archive: Folder = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to show.")] = 100,
    closed: Annotated[bool, typer.Option("--closed", help="Closed files only, without Kafka.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Ask the archive a question in SQL (DuckDB): closed files, and rows still open as far as they have come in Kafka.

    Nothing but the archive can be read, nothing written. What could not be read, with Kafka away for instance, is said.

    Example: forebay archive query "SELECT sensor, count(*), sum(suspect::INT) FROM flows GROUP BY ALL"
    """
    from pipeline.archive.upkeep.query import run as run_query

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, archive_uri=archive)
    document = run_query(settings.archive_uri, sql, limit, None if closed else settings)
    say(_table(document["columns"], document["rows"]), quiet=as_json)
    if document["truncated"]:
        say(f"first {limit} rows; more with --limit", quiet=as_json)
    opened = "open rows were not read" if closed else f"{document['open_rows']:,} rows open"
    say(f"{document['closed_rows']:,} rows closed in {document['closed_files']:,} files, {opened}", quiet=as_json)
    for text in document["not_read"]:
        _say_plainly(f"not read: {printable(text)}", as_json)
    emit(document)


@app.command()
def compact(
    archive: Folder = None,
    target_mib: Annotated[int, typer.Option("--target-mib", min=1, max=2048, help="Size of a pack.")] = 256,
    newest: Annotated[bool, typer.Option("--newest", help="Also the newest day, which still grows.")] = False,
    grace_s: Grace = 600.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Merge many small files into few large ones; the writer, queries and replays may continue meanwhile.

    What an archive holds, and what verify proves, stays the same. Files that were replaced are deleted by the first
    call after --grace-s.

    Example: forebay archive compact --dry-run
    """
    from pipeline.archive.upkeep.compact import compact as compact_archive

    with progress("packs", as_json) as notify:
        uri = load_settings(archive_uri=archive).archive_uri
        document = compact_archive(uri, target_mib * 2**20, time.time() - grace_s, newest, dry_run, notify)
    verb = "would become" if dry_run else "became"
    say(
        f"{document['files']:,} files of {document['bytes_before'] / 2**20:,.1f} MiB {verb} {document['packs']:,} packs"
        + ("" if dry_run else f" of {document['bytes_after'] / 2**20:,.1f} MiB")
        + _replaced(document, grace_s),
        quiet=as_json,
    )
    for problem in document["skipped"]:
        _say_plainly(f"left alone: {problem}", as_json)
    emit(document)


@app.command()
def retain(
    before: Annotated[
        str | None, typer.Option(help="Purge the days before this one: YYYY-MM-DD, UTC.", show_default=False)
    ] = None,
    keep_days: Annotated[
        int | None, typer.Option(help="Give up what is older than so many days.", min=1, show_default=False)
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="flows, late or rejects; may be given again; else all.")
    ] = None,
    archive: Folder = None,
    grace_s: Grace = 600.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give up days that are over: the rows go, where they came from stays, and verify still accounts for them.

    What stays of a record: its raw position, its message's time and format, its exporter's address and number. Days are
    of event time; of rejects, of the time they were sent. A file is deleted by the first call after --grace-s. Exit 1
    where something could not be purged.

    Example: forebay archive retain --keep-days 90 --dry-run
    """
    from pipeline.archive.upkeep.retain import retain as retain_archive

    chosen = _day(before, keep_days)
    with progress("packs", as_json) as notify:
        uri = load_settings(archive_uri=archive).archive_uri
        document = retain_archive(uri, chosen, _tables(table), time.time() - grace_s, dry_run, notify)
    names = ["table", "date", "files", "rows", "bytes"]
    say(_table(names, [[row[name] for name in names] for row in document["days"]]), quiet=as_json)
    verb = "would be" if dry_run else "were"
    say(
        f"before {chosen}: {document['rows']:,} rows in {document['files']:,} files, "
        f"{document['bytes'] / 2**20:,.1f} MiB, {verb} purged" + _replaced(document, grace_s),
        quiet=as_json,
    )
    for problem in document["skipped"]:
        _say_plainly(f"not purged: {problem}", as_json)
    emit(document)
    if document["skipped"]:
        raise typer.Exit(1)


def _replaced(document: dict[str, Any], grace_s: float) -> str:
    verb = "would be" if document["dry_run"] else "were"
    stay = f", {document['stay']:,} stay until the first call after {grace_s:,.0f} s" if document["stay"] else ""
    return f"; {document['deleted']:,} replaced files {verb} deleted{stay}"


def _day(before: str | None, keep_days: int | None) -> str:
    """The day before which everything is purged; Usage where it is not said, or said twice."""
    from datetime import UTC, date, datetime, timedelta

    from pipeline.errors import Usage

    if (before is None) == (keep_days is None):
        raise Usage("retain: expected one of --before YYYY-MM-DD and --keep-days N")
    if keep_days is not None:
        return (datetime.now(UTC).date() - timedelta(days=keep_days)).isoformat()
    try:
        return date.fromisoformat(before or "").isoformat()
    except ValueError:
        raise Usage(f"--before {before!r}: expected a day as YYYY-MM-DD") from None


def _tables(chosen: list[str] | None) -> tuple[str, ...]:
    from pipeline.archive.streams import TABLES
    from pipeline.errors import Usage

    for name in chosen or ():
        if name not in TABLES:
            raise Usage(f"--table {name!r}: expected {', '.join(TABLES)}")
    return tuple(chosen or TABLES)


@app.command()
def files(archive: Folder = None, as_json: Json = False) -> None:
    """List the closed files, with rows, raw positions and hash."""
    from dataclasses import asdict

    from pipeline.archive import snapshot

    snapshots = snapshot.read(load_settings(archive_uri=archive).archive_uri)
    listed = [asdict(entry) for partition_files in snapshots for entry in partition_files.files]
    shown = [[entry["path"], entry["rows"], entry["bytes"], entry["sha256"][:12]] for entry in listed]
    say(_table(["file", "rows", "bytes", "sha256"], shown), quiet=as_json)
    emit(
        {
            "files": listed,
            "rows": sum(entry["rows"] for entry in listed),
            "bytes": sum(entry["bytes"] for entry in listed),
        }
    )


def _say_proof(document: dict[str, Any], quiet: bool) -> None:
    names = ["site", "sensor", "sent", "accepted", "rejected", "late", "in_flight", "holes", "doubles"]
    rows = [[row[name] for name in names] for row in document["sensors"]]
    say(_table([name.replace("_", " ") for name in names], rows), quiet)
    for problem in document["problems"]:
        _say_plainly(f"wrong: {problem}", quiet)
    if document["problems_left_out"]:
        say(f"... and {document['problems_left_out']} more", quiet)
    if document["strays"]:
        say(
            f"{len(document['strays'])} files no manifest lists: a writer or a compaction died, or is at work; in a "
            "folder its next start deletes them",
            quiet,
        )
    if document["replaced"]:
        say(f"{len(document['replaced'])} files that packs have replaced; the next compaction deletes them", quiet)
    source = "topic raw" if document["kafka"] else "the manifests (topic raw was not read)"
    verdict = "accepted + rejected + late + in flight = sent" if document["ok"] else "NOT in order"
    say(f"{document['files']} files, {document['rows']:,} rows, sent counted from {source}: {verdict}", quiet)
    for part in shown(document["before_kafka"]):
        say(part, quiet)
    for line in ranges(document["before_kafka"]):
        _say_plainly(line, quiet)


def _say_comparison(document: dict[str, Any], quiet: bool) -> None:
    rows = [
        [table, counts["first_rows"], counts["second_rows"], "equal" if counts["equal"] else "DIFFERENT"]
        for table, counts in document["rows"].items()
    ]
    say(_table(["table", "rows", "rows of the other", "content"], rows), quiet)
    for table, counts in document["rows"].items():
        for row in counts["differing"]:
            where = "both" if row["first"] and row["second"] else "the first only" if row["first"] else "the other only"
            _say_plainly(f"{table} raw {row['position']}: in {where} {', '.join(row['columns'])}", quiet)
    listed = document["files"]
    say(
        f"files: {listed['equal']} equal, {len(listed['only_in_first'])} only in the first, "
        f"{len(listed['only_in_second'])} only in the other, {len(listed['different'])} different",
        quiet,
    )


def _say_plainly(text: str, quiet: bool) -> None:
    if not quiet:
        people.print(text, markup=False, soft_wrap=True)


app.command()(archive_iceberg.iceberg)
