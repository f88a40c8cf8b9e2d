"""Alerts of one thing are one incident, the same for every reader, order and split into batches."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.incident_joining import (
    CAMPAIGN_GAP_US,
    DAY_US,
    GAP_US,
    HUB_PARTNERS,
    MAX_PAIRS,
    JoinedIncident,
    is_alert,
    joined,
    keys_of,
    neighbourhood,
)
from tests.examples import examples

SCANNER, SERVER = "10.0.0.9", "10.0.1.1"


def alert(
    uid: int,
    sensor: str = "left",
    talks: tuple[tuple[str, ...], ...] = ((SCANNER, SERVER),),
    first_us: int = 0,
    last_us: int | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """The fields of an alert that joining reads; talks: source and target, or a community id beside them."""
    name = changed.get("name", "New use of a service")
    title = changed.get("title", f"{name}: {uid} flows to {len(talks)} addresses")
    evidences = [
        {
            "src_endpoint": {"ip": talk[0]},
            "dst_endpoint": {"name": talk[1]},
            "connection_info": {"community_uid": talk[2]} if len(talk) > 2 else {},
            "data": {"flows": changed.get("count", 1)},
        }
        for talk in talks
    ]
    return {
        "activity_id": changed.get("activity_id", 3),
        "count": changed.get("count", 1),
        "evidences": evidences,
        "finding_info": {"uid": f"{uid:032x}", "title": title},
        "metadata": {"sequence": changed.get("sequence", 1)},
        "severity_id": changed.get("severity_id", 3),
        "unmapped": {
            "site": changed.get("site", "plant"),
            "sensor": sensor,
            "name": name,
            "opened_ts_us": changed.get("opened_us", first_us),
            "first_ts_us": first_us,
            "last_ts_us": first_us if last_us is None else last_us,
            "destinations": changed.get("destinations", len(talks)),
            "disposition": changed.get("disposition", "review"),
            **({"notice": {}} if changed.get("notice") else {}),
            **({"pairs": [list(pair) for pair in changed["pairs"]]} if changed.get("pairs") else {}),
        },
    }


def uids(incidents: list[JoinedIncident]) -> list[list[int]]:
    """The numbers of each incident's alerts."""
    return [[int(uid, 16) for uid in incident.uids] for incident in incidents]


def test_two_sensors_that_see_the_same_pair_are_one_incident_with_two_witnesses() -> None:
    seen = [alert(1, "left", count=9), alert(2, "bottom", ((SERVER, SCANNER),), GAP_US, count=4, severity_id=4)]
    (incident,) = joined(seen)
    assert uids([incident]) == [[1, 2]]
    assert incident.flows == 9, "the same flows are not counted twice"
    assert incident.flows_at == {"left": 9, "bottom": 4}
    assert incident.lead is seen[1]
    assert (incident.first_us, incident.last_us) == (0, GAP_US)


def test_two_sensors_that_see_the_same_community_id_are_one_incident() -> None:
    seen = [alert(1, "left", (("a", "b", "1:x"),)), alert(2, "bottom", (("c", "d", "1:x"),))]
    assert uids(joined(seen)) == [[1, 2]]


@pytest.mark.parametrize(
    "other",
    [
        alert(2, "bottom", first_us=GAP_US + 1),
        alert(2, "left"),
        alert(2, "bottom", site="other"),
        alert(2, "bottom", ((SCANNER, "10.0.1.2"),)),
        alert(2, "bottom", notice=True),
        alert(2, "bottom", opened_us=DAY_US, first_us=0),
    ],
    ids=["later than the gap", "one sensor", "another site", "another pair", "a notice", "another day"],
)
def test_what_is_not_the_same_stays_apart(other: dict[str, Any]) -> None:
    assert uids(joined([alert(1), other])) == [[1], [2]]


def test_a_scan_of_four_thousand_hosts_is_one_incident_however_slow() -> None:
    scan = [
        alert(number, ("left", "bottom")[number % 2], ((SCANNER, f"h{number}"),), number * 20_000_000)
        for number in range(4_000)
    ]
    (incident,) = joined(scan)
    assert incident.ends == ((SCANNER,), tuple(sorted(f"h{number}" for number in range(4_000))))
    assert incident.target_count == 4_000
    assert incident.flows == 2_000


def test_a_scan_seen_by_two_sensors_in_different_parts_is_one_incident() -> None:
    halves = [tuple((SCANNER, f"h{half}{host}") for host in range(HUB_PARTNERS)) for half in range(2)]
    assert uids(joined([alert(1, "left", halves[0], name="a"), alert(2, "bottom", halves[1], name="b")])) == [[1, 2]]


