"""The inventory is a function of the rows: whatever the order, the cut and who merges whom; and it has its bounds."""

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Failed
from pipeline.tools.assets import inventory as module
from pipeline.tools.assets.inventory import Bounds, Inventory, inventory_of
from pipeline.tools.assets.sightings import ADDRESSES, EDGES, FUNCTIONS, HARDWARE, KINDS, PUBLIC, SENSORS, schema_of
from tests.featurize.flows import batch
from tests.tools.assets import oracle
from tests.tools.assets.plants import HOUR_S, asked, plant_rows, talk


def tables(inventory: Inventory) -> dict[str, list[dict[str, Any]]]:
    return {kind.name: inventory.table(kind).to_pylist() for kind in KINDS}


def addresses(inventory: Inventory) -> set[str]:
    return {row["address"] for row in inventory.table(ADDRESSES).to_pylist()}


@given(plant_rows())
def test_edges_and_addresses_are_those_of_the_rows(rows: list[dict[str, Any]]) -> None:
    flows = batch(rows)
    inventory = inventory_of([flows])
    listed = flows.to_pylist()
    ours = {tuple(row[key] for key in EDGES.keys): row for row in inventory.table(EDGES).to_pylist()}
    theirs = oracle.edges(listed)
    assert ours.keys() == theirs.keys()
    for key, row in theirs.items():
        assert {name: ours[key][name] for name in row} == row, key
    seen = {
        (row["site"], row["sensor"], row["address"]): (row["first_us"], row["last_us"], row["flows"])
        for row in inventory.table(ADDRESSES).to_pylist()
    }
    assert seen == oracle.addresses(listed)


@given(plant_rows(), st.integers(0, 2**32), st.integers(1, 9))
def test_the_same_in_any_order_and_cut(rows: list[dict[str, Any]], seed: int, cut: int) -> None:
    whole = tables(inventory_of([batch(rows)]))
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    assert tables(inventory_of(batch(shuffled[at : at + cut]) for at in range(0, len(rows), cut))) == whole


@given(st.tuples(plant_rows(), plant_rows(), plant_rows()))
def test_a_merge_is_the_inventory_of_both(parts: tuple[list[dict[str, Any]], ...]) -> None:
    whole = tables(inventory_of([batch([row for rows in parts for row in rows])]))
    first, second, third = (inventory_of([batch(rows)]) for rows in parts)
    left, right = Inventory(), Inventory()
    for each in (first, second, third):
        left.merge(each)
    second.merge(third)
    right.merge(second)
    right.merge(first)
    assert tables(left) == tables(right) == whole


def test_folding_is_put_off_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = talk("10.0.0.1", "10.0.0.20", 502, 50) + talk("10.0.0.2", "10.0.0.20", 502, 50)
    whole = tables(inventory_of([batch(rows)]))
    monkeypatch.setattr(module, "PENDING_ROWS", 3)
    assert tables(inventory_of(batch([row]) for row in rows)) == whole


def test_functions_are_counted_by_who_asked_whom() -> None:
    rows = [asked("10.0.0.1", "10.0.0.20", "modbus", {3: 7, 16: 2}), asked("10.0.0.1", "10.0.0.20", "modbus", {3: 1})]
    listed = inventory_of([batch(rows)]).table(FUNCTIONS).to_pylist()
    assert [(row["client"], row["server"], row["ics"], row["code"], row["requests"]) for row in listed] == [
        ("10.0.0.1", "10.0.0.20", "modbus", 3, 8),
        ("10.0.0.1", "10.0.0.20", "modbus", 16, 2),
    ]


def test_public_addresses_count_as_one() -> None:
    rows = [{"src_addr": f"8.8.{number}.8", "src_mac": "00:0a:dc:00:00:01"} for number in range(200)]
    inventory = inventory_of([batch(rows)])
    assert addresses(inventory) == {PUBLIC, "10.0.0.2"}
    assert [(row["address"], row["flows"]) for row in inventory.table(HARDWARE).to_pylist()] == [(PUBLIC, 200)]


def test_who_never_sent_is_no_device() -> None:
    scan = [
        {"src_addr": "10.0.0.66", "dst_addr": f"10.0.{number}.1", "rev_pkts": 0, "rev_bytes": 0, "conn_state": "S0"}
        for number in range(250)
    ]
    assert addresses(inventory_of([batch(scan)])) == {"10.0.0.66"}


