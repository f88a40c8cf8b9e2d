"""What a baseline says of a flow depends on the sensor's flows alone, not on batches, restarts or other sensors."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.baseline import Phase
from pipeline.featurize.baseline.judge import COLUMNS, has_baselines
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.feature_sets import FEATURE_SETS
from pipeline.featurize.sensor import SensorInput, SensorState, advance_sensors
from pipeline.featurize.snapshot import snapshot
from tests.examples import examples
from tests.featurize.baseline.plant import LATENESS_US, QUICK, columns_of, lived, lives, poll, polls
from tests.featurize.flows import batch

CUTS = st.lists(st.integers(0, 400), max_size=6)
PHASE = COLUMNS.index("phase")


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None)
@given(lives(), CUTS, st.booleans())
def test_cuts_and_restarts_change_nothing(rows: list[dict[str, Any]], cuts: list[int], saved: bool) -> None:
    assert lived(rows, cuts, saved) == lived(rows)


@settings(max_examples=examples(8), deadline=None)
@given(lives(most=120), st.integers(0, 120))
def test_a_restart_between_two_batches_changes_nothing(rows: list[dict[str, Any]], cut: int) -> None:
    assert lived(rows, [cut], saved=True) == lived(rows)


def test_a_restart_after_every_flow_changes_nothing() -> None:
    rows = [*polls(230), poll(231, "10.0.9.9"), *polls(60, start_s=240)]
    columns, _, _ = whole = lived(rows)
    assert {said[PHASE] for said in columns.values()} == {Phase.LEARNING, Phase.SETTLING, Phase.ANCHORED}
    assert lived(rows, range(len(rows)), saved=True) == whole


@settings(max_examples=examples(10), deadline=None)
@given(st.lists(lives(most=80), min_size=2, max_size=4), st.integers(0, 2**32))
def test_sensors_in_one_batch_are_judged_as_alone(of_sensors: list[list[dict[str, Any]]], seed: int) -> None:
    numbers = np.repeat(np.arange(len(of_sensors)), [len(rows) for rows in of_sensors])
    np.random.default_rng(seed).shuffle(numbers)
    rest = [iter(rows) for rows in of_sensors]
    rows = [{**next(rest[number]), "sensor": f"s{number}"} for number in numbers]
    inputs = [
        SensorInput(SensorState.empty(), np.flatnonzero(numbers == number), LATENESS_US, True, site="plant")
        for number in range(len(of_sensors))
    ]
    inputs = [each._replace(learning=QUICK, sensor=f"s{number}") for number, each in enumerate(inputs)]
    flows = batch(rows)
    advanced = advance_sensors(inputs, flows)
    together = columns_of(advanced.rows)
    told = list(advanced.notices)
    for number, sensor in enumerate(inputs):
        own = flows.take(pa.array(sensor.rows))
        alone = advance_sensors([sensor._replace(state=SensorState.empty(), rows=np.arange(len(own)))], own)
        assert columns_of(alone.rows) == {offset: together[offset] for offset in own.column("raw_offset").to_pylist()}
        assert [notice for notice in told if notice.sensor == f"s{number}"] == list(alone.notices)
        assert snapshot(alone.states[0]) == snapshot(advanced.states[number])


def test_late_flows_that_come_first_are_judged_alike_in_any_batch() -> None:
    """The first flow on time still waits when the second, which is late, is judged."""
    rows = [{"at": 100}, {"at": 10}, {"at": 101}, {"at": 110}]
    columns, _, _ = whole = lived(rows)
    assert columns[1][PHASE] == Phase.LEARNING
    assert lived(rows, [1, 2]) == whole


def test_a_late_flow_is_judged_and_not_learnt() -> None:
    rows = polls(300)
    late = poll(200, "10.0.9.9")
    with_late, _, state = lived([*rows, late, *polls(30, start_s=300)])
    without, _, expected = lived([*rows, *polls(30, start_s=300)])
    assert with_late[len(rows)][PHASE] == Phase.ANCHORED
    assert [said for offset, said in sorted(with_late.items()) if offset != len(rows)] == list(without.values())
    assert len(state) == len(expected)


def test_a_feature_set_without_coordinates_has_no_baseline() -> None:
    assert has_baselines(FEATURE_SET)
    for name, feature_set in FEATURE_SETS.items():
        state = SensorState.empty(feature_set)
        flows = batch(polls(20))
        (after,), rows, told, _ = advance_sensors([SensorInput(state, np.arange(20), 0, True)], flows)
        nulls = {rows.column(column).null_count for column in COLUMNS}
        assert nulls == ({0} if has_baselines(feature_set) else {20}), name
        assert after.baseline.has_begun == has_baselines(feature_set)
        assert after.baseline.phase == (Phase.LEARNING if has_baselines(feature_set) else Phase.NONE)
        assert not told or has_baselines(feature_set)