def test_a_flood_of_many_sources_is_one_incident_but_no_campaign() -> None:
    flood = [
        alert(at, "left", tuple((f"s{at}{source}", SERVER) for source in range(HUB_PARTNERS)), first_us)
        for at, first_us in enumerate((0, GAP_US, GAP_US * 2 + CAMPAIGN_GAP_US))
    ]
    assert uids(joined(flood)) == [[0, 1], [2]]


def test_a_pair_that_the_evidence_does_not_name_joins_what_two_sensors_saw() -> None:
    largest = [tuple((SCANNER, f"h{sensor}{host}") for host in range(3)) for sensor in "lb"]
    shared = [*((SCANNER, f"x{host}") for host in range(3)), (SCANNER, "shared")]
    left, bottom = (
        alert(at, sensor, talks, name=sensor, pairs=[*talks, shared[-1]])
        for at, (sensor, talks) in enumerate(zip(("left", "bottom"), largest, strict=True))
    )
    assert uids(joined([left, bottom])) == [[0, 1]]
    apart = [{**each, "unmapped": {**each["unmapped"], "pairs": shared[:2]}} for each in (left, bottom)]
    assert uids(joined([apart[0], alert(1, "bottom", largest[1], name="b")])) == [[0], [1]]


def test_a_hub_stays_one_when_other_conversations_come_to_it() -> None:
    scan = [(SCANNER, f"h{host}") for host in range(HUB_PARTNERS)]
    left = alert(1, "left", (*scan, ("a", "b")), name="a", pairs=[*scan, ("a", "b")])
    bottom = alert(2, "bottom", tuple((SCANNER, f"k{host}") for host in range(HUB_PARTNERS)), name="b")
    assert uids(joined([left, bottom])) == [[1, 2]]
    late = alert(1, "left", (*scan, ("a", "b")), name="a", pairs=[("a", "b"), *scan])
    assert uids(joined([late, bottom])) == [[1], [2]]


def test_of_an_alert_so_many_pairs_are_read() -> None:
    many = [("a", f"h{host}") for host in range(10_000)]
    flood = alert(1, "left", (("a", "h0"),), pairs=many)
    assert len(keys_of(flood)) == MAX_PAIRS + 1, "and the hub"
    assert uids(joined([flood, alert(2, "bottom", (("a", f"h{MAX_PAIRS - 1}"),), name="b")])) == [[1, 2]]
    assert uids(joined([flood, alert(2, "bottom", (("a", f"h{MAX_PAIRS}"),), name="b")])) == [[1], [2]]


@pytest.mark.parametrize(
    "pairs", [0, None, "ab", {}, {"a": 1}, [1], [None], ["a"], [["a"]], [["a", 1]], [[["a"], "b"]]]
)
def test_pairs_of_another_kind_are_no_alert(pairs: Any) -> None:
    hostile = {**alert(1), "message": "says"}
    assert is_alert(hostile)
    hostile["unmapped"]["pairs"] = pairs
    assert not is_alert(hostile)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("evidences.0.dst_endpoint.port", []),
        ("evidences.0.connection_info.protocol_name", {}),
        ("evidences.0.data.flows", 2**63),
        ("attacks", None),
        ("attacks", [{}]),
        ("attacks", [{"technique": {"uid": "T0846"}}]),
        ("attacks", [{"sub_technique": True}]),
        ("unmapped.did", [{}]),
        ("unmapped.did", [None]),
        ("unmapped.class", []),
        ("unmapped.classes", {"dos": None}),
        ("unmapped.late", "many"),
        ("unmapped.opened_ts_us", -(2**63)),
        ("unmapped.last_ts_us", 2**64 - 1),
        ("metadata.sequence", 2**63),
        ("count", 2**60),
        ("severity_id", True),
        ("finding_info.uid", "\u202e"),
        ("finding_info.uid", "a\0"),
        ("finding_info.uid", "0" * 1_000),
    ],
)
def test_what_no_document_can_be_made_of_is_no_alert(path: str, value: Any) -> None:
    hostile = {**alert(1), "message": "says"}
    assert is_alert(hostile)
    part: Any = hostile
    *way, name = path.split(".")
    for key in way:
        part = part[int(key) if key.isdigit() else key]
    part[name] = value
    assert not is_alert(hostile)


def test_an_actor_under_one_name_is_a_campaign_whatever_its_titles_count() -> None:
    apart = [alert(at, "left", ((SCANNER, f"h{at}"),), at * GAP_US * 2) for at in range(HUB_PARTNERS)]
    assert uids(joined(apart)) == [list(range(HUB_PARTNERS))]
    assert (
        len(joined([{**each, "unmapped": {**each["unmapped"], "name": f"kind {at}"}} for at, each in enumerate(apart)]))
        == 4
    )
    before = [
        {**each, "unmapped": {key: of for key, of in each["unmapped"].items() if key != "name"}} for each in apart
    ]
    assert len(joined(before)) == HUB_PARTNERS, "alerts of a version before names go by their titles"


