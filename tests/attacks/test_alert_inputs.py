"""Hostile input to the alert stage: strings that steer terminals, numbers that are none, floods, forged state."""

import json
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.endpoints import endpoint
from pipeline.alert.explain import read_baseline
from pipeline.alert.grouping import Grouping
from pipeline.alert.incidents import incidents_of
from pipeline.alert.ocsf import CLOSE, encode
from pipeline.alert.pages import MAX_ENTRIES
from pipeline.alert.partition import PartitionState, advance_partition, restore, snapshot
from pipeline.errors import BadData, RefusedState
from pipeline.runtime.wire import batches
from schemas.validation import violation
from tests.alert.suspects import manifest, scored
from tests.contracts.facts import rows_facts
from tests.examples import examples
from tests.tools.alerts.printed import printed

HOSTILE = [
    "\x1b[2J\x1b[31mALL IS WELL\x1b[0m",
    "\x1b]8;;http://evil\x07click\x1b]8;;\x07",
    "<script>alert(1)</script>",
    "[bold red]trust me[/bold red]",
    "CEF:0|Evil|x=y\\|\nCEF:0|Forebay|all fine",
    "198.18.134.1\n198.18.134.2",
    "\u202egnp.exe",  # right-to-left override
    "a" * 10_000,
    "\x00",
    "",
    "${jndi:ldap://evil}",
    "$actor",
    "{0.__class__}",
    "crowd",
    "\x1f\x1f",
    "fe80::1%eth0;rm -rf",
    "😀" * 100,
    "\ufeff\u200b",
]


def require_harmless(alert: dict[str, Any]) -> None:
    assert violation(alert, "alert") is None
    assert json.loads(encode(alert)) == orjson.loads(encode(alert))
    text = printed(alert)
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert alert["message"].isprintable()


FIELDS = ("src_addr", "dst_addr", "class", "nearest_class", "site", "sensor", "model", "community_id", "src_mac")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_neither_steer_a_terminal_nor_break_an_event(text: str) -> None:
    row = dict.fromkeys(FIELDS, text)
    [event] = incidents_of([scored([row, {**row, "at": 1}])])
    require_harmless(event)
    if "[bold red]" in text:
        assert "[bold red]trust me" in printed(event)


@pytest.mark.parametrize("where", FIELDS)
def test_a_hostile_string_in_one_field_does_no_harm(where: str) -> None:
    [event] = incidents_of([scored([{where: HOSTILE[0]}, {where: HOSTILE[0], "at": 1}])])
    require_harmless(event)


