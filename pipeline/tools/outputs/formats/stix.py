"""STIX 2.1: a bundle with the incident, what was observed, and sightings of the candidate techniques.

All ids are UUIDs made from what they name: a later revision updates the objects of an earlier one, a repeat is the same
bytes. Ids of addresses and traffic are those that STIX prescribes (part 6), so that they meet those of other tools.
"""

from typing import Any
from uuid import UUID, uuid5

import orjson

from pipeline.tools.outputs.formats.times import rfc3339
from pipeline.tools.outputs.revision import PRODUCT, Endpoint, Revision, Talk, Technique

OURS = UUID("6f1f0a52-6c1e-5d0b-9a53-0f8f2b1c7e11")
PRESCRIBED = UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
ALWAYS = "2026-01-01T00:00:00.000Z"
"""When what does not change was created: us, a site, a technique."""
MAX_COUNT = 999_999_999

Object = dict[str, Any]


def stix(revision: Revision) -> Object:
    """The revision as a bundle."""
    us = _identity(PRODUCT, "system")
    site = {**_identity(revision.site, "organization"), "created_by_ref": us["id"]}
    patterns = [_attack_pattern(each, us["id"]) for each in revision.techniques]
    traffic: list[Object] = []
    for talk in revision.talks:
        traffic += _traffic(talk)
    traffic = list({each["id"]: each for each in traffic}.values())
    incident = _incident(revision, us["id"])
    observed = [_observed(revision, us["id"], traffic)] if traffic else []
    objects = [us, site, *patterns, incident, *traffic, *observed]
    for pattern in patterns:
        objects += [
            _sighting(revision, pattern["id"], us["id"], site["id"], [each["id"] for each in observed]),
            _relationship(revision, incident["id"], pattern["id"], us["id"]),
        ]
    return {"type": "bundle", "id": _id("bundle", revision.key), "objects": objects}


def _id(kind: str, what: str) -> str:
    return f"{kind}--{uuid5(OURS, f'{kind} {what}')}"


def _object(kind: str, what: str, created: str, modified: str, **properties: Any) -> Object:
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": _id(kind, what),
        "created": created,
        "modified": modified,
        **{key: value for key, value in properties.items() if value not in ("", [], None)},
    }


def _identity(name: str, kind: str) -> Object:
    return _object("identity", f"{kind} {name}", ALWAYS, ALWAYS, name=name, identity_class=kind)


def _attack_pattern(technique: Technique, us: str) -> Object:
    phase = {"kill_chain_name": "mitre-ics-attack", "phase_name": technique.tactic.lower().replace(" ", "-")}
    return _object(
        "attack-pattern",
        technique.uid,
        ALWAYS,
        ALWAYS,
        created_by_ref=us,
        name=technique.name,
        external_references=[{"source_name": "mitre-attack", "external_id": technique.uid}],
        kill_chain_phases=[phase] if technique.tactic else [],
    )


def _dynamic(kind: str, what: str, revision: Revision, us: str, **properties: Any) -> Object:
    """An object that changes with the incident."""
    labels = ["test"] if revision.is_test else []
    return _object(
        kind,
        what,
        rfc3339(revision.opened_us),
        rfc3339(revision.modified_us),
        created_by_ref=us,
        confidence=revision.confidence,
        labels=labels,
        **properties,
    )


def _incident(revision: Revision, us: str) -> Object:
    references = [{"source_name": "forebay", "external_id": revision.uid}]
    description = "\n".join([revision.says, *revision.reasons])
    named = {"name": revision.title or "incident", "description": description}
    return _dynamic("incident", revision.uid, revision, us, **named, external_references=references)


def _observed(revision: Revision, us: str, traffic: list[Object]) -> Object:
    return _dynamic(
        "observed-data",
        revision.uid,
        revision,
        us,
        first_observed=rfc3339(revision.first_us),
        last_observed=rfc3339(max(revision.first_us, revision.last_us)),
        number_observed=min(max(revision.flows, 1), MAX_COUNT),
        object_refs=[each["id"] for each in traffic],
    )


def _sighting(revision: Revision, pattern: str, us: str, site: str, observed: list[str]) -> Object:
    """That what the site's traffic shows may be this technique."""
    return _dynamic(
        "sighting",
        f"{revision.uid} {pattern}",
        revision,
        us,
        first_seen=rfc3339(revision.first_us),
        last_seen=rfc3339(max(revision.first_us, revision.last_us)),
        count=min(max(revision.flows, 1), MAX_COUNT),
        sighting_of_ref=pattern,
        observed_data_refs=observed,
        where_sighted_refs=[site],
    )


def _relationship(revision: Revision, incident: str, pattern: str, us: str) -> Object:
    ends = {"source_ref": incident, "target_ref": pattern}
    return _dynamic("relationship", f"{incident} {pattern}", revision, us, relationship_type="related-to", **ends)


def _traffic(talk: Talk) -> list[Object]:
    """The two ends and the traffic between them; nothing where neither end has an address."""
    ends = [_address(talk.source), _address(talk.target)]
    refs = {f"{side}_ref": end["id"] for side, end in zip(("src", "dst"), ends, strict=True) if end is not None}
    if not refs:
        return []
    versions = {end["type"].removesuffix("-addr") for end in ends if end is not None}
    lowest = "ethernet" if versions == {"mac"} else "ipv6" if "ipv6" in versions else "ipv4"
    properties: Object = {**refs, "protocols": [lowest, *([talk.protocol.lower()] if talk.protocol else [])]}
    if talk.port >= 0:
        properties["dst_port"] = talk.port
    return [*(end for end in ends if end is not None), _observable("network-traffic", properties)]


def _address(end: Endpoint) -> Object | None:
    if end.ip:
        return _observable("ipv6-addr" if ":" in end.ip else "ipv4-addr", {"value": end.ip})
    return _observable("mac-addr", {"value": end.mac}) if end.mac else None


def _observable(kind: str, properties: Object) -> Object:
    named = orjson.dumps(properties, option=orjson.OPT_SORT_KEYS).decode()
    return {"type": kind, "spec_version": "2.1", "id": f"{kind}--{uuid5(PRESCRIBED, named)}", **properties}
