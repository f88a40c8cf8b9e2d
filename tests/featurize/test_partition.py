"""A partition of several sensors: one message out for each message in, sequence, frontier, watermarks, ends."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.envelope import FeaturesFacts, FlowsFacts, SensorName
from pipeline.errors import RefusedState
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.messages import Cutting
from pipeline.featurize.partition import (
    ALL_WATERMARKS_EVERY,
    MAGIC,
    PartitionState,
    advance_partition,
    evicted,
    restore,
    sensors_by_name,
    snapshot,
)
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.featurize.snapshot import snapshot as snapshot_sensor
from pipeline.runtime.wire.messages import read, write
from tests.contracts.facts import at, flows_facts
from tests.examples import examples
from tests.featurize.flows import SECOND, START_US, batch, by_position, flow_rows, saved_again


def _facts(last: int, *ended: SensorName) -> FlowsFacts:
    return flows_facts(raw_partition=3, last=(last, 0), records=8, rejected=2, ended=ended)


def _two_seconds(site: str) -> int:
    return 2 * SECOND if site == "plant" else 0


ROWS = [
    {"at": 10.0, "sensor": "left"},
    {"at": 5.0, "sensor": "bottom"},
    {"at": 9.0, "sensor": "left"},
    {"at": 7.0, "sensor": "left"},
    {"at": 1.0, "sensor": "bottom"},
    {"at": 20.0, "sensor": "left"},
]


def test_facts_of_a_message() -> None:
    state, [(rows, facts)] = advance_partition(PartitionState.empty(), batch(ROWS), _facts(5), 105, _two_seconds)
    assert rows.column("raw_offset").to_pylist() == [2, 0, 3, 4]
    assert rows.column("late_by_us").to_pylist() == [0, 0, SECOND, 2 * SECOND]
    assert facts == FeaturesFacts(
        seq=0,
        raw_partition=3,
        flows_offset=105,
        feature_set=FEATURE_SET.name,
        feature_hash=FEATURE_SET.hash,
        frontier=(1, 0),
        first=(0, 0),
        through=(5, 0),
        records=8,
        rejected=2,
        watermarks=(("plant", "bottom", START_US + 3 * SECOND), ("plant", "left", START_US + 18 * SECOND)),  # type: ignore[arg-type]
        ended=(),
    )
    state, [(rows, facts)] = advance_partition(state, batch([], 6), _facts(6, ("plant", "bottom")), 106, _two_seconds)
    assert rows.column("raw_offset").to_pylist() == [1]
    assert (facts.seq, facts.frontier, facts.ended) == (1, (5, 0), (("plant", "bottom"),))
    assert facts.watermarks == (), "left's has not changed"
    state, [(rows, facts)] = advance_partition(state, batch([], 7), _facts(7, ("plant", "left")), 107, _two_seconds)
    assert rows.column("raw_offset").to_pylist() == [5]
    assert (facts.seq, facts.frontier, facts.watermarks) == (2, None, ())
    assert state.seq == 3
    assert all(sensor.baseline.has_begun and not sensor.windows for sensor in state.sensors.values()), "what is usual"


def test_a_file_may_go_back_in_time_after_its_end() -> None:
    left = ("plant", "left")
    state, _ = advance_partition(PartitionState.empty(), batch([{"at": 100.0}]), _facts(0, left), 0, _two_seconds)
    _, [(rows, _)] = advance_partition(state, batch([{"at": 1.0}], 1), _facts(1, left), 1, _two_seconds)
    assert rows.column("late_by_us").to_pylist() == [0]


def test_an_end_of_a_sensor_never_heard_of() -> None:
    state, [(rows, facts)] = advance_partition(
        PartitionState.empty(), batch([]), _facts(0, ("a", "b")), 0, _two_seconds
    )
    assert len(rows) == 0 and state.sensors == {} and facts.ended == (("a", "b"),)


@pytest.mark.slow
@settings(max_examples=examples(20), deadline=None)
@given(flow_rows(), st.lists(st.integers(0, 40), max_size=4), st.booleans(), st.sampled_from([0, 2 * SECOND]))
def test_sensors_do_not_touch_each_other(
    rows: list[dict[str, Any]], cuts: list[int], saved: bool, stitch_us: int
) -> None:
    """Of three sensors the first sends each direction as a record of its own."""
    named = [{**row, "sensor": f"s{number % 3}", "is_biflow": number % 3 > 0} for number, row in enumerate(rows)]
    flows, state, out = batch(named), PartitionState.empty(), []
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(edges):
        state, [(part, _)] = advance_partition(
            state, flows.slice(start, end - start), _facts(end), end, _two_seconds, lambda _site: stitch_us
        )
        out.append(part)
        if saved:
            state = saved_again(state)
    ends = _facts(99, *(("plant", f"s{n}") for n in range(3)))
    state, [(part, _)] = advance_partition(state, flows.slice(0, 0), ends, 99, _two_seconds, lambda _site: stitch_us)
    alone = [
        featurize_file_rows(flows.take(pa.array(np.arange(n, len(rows), 3))), 2 * SECOND, window_us=stitch_us)
        for n in range(min(3, len(rows)))
    ]
    assert by_position([*out, part]) == by_position(alone)
    assert not any(evicted(state).values())


def test_what_waits_of_many_sensors_lies_in_the_messages_it_came_in() -> None:
    """What a message costs must not grow with the square of the sensors: they share what they wait in."""
    state, messages = PartitionState.empty(), 5
    for number in range(messages):
        rows = [{"sensor": f"s{sensor}", "at": number / 10} for sensor in range(40)]
        flows = batch(rows, first_offset=40 * number)
        state, _ = advance_partition(state, flows, _facts(40 * number + 39), number, _two_seconds, _two_seconds)
    waiting = [sensor.waiting for sensor in state.sensors.values()]
    assert [len(each) for each in waiting] == [messages] * 40
    assert len({id(each.batches) for each in waiting}) == 1 and len(waiting[0].batches) == messages


def test_saved_and_restored() -> None:
    state, _ = advance_partition(PartitionState.empty(), batch(ROWS), _facts(5), 105, _two_seconds)
    again = saved_again(state)
    assert again.seq == 1 and list(again.sensors) == list(state.sensors)
    for name, sensor in state.sensors.items():
        assert snapshot_sensor(again.sensors[name]) == snapshot_sensor(sensor)
    assert saved_again(PartitionState.empty()) == PartitionState.empty()


def test_event_time_after_a_tick_does_not_depend_on_a_restart() -> None:
    """Else who is evicted by it, and what is emitted again, would depend on where a worker was killed."""
    ticked = flows_facts(raw_partition=3, last=(6, 0), silent=(("plant", "left"),))
    state, _ = advance_partition(PartitionState.empty(), batch([{"at": 10}]), ticked, 0, _two_seconds)
    assert state.sensors["plant", "left"].clock.passed_us == state.newest_us
    again, flows = saved_again(state), batch([{"sensor": "top", "at": 11}], first_offset=7)
    heard = [advance_partition(each, flows, _facts(7), 1, _two_seconds)[0].heard_us for each in (state, again)]
    assert again.newest_us == state.newest_us and heard[0] == heard[1]


def test_a_sensor_that_nothing_came_from_is_not_saved_again() -> None:
    state, _ = advance_partition(PartitionState.empty(), batch(ROWS), _facts(5), 105, _two_seconds)
    left = [row for row in ROWS if row["sensor"] == "left"]
    after, _ = advance_partition(state, batch(left, first_offset=6), _facts(9), 109, _two_seconds)
    before = sensors_by_name(state)
    same = {name for name, sensor in sensors_by_name(after).items() if sensor is before[name]}
    assert same == {'["plant", "bottom"]'}


@given(st.binary(max_size=100))
def test_garbage_is_refused(garbage: bytes) -> None:
    for saved in (garbage, b"FOREBAY-PARTITION-3\n" + garbage):
        with pytest.raises(RefusedState):
            restore(saved, {})


@given(st.text(max_size=20), st.binary(max_size=40))
def test_garbage_for_a_sensor_is_refused(name: str, garbage: bytes) -> None:
    with pytest.raises(RefusedState):
        restore(snapshot(PartitionState.empty()), {name: garbage})
    with pytest.raises(RefusedState):
        restore(snapshot(PartitionState.empty()), {'["plant","left"]': garbage})


@pytest.mark.slow
@given(flow_rows(), st.integers(1, 7), st.integers(0, 3))
def test_what_is_emitted_again_after_a_restart_is_the_same_bytes(
    rows: list[dict[str, Any]], size: int, lateness: int
) -> None:
    cuts = [rows[first : first + size] for first in range(0, len(rows), size)]
    wire = [
        write(batch(cut, number * size), _facts(number, *([("plant", "left")] if number == len(cuts) - 1 else [])))
        for number, cut in enumerate(cuts)
    ]
    running = restarted = PartitionState.empty()
    for number, payload in enumerate(wire):
        results = []
        for state in (running, restarted):
            flows, facts = read(payload, FlowsFacts, at("flows", 3, number))
            after, made = advance_partition(state, flows, facts, number, lambda _: lateness * SECOND, lambda _: SECOND)
            results.append((after, [write(features.rows, features.facts) for features in made]))
        (running, first), (restarted, second) = results[0], results[1]
        restarted = saved_again(restarted)
        assert first == second


DAY_S = 86_400.0


@pytest.mark.slow
def test_which_watermarks_travel_follows_from_the_state_and_the_message() -> None:
    """Those that changed; all when seq passes a multiple of 64, also where one message becomes several."""
    state = PartitionState.empty()
    known: dict[SensorName, int] = {}
    for number in range(2 * ALL_WATERMARKS_EVERY + 6):
        rows = [{"at": float(number), "sensor": f"s{number % 5}"}] * (3 if number % 7 == 3 else 1)
        state, messages = advance_partition(
            state, batch(rows, 10 * number), _facts(10 * number), number, lambda _site: 0, cutting=Cutting(max_rows=1)
        )
        if number % 11 == 5:
            state = saved_again(state)
        *earlier, (_rows, last) = messages
        assert all(not facts.watermarks for _rows, facts in earlier)
        sent = {(site, sensor): time_us for site, sensor, time_us in last.watermarks}
        known.update(sent)
        now = {name: sensor.watermark_us(0) for name, sensor in state.sensors.items()}
        assert known == now, "whoever has read everything knows every watermark"
        numbers = range(messages[0].facts.seq, last.seq + 1)
        if any(seq % ALL_WATERMARKS_EVERY == 0 for seq in numbers):
            assert sent == now
        else:
            assert sent.keys() == {("plant", f"s{number % 5}")}


def test_a_sensor_silent_for_a_day_is_forgotten_and_comes_back_as_after_its_end() -> None:
    state, _ = advance_partition(
        PartitionState.empty(), batch([{"at": 1.0, "sensor": "left"}, {"at": 0.0, "sensor": "bottom"}]), _facts(1), 0,
        _two_seconds,
    )  # fmt: skip
    on_time = [{"at": DAY_S + 1.0, "sensor": "bottom"}]
    state, [(rows, facts)] = advance_partition(state, batch(on_time, 2), _facts(2), 1, _two_seconds)
    assert facts.evicted == () and state.sensors.keys() == {("plant", "bottom"), ("plant", "left")}
    late = [{"at": DAY_S + 2.0, "sensor": "bottom"}]
    state, [(rows, facts)] = advance_partition(state, batch(late, 3), _facts(3), 2, _two_seconds)
    assert facts.evicted == (("plant", "left"),) and facts.ended == ()
    assert 0 in rows.column("raw_offset").to_pylist(), "what waited is released"
    assert state.sensors.keys() == state.heard_us.keys() == {("plant", "bottom"), ("plant", "left")}
    left = state.sensors["plant", "left"]
    assert left.is_idle and not left.windows and left.baseline.has_begun, "nothing but its baseline is left"
    again = [{"at": 0.5, "sensor": "left"}]
    state, [(rows, facts)] = advance_partition(state, batch(again, 4), _facts(4, ("plant", "left")), 3, _two_seconds)
    assert rows.column("late_by_us").to_pylist() == [0], "its watermark was forgotten"
    fresh = featurize_file_rows(batch(again, 4))
    assert by_position([rows]) == by_position([fresh]), "and its windows"


def test_a_sensor_that_sends_again_in_the_message_in_which_it_expired_starts_anew() -> None:
    rows = [
        {"at": 0.0, "sensor": "left"},
        {"at": 1.0, "sensor": "left"},
        {"at": 2 * DAY_S, "sensor": "bottom"},
        {"at": 1.5, "sensor": "left"},
        {"at": 4 * DAY_S, "sensor": "bottom"},
        {"at": 2.5, "sensor": "left"},
    ]
    state, messages = advance_partition(PartitionState.empty(), batch(rows), _facts(5), 7, lambda _site: 0)
    assert [facts.evicted for _rows, facts in messages] == [(("plant", "left"),)] * 2 + [()]
    assert [facts.through for _rows, facts in messages] == [None, None, (5, 0)]
    assert [facts.frontier for _rows, facts in messages] == [(2, 0), (4, 0), (4, 0)]
    assert [facts.records for _rows, facts in messages] == [8, 0, 0]
    assert [facts.rejected for _rows, facts in messages] == [0, 0, 2]
    assert [facts.seq for _rows, facts in messages] == [0, 1, 2] and state.seq == 3
    assert [rows.column("raw_offset").to_pylist() for rows, _facts in messages] == [[0, 1], [2, 3], []]
    assert all(not any(rows.column("late_by_us").to_pylist()) for rows, _facts in messages)


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 3.0)), min_size=1, max_size=25), st.data())
@settings(deadline=None, max_examples=examples(40))
def test_who_is_forgotten_does_not_depend_on_how_the_log_was_cut(
    flows: list[tuple[str, float]], data: st.DataObject
) -> None:
    whole = batch([{"at": at * DAY_S, "sensor": sensor} for sensor, at in flows])
    outcomes = []
    for single in (True, False):
        state, first, rows, events = PartitionState.empty(), 0, [], []
        while first < len(whole):
            last = len(whole) if single else data.draw(st.integers(first + 1, len(whole)))
            state, messages = advance_partition(
                state, whole.slice(first, last - first), _facts(last - 1), first, _two_seconds
            )
            for part, facts in messages:
                rows.append(part)
                events += [(name[1], _count(rows, name[1])) for name in facts.evicted]
            state, first = saved_again(state), last
        state, messages = advance_partition(
            state, whole.slice(0, 0), _facts(len(whole), *state.sensors), first, _two_seconds
        )
        rows += [part for part, _ in messages]
        outcomes.append((by_position(rows), sorted(events), _orders(rows), state.newest_us))
    assert outcomes[0] == outcomes[1]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=1, max_size=12),
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=3, unique_by=lambda mark: mark[0]),
)
@settings(deadline=None, max_examples=examples(40))
def test_marks_of_one_message_are_as_one_after_the_other(
    flows: list[tuple[str, int]], marks: list[tuple[str, bool]]
) -> None:
    whole, after = (batch([{"at": 1.0 * at, "sensor": sensor} for sensor, at in flows], first) for first in (0, 99))
    ends = [(("plant", sensor),) if ended else () for sensor, ended in marks]
    ticks = [() if ended else (("plant", sensor),) for sensor, ended in marks]
    outcomes = []
    for cut in ([(sum(ends, ()), sum(ticks, ()))], [*zip(ends, ticks, strict=True)]):
        state, rows, ended = PartitionState.empty(), [], set[SensorName]()
        for number, (over, silent) in enumerate([*cut, ((), ())]):
            taken = whole if number == 0 else whole.slice(0, 0) if number < len(cut) else after
            facts = flows_facts(raw_partition=3, last=(number, 0), records=0, rejected=0, ended=over, silent=silent)
            state, messages = advance_partition(state, taken, facts, number, _two_seconds)
            rows += [part for part, _ in messages]
            ended |= {name for _, facts in messages for name in facts.ended}
        saved = {name: snapshot_sensor(sensor) for name, sensor in state.sensors.items()}
        outcomes.append((by_position(rows), _orders(rows), ended, saved, state.newest_us, state.reached_us))
    assert outcomes[0] == outcomes[1]


def _count(rows: list[pa.RecordBatch], sensor: str) -> int:
    """How many rows of a sensor there are: where between its rows it was forgotten."""
    return sum(part.column("sensor").to_pylist().count(sensor) for part in rows)


def _orders(rows: list[pa.RecordBatch]) -> dict[str, list[int]]:
    """The raw offsets of each sensor's flows on time, in the order they were released."""
    orders: dict[str, list[int]] = {}
    for part in rows:
        columns = (part.column(name).to_pylist() for name in ("sensor", "raw_offset", "late_by_us"))
        for sensor, offset, late_by_us in zip(*columns, strict=True):
            if not late_by_us:
                orders.setdefault(sensor, []).append(offset)
    return orders


def test_marks_of_made_up_sensors_leave_nothing_behind() -> None:
    silent = tuple(("plant", f"made-up-{number}") for number in range(100))
    facts = flows_facts(raw_partition=3, last=(5, 0), records=0, rejected=0, silent=silent)
    state, [(_rows, said)] = advance_partition(PartitionState.empty(), batch([]), facts, 0, _two_seconds)
    assert not state.sensors and not state.heard_us and not said.watermarks


def test_a_state_from_before_there_were_evictions_is_restored_and_all_count_as_having_sent() -> None:
    state, _ = advance_partition(PartitionState.empty(), batch(ROWS), _facts(5), 0, _two_seconds)
    saved = snapshot(state)
    document = json.loads(saved[len(MAGIC) :])
    old = MAGIC + json.dumps({name: document[name] for name in ("reached_us", "seq")}).encode()
    parts = {name: snapshot_sensor(sensor) for name, sensor in sensors_by_name(state).items()}
    restored = restore(old, parts)
    assert restored.newest_us == START_US + 20 * SECOND
    assert restored.heard_us == dict.fromkeys(state.sensors, restored.newest_us)
    assert restore(saved, parts).heard_us == state.heard_us
