from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alert.explain import Baseline, read_baseline
from pipeline.alert.grouping import Grouping
from pipeline.alert.ocsf import CLOSE, CREATE, classification, encode
from pipeline.alert.partition import PartitionState, advance_partition, restore, snapshot
from pipeline.alert.sensor_state import NEVER_US, SensorState, Tally
from pipeline.contracts.envelope import RowsFacts, SensorWatermark
from pipeline.contracts.notices import LONE
from pipeline.errors import RefusedState, SchemaMismatch, SequenceGap
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.runtime.wire import batches
from schemas.fields import arrow_schema
from tests.alert.suspects import SECOND, START_US, WIDTH, manifest, scored
from tests.contracts.facts import rows_facts
from tests.examples import examples

GROUPING = Grouping(link="address", open_count=2, gap_us=4 * SECOND, max_open=2, max_waiting=3)


def nothing(_model: str) -> Baseline | None:
    return None


def facts(seq: int, at: float = 0, ended: bool = False) -> RowsFacts:
    until_us = START_US + round(at * SECOND)
    return rows_facts(
        seq=seq,
        watermarks=tuple(SensorWatermark("plant", sensor, until_us) for sensor in ("bottom", "left")),
        ended=(("plant", "left"), ("plant", "bottom")) if ended else (),
        feature_set="four-1",
        feature_hash="ab" * 32,
    )


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.sampled_from("abcd"), st.sampled_from(["left", "bottom"])),
    max_size=6,
)


def message(rows: list[tuple[int, str, str, str]], number: int) -> pa.RecordBatch:
    ordered = sorted(rows, key=lambda row: (row[3], row[0]))
    return scored(
        [
            {
                "at": number * 4 + at,
                "src_addr": a,
                "dst_addr": b,
                "sensor": sensor,
                "raw_offset": number,
                "raw_index": n,
            }
            for n, (at, a, b, sensor) in enumerate(ordered)
        ]
    )


@pytest.mark.slow
@settings(max_examples=examples(40), deadline=None)
@given(messages=st.lists(ROWS, max_size=6), link=st.sampled_from(["address", "mac", "none"]))
def test_sensors_together_are_each_as_alone_byte_for_byte(
    messages: list[list[tuple[int, str, str, str]]], link: str
) -> None:
    grouping, sensors = replace(GROUPING, link=link), ("bottom", "left")
    together, alone = PartitionState.empty(), {sensor: PartitionState.empty() for sensor in sensors}
    for number, rows in enumerate(messages):
        stated, batch = facts(number, number * 4 + 4, ended=number == len(messages) - 1), message(rows, number)
        together, events, tally, _ = advance_partition(together, batch, stated, grouping, nothing)
        expected, happened = list[bytes](), Tally()
        for sensor in sensors:
            own = batch.filter(pc.equal(batch.column("sensor"), sensor))
            watermarks = tuple(each for each in stated.watermarks if each.sensor == sensor)
            ended = tuple(name for name in stated.ended if name[1] == sensor)
            only = replace(stated, watermarks=watermarks, ended=ended)
            alone[sensor], each, of_sensor, _ = advance_partition(alone[sensor], own, only, grouping, nothing)
            expected += [encode(event) for event in each]
            happened = happened.plus(of_sensor)
            parts = alone[sensor].sensors | {name: of for name, of in together.sensors.items() if name[1] != sensor}
            lone = alone[sensor].lone | {name: of for name, of in together.lone.items() if name[1] != sensor}
            assert snapshot(replace(together, sensors=parts, lone=lone)) == snapshot(together)
        assert sorted(encode(event) for event in events) == sorted(expected)
        assert tally == happened


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(messages=st.lists(ROWS, max_size=6), saved=st.sets(st.integers(0, 5)))
def test_a_restored_state_continues_byte_for_byte(
    messages: list[list[tuple[int, str, str, str]]], saved: set[int]
) -> None:
    reference, restored = PartitionState.empty(), PartitionState.empty()
    for number, rows in enumerate(messages):
        stated = facts(number, number * 4 + 4, ended=number == len(messages) - 1)
        batch = message(rows, number)
        if number in saved:
            payload = snapshot(restored)
            restored = restore(payload)
            assert snapshot(restored) == payload
        reference, expected, _, _ = advance_partition(reference, batch, stated, GROUPING, nothing)
        restored, events, _, _ = advance_partition(restored, batch, stated, GROUPING, nothing)
        assert [encode(event) for event in events] == [encode(event) for event in expected]
        assert snapshot(restored) == snapshot(reference)


