from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.baseline import Phase
from pipeline.retrain import due
from pipeline.retrain.due import EVERY_US, DueSensors
from tests.retrain.small_training import samples

HOUR_US = EVERY_US // 24
ANCHORED, LEARNING, SETTLING, CHANGED = (
    int(Phase.ANCHORED),
    int(Phase.LEARNING),
    int(Phase.SETTLING),
    int(Phase.CHANGED),
)
Row = tuple[str, int, int]


def batch(rows: list[Row]) -> pa.RecordBatch:
    """Rows of sensors of site `new`: name, phase, hour."""
    return samples(
        len(rows),
        seed=1,
        site=["new"] * len(rows),
        sensor=[name for name, _, _ in rows],
        phase=[phase for _, phase, _ in rows],
        end_ts_us=np.array([hour * HOUR_US for _, _, hour in rows]),
        start_ts_us=np.array([hour * HOUR_US for _, _, hour in rows]),
    )


def after(rows: list[Row], tried: dict[str, int] | None = None) -> DueSensors:
    sensors = DueSensors(tried or {})
    sensors.observe([batch(rows)] if rows else [])
    return sensors


def test_a_sensor_is_due_once_it_is_anchored_and_a_day_later() -> None:
    sensors = after([("a", LEARNING, 1), ("a", SETTLING, 3)])
    assert sensors.next() is None
    sensors.observe([batch([("a", ANCHORED, 48)])])
    assert sensors.next() == (("new", "a"), 48 * HOUR_US)
    assert sensors.next() is None
    sensors.observe([batch([("a", ANCHORED, 71)])])
    assert sensors.next() is None
    sensors.observe([batch([("a", ANCHORED, 72)])])
    assert sensors.next() == (("new", "a"), 72 * HOUR_US)


@pytest.mark.parametrize("phase", [LEARNING, CHANGED])
def test_one_that_learns_again_is_due_as_soon_as_it_is_anchored_again(phase: int) -> None:
    sensors = after([("a", ANCHORED, 49), ("a", phase, 50)], {"new/a": 48 * HOUR_US})
    assert sensors.next() is None
    sensors.observe([batch([("a", SETTLING, 51)])])
    assert sensors.next() is None
    sensors.observe([batch([("a", ANCHORED, 52)])])
    assert sensors.next() == (("new", "a"), 52 * HOUR_US)


def test_rows_read_twice_make_nothing_due() -> None:
    rows = [("a", LEARNING, 1), ("a", ANCHORED, 48)]
    sensors = after(rows)
    assert sensors.next() is not None
    sensors.observe([batch(rows)])
    assert sensors.next() is None
    assert after(rows, {"new/a": 48 * HOUR_US}).next() is None


rows_of_sensors = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([*(int(phase) for phase in Phase)]), st.integers(1, 100)),
    min_size=1,
    max_size=30,
)


hours_tried = st.dictionaries(st.sampled_from("abc"), st.integers(1, 90))


@given(rows=rows_of_sensors, cuts=st.sets(st.integers(1, 29)), tried=hours_tried)
def test_who_is_due_does_not_depend_on_batches(rows: list[Row], cuts: set[int], tried: dict[str, int]) -> None:
    tried_us = {f"new/{name}": hour * HOUR_US for name, hour in tried.items()}
    parted = DueSensors(tried_us)
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    parted.observe(batch(rows[first:last]) for first, last in pairwise(edges))
    found = set()
    while (each := parted.next()) is not None:
        found.add(each)
    expected = set()
    for name in "abc":
        anchored = max((hour for each, phase, hour in rows if (each, phase) == (name, ANCHORED)), default=-1)
        learns = max(
            (hour for each, phase, hour in rows if each == name and phase in (0, LEARNING, CHANGED)), default=-1
        )
        last = tried.get(name, -(10**6))
        if anchored > max(learns, last) and (learns > last or anchored - last >= 24):
            expected.add((("new", name), anchored * HOUR_US))
    assert found == expected


def test_the_one_tried_longest_ago_comes_first() -> None:
    rows = [(name, ANCHORED, 100) for name in "abc"]
    sensors = after(rows, {"new/a": 2 * HOUR_US, "new/b": HOUR_US})
    assert [each[0][1] for each in iter(sensors.next, None)] == ["c", "b", "a"]


@pytest.mark.parametrize("name", ["", "a/b", "a b", "\0", "--promote x", "." * 5, "x" * 65])
def test_a_sensor_whose_name_no_model_can_hold_is_never_due(name: str) -> None:
    assert after([(name, ANCHORED, 48)]).next() is None


def test_sensors_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "MAX_SENSORS", 3)
    sensors = after([(f"s{number}", ANCHORED, number) for number in range(1, 9)])
    assert sorted(each[0][1] for each in iter(sensors.next, None)) == ["s6", "s7", "s8"]
