"""MISP's core format: an event with attributes, none of them for blocking lists.

UUIDs are made from what they name, so that an import of a later revision updates the event of an earlier one.
"""

from typing import Any
from uuid import UUID, uuid5

from pipeline.tools.outputs.formats.times import moment
from pipeline.tools.outputs.revision import ENDED, GROWN, NEW, PRODUCT, Revision, Talk

OURS = UUID("0c6d2b0e-7a47-5a53-8d0a-5b2c6f1d9e42")
# 1 high, 2 medium, 3 low, 4 undefined.
THREAT_LEVEL = {1: "4", 2: "3", 3: "2", 4: "1", 5: "1"}
# 0 initial, 1 ongoing, 2 complete.
ANALYSIS = {NEW: "0", GROWN: "1", ENDED: "2"}
ONLY_US, AS_THE_EVENT = "0", "5"
NETWORK, REFERENCE, OTHER = "Network activity", "Internal reference", "Other"


def misp(revision: Revision) -> dict[str, Any]:
    """The revision as an event."""
    return {
        "Event": {
            "uuid": str(uuid5(OURS, f"event {revision.uid}")),
            "date": moment(revision.opened_us).date().isoformat(),
            "timestamp": str(revision.modified_us // 1_000_000),
            "info": f"{'TEST ' if revision.is_test else ''}{revision.severity}: {revision.says}",
            "threat_level_id": THREAT_LEVEL[revision.severity_id],
            "analysis": ANALYSIS[revision.activity],
            "distribution": ONLY_US,
            "published": False,
            "Orgc": {"name": PRODUCT, "uuid": str(uuid5(OURS, "organisation"))},
            "Attribute": _attributes(revision),
            "Tag": [{"name": name} for name in _tags(revision)],
        }
    }


def _attributes(revision: Revision) -> list[dict[str, Any]]:
    """What the incident is about; each type and value once."""
    found: dict[tuple[str, str], tuple[str, str]] = {
        ("text", revision.key): (REFERENCE, "incident and revision: repeats are known by it"),
        ("text", f"{revision.site}/{', '.join(revision.sensors)}"): (OTHER, "site and sensors"),
    }
    for talk in revision.talks:
        for kind, value in _of_talk(talk):
            if value:
                found.setdefault((kind, value), (NETWORK, ""))
    for reason in filter(None, revision.reasons):
        found.setdefault(("comment", reason), (OTHER, "what is unusual"))
    return [
        {
            "uuid": str(uuid5(OURS, f"attribute {revision.uid} {kind} {value}")),
            "type": kind,
            "category": category,
            "value": value,
            "comment": comment,
            "to_ids": False,
            "distribution": AS_THE_EVENT,
            "timestamp": str(revision.modified_us // 1_000_000),
        }
        for (kind, value), (category, comment) in found.items()
    ]


def _of_talk(talk: Talk) -> list[tuple[str, str]]:
    with_port = f"{talk.target.ip}|{talk.port}" if talk.target.ip and talk.port >= 0 else ""
    return [
        ("ip-src", talk.source.ip),
        ("ip-dst|port", with_port),
        ("ip-dst", "" if with_port else talk.target.ip),
        ("mac-address", talk.source.mac),
        ("mac-address", talk.target.mac),
        ("community-id", talk.community_id),
    ]


def _tags(revision: Revision) -> list[str]:
    techniques = [f'misp-galaxy:mitre-attack-pattern="{each.name} - {each.uid}"' for each in revision.techniques]
    return [*techniques, *(["forebay:test"] if revision.is_test else [])]
