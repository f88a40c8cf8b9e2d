"""The picture of a map: whole, harmless whatever names hold, cards apart, and no line behind a card."""

import math
import random
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.documents import assets_in
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.label import Label, Labels
from pipeline.tools.assets.map_layout import CARD_HEIGHT, CARD_WIDTH, WIDTH, layout
from pipeline.tools.assets.map_lines import Curve, free_point, lines
from pipeline.tools.assets.map_svg import SHOWN_NEW, map_svg
from pipeline.tools.assets.site_map import site_map
from tests.featurize.flows import batch
from tests.tools.assets.plants import HOUR_S, plant_rows, talk

SVG = "{http://www.w3.org/2000/svg}"
ALLOWED = {
    f"{SVG}{name}" for name in ("svg", "title", "style", "defs", "marker", "rect", "path", "circle", "g", "text")
}
HOSTILE = "</text><script>alert(1)</script>\"'&\x1b[31m\u202e\x00"


def map_of(rows: list[dict[str, Any]], labels: Labels | None = None) -> dict[str, Any]:
    site = assets_of(inventory_of([batch(rows)]))["plant"]
    return site_map(site, assets_in([site], labels or {}))


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)  # noqa: S314
    assert {element.tag for element in root.iter()} <= ALLOWED
    assert not any(name.startswith("on") or "href" in name for element in root.iter() for name in element.attrib)
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def plant(hosts: int) -> list[dict[str, Any]]:
    pick = random.Random(hosts)
    names = [f"10.0.{number // 200}.{number % 200}" for number in range(hosts)]
    rows = talk(names[0], names[1], 502, 2, at=60 * HOUR_S)
    for number in range(hosts * 4):
        client, server = pick.sample(names, 2)
        rows += talk(client, server, pick.choice([502, 53, 22, 80, 44_818]), 1, at=number % 50 * HOUR_S)
    return rows + talk(names[2], "8.8.8.8", 443, 1, at=59 * HOUR_S)


def test_what_a_person_reads() -> None:
    rows = talk("10.0.0.1", "10.0.0.20", 502, 97, every_s=HOUR_S / 2) + talk(
        "10.0.0.3", "10.0.0.20", 80, 2, at=40 * HOUR_S
    )
    labels: Labels = {
        ("plant", "10.0.0.20"): Label("PLC 3", "critical", "Cell 1"),
        ("plant", "10.0.0.1"): Label("HMI north", "", "Control room"),
    }
    said = texts(map_svg(map_of(rows, labels)))
    assert {"Site plant: who talks to whom", "PLC 3", "critical", "Cell 1", "Control room", "Zone unknown"} <= {*said}
    [new] = [text for text in said if text.startswith("1.")]
    assert new.startswith("1.  10.0.0.3 to PLC 3 (10.0.0.20) by 80/tcp: first seen ") and new.endswith(", 2 flows")
    assert "1  from Control room to Cell 1" in said and "New within 24 h" in said
    assert "Of 1 lines a zone is unknown: whether they cross is not known." in said
    plain = texts(map_svg(map_of(rows[:5])))
    assert "No line is known to be new within 24 h; flows do not go back far enough to say it of 1." in plain
    assert any("lanes by guessed role; no zones are known" in text for text in plain)


def test_a_site_without_devices_is_a_picture_too() -> None:
    said = texts(map_svg(map_of(talk("10.0.0.1", "10.0.0.20", 502, 1, conn_state="S0", rev_pkts=0, rev_bytes=0))))
    assert any("did not come back: 1" in text for text in said)


@given(st.text(max_size=40) | st.just(HOSTILE), st.text(max_size=300))
def test_any_name_is_text(name: str, zone: str) -> None:
    rows = talk("10.0.0.1", "10.0.0.20", 502, 3, app_proto=name.replace("\x00", "") or None)
    svg = map_svg(map_of(rows, {("plant", "10.0.0.20"): Label(name, "high", zone)}))
    assert all(text.isprintable() for text in texts(svg))
    assert "<script" not in svg and svg.replace("\n", "").isprintable()


@pytest.mark.parametrize("hosts", [3, 7, 45, 300])
@pytest.mark.parametrize("zones", [0, 3])
def test_cards_lie_apart_and_no_line_behind_one(hosts: int, zones: int) -> None:
    names = [f"10.0.{number // 200}.{number % 200}" for number in range(hosts)]
    labels = {("plant", name): Label("", "", f"Zone {at % zones}") for at, name in enumerate(names)} if zones else {}
    document = map_of(plant(hosts), labels)
    placed = layout(document, 100)
    cards = list(placed.cards.values())
    assert {card.device["address"] for card in cards} == {device["address"] for device in document["devices"]}
    for at, card in enumerate(cards):
        assert CARD_WIDTH / 2 <= card.x <= WIDTH - CARD_WIDTH / 2 and 100 <= card.y <= placed.bottom - CARD_HEIGHT
        for other in cards[:at]:
            assert abs(card.x - other.x) >= CARD_WIDTH or abs(card.y - other.y) >= CARD_HEIGHT
    drawn = lines(document["edges"], placed.cards)
    assert set(drawn) == {(edge["source"], edge["target"]) for edge in document["edges"]}
    points = [point for curves in drawn.values() for curve in curves for point in _points(curve)]
    rows: dict[float, list[float]] = {}
    for card in cards:
        rows.setdefault(card.y, []).append(card.x)
    x, y = np.array(points).T
    assert np.all((x >= 0) & (x <= WIDTH))
    for top, middles in rows.items():
        beside = x[(y > top + 0.5) & (y < top + CARD_HEIGHT - 0.5)]
        assert np.all(np.abs(beside[:, None] - np.array(middles)) > CARD_WIDTH / 2 - 0.5)
    for curves in drawn.values():
        assert all(one[3] == two[0] for one, two in pairwise(curves)), "in one piece"


def _points(curve: Curve) -> list[tuple[float, float]]:
    """Points of a Bézier curve, by de Casteljau."""
    found = []
    for step in range(11):
        points = list(curve)
        while len(points) > 1:
            share = step / 10
            points = [(a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share) for a, b in pairwise(points)]
        found += points
    return found


def test_a_number_lies_on_its_line_where_there_is_room() -> None:
    curve: Curve = ((0.0, 0.0), (0.0, 50.0), (100.0, 50.0), (100.0, 100.0))
    first = free_point([curve], [], 20)
    second = free_point([curve], [first], 20)
    assert math.dist(first, second) >= 20
    assert free_point([curve], [_points(curve)[step] for step in range(11)], 20) == first, "none is free"


def test_many_new_lines_are_counted() -> None:
    rows = talk("10.0.0.1", "10.0.0.20", 502, 97, every_s=HOUR_S / 2)
    rows += [row for number in range(40) for row in talk(f"10.0.1.{number}", "10.0.0.20", 80, 1, at=47 * HOUR_S)]
    svg = map_svg(map_of(rows))
    assert f"and {40 - SHOWN_NEW} more" in texts(svg)
    assert svg.count('class="edge new"') == 40 + 1 and svg.count('class="badge"') == SHOWN_NEW


@given(plant_rows(), st.randoms(use_true_random=False))
def test_any_order_of_rows_gives_the_same_picture(rows: list[dict[str, Any]], order: random.Random) -> None:
    rows = [*rows, *talk("10.0.0.1", "10.0.0.2", 502, 1, site="plant")]
    assert map_svg(map_of(rows)) == map_svg(map_of(order.sample(rows, len(rows))))
