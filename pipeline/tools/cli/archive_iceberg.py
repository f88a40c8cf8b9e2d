"""`forebay archive iceberg`: the archive as Iceberg tables, for engines that ask a catalog."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from pipeline.errors import Failed, Usage
from pipeline.settings import load_settings
from pipeline.tools.cli.output import Json, emit, people, say
from pipeline.tools.cli.progress import progress

PACKAGES = ("pyiceberg", "sqlalchemy")
DAY_S = 86_400.0


def iceberg(
    archive: Annotated[
        str | None,
        typer.Option(
            "--archive", help="A folder, or s3://bucket/prefix. [env: FOREBAY_ARCHIVE_URI]", show_default=False
        ),
    ] = None,
    warehouse: Annotated[
        str, typer.Option(help="Where the tables lie: a folder, or s3://bucket/prefix?endpoint=...&region=...")
    ] = "var/iceberg",
    properties: Annotated[
        list[str] | None,
        typer.Option(
            "--property",
            help="Of the catalog, KEY=VALUE, as pyiceberg names them; may be given again. Else SQLite in the folder.",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Copy nothing: compare the tables with what the manifests state.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as the archive grows, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option(min=1.0, max=86_400.0, help="With --follow: seconds between two copies.")
    ] = 300.0,
    keep_days: Annotated[
        float, typer.Option(min=0.0, help="Older snapshots are expired, with the files that only they list.")
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Copy closed files into Iceberg tables forebay.flows, forebay.late and forebay.rejects, every row exactly once.

    A table's position is committed with its rows: stopped in any way, the copy resumes from there.
    Rows that the archive has purged are deleted. With --verify, exit 1 where a table differs. With --follow and
    --json a line a copy.

    Example: forebay archive iceberg --follow
    """
    if verify and follow:
        raise Usage("archive iceberg: expected one of --verify and --follow")
    uri, options = load_settings(archive_uri=archive).archive_uri, _pairs(properties or [])
    with _packages():
        from pipeline.archive.iceberg.warehouse import opened, single_committer
    if verify:
        with opened(warehouse, options) as catalog:
            _prove(uri, catalog, warehouse, as_json)
        return
    with single_committer(warehouse), opened(warehouse, options) as catalog:
        _copy(uri, catalog, warehouse, every if follow else None, keep_days, as_json)


def _copy(uri: str, catalog: Any, warehouse: str, every: float | None, keep_days: float, as_json: bool) -> None:
    from pipeline.archive.iceberg.copy import copy
    from pipeline.archive.iceberg.expire import expire
    from pipeline.runtime.shutdown import Stop

    stop = Stop().listen()
    while True:
        with progress("files", as_json) as notify:
            done = copy(uri, catalog, notify, lambda: stop.requested)
        expired = expire(catalog, time.time() - keep_days * DAY_S)
        listed = [{"table": f"forebay.{name}", **counts, **expired[name]} for name, counts in done.items()]
        for row in listed:
            if every is None or row["commits"]:
                say(
                    f"{row['table']}: {row['rows']:,} rows of {row['files']:,} closed files added, "
                    f"{row['given_up']:,} files purged, {row['commits']:,} commits",
                    as_json,
                )
        if as_json or every is None:
            emit({"archive": uri, "warehouse": warehouse, "tables": listed, "stopped": stop.requested})
        if every is None or not stop.wait(every):
            return


def _prove(uri: str, catalog: Any, warehouse: str, as_json: bool) -> None:
    from pipeline.archive.iceberg.proof import prove

    document = prove(uri, catalog)
    for row in document["tables"]:
        behind = f"; {row['behind']:,} closed files are still to be copied" if row["behind"] else ""
        say(f"{row['table']}: {row['rows']:,} rows of {row['files']:,} closed files{behind}", as_json)
    for problem in document["problems"]:
        if not as_json:
            people.print(f"wrong: {problem}", markup=False, soft_wrap=True)
    if document["problems_left_out"]:
        say(f"... and {document['problems_left_out']} more", as_json)
    say("the tables hold what the manifests state" if document["ok"] else "NOT in order", as_json)
    emit({"warehouse": warehouse, **document})
    if not document["ok"]:
        raise typer.Exit(1)


def _pairs(properties: list[str]) -> dict[str, str]:
    for text in properties:
        if "=" not in text:
            raise Usage(f"--property {text!r}: expected KEY=VALUE")
    return dict(text.split("=", 1) for text in properties)


@contextmanager
def _packages() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in PACKAGES:
            raise
        raise Failed(f"got no {missing}; install it, in the checkout: pip install '.[iceberg]'") from error
