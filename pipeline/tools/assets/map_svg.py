"""A site's map as one SVG file: no script, nothing fetched, light or dark as its reader's screen is."""

import html
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from string import Template
from typing import Any

from pipeline.alert.wording import duration
from pipeline.contracts.notice_words import moment
from pipeline.runtime.terminal import printable
from pipeline.tools.assets.map_layout import (
    CARD_HEIGHT,
    CARD_WIDTH,
    GUTTER,
    WIDTH,
    ZONE_UNKNOWN,
    Card,
    Layout,
    has_zones,
    layout,
)
from pipeline.tools.assets.map_lines import Curve, Ends, Point, free_point, lines, path
from pipeline.tools.assets.roles import CONFIDENCE
from pipeline.tools.assets.sightings import PUBLIC

KINDS = ("industrial", "remote", "files", "", "supporting")
"""Of services, the one that says most of a line first."""
LEGEND = (
    ("industrial", "industrial protocol"),
    ("remote", "remote access"),
    ("other", "anything else"),
    ("supporting", "names, time, addresses and the like"),
    ("unanswered", "never answered"),
    ("new", "new, with its number below"),
)
SHOWN_NEW = 24
TOP = 112.0
MARGIN = 24.0
LINE = 19.0
BADGE = 10.0
MAX_TEXT = 160
HOUR_US = 3_600_000_000
ICONS: Mapping[str, str] = {
    "controller": "M2 3h14v12h-14z M5 3v12 M9 6h4 M9 9h4 M9 12h4",
    "hmi": "M1 3h16v10h-16z M6 16h6 M9 13v3",
    "engineering": "M3 3h12v9h-12z M1 15h16 M7 7l2 2 M11 6l-3 4",
    "gateway": "M2 6h11 M10 3l3 3l-3 3 M16 12h-11 M8 9l-3 3l3 3",
    PUBLIC: "M9 1a8 8 0 1 0 .01 0 M1 9h16 M9 1c-5 5-5 11 0 16 M9 1c5 5 5 11 0 16",
    "camera": "M2 5h10v8h-10z M12 8l4-3v8l-4-3",
    "printer": "M5 1h8v5h-8z M2 6h14v7h-14z M5 11h8v6h-8z",
    "server": "M3 2h12v6h-12z M3 10h12v6h-12z M6 5h1 M6 13h1",
    "unknown": "M9 2a7 7 0 1 0 .01 0 M7 7c0-3 5-3 4 0c0 2-2 1-2 3 M9 12v1",
}
LIGHT: Mapping[str, str] = {
    **{"paper": "#fff", "lane": "#f3f5f8", "card": "#fff", "ink": "#18212b", "dim": "#566472", "line": "#8794a2"},
    **{"faint": "#ccd4dc", "rim": "#b9c3cd", "industrial": "#1668b0", "remote": "#7b45bd", "new": "#c8102e"},
}
DARK: Mapping[str, str] = {
    **{"paper": "#10151b", "lane": "#182028", "card": "#222c36", "ink": "#eaf0f6", "dim": "#a3b1bf", "line": "#75838f"},
    **{"faint": "#3d4955", "rim": "#45525f", "industrial": "#6cb4f5", "remote": "#bd97f2", "new": "#ff6b7d"},
}
SHAPES = (
    "svg{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    "text{font-size:13px}.dim{font-size:12px}.title{font-size:24px;font-weight:700}"
    ".says{font-size:11px;font-weight:700;text-anchor:middle}.pill{stroke-width:1.3}"
    ".lanename{font-size:15px;font-weight:600}.name{font-weight:600}.number{font-size:11px;font-weight:700;"
    "text-anchor:middle}.idle{stroke-dasharray:4 3}"
    ".card,.icon{stroke-width:1.3}.icon,.edge,.unsure{fill:none}.unanswered{stroke-dasharray:3 5}"
)
COLOURS = Template(
    ".paper,.number{fill:$paper}.lane{fill:$lane}.card{fill:$card;stroke:$rim}text{fill:$ink}.dim,.sure{fill:$dim}"
    ".icon,.unsure{stroke:$dim}.edge{stroke:$line}.industrial{stroke:$industrial}.remote{stroke:$remote}"
    ".supporting{stroke:$faint}.new{stroke:$new}.pill{fill:$card}rect.urgent{stroke:$new}rect.mild{stroke:$rim}text.urgent,.badge,.headnew{fill:$new}.head{fill:$line}"
)
STYLE = f"{SHAPES}{COLOURS.substitute(LIGHT)}@media (prefers-color-scheme:dark){{{COLOURS.substitute(DARK)}}}"
"""No variables of CSS: programs that draw would not know them."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Where cards lie, and how lines run between them."""

    cards: Mapping[str, Card]
    lines: Mapping[Ends, list[Curve]]


