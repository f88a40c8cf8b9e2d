"""ECS, OCSF, STIX and MISP: valid by their schemas, the same bytes for the same revision, updates of one object."""

import json
from datetime import date
from typing import Any

import jsonschema_rs
import pytest
import stix2
from hypothesis import given

from pipeline.tools.outputs.formats.ecs import ecs
from pipeline.tools.outputs.formats.misp import misp
from pipeline.tools.outputs.formats.stix import stix
from pipeline.tools.outputs.formats.table import DOCUMENTS, as_line, ocsf
from pipeline.tools.outputs.revision import ENDED, Endpoint, Revision, Talk, revision_of
from schemas.validation import violation
from tests.tools.outputs.revisions import event, revision, revisions

# Values that ECS allows beside each other: event.kind alert, of these categories, of this type.
ALLOWED_TYPES = {
    "intrusion_detection": {"allowed", "denied", "info"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
}
# What MISP's published schema (format/2.4) demands of an event: these fields, all of them text but flags and lists.
TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
MISP_EVENT = jsonschema_rs.Draft202012Validator(
    {
        "type": "object",
        "required": ["Event"],
        "properties": {
            "Event": {
                "type": "object",
                "required": [
                    "date", "threat_level_id", "info", "published", "analysis", "distribution", "Attribute",
                ],
                "properties": {
                    "uuid": {**TEXT, "format": "uuid"}, "date": {**TEXT, "format": "date"}, "info": TEXT,
                    "threat_level_id": {"enum": ["1", "2", "3", "4"]}, "analysis": {"enum": ["0", "1", "2"]},
                    "distribution": {"enum": ["0", "1", "2", "3", "4"]}, "published": FLAG, "timestamp": TEXT,
                    "Orgc": {"properties": {"name": TEXT, "uuid": {**TEXT, "format": "uuid"}}},
                    "Tag": {"type": "array", "items": {"properties": {"name": TEXT}}},
                    "Attribute": {
                        "type": "array",
                        "items": {
                            "required": ["type", "category", "value", "uuid"],
                            "additionalProperties": False,
                            "properties": {
                                "uuid": {**TEXT, "format": "uuid"}, "type": TEXT, "category": TEXT, "comment": TEXT,
                                "value": {**TEXT, "minLength": 1}, "to_ids": FLAG, "timestamp": TEXT,
                                "distribution": {"enum": ["0", "1", "2", "3", "4", "5"]},
                            },
                        },
                    },
                },
                "additionalProperties": False,
            }
        },
    },
    validate_formats=True,
)  # fmt: skip


def test_ocsf_is_the_event_and_fits_its_schema() -> None:
    made = event()
    assert ocsf(revision_of(made)) == made
    assert violation(json.loads(as_line(revision_of(made), "ocsf")), "alert") is None


@given(revisions())
def test_ecs_has_its_required_fields(made: Revision) -> None:
    document = ecs(made)
    assert document["@timestamp"].endswith("Z") and document["ecs"]["version"]
    assert document["event"]["kind"] == "alert"
    for category in document["event"]["category"]:
        assert set(document["event"]["type"]) <= ALLOWED_TYPES[category]
    assert document["event"]["id"] == made.key
    for technique in made.techniques:
        assert technique.uid.split(".")[0] in document["threat"]["technique"]["id"]


def test_ecs_of_a_real_scan() -> None:
    document = ecs(revision_of(event()))
    assert document["source"]["ip"] == "198.18.134.11" and document["network"]["community_id"] == ["1:abc="]
    assert document["threat"]["technique"] == {
        "id": ["T0846"], "subtechnique": {"id": ["T0846.001"], "name": ["Port Scan"]},
    }  # fmt: skip


@given(revisions())
def test_stix_is_valid_and_whole(made: Revision) -> None:
    bundle = stix2.parse(json.dumps(stix(made)), allow_custom=False)
    known = {each["id"] for each in bundle.objects}
    assert len(known) == len(bundle.objects)
    for each in bundle.objects:
        named = [value for name, value in each.items() if name.endswith("_ref")]
        named += [value for name, values in each.items() if name.endswith("_refs") for value in values]
        assert set(named) <= known


def test_stix_ids_of_addresses_are_those_of_other_tools() -> None:
    talk = Talk(Endpoint(ip="192.0.2.1"), Endpoint(ip="2001:db8::1"), 502, "tcp")
    made = {each["type"]: each for each in stix(revision(talks=(talk,)))["objects"]}
    source, target = stix2.IPv4Address(value="192.0.2.1"), stix2.IPv6Address(value="2001:db8::1")
    traffic = stix2.NetworkTraffic(src_ref=source, dst_ref=target, dst_port=502, protocols=["ipv6", "tcp"])
    assert [made[kind]["id"] for kind in ("ipv4-addr", "ipv6-addr", "network-traffic")] == [
        source.id, target.id, traffic.id,
    ]  # fmt: skip


def test_a_later_revision_updates_the_objects_of_an_earlier_one() -> None:
    first = revision()
    later = revision(key=f"{first.uid}-9", number=9, activity=ENDED, modified_us=first.modified_us + 5_000_000)
    ids = [{each["id"] for each in stix(each_revision)["objects"]} for each_revision in (first, later)]
    assert ids[0] == ids[1] and stix(first)["id"] != stix(later)["id"]
    modified = [
        next(each["modified"] for each in stix(each_revision)["objects"] if each["type"] == "incident")
        for each_revision in (first, later)
    ]
    assert modified[0] < modified[1]
    events = [misp(first)["Event"], misp(later)["Event"]]
    assert events[0]["uuid"] == events[1]["uuid"] and int(events[0]["timestamp"]) < int(events[1]["timestamp"])


@given(revisions())
def test_misp_is_valid(made: Revision) -> None:
    document = misp(made)
    error = next(MISP_EVENT.iter_errors(document), None)
    assert error is None, error
    date.fromisoformat(document["Event"]["date"])
    uuids = [each["uuid"] for each in document["Event"]["Attribute"]]
    assert len(uuids) == len(set(uuids))
    assert not any(each["to_ids"] for each in document["Event"]["Attribute"]), "a suspicion is no blocking list"


@pytest.mark.parametrize("name", [*DOCUMENTS, "cef", "leef", "text"])
def test_the_same_revision_is_the_same_line(name: str) -> None:
    first, second = (as_line(revision_of(event()), name) for _ in range(2))
    assert first == second and "\n" not in first


@given(revisions())
def test_json_is_one_line_of_ascii(made: Revision) -> None:
    for name in DOCUMENTS:
        written = as_line(made, name)
        assert written.isascii() and written.isprintable()
        read: dict[str, Any] = json.loads(written)
        assert read == DOCUMENTS[name](made)
