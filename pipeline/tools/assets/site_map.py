"""A site as a map: its devices, who talks to whom, and its zones, as one bounded JSON document."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.contracts.group_addresses import is_group_address
from pipeline.contracts.service_names import service_of
from pipeline.tools.assets.devices import Edge, Service, SiteAssets
from pipeline.tools.assets.documents import Asset, address_order
from pipeline.tools.assets.edge_news import OUTSIDE, News, Watch, Zones
from pipeline.tools.assets.roles import UNKNOWN
from pipeline.tools.assets.sightings import MAX_PROTO, PUBLIC

LEVELS: Mapping[str, int] = {
    "controller": 1,
    **dict.fromkeys(("hmi", "engineering", "opcua", "camera"), 2),
    **dict.fromkeys(("historian", "database", "names", "addresses", "time", "files", "printer"), 3),
    **dict.fromkeys(("gateway", "remote"), 4),
    PUBLIC: 5,
}
"""How far from the process a role stands, much as in the Purdue model: control, operation, servers, ways out, outside.
A guess, as the role is."""
MIDDLE = 2.5


@dataclass(frozen=True, slots=True)
class MapBounds:
    """The most that a map has; what is beyond is counted."""

    devices: int = 300
    edges: int = 1_000
    services: int = 8


def site_map(
    site: SiteAssets, assets: Iterable[Asset], watch: Watch | None = None, bounds: MapBounds | None = None
) -> dict[str, Any]:
    """The map of a site: `devices`, `edges` between them (a pair of devices and its services), `zones`, `left_out`.

    assets: those of the site. The plant's labelled devices come first, then those with a role, with most peers, with
    most flows. Edges to groups, and to addresses that never sent, are counted alone. new and crosses are null where
    they are not known. Times in microseconds; a function of the arguments, in any order of the assets.
    """
    watch, bounds = watch or Watch(), bounds or MapBounds()
    known = [each for each in assets if each.device.site == site.site]
    zones = Zones(known)
    confirmed = sorted((each for each in known if each.device.is_confirmed), key=_worth)
    chosen = confirmed[: bounds.devices]
    shown = {each.device.key for each in chosen} | {PUBLIC}
    of_pair: dict[tuple[str, str], list[tuple[Edge, News]]] = defaultdict(list)
    left_out = {"devices": len(confirmed) - len(chosen), "unconfirmed": len(known) - len(confirmed)}
    left_out |= {"edges": 0, "new_edges": 0, "edges_to_groups": 0, "edges_to_nobody": 0}
    for edge in site.edges:
        if edge.client == edge.server:
            continue  # with itself, as a forged packet says
        news = watch.news(edge, site)
        if edge.client in shown and edge.server in shown:
            of_pair[edge.client, edge.server].append((edge, news))
        elif is_group_address(edge.server):
            left_out["edges_to_groups"] += 1
        elif edge.server not in site.devices and edge.server != PUBLIC:
            left_out["edges_to_nobody"] += 1
        else:
            left_out["edges"] += 1
            left_out["new_edges"] += news.is_new is True
    pairs = sorted((_pair(several, zones, bounds.services) for several in of_pair.values()), key=_pair_worth)
    for pair in pairs[bounds.edges :]:
        left_out["edges"] += pair["services_in_all"]
        left_out["new_edges"] += pair["new_in_all"]
    pairs = sorted(pairs[: bounds.edges], key=lambda pair: (pair["source"], pair["target"]))
    ends = {end for pair in pairs for end in (pair["source"], pair["target"])}
    devices = [_device(each) for each in sorted(chosen, key=lambda each: address_order(each.device.key))]
    if PUBLIC in ends:
        devices.append(_public())
    return {
        "site": site.site,
        "first_us": min((span.first_us for span in site.sensors.values()), default=None),
        "last_us": max((span.last_us for span in site.sensors.values()), default=None),
        "sensors": sorted(site.sensors),
        "new_within_us": watch.window_us,
        "devices": devices,
        "edges": pairs,
        "zones": _zones(devices),
        "left_out": left_out,
    }


def _worth(asset: Asset) -> tuple[Any, ...]:
    is_labelled = bool(asset.name or asset.criticality or asset.zone)
    device = asset.device
    has_role = asset.guess.role != UNKNOWN
    return not is_labelled, not has_role, -len(device.peers), -device.flows, device.key


def _pair_worth(pair: Mapping[str, Any]) -> tuple[Any, ...]:
    first = pair["new"] is not True, pair["crosses"] is not True, not pair["answered"]
    return *first, -pair["flows"], pair["source"], pair["target"]


def _device(asset: Asset) -> dict[str, Any]:
    device, guess = asset.device, asset.guess
    return {
        "address": device.key,
        "name": asset.name,
        "role": guess.role,
        "title": guess.title,
        "confidence": guess.confidence,
        "why": guess.why,
        "zone": asset.zone,
        "level": LEVELS.get(guess.role),
        "criticality": asset.criticality,
        "maker": asset.vendor,
        "state": asset.presence.state,
        "idle_us": asset.presence.idle_us,
        "first_us": device.span.first_us,
        "last_us": device.span.last_us,
        "flows": device.flows,
        "peers": len(device.peers),
    }


def _public() -> dict[str, Any]:
    """All public addresses as one end; none of them is a device of the plant's."""
    empty = dict.fromkeys(("name", "confidence", "why", "criticality", "maker", "idle_us", "first_us", "last_us"))
    levels = {"role": PUBLIC, "title": OUTSIDE, "zone": OUTSIDE, "level": LEVELS[PUBLIC]}
    return {"address": PUBLIC, **empty, **levels, "state": None, "flows": None, "peers": None}


