"""What is left of a sensor that sends nothing: its baseline, for 35 days of event time, of so many sensors."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.baseline import Phase
from pipeline.contracts.envelope import FeaturesFacts, SensorName
from pipeline.contracts.notices import SILENT, Notice
from pipeline.featurize import sensor_retention
from pipeline.featurize.partition import PartitionState, advance_partition, phases
from pipeline.featurize.snapshot import snapshot
from tests.contracts.facts import flows_facts
from tests.examples import examples
from tests.featurize.baseline.plant import CONTROLLERS, QUICK, columns_of, poll, polls
from tests.featurize.flows import SECOND, START_US, batch, by_position, saved_again

HOUR_S, DAY_S = 3_600.0, 86_400.0
LEFT: SensorName = ("plant", "left")
BESIDE = "bottom"
"""A sensor of the same partition that sends all the time: it moves event time on."""

Rows = Sequence[dict[str, Any]]


def lived(
    rows: Rows, state: PartitionState | None = None, cuts: Sequence[int] = (), ended: bool = False
) -> tuple[PartitionState, list[pa.RecordBatch], list[FeaturesFacts]]:
    """A partition's log, cut at these rows and saved between; ended: an end of `left` follows."""
    flows, state = batch(rows), state or PartitionState.empty()
    batches, facts = list[pa.RecordBatch](), list[FeaturesFacts]()
    edges = [0, *sorted({cut % len(rows) for cut in cuts} - {0}), len(rows)]
    for start, end in pairwise(edges):
        marks = (LEFT,) if ended and end == len(rows) else ()
        said = flows_facts(raw_partition=3, last=(end - 1, 0), records=8, rejected=2, ended=marks)
        state, messages = advance_partition(
            state, flows.slice(start, end - start), said, start, lambda _site: 0, learning_of=lambda _site: QUICK
        )
        state = saved_again(state) if cuts else state
        batches += [rows for rows, _facts in messages]
        facts += [facts for _rows, facts in messages]
    return state, batches, facts


def week(until_s: float, every_s: float = HOUR_S) -> list[dict[str, Any]]:
    """Flows of the other sensor, from minute 7 on."""
    return [poll(420 + number * every_s, sensor=BESIDE) for number in range(int(until_s / every_s))]


def test_a_sensor_that_is_forgotten_is_in_no_phase_though_its_notices_stay() -> None:
    """What `forebay status` counts, and what `forebay sensor list` has."""
    after = [poll(40 * DAY_S + number * 10.0, sensor=BESIDE) for number in range(30)]
    state, _, facts = lived([*(poll(number * 10.0) for number in range(60)), *after])
    assert phases(state)["learning"] == sum(phases(state).values()) == 1
    assert {notice.sensor for message in facts for notice in message.notices} == {"left", BESIDE}


def left_of(batches: Sequence[pa.RecordBatch], from_offset: int) -> list[tuple[Any, ...]]:
    """What the baseline says of the flows of `left` from an offset on."""
    rows = pa.concat_batches(batches)
    rows = rows.filter(pa.compute.equal(rows.column("sensor"), "left"))
    return [said for offset, said in sorted(columns_of(rows).items()) if offset >= from_offset]


@pytest.mark.parametrize(("days", "phase"), [(2.5, Phase.ANCHORED), (34.5, Phase.ANCHORED), (35.5, Phase.LEARNING)])
def test_what_is_usual_outlasts_a_weekend_and_holidays_and_is_forgotten_after_35_days(
    days: float, phase: Phase
) -> None:
    weekend = week(days * DAY_S)
    before = [*polls(400), *weekend]
    back = polls(60, start_s=days * DAY_S + 400)
    state, batches, facts = lived([*before, *back, poll(days * DAY_S + 500, sensor=BESIDE)])
    assert [name for each in facts for name in each.evicted] == [LEFT], "once: its windows are gone"
    said = left_of(batches, len(before))
    assert {each[0] for each in said[:-1]} == {phase}
    assert all(each[4] == 0 for each in said) or phase == Phase.LEARNING
    assert state.sensors[LEFT].baseline.phase == phase