PLANT = [row for number in range(20) for row in talk(f"10.0.1.{number}", "10.0.0.20", 502, 5, every_s=HOUR_S / 2)]


def _flood(count: int, at: float, every_s: float) -> list[dict[str, Any]]:
    row = {"dst_addr": "10.0.0.20", "rev_pkts": 0, "rev_bytes": 0, "conn_state": "S0", "dst_port": 80}
    return [
        {**row, "src_addr": f"10.9.{number // 250}.{number % 250}", "at": at + number * every_s}
        for number in range(count)
    ]


def test_a_flood_displaces_nothing_that_came_back() -> None:
    bounds = Bounds(addresses=100, edges=100)
    inventory = inventory_of([batch(PLANT)], bounds)
    before = addresses(inventory)
    for part in range(10):
        inventory.add(batch(_flood(500, 3 * HOUR_S + part * 500, 0.001)))
    rows = inventory.table(ADDRESSES).to_pylist()
    assert len(rows) == 100 and before <= addresses(inventory)
    assert inventory.no_room["plant", "addresses"] == 500 + 21 - 100
    clients = {row["client"] for row in inventory.table(EDGES).to_pylist() if row["port"] == 502}
    assert clients == {f"10.0.1.{number}" for number in range(20)}


def test_a_flood_that_comes_back_displaces_nothing_that_was_there_before() -> None:
    inventory = inventory_of([batch(PLANT)], Bounds(addresses=60))
    before = addresses(inventory)
    for again in range(3):
        inventory.add(batch(_flood(200, (3 + again) * HOUR_S, 0)))
    assert before <= addresses(inventory) and len(addresses(inventory)) == 60


def test_what_is_new_finds_room_once_a_flood_is_over() -> None:
    inventory = inventory_of([batch(PLANT)], Bounds(addresses=60))
    inventory.add(batch(_flood(500, 3 * HOUR_S, 0)))
    inventory.add(batch(talk("10.0.1.99", "10.0.0.20", 502, 5, at=4 * HOUR_S)))
    assert "10.0.1.99" in addresses(inventory)


def test_what_is_long_gone_makes_room() -> None:
    days = 86_400.0
    old = [row for number in range(50) for row in talk(f"10.1.0.{number}", "10.0.0.20", 502, 2, every_s=HOUR_S)]
    new = [row for number in range(50) for row in talk(f"10.2.0.{number}", "10.0.0.20", 502, 2, HOUR_S, at=40 * days)]
    inventory = inventory_of([batch(old), batch(new)], Bounds(addresses=60))
    kept = addresses(inventory)
    assert {f"10.2.0.{number}" for number in range(50)} <= kept and len(kept) == 60


def test_each_site_has_its_own_room() -> None:
    flood = [{**row, "site": "flooded"} for row in _flood(500, 0, 0)]
    inventory = inventory_of([batch(PLANT + flood)], Bounds(addresses=60))
    sites = [row["site"] for row in inventory.table(ADDRESSES).to_pylist()]
    assert sites.count("flooded") == 60 and sites.count("plant") == 21
    assert set(inventory.no_room) == {("flooded", "addresses")}


def test_too_many_sites_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SITES", 3)
    inventory = inventory_of([batch([{"site": f"site-{number}"} for number in range(4)])])
    with pytest.raises(Failed, match=r"got flows of 4 sites, expected 3 at most; ask for one with --site"):
        inventory.table(SENSORS)


def test_an_empty_batch_and_a_batch_stay_as_they_are() -> None:
    flows = batch(talk("10.0.0.1", "10.0.0.20", 502, 3))
    before = flows.to_pylist()
    inventory = inventory_of([flows.slice(0, 0), flows])
    assert flows.to_pylist() == before and len(inventory.table(EDGES)) == 1


def test_extreme_times_and_counts_do_not_overflow() -> None:
    rows = [{"fwd_bytes": 2**64 - 1, "rev_bytes": 2**64 - 1, "end_ts_us": at} for at in (0, 2**61)]
    [edge] = inventory_of([batch(rows)]).table(EDGES).to_pylist()
    assert edge["client_bytes"] > 0 and edge["first_us"] <= 0 <= edge["last_us"]


def test_tables_have_the_schema_they_promise() -> None:
    inventory = inventory_of([batch(PLANT)])
    for kind in KINDS:
        assert inventory.table(kind).schema == schema_of(kind)
        assert isinstance(inventory.table(kind), pa.Table)
