"""`forebay flow follow`: files that grow, into `raw` as they grow."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import Usage
from pipeline.runtime.terminal import printable
from pipeline.settings import load_settings
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...", help="Files that grow, or globs in quotes, there already or to come: logs/current/conn.log"
    ),
]
Site = Annotated[str, typer.Option("--site", help="Plant the sensor belongs to.")]
Sensor = Annotated[str | None, typer.Option("--sensor", help="Sensor; the name of this machine by default.")]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", help="What it is known by; SITE/SENSOR by default. Of two with one name the later one runs."
    ),
]


def follow(
    paths: Paths,
    site: Site = "default",
    sensor: Sensor = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="Content-type; recognised file by file where not given.")
    ] = None,
    rotated: Annotated[
        list[str] | None,
        typer.Option("--rotated", help="Glob of rotated files that lie neither beside PATH nor in dated folders."),
    ] = None,
    name: Name = None,
    once: Annotated[bool, typer.Option("--once", help="Send what is there, then end: for cron and tests.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Send files into `raw` as they grow, through rotation, each whole record exactly once, until stopped.

    Where it stopped, or was killed, it goes on, also in files that were rotated and packed meanwhile.
    """
    from pipeline.contracts.raw import KNOWN_TYPES
    from pipeline.ingest.follow import worker
    from pipeline.ingest.follow.names import FileSource
    from pipeline.ingest.follow.records import known_type
    from schemas.names import EXPECTED_NAME, is_name

    if format_name is not None and not known_type(format_name):
        raise Usage(f"--format: got {printable(format_name, 80)}, expected one of {KNOWN_TYPES}")
    sensor = sensor or os.uname().nodename
    for option, text in (("--site", site), ("--sensor", sensor)):
        if not is_name(text):
            raise Usage(f"{option}: got {printable(text, 80)!r}, expected {EXPECTED_NAME}")
    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    source = FileSource(_absolute(paths), site, sensor, format_name, _absolute(rotated or []))
    sent = worker.run(settings, [source], name or f"{site}/{sensor}", once)
    say(f"{sent.records:,} records sent in {sent.messages:,} messages", quiet=as_json)
    emit({"sent": sent.records, "messages": sent.messages, "transactions": sent.transactions, "gaps": sent.gaps})


def _absolute(paths: list[str]) -> tuple[str, ...]:
    """Positions name files; the follower may be started in another folder the next time."""
    if "-" in paths:
        raise Usage("PATH: got -, expected files; `forebay flow send -` sends standard input as it comes")
    return tuple(str(Path(path).absolute()) for path in paths)


def followed(
    site: Site = "default",
    sensor: Sensor = None,
    name: Name = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Show how far a follower is in its files, by what it has committed."""
    from rich.markup import escape

    from pipeline.ingest.follow.worker import committed_positions, identity

    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix)
    follower = identity(settings, name or f"{site}/{sensor or os.uname().nodename}")
    positions = committed_positions(settings, follower)
    rows: list[dict[str, Any]] = []
    for number in sorted(positions):
        position = positions[number]
        if not position.records and position.done:
            continue  # it says since when a path is followed
        size = _size(position.path, (position.device, position.inode))
        rows.append(
            {
                "path": position.path,
                "live": position.live,
                "content_type": position.layout.content_type,
                "records": position.records,
                "offset": position.offset,
                "behind_bytes": None if size is None else max(0, size - position.offset),
                "committed_us": position.committed_us,
                "state": "done" if position.done else "lost" if position.lost else "open",
            }
        )
    shown = [row for row in rows if row["state"] != "done"] or rows[-1:]
    for row in shown:
        behind = "?" if row["behind_bytes"] is None else f"{row['behind_bytes']:,}"
        path = escape(printable(str(row["path"])))
        say(f"{path}: {row['records']:,} records, {behind} bytes behind, {row['state']}", quiet=as_json)
    emit({"follower": follower, "files": rows, "records": sum(row["records"] for row in rows)})


def _size(path: str, key: tuple[int, int]) -> int | None:
    """The size of a file, where it still is the one that was read, and is not packed."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_size if (stat.st_dev, stat.st_ino) == key and not path.endswith((".gz", ".bz2", ".xz")) else None