@settings(max_examples=examples(25), deadline=None)
@given(messages=st.lists(ROWS, max_size=6), ended=st.sets(st.integers(0, 5)))
def test_a_quiet_sensor_is_left_as_if_it_were_advanced_in_full(
    messages: list[list[tuple[int, str, str, str]]], ended: set[int]
) -> None:
    quick, full = PartitionState.empty(), PartitionState.empty()
    for number, rows in enumerate(messages):
        stated = facts(number, number * 4 + 4, ended=number in ended)
        batch = message(rows, number)
        quick, events, tally, _ = advance_partition(quick, batch, stated, GROUPING, nothing)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(SensorState, "is_quiet", property(lambda _state: False))
            full, expected, expected_tally, _ = advance_partition(full, batch, stated, GROUPING, nothing)
        assert [encode(event) for event in events] == [encode(event) for event in expected]
        assert tally == expected_tally
        assert snapshot(quick) == snapshot(full)


def without_baselines(payload: bytes) -> bytes:
    """A saved state as the version before wrote it: no columns of baselines, no evidence of incidents."""
    rows, facts = batches.decode(payload, "scored")
    for saved in facts["sensors"]:
        for each in saved["followed"]:
            (each["incident"] or {}).pop("shown", None)
    schema = rows.schema.remove_metadata()
    return batches.encode(rows.select([name for name in schema.names if name not in COLUMNS]), facts)


def test_a_state_saved_before_there_were_baselines_is_read() -> None:
    rows = [(0, "a", "b", "left"), (1, "a", "c", "left"), (3, "d", "b", "bottom")]
    state, *_ = advance_partition(PartitionState.empty(), message(rows, 0), facts(0, 3), GROUPING, nothing)
    assert state.sensors["plant", "bottom"].waiting is not None
    saved = snapshot(state)
    before = restore(without_baselines(saved))
    assert snapshot(before) == saved
    again = message([(0, "a", "b", "left"), (0, "d", "b", "bottom")], 1)
    events = [
        advance_partition(each, again, facts(1, 4, ended=True), GROUPING, nothing).events
        for each in (restore(saved), before)
    ]
    assert len(events[0]) == 3 and [encode(e) for e in events[0]] == [encode(e) for e in events[1]]


def test_a_message_read_before_changes_nothing() -> None:
    state, events, _, _ = advance_partition(
        PartitionState.empty(), scored([{}, {"at": 1}]), facts(0), GROUPING, nothing
    )
    assert len(events) == 1
    before = snapshot(state)
    again = advance_partition(state, scored([{}, {"at": 1}]), facts(0), GROUPING, nothing)
    assert not again.accepted
    assert again.events == []
    assert snapshot(again.state) == before


def test_a_missing_message_stops() -> None:
    state = PartitionState(seq=3)
    with pytest.raises(SequenceGap, match="got seq 5, expected 3"):
        advance_partition(state, scored([]), facts(5), GROUPING, nothing)


def test_a_message_of_no_rows_closes_what_the_watermark_has_passed() -> None:
    state, *_ = advance_partition(PartitionState.empty(), scored([{}, {"at": 1}]), facts(0, 1), GROUPING, nothing)
    state, events, _, _ = advance_partition(state, batches.empty("scored", WIDTH), facts(1, 5), GROUPING, nothing)
    assert events == []
    state, events, _, _ = advance_partition(state, batches.empty("scored", WIDTH), facts(2, 5.1), GROUPING, nothing)
    assert [event["activity_id"] for event in events] == [CLOSE]
    assert state.seq == 3


def test_sensors_are_separate_and_only_their_pages_outlast_their_end() -> None:
    rows = scored([{"sensor": "left"}, {"sensor": "bottom", "raw_offset": 5}, {"sensor": "left", "at": 1}])
    state, events, _, _ = advance_partition(PartitionState.empty(), rows, facts(0, 1), GROUPING, nothing)
    assert [event["unmapped"]["sensor"] for event in events] == ["left"]
    state, events, tally, _ = advance_partition(state, scored([]), facts(1, 1, ended=True), GROUPING, nothing)
    assert [(event["activity_id"], event["unmapped"]["sensor"]) for event in events] == [
        (CLOSE, "left"),
        (CLOSE, "bottom"),
    ]
    assert events[1]["unmapped"]["notice"]["kind"] == LONE and state.lone == {}
    [(name, left)] = state.sensors.items()
    assert (name, left.clock_us, left.followed, left.waiting) == (("plant", "left"), NEVER_US, [], None)
    assert tally.alone == 1


def test_rows_that_are_no_suspects_do_not_count() -> None:
    rows = scored([{"suspect": False}, {"suspect": False, "at": 1}])
    _, events, tally, _ = advance_partition(PartitionState.empty(), rows, facts(0), GROUPING, nothing)
    assert events == []
    assert tally.suspects == 0