def _pair(several: list[tuple[Edge, News]], zones: Zones, most: int) -> dict[str, Any]:
    """All that one device asked of another: its services, new ones and those with most flows first."""
    several = sorted(several, key=lambda each: (each[1].is_new is not True, -each[0].flows, each[0].service))
    edges, news = [edge for edge, _ in several], {each.is_new for _, each in several}
    return {
        "source": edges[0].client,
        "target": edges[0].server,
        "services": [_service(edge, each) for edge, each in several[:most]],
        "services_in_all": len(several),
        "new_in_all": sum(each.is_new is True for _, each in several),
        "flows": sum(edge.flows for edge in edges),
        "answered": sum(edge.answered for edge in edges),
        "writes": sum(edge.writes + edge.controls for edge in edges),
        "new": True if True in news else None if None in news else False,
        "crosses": zones.crosses(edges[0]),
        "first_us": min(edge.span.first_us for edge in edges),
        "last_us": max(edge.span.last_us for edge in edges),
    }


def _service(edge: Edge, news: News) -> dict[str, Any]:
    return {
        "service": edge.service.words,
        "kind": service_kind(edge.service),
        "flows": edge.flows,
        "answered": edge.answered,
        "writes": edge.writes + edge.controls,
        "first_us": edge.span.first_us,
        "last_us": edge.span.last_us,
        "new": news.is_new,
        "says": news.says,
    }


def service_kind(service: Service) -> str:
    """What a service touches: industrial, remote, files, supporting, or nothing that is known."""
    if service.ics:
        return "industrial"
    known = service_of(service.transport, service.port) if 0 <= service.transport <= MAX_PROTO else None
    return known.kind if known is not None else ""


def _half_level(level: float | None) -> float:
    """In halves: one device more or less does not put a cell above the next one."""
    return MIDDLE if level is None else round(level * 2) / 2


def _zones(devices: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The zones of a map, from the outside to the process by their devices' levels; last the unknown one, null.

    One whose devices' roles are unknown stands in the middle.
    """
    members: dict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
    for device in devices:
        members[device["zone"]].append(device)
    made = []
    for zone, several in members.items():
        levels = [device["level"] for device in several if device["level"] is not None]
        level = round(sum(levels) / len(levels), 2) if levels else None
        made.append({"zone": zone, "devices": len(several), "level": level})
    return sorted(made, key=lambda row: (row["zone"] is None, -_half_level(row["level"]), str(row["zone"])))
