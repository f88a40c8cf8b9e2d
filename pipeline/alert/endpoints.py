"""Who spoke with whom, as OCSF evidence. Addresses come from the network: only real IP addresses are called so."""

import ipaddress
from functools import lru_cache
from typing import Any

from pipeline.alert.incident import Incident, Talk
from pipeline.alert.wording import printable_name
from pipeline.contracts.incident_joining import HUB_PARTNERS, address_of, pair_of
from pipeline.contracts.services import PROTOCOLS

SHOWN_TALKS = 8
SHOWN_OBSERVABLES = 16
REMEMBERED = 4_096
"""Addresses that are parsed once: those of an incident are in each of its events."""


def endpoint(address: str, mac: str | None, port: int | None) -> dict[str, Any]:
    """A network_endpoint: `ip` where the address is one, else `name`; `mac` and `port` where known."""
    made: dict[str, Any] = {}
    if len(address) > 64 or "%" in address:
        made["name"] = printable_name(address)
    elif (ip := _ip_of(address)) is not None:
        made["ip"] = ip
    else:
        made["name"] = printable_name(address) or "unknown"
    if mac is None and "ip" not in made and is_mac(address):
        mac = address
    if mac is not None and is_mac(mac):
        made["mac"] = mac.lower()
    if port is not None:
        made["port"] = port
    return made


@lru_cache(REMEMBERED)
def _ip_of(address: str) -> str | None:
    """An IP address as one writes it; None where it is none."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


def is_mac(text: str) -> bool:
    """Whether the text is six hexadecimal pairs with colons."""
    parts = text.split(":") if len(text) == 17 else []
    return len(parts) == 6 and all(len(part) == 2 and part.isalnum() and _is_hex(part) for part in parts)


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)


def evidence(incident: Incident) -> list[dict[str, Any]]:
    """The conversations with most flows, at most eight."""
    order = sorted(incident.talks.items(), key=lambda item: (-item[1].flows, item[0]))
    return [_evidence(talk) for _, talk in order[:SHOWN_TALKS]]


def _evidence(talk: Talk) -> dict[str, Any]:
    connection: dict[str, Any] = {"direction_id": 0, "direction": "Unknown"}
    if talk.ip_proto is not None:
        connection["protocol_num"] = talk.ip_proto
        connection["protocol_name"] = PROTOCOLS.get(talk.ip_proto, str(talk.ip_proto))
    if talk.community_id:
        connection["community_uid"] = printable_name(talk.community_id)
    return {
        "src_endpoint": endpoint(talk.src_addr, talk.src_mac, None),
        "dst_endpoint": endpoint(talk.dst_addr, talk.dst_mac, talk.dst_port),
        "connection_info": connection,
        "data": {"flows": talk.flows},
    }


def further_pairs(incident: Incident, evidences: list[dict[str, Any]]) -> list[list[str]]:
    """Who spoke with whom, the first pairs of an incident in their order; none where the evidence says as much.

    Joining reads them (contracts/incident_joining.py): the evidence names those of most flows, which change.
    """
    named = {pair_of(address_of(each["src_endpoint"]), address_of(each["dst_endpoint"])) for each in evidences}
    pairs = dict.fromkeys(
        pair_of(*(address_of(endpoint(address, None, None)) for address in pair)) for pair in incident.pairs
    )
    return [list(pair) for pair in pairs] if len(pairs) > HUB_PARTNERS or pairs.keys() - named else []


def observables(evidences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The IP addresses of the evidence, each once, at most sixteen."""
    observables: dict[str, dict[str, Any]] = {}
    for number, evidence in enumerate(evidences):
        for side in ("src_endpoint", "dst_endpoint"):
            ip = evidence[side].get("ip")
            if ip is not None:
                name = f"evidences[{number}].{side}.ip"
                observables.setdefault(ip, {"name": name, "type_id": 2, "type": "IP Address", "value": ip})
    return list(observables.values())[:SHOWN_OBSERVABLES]