def map_svg(document: Mapping[str, Any]) -> str:
    """A map (`site_map`) as the text of an SVG file; names in it are text, whatever they hold."""
    places = layout(document, TOP)
    new = [edge for edge in document["edges"] if edge["new"] is True]
    numbers = {(edge["source"], edge["target"]): number for number, edge in enumerate(new, 1)}
    drawn = Drawn(places.cards, lines(document["edges"], places.cards))
    top = places.bottom + 26
    columns = [*_new_lines(document, new)], [*_between_zones(document)]
    notes = [
        _text(x, top + LINE * number, _fitting(text, WIDTH * 0.6 if x == MARGIN else WIDTH * 0.4 - MARGIN, 12), style)
        for x, column in zip((MARGIN, WIDTH * 0.62), columns, strict=True)
        for number, (text, style) in enumerate(column)
    ]
    top += LINE * (max(map(len, columns)) + 1)
    notes += [_text(MARGIN, top + LINE * number, text, "dim") for number, text in enumerate(_footer(document))]
    height = top + LINE * len(_footer(document)) + 8
    title = html.escape(_plain(f"Map of site {document['site']}"))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" width="{WIDTH:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{title}">',
        f"<title>{title}</title><style>{STYLE}</style><defs>{_arrow('head')}{_arrow('headnew')}</defs>",
        f'<rect class="paper" width="{WIDTH:.0f}" height="{height:.0f}"/>',
        *_head(document),
        *_lanes(places),
        *_edges(document["edges"], numbers, drawn),
        *(_card(card) for card in places.cards.values()),
        *_badges(numbers, drawn),
        *notes,
    ]
    return "\n".join([*parts, "</svg>\n"])


def _plain(value: object, most: int = MAX_TEXT) -> str:
    return printable(str(value), most)


def _text(x: float, y: float, text: str, style: str = "") -> str:
    of_style = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{of_style}>{html.escape(_plain(text, 4 * MAX_TEXT))}</text>'


def _fitting(text: str, width: float, size: float) -> str:
    """The text, cut so that it fits a width; East Asian characters are as wide as they are high, others .6 of it."""
    plain, room = _plain(text), width
    for at, letter in enumerate(plain):
        room -= size * (1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.6)
        if room < 0:
            return plain[: max(1, at - 1)] + "…"
    return plain


def _arrow(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="{name}" d="M0 1L8 4L0 7z"/></marker>'
    )


def _head(document: Mapping[str, Any]) -> Iterator[str]:
    devices = sum(device["address"] != PUBLIC for device in document["devices"])
    yield _text(MARGIN, 38, _fitting(f"Site {document['site']}: who talks to whom", WIDTH - 2 * MARGIN, 24), "title")
    span = ""
    if document["first_us"] is not None:
        span = f", from {moment(document['first_us'])} to {moment(document['last_us'])}"
    by = "zones as the plant named them" if has_zones(document) else "lanes by guessed role; no zones are known"
    sensors = ", ".join(document["sensors"])
    yield _text(MARGIN, 62, f"{devices:,} devices{span}, seen by {_plain(sensors, 60)}; {by}", "dim")
    x = MARGIN
    for style, words in LEGEND:
        yield f'<path class="edge {style}" stroke-width="2.4" d="M{x:.0f} 88h30"/>'
        yield _text(x + 38, 92, words, "dim")
        x += 56 + 6.4 * len(words)
    yield _text(x, 92, "sure of the role:", "dim")
    x += 102
    for confidence in CONFIDENCE:
        yield _dots(x + 18, 88, confidence)
        yield _text(x + 26, 92, confidence, "dim")
        x += 46 + 6.4 * len(confidence)


def _lanes(places: Layout) -> Iterator[str]:
    for lane in places.lanes:
        yield (
            f'<rect class="lane" x="{MARGIN / 2:.1f}" y="{lane.y:.1f}" width="{WIDTH - MARGIN:.1f}" '
            f'height="{lane.height:.1f}" rx="10"/>'
        )
        for number, words in enumerate(_wrapped(lane.name, GUTTER - MARGIN)):
            yield _text(MARGIN, lane.y + 28 + 18 * number, words, "lanename")
        if lane.devices:
            count = f"{lane.devices:,} device{'s' if lane.devices != 1 else ''}"
            yield _text(MARGIN, lane.y + lane.height - 14, count, "dim")


