"""Which addresses are one device, who is a gateway, and what an edge counts when two sensors see the same."""

from typing import Any

from hypothesis import given

from pipeline.tools.assets.devices import Device, SiteAssets, assets_of
from pipeline.tools.assets.inventory import Inventory, inventory_of
from pipeline.tools.assets.presence import ACTIVE, GONE, QUIET, presence
from tests.featurize.flows import batch
from tests.tools.assets.plants import HOUR_S, asked, plant_rows, talk

PLC, ROUTER, PC = "00:1b:1b:00:00:01", "00:0a:dc:00:00:01", "00:80:f4:00:00:03"


def plant(*rows: Any) -> SiteAssets:
    [assets] = assets_of(inventory_of([batch(list(rows))])).values()
    return assets


def device(address: str, *rows: Any) -> Device:
    return plant(*rows).devices[address]


def test_an_ip_address_and_what_its_card_sends_without_one_are_one_device() -> None:
    arp = {"src_addr": PLC, "dst_addr": "ff:ff:ff:ff:ff:ff", "ether_type": 0x0806, "ip_proto": None, "src_mac": PLC}
    plc = device("10.0.0.20", *talk("10.0.0.1", "10.0.0.20", 502, 3, dst_mac=PLC), arp)
    assert list(plc.addresses) == [PLC, "10.0.0.20"] and plc.mac == PLC and plc.flows == 4


def test_ipv4_and_ipv6_of_one_card_are_one_device() -> None:
    rows = [*talk("10.0.0.1", "10.0.0.9", 80, 2, src_mac=PC), *talk("fe80::1", "fe80::9", 80, 5, src_mac=PC)]
    assert list(device("10.0.0.1", *rows).addresses) == ["10.0.0.1", "fe80::1"]


def test_an_address_that_changed_is_still_one_device() -> None:
    rows = [
        *talk("10.0.0.1", "10.0.0.20", 502, 3, src_mac=PC),
        *talk("10.0.0.7", "10.0.0.20", 502, 9, at=HOUR_S, src_mac=PC),
    ]
    changed = device("10.0.0.7", *rows)
    assert list(changed.addresses) == ["10.0.0.1", "10.0.0.7"]
    assert changed.addresses["10.0.0.1"].last_us < changed.addresses["10.0.0.7"].first_us


def test_two_addresses_at_a_time_are_not_taken_for_one_device() -> None:
    rows = [row for host in ("10.0.0.1", "10.0.0.7") for row in talk(host, "10.0.0.20", 502, 3, src_mac=PC)]
    assert {"10.0.0.1", "10.0.0.7"} <= plant(*rows).devices.keys()


def test_a_gateway_sends_for_others_who_stay_devices() -> None:
    rows = [row for number in range(1, 4) for row in talk(f"10.1.0.{number}", "10.0.0.20", 502, 3, src_mac=ROUTER)]
    devices = plant(*rows).devices
    assert devices[ROUTER].carries == 3 and devices[ROUTER].mac == ROUTER
    assert devices["10.1.0.1"].mac is None and devices["10.1.0.1"].behind == ROUTER


def test_beyond_a_router_a_device_has_its_own_card_where_that_was_seen() -> None:
    rows = [row for number in range(1, 5) for row in talk(f"10.1.0.{number}", "10.0.0.20", 502, 9, src_mac=ROUTER)]
    rows += talk("10.1.0.1", "10.1.0.9", 80, 1, src_mac=PC)
    found = device("10.1.0.1", *rows)
    assert found.mac == PC and found.other_macs == (ROUTER,) and found.behind is None


def test_the_only_inner_address_of_a_way_out_is_its_own() -> None:
    rows = [
        *talk("8.8.8.8", "10.0.0.20", 443, 3, src_mac=ROUTER),
        *talk("10.0.0.20", "10.0.0.1", 53, 3, dst_mac=ROUTER),
    ]
    router = device("10.0.0.1", *rows)
    assert router.mac == ROUTER and router.carries_public and router.carries == 1


