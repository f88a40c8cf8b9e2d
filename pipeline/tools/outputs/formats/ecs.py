"""Elastic Common Schema 8.17: an alert of an intrusion detection system."""

from collections.abc import Iterable
from typing import Any

from pipeline.tools.outputs.formats.times import rfc3339
from pipeline.tools.outputs.revision import PRODUCT, PRODUCT_VERSION, VENDOR, Endpoint, Revision

ECS_VERSION = "8.17.0"
FRAMEWORK = "MITRE ATT&CK for ICS"
# 1 to 100 in steps of the severity.
RISK = {1: 10, 2: 30, 3: 50, 4: 75, 5: 95}


def ecs(revision: Revision) -> dict[str, Any]:
    """The revision as a document of ECS."""
    talk = revision.talks[0] if revision.talks else None
    document: dict[str, Any] = {
        "@timestamp": rfc3339(revision.modified_us),
        "ecs": {"version": ECS_VERSION},
        "message": revision.says,
        "event": _event(revision),
        "rule": {"name": revision.title, "category": revision.class_name},
        "observer": {
            "vendor": VENDOR,
            "product": PRODUCT,
            "version": PRODUCT_VERSION,
            "type": "ids",
            "name": ", ".join(revision.sensors),
        },
        "labels": {
            "incident": revision.uid,
            "site": revision.site,
            "activity": revision.activity,
            "page": str(revision.is_page).lower(),
        },
        "tags": ["forebay", *(["test"] if revision.is_test else [])],
    }
    if talk:
        document["source"] = _end(talk.source)
        document["destination"] = _end(talk.target) | ({"port": talk.port} if talk.port >= 0 else {})
        network = {"transport": talk.protocol, "community_id": _once(each.community_id for each in revision.talks)}
        document["network"] = {name: value for name, value in network.items() if value}
    related = {
        "ip": _once(end.ip for each in revision.talks for end in (each.source, each.target)),
        "hosts": _once(end.name for each in revision.talks for end in (each.source, each.target)),
    }
    document["related"] = {name: values for name, values in related.items() if values}
    if revision.techniques:
        document["threat"] = _threat(revision)
    return document


def _event(revision: Revision) -> dict[str, Any]:
    return {
        "kind": "alert",
        "category": ["intrusion_detection", "network"],
        "type": ["info"],
        "module": "forebay",
        "dataset": "forebay.incident",
        "provider": VENDOR,
        "id": revision.key,
        "action": revision.activity,
        "reason": "; ".join(revision.reasons) or revision.disposition,
        "severity": revision.severity_id,
        "risk_score": RISK[revision.severity_id],
        "start": rfc3339(revision.first_us),
        "end": rfc3339(revision.last_us),
        "created": rfc3339(revision.opened_us),
        "sequence": revision.number,
    }


def _threat(revision: Revision) -> dict[str, Any]:
    """The candidate techniques: parent and sub-technique stand apart in ECS."""
    parents = [each for each in revision.techniques if "." not in each.uid]
    subs = [each for each in revision.techniques if "." in each.uid]
    technique: dict[str, Any] = {"id": _once([*(each.uid for each in parents), *(s.uid.split(".")[0] for s in subs)])}
    if names := _once(each.name for each in parents):
        technique["name"] = names
    if subs:
        technique["subtechnique"] = {"id": _once(s.uid for s in subs), "name": _once(s.name for s in subs)}
    tactic = {
        "id": _once(each.tactic_uid for each in revision.techniques),
        "name": _once(each.tactic for each in revision.techniques),
    }
    return {"framework": FRAMEWORK, "tactic": tactic, "technique": technique}


def _end(end: Endpoint) -> dict[str, Any]:
    mac = end.mac.upper().replace(":", "-")  # ECS: RFC 7042
    pairs = {"address": end.shown, "ip": end.ip, "mac": mac}
    return {name: value for name, value in pairs.items() if value}


def _once(values: Iterable[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]