def _wrapped(text: str, width: float) -> list[str]:
    """A name on two lines at most."""
    words = _plain(text).split(" ")
    for at in range(len(words), 0, -1):
        first = " ".join(words[:at])
        if _fitting(first, width, 14) == first:
            rest = " ".join(words[at:])
            return [first, _fitting(rest, width, 14)] if rest else [first]
    return [_fitting(text, width, 14)]


def _edges(edges: Iterable[Mapping[str, Any]], numbers: Mapping[Ends, int], drawn: Drawn) -> Iterator[str]:
    """Lines, faint ones first so that what matters lies above."""
    for edge in sorted(edges, key=lambda edge: (edge["new"] is True, -KINDS.index(_kind(edge)), edge["flows"])):
        ends = edge["source"], edge["target"]
        width = 1.0 + min(2.0, math.log10(1 + edge["flows"]) / 2.5)
        style, head = f"edge {_kind(edge) or 'other'}", "head"
        if ends in numbers:
            style, head, width = "edge new", "headnew", 2.4
        style += "" if edge["answered"] else " unanswered"
        yield (
            f'<path class="{style}" stroke-width="{width:.1f}" marker-end="url(#{head})" '
            f'd="{path(drawn.lines[ends])}"><title>{html.escape(_says(edge, drawn.cards))}</title></path>'
        )


def _badges(numbers: Mapping[Ends, int], drawn: Drawn) -> Iterator[str]:
    """The numbers of the new lines that are listed, on them, each where there is room."""
    taken: list[Point] = []
    for ends, number in islice(numbers.items(), SHOWN_NEW):
        x, y = free_point(drawn.lines[ends], taken, 2 * BADGE + 2)
        taken.append((x, y))
        yield f'<circle class="badge" cx="{x:.1f}" cy="{y:.1f}" r="{BADGE:.0f}"/>'
        yield _text(x, y + 4, str(number), "number")


def _kind(edge: Mapping[str, Any]) -> str:
    kinds: list[str] = [service["kind"] for service in edge["services"]]
    return min(kinds, key=KINDS.index)


def _called(device: Mapping[str, Any]) -> str:
    if device["address"] == PUBLIC:
        return "public addresses"
    return f"{device['name']} ({device['address']})" if device["name"] else str(device["address"])


def _says(edge: Mapping[str, Any], cards: Mapping[str, Card]) -> str:
    """A line in words."""
    source, target = (_called(cards[edge[end]].device) for end in ("source", "target"))
    listed = ", ".join(service["service"] for service in edge["services"])
    more = edge["services_in_all"] - len(edge["services"])
    answered = f"{edge['answered']:,} answered" if edge["answered"] else "none answered"
    return _plain(
        f"{source} asks {target} by {listed}{f' and {more} more' if more else ''}: {edge['flows']:,} flows, {answered}",
        4 * MAX_TEXT,
    )


def _card(card: Card) -> str:
    device = card.device
    left, public = card.x - CARD_WIDTH / 2, device["address"] == PUBLIC
    idle = device["state"] not in (None, "active")
    name = "public addresses" if public else device["name"] or device["address"]
    role = "all of them are one" if public else device["title"]
    second = [device["address"]] if device["name"] else []
    second += [f"{device['state']} {_about(device['idle_us'])}"] if idle else []
    room = CARD_WIDTH - 44
    lines = [
        (name, 19, "name", 14, room),
        (role, 35, "dim", 12, room),
        (", ".join(second), 50, "dim", 12, room),
    ]
    icon = device["role"] if device["role"] in ICONS else "server"
    texts = [
        _text(left + 36, card.y + at, _fitting(text, width, size * 0.88), style)
        for text, at, style, size, width in lines
        if text
    ]
    whole = html.escape(_plain(f"{_called(device)}: {device['title']}. {device['why'] or ''}", 4 * MAX_TEXT))
    return (
        f"<g><title>{whole}</title>"
        f'<rect class="card{" idle" if idle else ""}" x="{left:.1f}" y="{card.y:.1f}" '
        f'width="{CARD_WIDTH:.0f}" height="{CARD_HEIGHT:.0f}" rx="7"/>'
        f'<path class="icon" transform="translate({left + 10:.1f} {card.y + 9:.1f})" d="{ICONS[icon]}"/>'
        f"{''.join(texts)}{_pill(card)}{_dots(left + 26, card.y + 40, device['confidence'])}</g>"
    )


