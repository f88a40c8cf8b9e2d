"""A generated plant, whose hosts are known, seen by two sensors: no device is called what it is not."""

from pathlib import Path

from loadtest.plants.generated.names import NAMES_FILE
from loadtest.plants.generated.plant import Plan, plant_of, write_plant
from loadtest.plants.generated.site import SIZES, Site, dotted, mac_text
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.tools.assets.devices import SiteAssets, assets_of
from pipeline.tools.assets.documents import assets_in
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.labels import read_csv
from pipeline.tools.assets.map_svg import map_svg
from pipeline.tools.assets.roles import UNKNOWN, guess
from pipeline.tools.assets.site_map import site_map
from tests.ingest.records import SENT_US

SITE = "generated"
PLAN = Plan(days=0.25, size="small", sensors=2, attacks=())
YEAR_US = 366 * 86_400_000_000
# What a host of a kind may be called; a router serves time, and a domain controller names, files and addresses.
MAY_BE = {
    "modbus": {"controller"},
    "s7comm": {"controller"},
    "enip": {"controller"},
    "panel": {"hmi"},
    "gateway": {"opcua"},
    "printer": {"printer"},
    "router": {"gateway", "time"},
    "switch": set[str](),
    "server": {"names", "addresses", "time", "files", "database", "hmi", "historian"},
    "station": {"engineering", "hmi"},
    "intruder": set[str](),
}


def test_no_device_is_called_what_it_is_not(tmp_path: Path) -> None:
    facts = write_plant(plant_of(PLAN), tmp_path)
    flows = [
        decode_file(
            str(tmp_path / seen["folder"]), site=SITE, sensor=name, ingest_ts_us=SENT_US + 3 * YEAR_US, max_future_us=0
        ).flows
        for name, seen in facts["sensors"].items()
    ]
    assert len(flows) == 2
    assets = assets_of(inventory_of(flows))[SITE]
    _is_a_map_of_its_zones(assets, tmp_path / NAMES_FILE)
    hosts = {dotted(host.address): host for host in Site(SIZES["small"]).hosts.values()}
    roles = {}
    for key, device in assets.devices.items():
        if not device.is_confirmed or key not in hosts:
            continue
        roles[key] = found = guess(device)
        host = hosts[key]
        assert found.role in MAY_BE[host.kind] | {UNKNOWN}, (host, found)
        if device.mac is not None and host.kind != "router":
            assert device.mac == mac_text(host.mac)
    controllers = {key for key, host in hosts.items() if host.kind in {"modbus", "s7comm", "enip"} and key in roles}
    panels = {key for key, host in hosts.items() if host.kind == "panel" and key in roles}
    assert len(controllers) >= 3 and all(roles[key].confidence == "high" for key in controllers)
    assert {roles[key].role for key in controllers} == {"controller"} and {roles[key].role for key in panels} == {"hmi"}
    # What both sensors see counts once: no edge has more flows than either saw.
    both = [edge for edge in assets.edges if len(edge.sensors) == 2]
    assert both and all(edge.answered <= edge.flows for edge in assets.edges)


def _is_a_map_of_its_zones(site: SiteAssets, names: Path) -> None:
    """The plant's own names and zones are taken, and each line that crosses goes from one zone to another."""
    assets = assets_in([site], read_csv(names.read_bytes(), names.name))
    document = site_map(site, assets)
    assert {row["zone"] for row in document["zones"]} >= {"Servers", "Control room", "Cell 1", "Cell 2", "Cell 3"}
    assert document["zones"][-1]["zone"] in {None, "Cell 1", "Cell 2", "Cell 3"}
    zone_of = {device["address"]: device["zone"] for device in document["devices"]}
    crossing = [edge for edge in document["edges"] if edge["crosses"]]
    assert len(crossing) > 10 and all(zone_of[edge["source"]] != zone_of[edge["target"]] for edge in crossing)
    assert "Cell 2" in map_svg(document)
