"""Where everything of a site's map lies on paper: lanes from the outside down to the process, devices in rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.tools.assets.edge_news import OUTSIDE
from pipeline.tools.assets.sightings import PUBLIC

WIDTH = 1_640.0
GUTTER = 150.0
CARD_WIDTH, CARD_HEIGHT = 186.0, 56.0
CARD_GAP = 40.0
ROW_GAP = 54.0
LANE_PADDING = 30.0
LANE_GAP = 14.0
SWEEPS = 8
"""Times that devices are put in the order of whom they talk to: after a few, nothing changes."""
LEVEL_NAMES: Mapping[int | None, str] = {
    5: "Outside",
    4: "Gateways, remote access",
    3: "Servers",
    None: "Role unknown",
    2: "Operation",
    1: "Control",
}
"""The lanes of a plant whose zones are not known, from the outside to the process."""
ZONE_UNKNOWN = "Zone unknown"
OUTSIDE_NAMES: Mapping[str | None, str] = {None: ZONE_UNKNOWN, OUTSIDE: LEVEL_NAMES[5]}

Device = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Card:
    """A device's place: its middle above, in pixels."""

    device: Device
    x: float
    y: float
    row: int


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane's name, its top and height, and how many devices it has."""

    name: str
    y: float
    height: float
    devices: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Cards by address, lanes in order, and where they end."""

    cards: dict[str, Card]
    lanes: list[Lane]
    bottom: float


def has_zones(document: Mapping[str, Any]) -> bool:
    """Whether the plant said the zone of any device of a map; else lanes are by guessed role."""
    return any(device["zone"] is not None and device["address"] != PUBLIC for device in document["devices"])


def layout(document: Mapping[str, Any], top: float) -> Layout:
    """The layout of a map (`site_map`) below `top`; the same for the same map."""
    rows = _ordered(_rows(_lanes(document)), document["edges"])
    cards: dict[str, Card] = {}
    lanes: list[Lane] = []
    y, number = top, 0
    for name, lane_rows in rows:
        start = y
        y += LANE_PADDING
        for row in lane_rows:
            width = len(row) * CARD_WIDTH + (len(row) - 1) * CARD_GAP
            x = GUTTER + (WIDTH - GUTTER - width) / 2 + CARD_WIDTH / 2
            for device in row:
                cards[device["address"]] = Card(device, x, y, number)
                x += CARD_WIDTH + CARD_GAP
            y += CARD_HEIGHT + ROW_GAP
            number += 1
        y += LANE_PADDING - ROW_GAP
        lanes.append(
            Lane(name, start, y - start, sum(device["address"] != PUBLIC for row in lane_rows for device in row))
        )
        y += LANE_GAP
    return Layout(cards, lanes, y)


def _lanes(document: Mapping[str, Any]) -> list[tuple[str, list[Device]]]:
    if has_zones(document):
        members: dict[Any, list[Device]] = defaultdict(list)
        for device in document["devices"]:
            members[device["zone"]].append(device)
        lanes = [(OUTSIDE_NAMES.get(row["zone"], row["zone"]), members[row["zone"]]) for row in document["zones"]]
        return [(name, sorted(devices, key=lambda each: -(each["level"] or 0))) for name, devices in lanes]
    by_level: dict[Any, list[Device]] = defaultdict(list)
    for device in document["devices"]:
        by_level[device["level"]].append(device)
    return [(name, by_level[level]) for level, name in LEVEL_NAMES.items() if by_level[level]]


def _rows(lanes: Sequence[tuple[str, list[Device]]]) -> list[tuple[str, list[list[Device]]]]:
    """Each lane's devices in as few rows as fit, all about as long."""
    most = int((WIDTH - GUTTER) // (CARD_WIDTH + CARD_GAP))
    made = []
    for name, devices in lanes:
        count = max(1, -(-len(devices) // most))
        cuts = [len(devices) * number // count for number in range(count + 1)]
        made.append((name, [devices[start:end] for start, end in pairwise(cuts)]))
    return made


def _ordered(
    lanes: list[tuple[str, list[list[Device]]]], edges: Sequence[Mapping[str, Any]]
) -> list[tuple[str, list[list[Device]]]]:
    """The same with each row in the order of the mean place of whom its devices talk to: fewer lines cross."""
    peers: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        peers[edge["source"]].append(edge["target"])
        peers[edge["target"]].append(edge["source"])
    place: dict[str, float] = {}

    def settle(row: list[Device]) -> None:
        for index, device in enumerate(row):
            place[device["address"]] = (index + 0.5) / len(row)

    def wanted(device: Device) -> float:
        address = device["address"]
        near = [place[peer] for peer in peers[address]]
        return sum(near) / len(near) if near else place[address]

    rows = [row for _, lane_rows in lanes for row in lane_rows]
    for row in rows:
        settle(row)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            row.sort(key=lambda device: (wanted(device), device["address"]))
            settle(row)
    return lanes
