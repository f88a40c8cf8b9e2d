"""A partition of several sensors: one message out for each message in, sequence, frontier, watermarks, ends."""

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
from pipeline.featurize.partition import PartitionState, advance_partition, evicted, restore, sensors_by_name, snapshot
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.featurize.snapshot import snapshot as snapshot_sensor
from pipeline.runtime.wire.messages import read, write
from tests.contracts.facts import at, flows_facts
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
    assert facts.watermarks == (("plant", "left", START_US + 18 * SECOND),)
    state, [(rows, facts)] = advance_partition(state, batch([], 7), _facts(7, ("plant", "left")), 107, _two_seconds)
    assert rows.column("raw_offset").to_pylist() == [5]
    assert (facts.seq, facts.frontier, facts.watermarks) == (2, None, ())
    assert state.sensors == {} and state.seq == 3


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


@settings(max_examples=20, deadline=None)
@given(flow_rows(), st.lists(st.integers(0, 40), max_size=4), st.booleans())
def test_sensors_do_not_touch_each_other(rows: list[dict[str, Any]], cuts: list[int], saved: bool) -> None:
    named = [{**row, "sensor": f"s{number % 3}"} for number, row in enumerate(rows)]
    flows, state, out = batch(named), PartitionState.empty(), []
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(edges):
        state, [(part, _)] = advance_partition(state, flows.slice(start, end - start), _facts(end), end, _two_seconds)
        out.append(part)
        if saved:
            state = saved_again(state)
    ends = _facts(99, *(("plant", f"s{n}") for n in range(3)))
    state, [(part, _)] = advance_partition(state, flows.slice(0, 0), ends, 99, _two_seconds)
    alone = [
        featurize_file_rows(flows.take(pa.array(np.arange(n, len(rows), 3))), 2 * SECOND)
        for n in range(min(3, len(rows)))
    ]
    assert by_position([*out, part]) == by_position(alone)
    assert not any(evicted(state).values())


def test_saved_and_restored() -> None:
    state, _ = advance_partition(PartitionState.empty(), batch(ROWS), _facts(5), 105, _two_seconds)
    again = saved_again(state)
    assert again.seq == 1 and list(again.sensors) == list(state.sensors)
    for name, sensor in state.sensors.items():
        assert snapshot_sensor(again.sensors[name]) == snapshot_sensor(sensor)
    assert saved_again(PartitionState.empty()) == PartitionState.empty()


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


@given(flow_rows(), st.integers(1, 7), st.integers(0, 3))
def test_what_is_told_again_after_a_restart_is_the_same_bytes(
    rows: list[dict[str, Any]], size: int, lateness: int
) -> None:
    cuts = [rows[first : first + size] for first in range(0, len(rows), size)]
    wire = [
        write(batch(cut, number * size), _facts(number, *([("plant", "left")] if number == len(cuts) - 1 else [])))
        for number, cut in enumerate(cuts)
    ]
    kept = again = PartitionState.empty()
    for number, payload in enumerate(wire):
        told = []
        for state in (kept, again):
            flows, facts = read(payload, FlowsFacts, at("flows", 3, number))
            after, made = advance_partition(state, flows, facts, number, lambda _: lateness * SECOND, lambda _: SECOND)
            told.append((after, [write(features.rows, features.facts) for features in made]))
        (kept, first), (again, second) = told[0], told[1]
        again = saved_again(again)
        assert first == second