def test_an_actor_that_reaches_for_few_is_no_campaign() -> None:
    few = [alert(at, "left", ((SCANNER, f"h{at % (HUB_PARTNERS - 1)}"),), at * GAP_US * 2) for at in range(20)]
    assert len(joined(few)) == 20


def test_everybody_is_nobodys_hub() -> None:
    talks = tuple((f"10.0.0.{host}", "ff:ff:ff:ff:ff:ff") for host in range(HUB_PARTNERS))
    assert uids(joined([alert(1, "left", talks), alert(2, "left", talks[::-1])])) == [[1], [2]]


def test_no_address_is_both_a_source_and_a_target() -> None:
    (incident,) = joined([alert(1, talks=((SCANNER, SERVER), (SERVER, SCANNER), (SCANNER, "h")))])
    assert incident.ends == ((SCANNER, SERVER), ("h",)) or incident.ends == ((SCANNER,), (SERVER, "h"))
    assert not set(incident.ends[0]) & set(incident.ends[1])


ALERTS = st.lists(
    st.builds(
        lambda uid, sensor, talks, first_us, length_us, sequence, name, site, more: alert(
            uid,
            sensor,
            tuple(talks),
            first_us,
            first_us + length_us,
            sequence=sequence,
            name=name,
            site=site,
            # As stage 4 writes them, or as a version before did.
            pairs=more and [*dict.fromkeys(tuple(sorted(pair)) for pair in [*more, *talks])],
        ),
        st.integers(0, 12),
        st.sampled_from(["left", "bottom"]),
        st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("defghij")), min_size=1, max_size=5),
        st.integers(0, 20).map(lambda step: step * GAP_US) | st.just(DAY_US - GAP_US) | st.just(DAY_US + 1),
        st.integers(0, 2).map(lambda step: step * GAP_US),
        st.integers(1, 3),
        st.sampled_from(["scan", "use"]),
        st.sampled_from(["plant", "other"]),
        st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("defghij")), max_size=6),
    ),
    max_size=30,
    unique_by=lambda each: (each["finding_info"]["uid"], each["metadata"]["sequence"]),
)


@settings(max_examples=examples(75))
@given(ALERTS, st.randoms(use_true_random=False), st.integers(0, 30))
def test_joined_is_the_same_in_any_order_and_any_split(alerts: list[dict[str, Any]], random: Any, cut: int) -> None:
    expected = joined(alerts)
    shuffled = random.sample(alerts, len(alerts))
    assert joined(shuffled) == expected
    assert joined([*shuffled, *shuffled[:cut]]) == expected
    first = [each for incident in joined(shuffled[:cut]) for each in incident.alerts]
    assert joined([*first, *shuffled[cut:]]) == expected
    assert sum(len(incident.alerts) for incident in expected) == len({each["finding_info"]["uid"] for each in alerts})


@settings(max_examples=examples(75))
@given(ALERTS, st.integers(0, 30))
def test_an_alert_touches_none_outside_its_neighbourhood(alerts: list[dict[str, Any]], cut: int) -> None:
    latest = [each for incident in joined(alerts) for each in incident.alerts]
    for incident in joined(alerts):
        around = {neighbourhood(each) for each in incident.alerts}
        assert len(around) == 1
        site, from_us, until_us = around.pop()
        near = [
            each
            for each in latest
            if each["unmapped"]["site"] == site and from_us <= each["unmapped"]["opened_ts_us"] < until_us
        ]
        assert incident in joined(near)


@settings(max_examples=examples(75))
@given(ALERTS)
def test_what_is_joined_by_one_rule_shares_a_key(alerts: list[dict[str, Any]]) -> None:
    for incident in joined(alerts):
        seen, rest = keys_of(incident.alerts[0]), list(incident.alerts[1:])
        while reached := [each for each in rest if keys_of(each) & seen]:
            seen = seen.union(*map(keys_of, reached))
            rest = [each for each in rest if each not in reached]
        assert not rest


def test_fifty_thousand_incidents_of_a_day_are_not_compared_each_with_each() -> None:
    flood = [
        alert(at, f"s{at % 3}", ((f"a{at % 1000}", f"b{at % 77}"), (SCANNER, f"h{at % 500}")), at * 1_000_000)
        for at in range(50_000)
    ]
    began_s = time.process_time()
    incidents = joined(flood)
    assert time.process_time() - began_s < 30, "it takes 1.4 s; each with each would take hours"
    assert sum(len(incident.alerts) for incident in incidents) == 50_000