def test_a_model_of_another_feature_set_is_refused_with_both_names() -> None:
    other = read_baseline(manifest() | {"feature_set": "five-2", "feature_hash": "cd" * 32})
    with pytest.raises(SchemaMismatch, match=r"'four-1' abab.*'five-2' cdcd"):
        advance_partition(PartitionState.empty(), scored([{}]), facts(0), GROUPING, lambda _model: other)


def test_evidence_starts_anew_with_another_feature_set() -> None:
    state, *_ = advance_partition(PartitionState.empty(), scored([{}]), facts(0), GROUPING, nothing)
    narrow = scored([{"at": 1, "raw_offset": 1}]).select(arrow_schema("scored").names)
    narrow = pa.RecordBatch.from_arrays(narrow.columns, schema=arrow_schema("scored"))
    state, events, tally, _ = advance_partition(state, narrow, facts(1), GROUPING, nothing)
    assert [(event["unmapped"]["notice"]["kind"], event["count"]) for event in events] == [(LONE, 1)]
    assert tally.dropped == 1
    assert restore(snapshot(state)).seq == 2


EMPTY = batches.empty("scored")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        batches.encode(EMPTY, {"version": 2, "seq": 0, "sensors": []}),
        batches.encode(EMPTY, {"version": 1, "seq": 0}),
        batches.encode(batches.empty("flow"), {"version": 1, "seq": 0, "sensors": []}),
    ],
)
def test_what_is_no_state_is_refused(payload: bytes) -> None:
    with pytest.raises(RefusedState, match="alert state"):
        restore(payload)


def test_a_sensor_that_is_evicted_closes_its_incidents_as_at_its_end() -> None:
    """Twice the same suspects: the source ends, or the sensor expires; events and state are the same."""
    outcomes = []
    for fact in ("ended", "evicted"):
        state = PartitionState.empty()
        rows = message(
            [(0, "a", "b", "left"), (1, "a", "c", "left"), (0, "a", "b", "bottom"), (1, "a", "c", "bottom")], 0
        )
        state, created, _, _ = advance_partition(state, rows, facts(0), GROUPING, nothing)
        over = rows_facts(seq=1, feature_set="four-1", feature_hash="ab" * 32, **{fact: (("plant", "left"),)})
        state, closed, _, _ = advance_partition(state, rows.slice(0, 0), over, GROUPING, nothing)
        assert {event["activity_id"] for event in closed} == {CLOSE}
        left = state.sensors["plant", "left"]
        assert (left.clock_us, left.followed, left.waiting) == (NEVER_US, [], None)
        again = message([(0, "a", "b", "left"), (1, "a", "c", "left")], 0)
        state, reopened, _, _ = advance_partition(state, again, facts(2), GROUPING, nothing)
        outcomes.append([encode(event) for event in (*created, *closed, *reopened)])
    assert outcomes[0] == outcomes[1]


def test_a_sensor_keeps_its_clock_while_messages_do_not_name_it() -> None:
    state = PartitionState.empty()
    rows = message([(0, "a", "b", "left"), (1, "a", "c", "left")], 0)
    state, _, _, _ = advance_partition(state, rows, facts(0, at=3), GROUPING, nothing)
    for seq in range(1, 5):
        silent = rows_facts(seq=seq, feature_set="four-1", feature_hash="ab" * 32)
        state, events, _, _ = advance_partition(restore(snapshot(state)), rows.slice(0, 0), silent, GROUPING, nothing)
        assert events == [] and state.sensors["plant", "left"].clock_us == START_US + 3 * SECOND
    _, events, _, _ = advance_partition(state, rows.slice(0, 0), facts(5, at=20), GROUPING, nothing)
    assert [event["activity_id"] for event in events] == [CLOSE], "the next watermark closes it"


def test_an_incident_that_opens_and_closes_at_once_says_the_same_twice() -> None:
    """But for what is of a revision; two incidents of a message have each their own."""
    rows = message([(0, "a", "b", "left"), (1, "a", "b", "left"), (0, "c", "d", "left"), (1, "c", "d", "left")], 0)
    events = advance_partition(PartitionState.empty(), rows, facts(0, 4, ended=True), GROUPING, nothing).events
    revisions = [(event["activity_id"], event["is_alert"], event["metadata"]["sequence"]) for event in events]
    assert sorted(revisions) == [(CREATE, True, 1)] * 2 + [(CLOSE, False, 2)] * 2
    of_revision = {*classification(CREATE), "is_alert", "metadata", "status_detail"}
    said = [encode({name: event[name] for name in event.keys() - of_revision}) for event in events]
    assert sorted(Counter(said).values()) == [2, 2]
