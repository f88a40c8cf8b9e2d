"""Which sensor sees what of a plant: one sees all, several each a segment, and the last one the rest."""

from collections.abc import Sequence

import numpy as np

from loadtest.conn_json import mixed
from loadtest.plants.generated.chance import Ints
from loadtest.plants.generated.faults import Drift, Replacement
from loadtest.plants.generated.flows import Traffic, chosen
from loadtest.plants.generated.site import CORE, Site
from loadtest.plants.generated.zeek import View


def sensor_names(count: int) -> tuple[str, ...]:
    """The names of so many sensors."""
    return ("plant",) if count == 1 else ("core", *(f"cell-{cell}" for cell in range(1, count)))


def view(
    site: Site, traffic: Traffic, sensor: int, sensors: int, replaced: Sequence[Replacement], drift: Drift | None
) -> View:
    """What one of the sensors sees: each flow once, in its originator's segment where it watches that.

    Between segments the router's hardware address stands for the other end. `drift` is that of the sensor's clock.
    """
    flows = traffic.flows
    watched = np.arange(site.size.cells + 1) == sensor
    if sensor == sensors - 1:
        watched[sensor:] = True
    there = _segments(site, flows.src, np.full(len(flows.src), CORE))
    here = _segments(site, flows.dst, there)
    devices = [
        _device_macs(site, ends, macs, flows.start_us, replaced)
        for ends, macs in ((flows.src, flows.src_mac), (flows.dst, flows.dst_mac))
    ]
    # Nobody answers for an address that no host has: in its segment there is nothing but ARP.
    reached = devices[1] > 0
    reached |= site.segments(flows.dst) < 0
    reached |= flows.dst & 255 == 255
    seen = watched[there] | (watched[here] & reached)
    part = chosen(traffic, seen)
    seen_in = np.where(watched[there], there, here)[seen]
    macs = [
        site.macs(ends[seen], seen_in, mac[seen]) for ends, mac in zip((flows.src, flows.dst), devices, strict=True)
    ]
    uid = mixed(part.flows.uid, sensor)
    if drift is not None:
        part = _by_clock(part, drift)
    return View(part, uid, *macs)


def _segments(site: Site, addresses: Ints, elsewhere: Ints) -> Ints:
    """(n,) the segment of each address; of public ones the core, of groups and broadcasts `elsewhere`."""
    segment = site.segments(addresses)
    group = (addresses >> 28 == 0xE) | (addresses == 0xFFFFFFFF)
    return np.select([group, segment < 0], [elsewhere, CORE], segment)


def _device_macs(site: Site, addresses: Ints, given: Ints, at_us: Ints, replaced: Sequence[Replacement]) -> Ints:
    """(n,) the hardware addresses of the devices that use the addresses."""
    macs = site.device_macs(addresses)
    for replacement in replaced:
        later = (addresses == replacement.address) & (at_us >= replacement.from_us)
        macs = np.where(later, replacement.mac, macs)
    return np.where(given > 0, given, macs)


def _by_clock(traffic: Traffic, drift: Drift) -> Traffic:
    start = drift.shown(traffic.flows.start_us)
    return Traffic(
        traffic.flows._replace(start_us=start),
        traffic.operations._replace(at_us=drift.shown(traffic.operations.at_us)),
    )
