import copy
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import schemas
from pipeline.alert.explain import read_baseline
from pipeline.alert.incident import CROWD
from pipeline.alert.incidents import incidents_of
from pipeline.alert.ocsf import CREATE, detection_finding, encode
from pipeline.alert.severity import confidence_score, severity_id
from pipeline.alert.techniques import shipped
from pipeline.alert.validity import require_valid
from pipeline.errors import Failed
from schemas.validation import violation
from tests.alert.suspects import START_US, manifest, members, scored
from tests.alert.test_incident import fresh

SCHEMA: dict[str, Any] = orjson.loads((Path(schemas.__file__).parent / "alert.json").read_bytes())
OCSF = Path(schemas.__file__).parent / "ocsf"


def scan() -> dict[str, Any]:
    rows = [{"at": n * 0.1, "dst_addr": f"198.18.134.{n % 23}", "dst_port": n % 23} for n in range(42)]
    values = np.tile([900, 30_000, 1, 0.0], (42, 1))
    [event] = incidents_of([scored(rows, values)], baseline_of=lambda _model: read_baseline(manifest()))
    return event


def test_it_says_in_words_what_happened() -> None:
    event = scan()
    # 23 addresses in all; one of them is the actor's own.
    assert event["message"] == (
        "198.18.134.11 tried 23 tcp ports of 22 addresses in 42 flows, within 4.1 s, since 2023-03-10 10:19:59 UTC "
        "(plant/left). Unusual here, flow by flow: the busier end had 900 attempts to connect (SYN packets) of late; "
        "usually 0 to 9. Also: one end never spoke; usually both do. It looks like a port scan (confidence 90 of 100); "
        "candidate technique T0846.001 Port Scan"
    )
    assert event["severity"] == "Medium"
    assert event["finding_info"]["title"] == "Port scan: 198.18.134.11 tried 23 tcp ports of 22 addresses in 42 flows"
    assert event["unmapped"]["name"] == "Port scan"
    assert event["unmapped"]["reasons"][0]["says"] == (
        "the busier end had 900 attempts to connect (SYN packets) of late; usually 0 to 9"
    )


def test_it_fits_the_schema_and_carries_what_reports_need() -> None:
    event = scan()
    assert violation(event, "alert") is None
    assert event["metadata"]["version"] == "1.8.0"
    assert event["metadata"]["tenant_uid"] == "plant"
    assert event["finding_info"]["analytic"]["type_id"] == 4
    assert event["attacks"][0]["sub_technique"]["uid"] == "T0846.001"
    assert event["attacks"] == event["finding_info"]["attacks"]
    assert event["unmapped"]["techniques"] == [
        {"uid": "T0846.001", "name": "Port Scan", "was": "T0846", "status": "candidate", "confidence": "high"}
    ]
    assert event["unmapped"]["members"][:2] == [[0, 0, 0, 0], [0, 1, 0, 1]]
    assert event["unmapped"]["feature_hash"] == "ab" * 32
    assert event["time"] == event["unmapped"]["opened_ts_us"] // 1000 == (START_US + 100_000) // 1000
    [analysis] = event["anomaly_analyses"]
    assert analysis["anomalies"][0]["observations"][0]["value"] == "900 packets"
    assert analysis["baselines"][0]["observations"][0]["value"] == "0 to 9 packets"


def test_equal_incidents_are_equal_bytes() -> None:
    assert encode(scan()) == encode(scan())
    assert orjson.loads(encode(scan())) == scan()


def test_without_a_manifest_it_goes_out_without_reasons() -> None:
    [event] = incidents_of([scored([{}, {"at": 1}])])
    assert "anomaly_analyses" not in event
    assert violation(event, "alert") is None


@pytest.mark.parametrize(
    "name", ["mitm", "portscan", "ssh_bruteforce", "misconf", "duplication", "login", "normal", "weird"]
)
def test_every_class_gives_a_valid_event(name: str) -> None:
    [event] = incidents_of([scored([{"class": name}, {"class": name, "at": 1, "dst_port": 80}])])
    assert violation(event, "alert") is None
    assert ("attacks" in event) == (name in {"mitm", "portscan", "ssh_bruteforce"})
    assert "$" not in event["message"]


