"""The one JSON form of incidents: both witnesses, flows counted once, any alert's uid names it."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert.incidents import incidents_of
from pipeline.contracts.baseline import Evidence
from pipeline.contracts.incident_joining import is_alert, joined
from pipeline.errors import Usage
from pipeline.tools.alerts.incidents import MAX_ADDRESSES, MAX_MEMBERS, documents, named
from pipeline.tools.assets.known_devices import KnownDevice
from tests.alert.suspects import scored
from tests.alert.test_evidence import shown
from tests.contracts.test_incident_joining import SCANNER, SERVER, alert


def two_witnesses() -> list[dict[str, Any]]:
    """The events of an incident that two sensors see, as stage 4 writes them."""
    rows = [shown(Evidence.NEW_CONTROLLER, sensor=sensor) for sensor in ("left", "bottom", "bottom")]
    events = incidents_of([scored(rows[:1])]) + incidents_of([scored(rows[1:])])
    assert all(map(is_alert, events))
    return events


def test_an_incident_has_both_witnesses_and_its_flows_once() -> None:
    events = two_witnesses()
    (document,) = documents(events)
    assert document["sensors"] == ["bottom", "left"]
    assert document["flows_at"] == {"bottom": 2, "left": 1}
    assert document["flows"] == 2
    assert document["says"].endswith("; seen at bottom (2 flows) and left (1 flow)")
    assert {each["uid"] for each in document["members"]} == {event["finding_info"]["uid"] for event in events}
    assert (document["state"], document["kind"], document["page"]) == ("ended", "incident", True)
    assert orjson.loads(orjson.dumps(document)) == document


def test_an_incident_is_open_while_one_of_its_alerts_is() -> None:
    events = two_witnesses()
    (document,) = documents([{**events[0], "activity_id": 1}, events[1]])
    assert document["state"] == "open"


def test_devices_are_named_where_they_are_known() -> None:
    devices = {("plant", SCANNER): KnownDevice(SCANNER, "HMI north", "hmi", "high", "critical")}
    (document,) = documents([{**alert(1), "message": f"{SCANNER} wrote"}], devices=devices)
    assert document["says"].startswith(f"HMI north ({SCANNER}) wrote")
    assert [(each["address"], each["name"], each["criticality"]) for each in document["assets"]] == [
        (SCANNER, "HMI north", "critical")
    ]


def test_a_campaign_lists_some_and_counts_all() -> None:
    scan = [{**alert(at, "left", ((SCANNER, f"h{at}"),), at * 1_000_000), "message": "it"} for at in range(1_000)]
    (document,) = documents(scan)
    assert len(document["members"]) == MAX_MEMBERS and document["members_left_out"] == 1_000 - MAX_MEMBERS
    assert len(document["targets"]) == MAX_ADDRESSES and document["target_count"] == 1_000
    assert document["says"] == "it; 1,000 alerts in all, with 1,000 targets"


def test_the_one_that_went_on_last_comes_first() -> None:
    apart = [{**alert(at, "left", ((f"s{at}", SERVER),), at * 1_000_000), "message": "it"} for at in range(3)]
    assert [document["last_us"] for document in documents(apart)] == [2_000_000, 1_000_000, 0]


def test_any_alerts_uid_or_its_beginning_names_the_incident() -> None:
    events = two_witnesses()
    incidents = joined([*events, {**alert(1), "message": "it"}])
    for event in events:
        uid = event["finding_info"]["uid"]
        assert named(incidents, uid) is named(incidents, uid[:12])
    for text, got in (("", "got 2 incidents"), ("x", "got 0 incidents")):
        with pytest.raises(Usage, match=got):
            named(incidents, text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PATHS = (
    [(name,) for name in ("activity_id", "count", "evidences", "message", "severity_id", "unmapped")]
    + [("unmapped", name) for name in ("site", "sensor", "opened_ts_us", "last_ts_us", "destinations", "notice")]
    + [("finding_info", "uid"), ("finding_info", "title"), ("metadata", "sequence"), ("evidences", 0)]
    + [("evidences", 0, name) for name in ("src_endpoint", "connection_info", "data")]
    + [("evidences", 0, "dst_endpoint", "name"), ("evidences", 0, "connection_info", "community_uid")]
)


@given(st.sampled_from(PATHS), ANYTHING)
def test_what_is_no_alert_is_known_before_it_is_joined(path: tuple[Any, ...], value: Any) -> None:
    event = {**alert(1), "message": "it"}
    inner: Any = event
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    if is_alert(event):
        documents([event, {**alert(2, "bottom"), "message": "it"}])


@given(ANYTHING)
def test_anything_at_all_is_an_alert_or_not(value: Any) -> None:
    assert not is_alert(value)
