"""Suspects in no incident: all counted, the first listed, the same however they come, and few revisions."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.explain import read_baseline
from pipeline.alert.incidents import outcome_of
from pipeline.alert.lone_flows import LISTED
from pipeline.alert.ocsf import CLOSE, CREATE, UPDATE, encode
from pipeline.alert.partition import PartitionState, advance_partition, restore, snapshot
from pipeline.alert.validity import require_valid
from pipeline.contracts.baseline import Evidence
from pipeline.contracts.incident_joining import DAY_US, is_alert, joined
from pipeline.contracts.notices import LONE
from pipeline.errors import Usage
from pipeline.runtime.wire import batches
from pipeline.runtime.wire.framing import MAX_UNPACKED_BYTES
from pipeline.tools.alerts.filters import kind_of
from pipeline.tools.alerts.incidents import document
from pipeline.tools.alerts.verdicts import verdict_of
from tests.alert.suspects import SECOND, START_US, manifest, scored
from tests.alert.test_evidence import shown
from tests.alert.test_partition import GROUPING, facts, nothing
from tests.alert.test_sensor import ARRIVALS, messages_of
from tests.examples import examples
from tests.tools.alerts.printed import printed

NIGHT_S = (DAY_US - START_US % DAY_US) // SECOND
"""From START_US to the end of its day."""


def content(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what says how often it was emitted."""
    metadata = {name: value for name, value in event["metadata"].items() if name not in ("sequence", "uid")}
    return {**event, "metadata": metadata}


def last_of(messages: list[tuple[pa.RecordBatch, int]], saves: bool = False) -> dict[str, dict[str, Any]]:
    """The last event of each uid after messages of (rows, watermark) and the sensors' end."""
    state, last = PartitionState.empty(), dict[str, dict[str, Any]]()
    for seq, (rows, until_us) in enumerate(messages):
        stated = facts(seq, (until_us - START_US) / SECOND, ended=seq == len(messages) - 1)
        state = restore(snapshot(state)) if saves else state
        advanced = advance_partition(state, rows, stated, GROUPING, nothing)
        for event in advanced.events:
            before = last.get(event["finding_info"]["uid"])
            assert event["metadata"]["sequence"] == (before["metadata"]["sequence"] + 1 if before else 1)
            last[event["finding_info"]["uid"]] = event
    assert state.lone == {}
    return last


def place(flow: dict[str, Any]) -> tuple[int, ...]:
    return tuple(flow["position"][:3])


@settings(max_examples=examples(40), deadline=None)
@given(arrivals=ARRIVALS, cuts=st.sets(st.integers(1, 39), max_size=6), at_night=st.booleans())
def test_each_suspect_is_in_an_incident_or_counted_once_however_they_come(
    arrivals: list[tuple[int, str, int]], cuts: set[int], at_night: bool
) -> None:
    shift = NIGHT_S - 6 if at_night else 0
    later = [(back, who, forward + shift * (at == 0)) for at, (back, who, forward) in enumerate(arrivals)]
    whole, split, saved = (last_of(messages_of(later, where), saves) for where, saves in (
        (set[int](), False), (cuts, False), (cuts, True),
    ))  # fmt: skip
    assert {uid: encode(event) for uid, event in split.items()} == {uid: encode(event) for uid, event in saved.items()}
    told = [event for event in whole.values() if "notice" in event["unmapped"]]
    assert sum(event["count"] for event in whole.values()) == len(arrivals)
    assert [content(event) for event in told] == [content(split[event["finding_info"]["uid"]]) for event in told]
    in_incidents = {tuple(each[:3]) for event in whole.values() for each in event["unmapped"]["members"]}
    listed = Counter(place(flow) for event in told for flow in event["unmapped"]["notice"]["flows"])
    assert set(listed.values()) <= {1} and not in_incidents & set(listed)
    assert {0, *(offset for _, offset, _ in listed)} <= {0, *range(len(arrivals))}
    for event in told:
        require_valid(event)
        flows = event["unmapped"]["notice"]["flows"]
        assert event["activity_id"] == CLOSE and is_alert(event)
        assert len(flows) == min(event["count"], LISTED)
        assert [flow["at_us"] for flow in flows] == sorted(flow["at_us"] for flow in flows)


def apart(count: int, every_s: float = 60, **facts: Any) -> list[dict[str, Any]]:
    """Suspects that have nothing to do with each other."""
    return [
        {
            "at": at * every_s,
            "src_addr": f"10.0.{at // 250}.{at % 250 + 1}",
            "dst_addr": f"10.1.{at // 250}.{at % 250 + 1}",
        }
        | facts
        for at in range(count)
    ]


def test_a_file_and_the_log_tell_the_same_and_list_the_first() -> None:
    rows = scored(apart(100))
    outcome = outcome_of([rows], GROUPING)
    [event] = outcome.lone
    live = last_of(
        [(rows.slice(at, 1), START_US + at * 60 * SECOND) for at in range(100)] + [(rows.slice(0, 0), START_US)]
    )
    assert outcome.incidents == [] and [content(each) for each in live.values()] == [content(event)]
    assert event["count"] == 100 and [place(each)[1] for each in event["unmapped"]["notice"]["flows"]] == [
        *range(LISTED)
    ]
    assert event["message"].startswith("left at plant: 100 suspect flows belong to no incident, on 2023-03-10 (UTC)")


