"""What a generated plant itself calls its devices: the CSV file that its engineers would hand over."""

import csv
import io
from collections.abc import Iterator

from loadtest.plants.generated.site import CORE, SITE, Host, Site, dotted, mac_text

NAMES_FILE = "names.csv"
COLUMNS = ("site", "address", "name", "criticality", "zone")
_ZONES = {"station": "Control room", "server": "Servers", "printer": "Servers", "router": "Servers"}
_CRITICAL = {"scada-1": "critical", "scada-2": "high", "historian": "medium", "router": "high"}
_CONTROLLERS = ("modbus", "s7comm", "enip")


def names_csv(site: Site) -> str:
    """The devices that were there on the first day, one a line: no intruder, and not what is put in service later."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(COLUMNS)
    for host in site.hosts.values():
        if host.kind != "intruder" and host.name != "cell-1-plc-new":
            writer.writerows(_rows(host))
    return sink.getvalue()


def _rows(host: Host) -> Iterator[tuple[str, ...]]:
    zone = _ZONES[host.kind] if host.segment == CORE else f"Cell {host.segment}"
    criticality = "high" if host.kind in _CONTROLLERS else _CRITICAL.get(host.name, "")
    yield SITE, dotted(host.address), host.name, criticality, zone
    if host.kind == "router":
        # It stands for hosts of other segments, so that its hardware address is a device of its own.
        yield SITE, mac_text(host.mac), host.name, criticality, zone