def test_a_public_ipv6_address_of_ones_own_is_no_way_out() -> None:
    rows = talk("2001:4860::1", "10.0.0.20", 443, 3, src_mac=PC)
    assert plant(*rows).devices.keys() == {"10.0.0.20"}


def test_who_speaks_for_two_others_now_and_then_takes_their_place_from_nobody() -> None:
    rows = [
        *talk("10.0.0.1", "10.0.0.20", 502, 9, src_mac=PC, dst_mac=PLC),
        *talk("10.0.0.1", "10.0.0.20", 502, 2, src_mac=ROUTER, dst_mac=ROUTER),
    ]
    devices = plant(*rows).devices
    assert devices["10.0.0.1"].mac == PC and devices["10.0.0.20"].mac == PLC
    assert devices["10.0.0.1"].other_macs == (ROUTER,)


def test_two_sensors_that_see_the_same_count_it_once() -> None:
    rows = [
        {**row, "sensor": sensor}
        for sensor in ("left", "right")
        for row in [*talk("10.0.0.1", "10.0.0.20", 502, 4), asked("10.0.0.1", "10.0.0.20", "modbus", {3: 5})]
    ]
    assets = plant(*rows)
    [edge] = assets.edges
    assert (edge.flows, edge.answered, edge.sensors, edge.functions) == (5, 5, ("left", "right"), ((3, 5),))
    assert assets.devices["10.0.0.20"].flows == 5


def test_an_answer_alone_is_of_who_was_asked() -> None:
    row = {"is_biflow": False, "src_port": 502, "dst_port": 1_050, "rev_pkts": 0, "rev_bytes": 0, "conn_state": "OTH"}
    [edge] = plant({**row, "src_addr": "10.0.0.20", "dst_addr": "10.0.0.1"}).edges
    assert (edge.client, edge.server, edge.service.port, edge.answered) == ("10.0.0.1", "10.0.0.20", 502, 1)


def test_one_forged_packet_makes_no_device() -> None:
    forged = {"src_addr": "10.66.0.1", "rev_pkts": 0, "rev_bytes": 0, "conn_state": "S0"}
    assert not device("10.66.0.1", forged).is_confirmed
    assert device("10.66.0.1", forged, {**forged, "at": HOUR_S}).is_confirmed


def test_quiet_and_gone_are_by_the_sensors_own_time() -> None:
    rows = [
        *talk("10.0.0.1", "10.0.0.20", 502, 1),
        *talk("10.0.0.2", "10.0.0.20", 502, 1, at=24 * HOUR_S),
        *talk("10.0.0.3", "10.0.0.20", 502, 1, at=25 * HOUR_S),
        # Of a sensor that stopped: what it alone saw is as it was then.
        *talk("10.0.0.4", "10.0.0.5", 502, 1, sensor="silent"),
    ]
    assets = plant(*rows)
    states = {key: presence(device, assets).state for key, device in assets.devices.items()}
    assert states["10.0.0.1"] == GONE and states["10.0.0.2"] == QUIET
    assert {states[key] for key in ("10.0.0.3", "10.0.0.4", "10.0.0.20")} == {ACTIVE}


@given(plant_rows())
def test_devices_are_the_addresses_each_once(rows: list[dict[str, Any]]) -> None:
    inventory = inventory_of([batch(rows)])
    for site, assets in assets_of(inventory).items():
        listed = [address for device in assets.devices.values() for address in device.addresses]
        assert len(listed) == len(set(listed))
        for key, found in assets.devices.items():
            assert found.site == site and (key in found.addresses) and found.peers <= assets.devices.keys() - {key}
            assert found.span.first_us <= found.span.last_us
            assert presence(found, assets).idle_us >= 0


def test_nothing_seen_is_nothing() -> None:
    assert assets_of(Inventory()) == {}
