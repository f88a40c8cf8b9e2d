"""The map of a site: bounded, the same in any order, and new or crossing only where that is known."""

import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.assets.devices import Span, assets_of
from pipeline.tools.assets.documents import assets_in
from pipeline.tools.assets.edge_news import Watch, watch_of
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.label import Label, Labels
from pipeline.tools.assets.site_map import MapBounds, site_map
from tests.featurize.flows import batch
from tests.tools.assets.plants import HOUR_S, plant_rows, talk

PLC, HMI, LAPTOP = "10.0.0.20", "10.0.0.1", "10.0.0.3"
DAY_S = 24 * HOUR_S
ZONES: Labels = {("plant", PLC): Label("PLC 3", "critical", "Cell 1"), ("plant", HMI): Label("", "", "Control room")}


def made(rows: list[dict[str, Any]], labels: Labels | None = None, **more: Any) -> dict[str, Any]:
    [site] = assets_of(inventory_of([batch(rows)])).values()
    document = site_map(site, assets_in([site], labels or {}), **more)
    assert orjson.loads(orjson.dumps(document)) == document
    return document


def edge_of(document: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    [edge] = [each for each in document["edges"] if (each["source"], each["target"]) == (source, target)]
    return dict(edge)


def polled(days: float) -> list[dict[str, Any]]:
    return talk(HMI, PLC, 502, int(days * 24 * 2) + 1, every_s=HOUR_S / 2)


def test_an_edge_is_new_where_its_sensor_had_watched_for_a_day_without_it() -> None:
    document = made(polled(2) + talk(LAPTOP, PLC, 502, 2, at=1.5 * DAY_S))
    assert edge_of(document, LAPTOP, PLC)["new"] is True and edge_of(document, HMI, PLC)["new"] is False
    [service] = edge_of(document, LAPTOP, PLC)["services"]
    assert service["says"].startswith("new: first seen ") and "; flows go back to " in service["says"]


def test_what_came_before_its_sensor_had_watched_for_a_day_is_not_called_new() -> None:
    document = made(polled(0.5) + talk(LAPTOP, PLC, 502, 2, at=0.4 * DAY_S))
    assert {edge["new"] for edge in document["edges"]} == {None}
    says = edge_of(document, LAPTOP, PLC)["services"][0]["says"]
    assert says.endswith("only, too short to call it new") and not says.startswith("new")


def test_every_sensor_that_saw_an_edge_must_have_watched() -> None:
    young = talk(LAPTOP, PLC, 502, 2, at=1.5 * DAY_S)
    document = made(polled(2) + young + [{**row, "sensor": "right"} for row in young])
    assert edge_of(document, LAPTOP, PLC)["new"] is None


def test_nothing_is_new_for_ever_and_nothing_where_edges_were_forgotten() -> None:
    rows = polled(4) + talk(LAPTOP, PLC, 502, 2, at=1.5 * DAY_S)
    assert edge_of(made(rows), LAPTOP, PLC)["new"] is False
    wide = Watch(window_us=72 * HOUR_S * 1_000_000)
    assert edge_of(made(rows, watch=wide), LAPTOP, PLC)["new"] is True
    full = watch_of({("plant", "edges"): 3}, "plant", wide.window_us)
    edge = edge_of(made(rows, watch=full), LAPTOP, PLC)
    assert edge["new"] is None and "the table of edges is full" in edge["services"][0]["says"]
    assert not watch_of({("other", "edges"): 3, ("plant", "addresses"): 1}, "plant").full


def test_an_edge_crosses_zones_where_both_are_known() -> None:
    rows = polled(1) + talk(LAPTOP, PLC, 502, 2) + talk(LAPTOP, "8.8.8.8", 443, 2) + talk(PLC, "10.0.0.21", 102, 2)
    document = made(rows, {**ZONES, ("plant", "10.0.0.21"): Label("", "", "Cell 1")})
    crosses = {(edge["source"], edge["target"]): edge["crosses"] for edge in document["edges"]}
    expected = {(HMI, PLC): True, (LAPTOP, PLC): None, (LAPTOP, "public"): True, (PLC, "10.0.0.21"): False}
    assert crosses.items() >= expected.items()
    zones = [(row["zone"], row["devices"]) for row in document["zones"]]
    assert ("Cell 1", 2) in zones and zones[0] == ("public addresses", 1) and zones[-1] == (None, 1)
    [plc] = [device for device in document["devices"] if device["address"] == PLC]
    assert (plc["name"], plc["criticality"], plc["zone"]) == ("PLC 3", "critical", "Cell 1")


def test_a_pair_has_its_services_and_counts() -> None:
    rows = polled(1) + talk(HMI, PLC, 80, 5) + talk(HMI, "10.0.0.255", 138, 1, ip_proto=17)
    document = made(rows)
    edge = edge_of(document, HMI, PLC)
    assert edge["flows"] == 49 + 5 and edge["services_in_all"] == 2
    assert [(each["service"], each["kind"]) for each in edge["services"]] == [("502/tcp", "industrial"), ("80/tcp", "")]
    assert document["left_out"]["edges_to_groups"] + document["left_out"]["edges_to_nobody"] == 1
    one = edge_of(made(rows, bounds=MapBounds(services=1)), HMI, PLC)
    assert len(one["services"]) == 1 and one["services_in_all"] == 2 and one["flows"] == 54


@pytest.mark.slow
def test_ten_thousand_devices_are_counted_and_three_hundred_shown() -> None:
    rows = [row for n in range(10_000) for row in talk(f"10.1.{n // 250}.{n % 250}", PLC, 502, 1, at=n)]
    rows += talk("10.9.9.9", PLC, 502, 1)
    document = made(rows, {("plant", "10.9.9.9"): Label("Last", "", "")})
    assert len(document["devices"]) == 300 and len(document["edges"]) <= 1_000
    assert {PLC, "10.9.9.9"} <= {device["address"] for device in document["devices"]}
    assert document["left_out"]["devices"] == 10_002 - 300 and document["left_out"]["edges"] == 10_002 - 300


def test_edges_beyond_the_bound_are_counted_and_new_ones_stay() -> None:
    hosts = [f"10.0.1.{n}" for n in range(20)]
    rows = (
        polled(2)
        + [row for host in hosts for row in talk(host, PLC, 502, 3)]
        + talk(LAPTOP, PLC, 80, 1, at=1.9 * DAY_S)
    )
    document = made(rows, bounds=MapBounds(edges=2))
    assert {edge["source"] for edge in document["edges"]} == {LAPTOP, HMI}
    assert document["left_out"]["edges"] == 20 and document["left_out"]["new_edges"] == 0


@given(plant_rows(), st.integers(0, 9), st.randoms(use_true_random=False))
def test_any_order_of_rows_gives_the_same_map(rows: list[dict[str, Any]], most: int, order: random.Random) -> None:
    shuffled = order.sample(rows, len(rows))
    bounds = MapBounds(devices=3 + most, edges=1 + most, services=1 + most)
    sites, again = (assets_of(inventory_of([batch(each)])) for each in (rows, shuffled))
    for name, site in sites.items():
        assets = assets_in([site], ZONES)
        document = site_map(site, order.sample(assets, len(assets)), bounds=bounds)
        assert document == site_map(again[name], assets_in([again[name]], ZONES), bounds=bounds)
        _is_true(document, site, bounds)


def _is_true(document: dict[str, Any], site: Any, bounds: MapBounds) -> None:
    """The map says nothing that the site's edges do not."""
    assert len(document["devices"]) <= bounds.devices + 1 and len(document["edges"]) <= bounds.edges
    shown = {device["address"] for device in document["devices"]}
    listed = [edge for edge in site.edges if edge.client != edge.server]
    for pair in document["edges"]:
        edges = [edge for edge in listed if (edge.client, edge.server) == (pair["source"], pair["target"])]
        assert {pair["source"], pair["target"]} <= shown and pair["flows"] == sum(edge.flows for edge in edges)
        assert pair["services_in_all"] == len(edges) and 0 < len(pair["services"]) <= bounds.services
        assert Span(pair["first_us"], pair["last_us"]).first_us == min(edge.span.first_us for edge in edges)
    counts = document["left_out"]
    in_pairs = sum(pair["services_in_all"] for pair in document["edges"])
    assert in_pairs + counts["edges"] + counts["edges_to_groups"] + counts["edges_to_nobody"] == len(listed)
    assert sum(row["devices"] for row in document["zones"]) == len(document["devices"])