def _about(span_us: int) -> str:
    """A span of an hour or more, in whole hours or days."""
    hours = span_us // HOUR_US
    return f"{hours:,} h" if hours < 48 else f"{hours // 24:,} d"


def _pill(card: Card) -> str:
    """How critical the plant says a device is, on the corner of its card."""
    words = card.device["criticality"]
    if not words:
        return ""
    width, style = 12 + 6.6 * len(words), "urgent" if words in ("high", "critical") else "mild"
    left = card.x + CARD_WIDTH / 2 - width - 8
    return (
        f'<rect class="pill {style}" x="{left:.1f}" y="{card.y - 8:.1f}" width="{width:.1f}" height="16" rx="8"/>'
        + _text(left + width / 2, card.y + 4, words, f"says {style}")
    )


def _dots(x: float, y: float, confidence: str | None) -> str:
    """How sure a role is, as three dots to the left of x."""
    if confidence is None:
        return ""
    sure = len(CONFIDENCE) - CONFIDENCE.index(confidence)
    dots = enumerate("sure" if number < sure else "unsure" for number in range(len(CONFIDENCE)))
    return "".join(
        f'<circle class="{style}" cx="{x - 7 * (2 - number):.1f}" cy="{y:.1f}" r="2.4"/>' for number, style in dots
    )


def _new_lines(document: Mapping[str, Any], new: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    window = duration(document["new_within_us"]).removesuffix(" 0 min")
    by_address = {device["address"]: device for device in document["devices"]}
    if not new:
        unknown = sum(edge["new"] is None for edge in document["edges"])
        short = f"; flows do not go back far enough to say it of {unknown:,}" if unknown else ""
        yield f"No line is known to be new within {window}{short}.", "dim"
        return
    yield f"New within {window}", "lanename"
    for number, edge in enumerate(new[:SHOWN_NEW], 1):
        source, target = (_called(by_address[edge[end]]) for end in ("source", "target"))
        fresh = [service for service in edge["services"] if service["new"] is True]
        services = ", ".join(service["service"] for service in fresh)
        first_us = min(service["first_us"] for service in fresh)
        answered = "" if any(service["answered"] for service in fresh) else ", none answered"
        flows = sum(service["flows"] for service in fresh)
        counted = f"{flows:,} flow{'s' if flows != 1 else ''}{answered}"
        yield f"{number}.  {source} to {target} by {services}: first seen {moment(first_us)}, {counted}", ""
    if len(new) > SHOWN_NEW:
        yield f"and {len(new) - SHOWN_NEW:,} more", "dim"


def _between_zones(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What crosses zones, by the two of them: the lines, and how many are new."""
    if not has_zones(document):
        return []
    zone_of = {device["address"]: device["zone"] for device in document["devices"]}
    crossing = Counter[tuple[str, str]]()
    new = Counter[tuple[str, str]]()
    unknown = 0
    for edge in document["edges"]:
        ends = zone_of[edge["source"]] or ZONE_UNKNOWN, zone_of[edge["target"]] or ZONE_UNKNOWN
        crossing[ends] += edge["crosses"] is True
        new[ends] += edge["crosses"] is True and edge["new"] is True
        unknown += edge["crosses"] is None
    listed = sorted((ends for ends in crossing if crossing[ends]), key=lambda ends: (-crossing[ends], ends))
    said = [("Lines between zones", "lanename")]
    for ends in listed[:SHOWN_NEW]:
        fresh = f", {new[ends]:,} of them new" if new[ends] else ""
        said.append((f"{crossing[ends]:,}  from {ends[0]} to {ends[1]}{fresh}", ""))
    if len(listed) > SHOWN_NEW:
        said.append((f"and {len(listed) - SHOWN_NEW:,} more pairs of zones", "dim"))
    if unknown:
        said.append((f"Of {unknown:,} lines a zone is unknown: whether they cross is not known.", "dim"))
    return said


def _footer(document: Mapping[str, Any]) -> list[str]:
    counts = document["left_out"]
    named = (
        ("devices", "further devices"),
        ("unconfirmed", "addresses that sent, were never answered and did not come back"),
        ("edges", "lines of devices that are not drawn"),
        ("edges_to_groups", "to broadcast or multicast"),
        ("edges_to_nobody", "to addresses that never sent"),
    )
    left = [f"{words}: {counts[key]:,}" for key, words in named if counts[key]]
    said = [f"Not drawn: {'; '.join(left)}."] if left else []
    return [
        *said,
        "An arrow goes from who asks to who is asked. Roles are guesses. A dashed card is quiet or gone.",
    ]
