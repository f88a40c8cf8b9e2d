"""`forebay asset edges` and `forebay asset map`: who talks to whom, what of it is new, and a picture of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Failed, Usage
from pipeline.runtime.terminal import printable
from pipeline.tools.cli.archive import Folder
from pipeline.tools.cli.asset_source import Closed, Flows, Names, OneSite, Source, line, print_facts, read
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.table import table
from pipeline.tools.cli.time_spans import seconds

if TYPE_CHECKING:
    from pipeline.tools.assets.current import CurrentAssets
    from pipeline.tools.assets.edge_news import SiteEdge

SHOWN_EDGES = 60
SECOND_US = 1_000_000
Since = Annotated[
    str, typer.Option("--since", help="How long an edge is new, in its sensors' time: 90m, 24h, 7d.", metavar="SPAN")
]


def edges(
    site: OneSite = None,
    since: Since = "24h",
    new: Annotated[bool, typer.Option("--new", help="Only those that are known to be new.")] = False,
    crossing: Annotated[bool, typer.Option("--crossing", help="Only those that are known to cross zones.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Also of addresses that never sent, or sent once and were never answered.")
    ] = False,
    archive: Folder = None,
    closed: Closed = False,
    flows: Flows = None,
    names: Names = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """List who asks whom by which service: when first and last, in how many flows, whether it is new or crosses zones.

    New is what was first seen within --since, while flows of each sensor that saw it go back a day before that. An edge
    crosses zones if the plant's names say two different zones, or if one end is public.

    Example: forebay asset edges --site my-plant --new --since 7d
    """
    from pipeline.tools.assets.documents import edge_document

    source = Source(archive, closed, flows, site, bootstrap, prefix, as_json, names)
    window_us = int(seconds(since) * SECOND_US)
    current, facts = read(source)
    found = current.edges(window_us)
    chosen = [each for each in found if each.news.is_new or not new]
    chosen = [each for each in chosen if each.crosses or not crossing]
    shown = [each for each in chosen if every or each.is_listed]
    counts = {
        "new": sum(each.news.is_new is True for each in shown),
        "new_unknown": sum(each.news.is_new is None for each in shown),
        "crossing": sum(each.crosses is True for each in shown),
        "crossing_unknown": sum(each.crosses is None for each in shown),
        "left_out": len(chosen) - len(shown),
    }
    if not as_json:
        _print_edges(shown, current)
        _print_counts(counts, len(shown), since)
        print_facts(facts)
    listed = [
        {
            "site": each.site,
            **edge_document(each.edge),
            "client_zone": each.zones[0],
            "server_zone": each.zones[1],
            "crosses": each.crosses,
            "new": each.news.is_new,
            "says": each.news.says,
        }
        for each in (shown if as_json else ())
    ]
    emit({"edges": listed if as_json else len(shown), **counts, **facts})


def map_of_site(
    out: Annotated[Path, typer.Option("--out", help="The SVG file to write; an existing one is replaced.")],
    site: OneSite = None,
    since: Since = "24h",
    archive: Folder = None,
    closed: Closed = False,
    flows: Flows = None,
    names: Names = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Draw a site as an SVG file: devices by zone, or by guessed role where no zones are known, and who talks to whom.

    At most 300 devices and 1,000 lines, those that the plant named and those that are new first; the rest is counted.

    Example: forebay asset map --site my-plant --out map.svg
    """
    from pipeline.runtime.files import write_atomic
    from pipeline.tools.assets.map_svg import map_svg

    source = Source(archive, closed, flows, site, bootstrap, prefix, as_json, names)
    window_us = int(seconds(since) * SECOND_US)
    current, facts = read(source)
    document = current.map(_one_site(current, site), window_us)
    if document is None:
        raise Usage(f"--site: got {site!r}, of which there is no flow; `forebay asset list` names the sites")
    try:
        write_atomic(out, memoryview(map_svg(document).encode()), durable=False)
    except OSError as error:
        raise Failed(f"--out {out}: got {error}, expected a file that can be written; name another") from error
    drawn = {"devices": len(document["devices"]), "edges": len(document["edges"])}
    if not as_json:
        line(f"{drawn['devices']:,} devices, {drawn['edges']:,} lines: {out}")
        print_facts(facts)
    shown = document if as_json else {"site": document["site"], **drawn, "left_out": document["left_out"]}
    emit({**shown, "out": str(out), **facts})


def _one_site(current: "CurrentAssets", site: str | None) -> str:
    if site is not None:
        return site
    if len(current.sites) != 1:
        names = printable(", ".join(list(current.sites)[:5]) or "none", 200)
        raise Usage(f"asset map: got {len(current.sites)} sites ({names}), expected one; say which with --site")
    return next(iter(current.sites))


def _print_edges(shown: "list[SiteEdge]", current: "CurrentAssets") -> None:
    from pipeline.contracts.notice_words import minute

    names = {(each.device.site, each.device.key): each.name for each in current.assets if each.name}

    def called(site: str, end: str) -> str:
        name = names.get((site, end))
        return f"{name} ({end})" if name else end

    columns = ["site", "who asks", "whom", "by", "flows", "answered", "new", "zones", "when"]
    rows: list[list[Any]] = []
    for each in shown[:SHOWN_EDGES]:
        edge = each.edge
        between = [zone or "unknown" for zone in each.zones]
        zones = (between[0] if each.crosses is False else " to ".join(between)) if any(each.zones) else None
        first, last = minute(edge.span.first_us), minute(edge.span.last_us)
        rows.append(
            [
                each.site,
                called(each.site, edge.client),
                called(each.site, edge.server),
                edge.service.words,
                edge.flows,
                edge.answered,
                {True: "new", None: "not known", False: None}[each.news.is_new],
                zones,
                f"{first} to {last.removeprefix(first[:11])}",  # the date once, where it is one
            ]
        )
    # A column that says the same in every row takes the others' room; what it says is counted below.
    idle = {name for name in ("site", "new", "zones") if len({row[columns.index(name)] for row in rows}) == 1}
    if rows:
        say(table(columns, rows, omitted=idle))
    else:
        say("no edges: none is listed before its first flow is archived, or none is as asked for")
    if len(shown) > SHOWN_EDGES:
        say(f"and {len(shown) - SHOWN_EDGES:,} more; --json has them all")


def _print_counts(counts: dict[str, int], edges: int, since: str) -> None:
    said = f"{edges:,} edges; known to be new within {printable(since)}: {counts['new']:,}"
    if counts["new_unknown"]:
        said += f"; of {counts['new_unknown']:,} it is not known (`says` in --json has the reason)"
    line(said)
    if edges and counts["crossing_unknown"] == edges:
        line("no zone is known: `forebay asset import` takes a column zone")
    elif edges:
        unknown = counts["crossing_unknown"]
        more = f"; of {unknown:,} it is not known, since a zone is unknown" if unknown else ""
        line(f"known to cross zones: {counts['crossing']:,}{more}")
    if counts["left_out"]:
        line(
            f"and {counts['left_out']:,} of addresses that never sent, or sent and were never answered; "
            "--all lists these too"
        )
