"""`forebay asset`: devices that the flows show, what they are guessed to be, and who talks to whom."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import Usage
from pipeline.runtime.terminal import printable
from pipeline.tools.cli import asset_map
from pipeline.tools.cli.archive import Folder
from pipeline.tools.cli.asset_source import Closed, Flows, Names, OneSite, Source, line, print_facts, read, read_names
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, people, say
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.cli.table import table

if TYPE_CHECKING:
    from pipeline.tools.assets.devices import Edge
    from pipeline.tools.assets.documents import Asset

Every = Annotated[bool, typer.Option("--all", help="Also addresses that sent once and were never answered.")]

app = typer.Typer(no_args_is_help=True, help="Devices that the flows show: list, show, edges, map; names in and out.")

SHOWN_SERVICES = 2
SHOWN_EDGES = 30
OMITTED = ("name", "zone", "maker")


@app.callback()
def asset() -> None:
    """Devices, from nothing but flows."""


@app.command(name="list")
def list_assets(
    site: OneSite = None,
    role: Annotated[
        str | None, typer.Option(help="Only of this role, as --json names it: controller, hmi, ...")
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Only of this zone, as the plant calls it; '' where none is known.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only those that are quiet or gone.")] = False,
    every: Every = False,
    archive: Folder = None,
    closed: Closed = False,
    flows: Flows = None,
    names: Names = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """List devices: what each is guessed to be, its card's maker, what it serves, when it was last seen.

    Quiet is who was not seen for an hour of its sensor's time, gone for a day.

    Example: forebay asset list --site my-plant --role controller
    """
    from pipeline.tools.assets.documents import document
    from pipeline.tools.assets.presence import ACTIVE

    _require_role(role)
    source = Source(archive, closed, flows, site, bootstrap, prefix, as_json, names)
    current, facts = read(source)
    chosen = [each for each in current.assets if role in (None, each.guess.role)]
    chosen = [each for each in chosen if zone is None or (each.zone or "") == zone]
    chosen = [each for each in chosen if not quiet or each.presence.state != ACTIVE]
    shown = [each for each in chosen if every or each.device.is_confirmed]
    if not as_json:
        _print_list(shown, len(chosen) - len(shown))
        print_facts(facts)
    roles: dict[str, int] = {}
    for each in shown:
        roles[each.guess.role] = roles.get(each.guess.role, 0) + 1
    listed = [document(each) for each in shown] if as_json else len(shown)
    emit({"assets": listed, "unconfirmed": len(chosen) - len(shown), "roles": roles, **facts})


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An address, a hardware address, or the plant's name of the device.")],
    site: OneSite = None,
    archive: Folder = None,
    closed: Closed = False,
    flows: Flows = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Show a device: why it is thought to be what it is, its addresses, and whom it talks to by which service.

    Example: forebay asset show 10.10.10.10
    """
    from pipeline.tools.assets.documents import document, edge_document, is_called

    source = Source(archive, closed, flows, site, bootstrap, prefix, as_json)
    current, facts = read(source)
    found = [each for each in current.assets if is_called(each, name)]
    if len(found) != 1:
        places = ", ".join(f"{each.device.site}/{each.device.key}" for each in found[:5])
        got = f"got {len(found)} devices ({printable(places)})" if found else "got no device of that address or name"
        remedy = "say which with --site, or by its address" if found else "`forebay asset list --all` lists them"
        raise Usage(f"asset {printable(name, 120)}: {got}, expected one; {remedy}")
    [asset] = found
    device = asset.device
    edges = sorted(
        [*device.serves, *device.uses],
        key=lambda edge: (-edge.answered, -edge.flows, edge.client, edge.server, edge.service),
    )
    names = {each.device.key: each.name for each in current.assets if each.device.site == device.site and each.name}
    if not as_json:
        _print_asset(asset, edges, names)
        print_facts(facts)
    emit({**document(asset), "edges": [edge_document(edge) for edge in edges] if as_json else len(edges), **facts})


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="The CSV file to write; an existing one is replaced.")],
    site: OneSite = None,
    every: Every = False,
    archive: Folder = None,
    closed: Closed = False,
    flows: Flows = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Write the devices as a CSV file, whose cells no spreadsheet takes for formulas.

    Example: forebay asset export --out assets.csv
    """
    from pipeline.errors import Failed
    from pipeline.runtime.files import write_atomic
    from pipeline.tools.assets.table_file import csv_text

    source = Source(archive, closed, flows, site, bootstrap, prefix, as_json)
    current, facts = read(source)
    shown = [each for each in current.assets if every or each.device.is_confirmed]
    try:
        write_atomic(out, memoryview(csv_text(shown).encode()), durable=False)
    except OSError as error:
        raise Failed(f"--out {out}: got {error}, expected a file that can be written; name another") from error
    if not as_json:
        people.print(f"{len(shown):,} devices: {out}", markup=False, soft_wrap=True)
        print_facts(facts)
    emit({"assets": len(shown), "unconfirmed": len(current.assets) - len(shown), "out": str(out), **facts})


@app.command(name="import")
def import_names(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns address, name, criticality, and zone if wanted; site without --site."
        ),
    ],
    site: Annotated[str | None, typer.Option("--site", help="The site of all its lines.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Tell Forebay what the plant calls its devices, how critical each is (low to critical), and its zone.

    A line with none of these takes what is known of a device away; devices that are not in the file stay as they are,
    and so do all zones where it has no column zone. Where a line is wrong, each is named and nothing is imported. An
    edited `asset export` is such a file.

    Example: forebay asset import names.csv --site my-plant
    """
    from pipeline.runtime.kafka import clients
    from pipeline.tools.assets import labels
    from pipeline.tools.assets.current import PATIENCE_S

    wanted = read_names(file, site)
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    clients.require_broker(settings, PATIENCE_S)
    made = labels.changes(labels.read(settings), wanted)
    if not dry_run and made.send:
        labels.send(settings, made.send)
    verb = "would be " if dry_run else ""
    said = f"{made.new:,} {verb}new, {made.changed:,} {verb}changed, {made.removed:,} {verb}taken away"
    if not as_json:
        line(f"{file}: {len(wanted):,} devices: {said}, {made.same:,} as they were")
    counts = {"new": made.new, "changed": made.changed, "removed": made.removed, "same": made.same}
    emit({"devices": len(wanted), **counts, "dry_run": dry_run})


