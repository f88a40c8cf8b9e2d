"""Where the commands of `forebay asset` read flows from, and what they say of it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pipeline.runtime.terminal import printable
from pipeline.tools.cli.output import people, say
from pipeline.tools.cli.progress import progress
from pipeline.tools.cli.settings_here import settings_here

if TYPE_CHECKING:
    from pipeline.tools.assets.current import CurrentAssets
    from pipeline.tools.assets.label import Labels

OneSite = Annotated[str | None, typer.Option("--site", help="Only of this site.")]
Closed = Annotated[bool, typer.Option("--closed", help="Closed files only, without Kafka.")]
Flows = Annotated[
    Path | None,
    typer.Option("--flows", help="Of a file or folder of flow records instead of the archive.", show_default=False),
]
Names = Annotated[
    Path | None,
    typer.Option("--names", help="A CSV file as of `asset import`, instead of the names in Kafka.", show_default=False),
]


class Source(NamedTuple):
    """Where flows are read from."""

    archive: str | None
    closed: bool
    flows: Path | None
    site: str | None
    bootstrap: str | None
    prefix: str | None
    quiet: bool
    names: Path | None = None


def read(source: Source) -> "tuple[CurrentAssets, dict[str, Any]]":
    """The assets, and what they were read from."""
    from pipeline.tools.assets.current import read_current
    from pipeline.tools.assets.vendors import has_table

    labels = read_names(source.names, source.site) if source.names is not None else None
    if source.flows is not None:
        current = _of_file(source, labels or {})
    else:
        settings = settings_here(bootstrap=source.bootstrap, topic_prefix=source.prefix, archive_uri=source.archive)
        with progress("flows", source.quiet) as notify:
            current = read_current(settings, source.site, closed=source.closed, labels=labels, notify=notify)
    no_room = [{"site": site, "table": kind, "rows": rows} for (site, kind), rows in sorted(current.no_room.items())]
    facts: dict[str, Any] = {
        "rows": current.rows,
        "closed_files": current.closed_files,
        "open_rows": current.open_rows,
        "not_read": current.not_read,
        "no_room": no_room,
        "vendors": has_table(),
    }
    return current, facts


def _of_file(source: Source, labels: "Labels") -> "CurrentAssets":
    from pipeline.ingest.files.offline_rows import decode_file
    from pipeline.settings import load_settings
    from pipeline.tools.assets.current import current_of
    from pipeline.tools.assets.inventory import inventory_of
    from pipeline.tools.assets.reading import Reading

    settings = load_settings()
    decoded = decode_file(
        str(source.flows),
        site=source.site or "default",
        ingest_ts_us=time.time_ns() // 1_000,
        max_future_us=settings.max_future_us,
        max_bytes=settings.file_max_bytes,
    )
    decoded.require_flows()
    return current_of(Reading(inventory_of([decoded.flows]), decoded.flows.num_rows, 0, None, []), labels, [])


def read_names(file: Path, site: str | None) -> "Labels":
    """The labels of a CSV file; BadData where it cannot be read, or has a wrong line."""
    from pipeline.errors import BadData
    from pipeline.tools.assets import labels

    try:
        with file.open("rb") as opened:
            data = opened.read(labels.MAX_BYTES + 1)
    except OSError as error:
        raise BadData(f"{file}: got {error.strerror}, expected a CSV file that can be read; name another") from error
    return labels.read_csv(data, str(file), site)


def print_facts(facts: dict[str, Any]) -> None:
    """What was read, and what was not."""
    opened = "" if facts["open_rows"] is None else f", {facts['open_rows']:,} of the archive's still open"
    say(f"from {facts['rows']:,} flow records{opened}")
    for each in facts["no_room"]:
        line(f"{each['site']}: the table of {each['table']} is full: {each['rows']:,} rows found no room")
    if not facts["vendors"]:
        say("makers of network cards are not known: the package aiooui is missing, `make setup` installs it")
    for text in facts["not_read"]:
        line(f"not read: {text}")


def line(text: str, style: str = "") -> None:
    """A line for people; what is in it is text."""
    people.print(printable(text), markup=False, soft_wrap=True, style=style)