@settings(max_examples=examples(15), deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_addresses_give_a_valid_event(source: str, target: str) -> None:
    [event] = incidents_of([scored([{"src_addr": source, "dst_addr": target}] * 2)])
    require_harmless(event)


@pytest.mark.parametrize(
    "address", ["1.2.3.4.5", "1.2.3", "0x7f.1", "::ffff:1.2.3.4%x", "127.1", " 1.2.3.4", "1.2.3.4 "]
)
def test_what_is_no_ip_address_is_not_called_one(address: str) -> None:
    assert "ip" not in endpoint(address, None, None)


NUMBERS = [float("nan"), float("inf"), float("-inf"), 3.4e38, -3.4e38, 1e-45, 0.0]


@pytest.mark.parametrize("value", NUMBERS)
def test_features_and_scores_that_are_no_numbers_make_valid_json(value: float) -> None:
    rows = [{"score": value, "p_value": value, "novelty": value, "raw_offset": n, "at": n} for n in range(3)]
    features = np.full((3, 4), value)
    [event] = incidents_of([scored(rows, features)], baseline_of=lambda _model: read_baseline(manifest()))
    require_harmless(event)
    assert b"NaN" not in encode(event) and b"Infinity" not in encode(event)
    assert 0 <= event["confidence_score"] <= 100


def test_numbers_of_every_kind_in_one_incident() -> None:
    features = np.array([[a, b, a, b] for a in NUMBERS for b in NUMBERS])
    rows = [{"raw_offset": n, "at": n / 10} for n in range(len(features))]
    [event] = incidents_of([scored(rows, features)], baseline_of=lambda _model: read_baseline(manifest()))
    require_harmless(event)


def test_enormous_counts_and_times_stay_numbers() -> None:
    late = [{"late_by_us": 2**60, "end_ts_us": 0, "start_ts_us": 0, "ingest_ts_us": 2**61}] * 2
    [event] = incidents_of([scored(late)])
    assert event["unmapped"]["late"] == 2
    assert event["end_time"] == 0


def test_a_flood_of_forged_addresses_costs_neither_memory_nor_an_alert_each() -> None:
    state, grouping = PartitionState.empty(), Grouping()
    opened: set[str] = set()
    lone: set[str] = set()
    for seq in range(4):
        rows = [
            {
                "at": seq + n / 4096,
                "src_addr": f"10.{seq}.{n >> 8}.{n & 255}",
                "dst_addr": f"11.{seq}.{n >> 8}.{n & 255}",
                "raw_offset": seq * 4096 + n,
            }
            for n in range(900)
        ]
        doubled = rows + [{**row, "raw_index": 1} for row in rows[:200]]
        advanced = advance_partition(state, scored(doubled), rows_facts(seq=seq), grouping, lambda _model: None)
        state = advanced.state
        for event in advanced.events:
            (lone if "notice" in event["unmapped"] else opened).add(event["finding_info"]["uid"])
        sensor = state.sensors["plant", "left"]
        assert len(sensor.incidents) <= grouping.max_open + 1
        assert len(sensor.waiting_of) <= grouping.max_waiting
    assert len(opened) <= grouping.max_open + 1 and len(lone) == 1
    assert len(snapshot(state)) < 4_000_000
    end = rows_facts(seq=4, ended=(("plant", "left"),))
    closing = advance_partition(state, batches.empty("scored", 4), end, grouping, lambda _model: None)
    assert {event["activity_id"] for event in closing.events} == {CLOSE}
    [left] = closing.state.sensors.values()
    assert left.followed == [] and len(left.pages.entries) <= MAX_ENTRIES
    assert len(snapshot(closing.state)) < 60_000  # its budget, and what it was paged for


def test_an_event_stays_small_however_many_flows_it_holds() -> None:
    rows = [
        {"at": n / 1000, "dst_addr": f"10.0.{n >> 8}.{n & 255}", "dst_port": n, "class": f"c{n % 99}", "raw_offset": n}
        for n in range(2000)
    ]
    [event] = incidents_of([scored(rows)])
    assert event["count"] == 2000
    assert event["unmapped"]["members_left_out"] == 2000 - 1024
    assert len(encode(event)) < 64 * 1024


@settings(max_examples=examples(25), deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_state_is_refused_or_read_never_half(noise: bytes, at: int, value: int) -> None:
    state = advance_partition(
        PartitionState.empty(), scored([{}] * 3), rows_facts(), Grouping(), lambda _model: None
    ).state
    good = snapshot(state)
    damaged = bytearray(good)
    damaged[at % len(good)] = value
    for payload in (noise, bytes(damaged), good[: at % len(good)]):
        try:
            assert restore(payload).seq >= 0
        except RefusedState:
            continue


@pytest.mark.parametrize("payload", [b"", b"ARROW1", b"\xff" * 64, orjson.dumps({"seq": 0})])
def test_a_message_that_is_no_batch_is_bad_data(payload: bytes) -> None:
    with pytest.raises(BadData):
        batches.decode(payload, "scored")


def test_an_alert_written_by_somebody_else_cannot_steer_the_reader() -> None:
    [event] = incidents_of([scored([{}, {"at": 1}])])
    event["message"] = event["finding_info"]["title"] = event["severity"] = "\x1b[2J\x1b]0;owned\x07"
    event["unmapped"]["reasons"] = [{"feature": "\x1b[2J", "says": "[red]\x1b]0;x\x07", "share": 1.0}]
    text = printed(event)
    assert "\x1b]" not in text and "\x1b[2J" not in text


def test_rows_whose_arrow_offsets_are_sliced_are_read_right() -> None:
    whole = scored([{"src_addr": f"{n}", "raw_offset": n, "at": n} for n in range(10)])
    part = whole.slice(4, 3)
    again = pa.RecordBatch.from_pylist(part.to_pylist(), schema=part.schema)
    assert [encode(event) for event in incidents_of([part])] == [encode(event) for event in incidents_of([again])]