def _require_role(role: str | None) -> None:
    from pipeline.tools.assets.roles import shipped

    if role is not None and role not in shipped().names:
        raise Usage(f"--role: got {role!r}, expected one of {', '.join(shipped().names)}")


def _print_list(assets: "list[Asset]", unconfirmed: int) -> None:
    columns = ["site", "address", "name", "zone", "role", "maker", "state", "serves", "peers"]
    rows = [_row(each) for each in assets]
    # A column that says nothing, or the same in every row, takes the others' room.
    idle = {name for at, name in enumerate(columns) if name in OMITTED and not any(row[at] for row in rows)}
    idle |= {"site"} if len({row[0] for row in rows}) == 1 else set()
    if rows:
        say(table(columns, rows, omitted=idle))
    else:
        say("no devices: none is listed before its first flow is archived, or none is as asked for")
    if unconfirmed:
        noun = "address" if unconfirmed == 1 else "addresses"
        say(f"and {unconfirmed:,} {noun} that sent, were never answered and did not come back; --all lists them")


def _row(asset: "Asset") -> list[Any]:
    from pipeline.alert.wording import duration
    from pipeline.tools.assets.documents import services
    from pipeline.tools.assets.presence import ACTIVE

    device, guess, seen = asset.device, asset.guess, asset.presence
    served = [row["service"] for row in services(device.serves)]
    more = [f"+{len(served) - SHOWN_SERVICES}"] if len(served) > SHOWN_SERVICES else []
    role = guess.title if guess.confidence is None else f"{guess.title} ({guess.confidence})"
    state = seen.state if seen.state == ACTIVE else f"{seen.state} {duration(seen.idle_us)}"
    serves = ", ".join([*served[:SHOWN_SERVICES], *more]) or None
    return [device.site, device.key, asset.name, asset.zone, role, asset.vendor, state, serves, len(device.peers)]


def _print_asset(asset: "Asset", edges: "list[Edge]", names: dict[str, str]) -> None:
    from pipeline.alert.wording import duration
    from pipeline.contracts.notice_words import moment
    from pipeline.tools.assets.documents import functions

    device, guess = asset.device, asset.guess
    called = f"{asset.name} ({device.key})" if asset.name else device.key
    sure = f", confidence {guess.confidence}" if guess.confidence is not None else ""
    line(f"{device.site}/{called}: {guess.title}{sure}: it {guess.why}", "bold")
    if guess.also:
        line(f"also as: {', '.join(guess.also)}")
    if asset.criticality:
        line(f"criticality: {asset.criticality}")
    line(f"zone: {asset.zone or 'unknown; a column zone of an import says it'}")
    state = asset.presence.state
    idle = f": not seen for {duration(asset.presence.idle_us)} of its sensor's time" if state != "active" else ""
    line(f"{state}{idle}; seen from {moment(device.span.first_us)} to {moment(device.span.last_us)}")
    line(f"sensors: {', '.join(device.sensors) or 'none of its own flows'}; {device.flows:,} flow records")
    for address, span in device.addresses.items():
        line(f"address {address}, {moment(span.first_us)} to {moment(span.last_us)}")
    if device.mac is not None:
        line(f"hardware address {device.mac}{f' ({asset.vendor})' if asset.vendor else ''}")
    if device.behind is not None:
        line(f"behind {device.behind}, which sends for others too")
    if device.other_macs:
        line(f"also sent from {', '.join(device.other_macs)}")
    for title, of in (("asked to", device.uses), ("was asked to", device.serves)):
        said = [f"{row['function']} ({row['protocol']}) {row['requests']:,}" for row in functions(of)]
        if said:
            line(f"{title}: {', '.join(said)}")
    _print_edges(device.key, edges, names)


def _print_edges(key: str, edges: "list[Edge]", names: dict[str, str]) -> None:
    from pipeline.contracts.notice_words import moment

    rows = []
    for edge in edges[:SHOWN_EDGES]:
        asks = edge.client == key
        other = edge.server if asks else edge.client
        first, last = moment(edge.span.first_us), moment(edge.span.last_us)
        rows.append(
            [
                "asks" if asks else "answers" if edge.answered else "is asked by",
                f"{names[other]} ({other})" if other in names else other,
                edge.service.words,
                edge.flows,
                edge.answered,
                edge.bytes,
                edge.writes + edge.controls,
                f"{first} to {last.removeprefix(first[:11])}",  # the date once, where it is one
            ]
        )
    if rows:
        columns = ["", "whom", "by", "flows", "answered", "bytes", "writes", "when"]
        if not any(row[-2] for row in rows):
            rows, columns = [[*row[:-2], row[-1]] for row in rows], [*columns[:-2], columns[-1]]
        say(table(columns, rows))
    if len(edges) > SHOWN_EDGES:
        say(f"and {len(edges) - SHOWN_EDGES:,} more; --json has them all")


app.command()(asset_map.edges)
app.command(name="map")(asset_map.map_of_site)