def test_the_windows_of_who_comes_back_are_empty() -> None:
    before, back = [*polls(400), *week(3 * DAY_S)], polls(60, start_s=3 * DAY_S + 400)
    _, batches, _ = lived([*before, *back], ended=True)
    _, fresh, _ = lived([*back], ended=True)
    rows = pa.concat_batches(batches)
    is_back = pa.compute.is_in(rows.column("raw_offset"), pa.array(range(len(before), len(before) + len(back))))
    of_back = rows.filter(pa.compute.and_(pa.compute.equal(rows.column("sensor"), "left"), is_back))
    features = [bits for _, bits in sorted(by_position([of_back]).items())]
    expected = [bits for _, bits in sorted(by_position(fresh).items())]
    assert len(features) == len(back) and features == expected


def test_a_weekend_is_not_time_learnt() -> None:
    """Fifty seconds of learning on Friday, and it learns on Monday."""
    rows = [*polls(50), *week(3 * DAY_S), *polls(30, start_s=3 * DAY_S + 400)]
    state, _, _ = lived(rows)
    assert state.sensors[LEFT].baseline.phase == Phase.LEARNING
    state, _, _ = lived([*rows, *polls(300, start_s=3 * DAY_S + 430)])
    assert state.sensors[LEFT].baseline.phase == Phase.ANCHORED


def test_those_who_had_not_learnt_make_way_and_then_those_who_have_been_idle_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sensor_retention, "MAX_IDLE_BASELINES", 2)
    rows = [row | {"sensor": f"s{number}"} for number in range(3) for row in polls(400, start_s=1_000.0 * number)]
    rows += [poll(3_000.0 + number, sensor=f"short-{number}") for number in range(5)]
    state, _, facts = lived([*rows, *week(2 * DAY_S)])
    assert len([name for each in facts for name in each.evicted]) == 8
    assert state.sensors.keys() == state.heard_us.keys() == {("plant", name) for name in ("s1", "s2", BESIDE)}


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 0.3, 0.9, 1.4, 34.0, 35.2])), min_size=1, max_size=30
    ),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
)
@settings(deadline=None, max_examples=examples(40))
def test_whose_baseline_is_forgotten_does_not_depend_on_how_the_log_was_cut(
    steps: list[tuple[str, float]], cuts: list[int]
) -> None:
    at_s, rows = 0.0, []
    for sensor, days in steps:
        at_s += days * DAY_S
        rows.append(poll(at_s, sensor=sensor))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sensor_retention, "MAX_IDLE_BASELINES", 2)
        outcomes = []
        for each in ((), cuts, range(len(rows))):
            state, batches, _ = lived(rows, cuts=each)
            saved = {name: snapshot(sensor) for name, sensor in state.sensors.items()}
            said = columns_of(pa.concat_batches(batches))
            outcomes.append((saved, said, state.heard_us))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def _plant_without(target: str, seconds: float, start_s: float) -> list[dict[str, Any]]:
    return [row for row in polls(seconds, every_s=5.0, start_s=start_s) if row["dst_addr"] != target]


def _silent(rows: Rows) -> list[Notice]:
    _, _, facts = lived(rows)
    return [notice for each in facts for notice in each.notices if notice.kind == SILENT]


def test_who_pauses_every_weekend_is_named_once() -> None:
    """A poller stops on Friday while others go on; on Monday it is back, and from then on that is its way."""
    rows, paused = polls(400), CONTROLLERS[2]
    for number in range(3):
        friday_s = 400 + number * 7 * DAY_S
        rows += [*_plant_without(paused, 60 * HOUR_S, friday_s), *polls(HOUR_S, 5.0, friday_s + 60 * HOUR_S)]
    silent = _silent(rows)
    assert [[each.target for each in notice.relations] for notice in silent] == [[paused]]
    assert silent[0].figures["pausing_relations"] == 0
    gone = _silent([*rows, *_plant_without(paused, 5 * DAY_S, rows[-1]["at"] + 5)])
    assert [notice.figures["pausing_relations"] for notice in gone] == [0, 1], "four days are no weekend"


@pytest.mark.parametrize("stopped_s", [890, 930, 970])
def test_nobody_is_missed_on_monday_who_stopped_shortly_before_the_sensor_did(stopped_s: int) -> None:
    friday = [*polls(400), *_plant_without(CONTROLLERS[1], stopped_s, 400)]
    monday_s = 3 * DAY_S
    silent = _silent([*friday, *polls(2 * HOUR_S, 5.0, monday_s)])
    assert not [notice for notice in silent if notice.at_us >= START_US + int(monday_s) * SECOND]
