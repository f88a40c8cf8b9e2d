"""A generated plant, whose hosts are known, seen by two sensors: no device is called what it is not."""

from pathlib import Path

from loadtest.plants.generated.plant import Plan, plant_of, write_plant
from loadtest.plants.generated.site import SIZES, Site, dotted, mac_text
from pipeline.ingest.files.offline_rows import decode_file
from pipeline.tools.assets.devices import assets_of
from pipeline.tools.assets.inventory import inventory_of
from pipeline.tools.assets.roles import UNKNOWN, guess
from tests.ingest.records import SENT_US

SITE = "generated"
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
    plan = Plan(days=0.25, size="small", sensors=2, attacks=())
    facts = write_plant(plant_of(plan), tmp_path)
    flows = [
        decode_file(
            str(tmp_path / seen["folder"]), site=SITE, sensor=name, ingest_ts_us=SENT_US + 3 * YEAR_US, max_future_us=0
        ).flows
        for name, seen in facts["sensors"].items()
    ]
    assert len(flows) == 2
    assets = assets_of(inventory_of(flows))[SITE]
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