def test_the_crowd_is_called_one() -> None:
    incident = fresh()
    incident.key, incident.revision = CROWD, 1
    incident.absorb(members([{"src_addr": f"10.0.0.{n}"} for n in range(9)]))
    event = detection_finding(incident, CREATE, shipped(), None)
    assert event["message"] == (
        "9 addresses opened 9 Modbus connections (tcp/502) to 198.18.134.15, within 1 ms, since 2023-03-10 10:19:59 "
        "UTC (plant/left). More groups of unusual traffic at once than are followed one by one"
    )
    assert violation(event, "alert") is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("severity_id",), 7),
        (("severity",), "Low"),
        (("activity_id",), 1),
        (("time",), "yesterday"),
        (("type_uid",), 200402),
        (("message",), "two\nlines"),
        (("metadata", "version"), "1.7.0"),
        (("metadata", "product"), None),
        (("finding_info", "uid"), "x"),
        (("evidences", 0, "src_endpoint", "ip"), "198.18.134.300"),
        (("evidences", 0, "src_endpoint"), {"mac": "b8:27:eb:6d:4f:4b"}),
        (("confidence_score",), 101),
        (("extra",), 1),
        (("unmapped", "members"), []),
        (("attacks", 0, "technique", "uid"), "9"),
    ],
)
def test_a_violation_is_found_and_stops(path: tuple[Any, ...], value: object) -> None:
    event = copy.deepcopy(scan())
    target = event
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    with pytest.raises(Failed, match="alert: "):
        require_valid(event)


def test_doubt_lowers_the_severity_and_extent_raises_it() -> None:
    meaning = shipped().of("portscan")
    assert severity_id(meaning, 10, 90) == 3
    assert severity_id(meaning, 10, 20) == 2
    assert severity_id(meaning, 500, 90) == 4
    assert severity_id(shipped().of("command_injection"), 500, 90) == 5
    incident = fresh()
    incident.absorb(members([{"score": 1.0}, {"score": 0.5}, {"score": float("nan")}, {"score": 1.0, "class": "mitm"}]))
    assert confidence_score(incident) == round(100 * 2.5 / 4 * 3 / 4)


# The schema against OCSF's own files.


def attributes(*names: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in names:
        merged |= orjson.loads((OCSF / f"{name}.json").read_bytes())["attributes"]
    return {name: entry for name, entry in merged.items() if isinstance(entry, dict)}


# attacks, disposition and their like come from the security_control profile, named in metadata.profiles.
PROFILE = {"attacks", "disposition", "disposition_id"}
OBJECTS = {
    (): ("events/base_event", "events/finding", "events/detection_finding"),
    ("finding_info",): ("objects/finding_info",),
    ("finding_info", "analytic"): ("objects/analytic",),
    ("metadata",): ("objects/metadata",),
    ("metadata", "product"): ("objects/product",),
}


@pytest.mark.parametrize("where", list(OBJECTS))
def test_the_schema_has_ocsfs_required_attributes_and_no_others_than_its(where: tuple[str, ...]) -> None:
    schema = SCHEMA
    for part in where:
        schema = schema["properties"][part]
    known = attributes(*OBJECTS[where])
    required = {name for name, entry in known.items() if entry.get("requirement") == "required"}
    assert required <= set(schema["required"])
    allowed = set(known) | (PROFILE if where == () else set())
    assert set(schema["properties"]) <= allowed


def test_every_attribute_name_is_in_ocsfs_dictionary() -> None:
    known = orjson.loads((OCSF / "dictionary.json").read_bytes())["attributes"]

    def names(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set[str]().union(*(names(part) for part in schema))
        if not isinstance(schema, dict):
            return set()
        here = {name for name in schema.get("properties", {}) if name != "unmapped"}
        nested = [value for name, value in schema.get("properties", {}).items() if name not in {"unmapped", "data"}]
        return here.union(*(names(value) for key, value in schema.items() if key != "properties"), *map(names, nested))

    assert names(SCHEMA) <= set(known)