def test_revisions_are_few_and_the_last_is_at_the_days_end() -> None:
    state, told = PartitionState.empty(), list[tuple[int, int]]()
    rows = scored(apart(100, 6))
    for seq in range(100):
        advanced = advance_partition(state, rows.slice(seq, 1), facts(seq, seq * 6), GROUPING, nothing)
        told += [(event["activity_id"], event["count"]) for event in advanced.events]
    for seq, at in enumerate((3_000, 6_000, NIGHT_S - 1, NIGHT_S, NIGHT_S + 10_000), 100):
        advanced = advance_partition(state, rows.slice(0, 0), facts(seq, at), GROUPING, nothing)
        told += [(event["activity_id"], event["count"]) for event in advanced.events]
    assert told == [(CREATE, 1), (UPDATE, 4), (UPDATE, 16), (UPDATE, 64), (UPDATE, 100), (CLOSE, 100)]
    assert state.lone["plant", "left"].days == []


def test_each_day_and_each_file_of_a_sensor_has_its_own() -> None:
    rows = apart(2, NIGHT_S + 10)
    events = outcome_of([scored(rows)], GROUPING).lone
    assert [event["count"] for event in events] == [1, 1]
    assert events[0]["unmapped"]["opened_ts_us"] < events[1]["unmapped"]["opened_ts_us"] == START_US + NIGHT_S * SECOND
    [later] = outcome_of([scored([{**rows[0], "at": 500}])], GROUPING).lone
    assert later["finding_info"]["uid"] not in {event["finding_info"]["uid"] for event in events}


def test_suspects_turned_away_or_of_a_model_before_are_counted() -> None:
    grouping = replace(GROUPING, max_waiting=3)
    many = scored(apart(50, 0.01))
    [event] = outcome_of([many], grouping).lone
    assert event["count"] == 50
    state = advance_partition(PartitionState.empty(), many.slice(0, 3), facts(0, 1), grouping, nothing).state
    other = many.slice(0, 1).drop_columns(["features"])
    events = advance_partition(state, other, facts(1, 1, ended=True), grouping, nothing).events
    assert [event["count"] for event in events] == [4]


def test_a_state_larger_than_a_message_may_be_is_read() -> None:
    state = PartitionState.empty()
    advance_partition(state, scored(apart(2, 1)), facts(0, 1), GROUPING, nothing)
    rows, saved = batches.decode(snapshot(state), "scored")
    restored = restore(batches.encode(rows, {**saved, "padding": "x" * MAX_UNPACKED_BYTES}))
    assert snapshot(restored) == snapshot(state)


def test_a_state_of_the_version_before_is_read() -> None:
    state = PartitionState.empty()
    advance_partition(state, scored(apart(2, 1)), facts(0, 1), GROUPING, nothing)
    rows, saved = batches.decode(snapshot(state), "scored")
    saved.pop("lone")
    for sensor in saved["sensors"]:
        sensor.pop("began_us")
    before = restore(batches.encode(rows, saved))
    [event] = advance_partition(before, scored([]), facts(1, 1, ended=True), GROUPING, nothing).events
    assert event["count"] == 2 and event["unmapped"]["notice"]["kind"] == LONE
    require_valid(event)


EVIL = "\x1b[31m<img src=x onerror=alert(1)>\u202e" + "x" * 300


@pytest.mark.parametrize("row", [
    {"src_addr": EVIL, "dst_addr": EVIL, "class": EVIL, "model": EVIL, "site": EVIL, "sensor": EVIL},
    {"src_addr": "", "dst_addr": "", "dst_port": None, "ip_proto": None, "ether_type": None},
    {"score": float("nan"), "p_value": float("nan"), "novelty": float("inf"), "source_record": None},
])  # fmt: skip
def test_names_from_the_network_are_harmless_and_the_event_valid(row: dict[str, Any]) -> None:
    [event] = outcome_of([scored([row])], GROUPING).lone
    require_valid(event)
    assert is_alert(event)
    text = printed(event) + encode(event).decode()
    assert "\x1b" not in text and "\u202e" not in text


def test_a_row_says_who_did_what_and_why() -> None:
    baseline = read_baseline(manifest())
    assert baseline is not None
    [event] = outcome_of(
        [scored([shown(Evidence.NEW_SERVICE_USE, dst_port=8080)])], GROUPING, lambda _model: baseline
    ).lone
    [flow] = event["unmapped"]["notice"]["flows"]
    assert (flow["source"], flow["target"]) == (
        event["evidences"][0]["src_endpoint"]["ip"],
        event["evidences"][0]["dst_endpoint"]["ip"],
    )
    assert "is not known to use" in flow["reason"] and flow["source"] in flow["says"] and flow["p_value"] <= 1


def test_readers_list_it_for_review_alone_and_refuse_a_verdict() -> None:
    [event] = outcome_of([scored([{}])], GROUPING).lone
    [incident] = joined([event])
    shown_as = document(incident)
    assert kind_of(shown_as) == LONE and not shown_as["page"] and shown_as["flows"] == 1
    with pytest.raises(Usage, match="got suspects that are in no incident, expected an incident"):
        verdict_of(shown_as, incident.alerts, "benign", "kim", 0)
