"""An inventory's devices and edges as JSON documents: times in microseconds, and names as the network has them."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.ingest.formats.functions import all_functions
from pipeline.tools.assets.devices import Device, Edge, SiteAssets
from pipeline.tools.assets.label import NOTHING, Label
from pipeline.tools.assets.presence import Presence, presence
from pipeline.tools.assets.roles import Guess, guess
from pipeline.tools.assets.vendors import vendor


@dataclass(frozen=True, slots=True)
class Asset:
    """A device with what is made of it: the guess of its role, its presence, its card's maker, the plant's label."""

    device: Device
    guess: Guess
    presence: Presence
    vendor: str | None
    name: str | None = None
    criticality: str | None = None
    zone: str | None = None


def assets_in(sites: Iterable[SiteAssets], labels: Mapping[tuple[str, str], Label]) -> list[Asset]:
    """All devices in order of site and address. labels: name, criticality and zone by site and address."""
    made = []
    for assets in sites:
        for device in assets.devices.values():
            label = next(
                (labels[device.site, each] for each in known_by(device) if (device.site, each) in labels), None
            )
            plant = (text or None for text in label or NOTHING)
            made.append(Asset(device, guess(device), presence(device, assets), vendor(device.mac), *plant))
    return sorted(made, key=lambda asset: (asset.device.site, address_order(asset.device.key)))


def known_by(device: Device) -> list[str]:
    """All that names a device: the address it is called by, its others, its hardware address."""
    return [device.key, *device.addresses, *([device.mac] if device.mac is not None else [])]


def is_called(asset: Asset, text: str) -> bool:
    """Whether a person means this device by an address, a hardware address or the plant's name of it."""
    return text.lower() in {each.lower() for each in known_by(asset.device)} or text == asset.name


def address_order(address: str) -> tuple[int, int, str]:
    """Addresses as people sort them: IPv4, IPv6, hardware addresses; by number, not by letter."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return 9, 0, address
    return parsed.version, int(parsed), address


def document(asset: Asset) -> dict[str, Any]:
    """A device without its edges."""
    device = asset.device
    return {
        "site": device.site,
        "address": device.key,
        "name": asset.name,
        "criticality": asset.criticality,
        "zone": asset.zone,
        "role": asset.guess.role,
        "confidence": asset.guess.confidence,
        "why": asset.guess.why,
        "also": list(asset.guess.also),
        "state": asset.presence.state,
        "idle_us": asset.presence.idle_us,
        "first_us": device.span.first_us,
        "last_us": device.span.last_us,
        "addresses": [
            {"address": each, "first_us": span.first_us, "last_us": span.last_us}
            for each, span in device.addresses.items()
        ],
        "mac": device.mac,
        "vendor": asset.vendor,
        "other_macs": list(device.other_macs),
        "behind": device.behind,
        "sensors": list(device.sensors),
        "flows": device.flows,
        "peers": len(device.peers),
        "talks_to_public": device.talks_to_public,
        "confirmed": device.is_confirmed,
        "serves": services(device.serves),
        "uses": services(device.uses),
        "functions_answered": functions(device.serves),
        "functions_asked": functions(device.uses),
    }


def services(edges: Iterable[Edge]) -> list[dict[str, Any]]:
    """Services of edges that were answered, with how many devices and flows; those with most flows first."""
    found: dict[tuple[int, int], list[Edge]] = {}
    for edge in edges:
        if edge.answered:
            found.setdefault((edge.service.transport, edge.service.port), []).append(edge)
    rows = []
    for several in found.values():
        # One that the sensor named once is of that name.
        named = max(several, key=lambda edge: (edge.service.ics, edge.service.app, edge.flows))
        ends = {(edge.client, edge.server) for edge in several}
        rows.append(
            {
                "service": named.service.words,
                "with": len(ends),
                "flows": sum(edge.flows for edge in several),
                "answered": sum(edge.answered for edge in several),
                "bytes": sum(edge.bytes for edge in several),
            }
        )
    return sorted(rows, key=lambda row: (-row["answered"], row["service"]))


def functions(edges: Iterable[Edge]) -> list[dict[str, Any]]:
    """Industrial functions that were asked on edges, with their names and how often; those with most first."""
    found: dict[tuple[str, int], int] = {}
    for edge in edges:
        for code, requests in edge.functions:
            found[edge.service.ics, code] = found.get((edge.service.ics, code), 0) + requests
    rows = [
        {"protocol": protocol, "code": code, "function": function_name(protocol, code), "requests": requests}
        for (protocol, code), requests in found.items()
    ]
    return sorted(rows, key=lambda row: (-row["requests"], row["protocol"], row["code"]))


def function_name(protocol: str, code: int) -> str:
    """A function's name: READ_COILS; `function 99` where the table has none."""
    tables = [all_functions()[name] for name in (protocol, f"{protocol}-plus") if name in all_functions()]
    names = [name for table in tables for name, number in table.names.items() if number == code]
    return names[0] if names else f"function {code}"


def edge_document(edge: Edge) -> dict[str, Any]:
    """Who asked whom by which service."""
    return {
        "client": edge.client,
        "server": edge.server,
        "service": edge.service.words,
        "first_us": edge.span.first_us,
        "last_us": edge.span.last_us,
        "sensors": list(edge.sensors),
        "flows": edge.flows,
        "answered": edge.answered,
        "client_bytes": edge.client_bytes,
        "server_bytes": edge.server_bytes,
        "reads": edge.reads,
        "writes": edge.writes,
        "controls": edge.controls,
        "exceptions": edge.exceptions,
        "functions": functions([edge]),
    }
