"""Real captures: what the inventory makes of them is what is known of the plants."""

from collections import Counter

from loadtest.plants.westermo import traffic
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.tools.assets.devices import SiteAssets, assets_of
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.roles import guess
from pipeline.tools.assets.vendors import vendor
from tests.contract.tree import ROOT
from tests.ingest.records import MAX_FUTURE_US, SENT_US
from tests.real_records import FOLDER, needs

S7_PLANT = "formats/zeek-tsv/4SICS-151020/conn.log"
LEFT = ROOT / "loadtest/plants/westermo/output_left.zip"


def _plant(path: str, site: str) -> SiteAssets:
    decoded = decode_file(path, site=site, sensor="left", ingest_ts_us=SENT_US, max_future_us=MAX_FUTURE_US)
    return assets_of(inventory_of([decoded.flows]))[site]


def test_routers_whose_addresses_were_set_wrongly_are_still_one_device_each() -> None:
    # The event log of the Westermo plant: six routers, some of which get other addresses in turn (BAD-MISCONF).
    devices = _plant(str(LEFT), traffic.SITE).devices
    by_mac = {device.mac: device for device in devices.values() if device.mac is not None}
    changed = by_mac["00:07:7c:29:de:61"]
    assert list(changed.addresses)[1:] == ["198.18.134.4", "198.18.134.41", "198.18.134.45", "198.18.134.48"]
    assert list(by_mac["00:07:7c:8c:43:63"].addresses)[1:] == [f"198.18.134.{last}" for last in (38, 40, 42, 47, 49, 6)]
    # Who is in the middle of others speaks for them, and does not become them.
    assert list(by_mac["00:07:7c:88:6e:83"].addresses)[1:] == ["198.18.134.1"]
    assert vendor("00:07:7c:29:de:61") == "Westermo Network Technologies AB"
    # Without ports there is no service, and without one no role but a gateway's.
    assert {guess(device).role for device in devices.values()} <= {"unknown", "gateway"}


@needs(S7_PLANT, "what the inventory makes of a real plant with S7")
def test_a_plant_with_s7() -> None:
    devices = _plant(str(FOLDER / S7_PLANT), "4sics").devices
    roles = {key: guess(device) for key, device in devices.items()}
    assert Counter(found.role for found in roles.values()) == {"unknown": 6, "controller": 1, "names": 1}
    assert (roles["10.10.10.10"].role, roles["10.10.10.10"].confidence) == ("controller", "medium")
    assert roles["192.168.88.1"].why == "answered 2 clients in 85 flows by 53/udp (dns)"
    # Counted in the log with awk: 7,199 flows from .30 to port 102 of .10, 7,193 of them answered; and 2,576 from that
    # port, whose opening Zeek did not see (history D or R without S and H), 101 of them answered with data: Zeek has
    # them the other way round. Of these, one goes to port 55000, which is one of FL-net's.
    [polls] = [edge for edge in devices["10.10.10.10"].serves if edge.client == "10.10.10.30"]
    assert (polls.service.words, polls.flows, polls.answered) == ("102/tcp", 9_775, 7_294)
