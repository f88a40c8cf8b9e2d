"""Sensors of a batch's rows, against a plain loop."""

from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.wire import sensors as wire_sensors
from pipeline.runtime.wire.sensors import sensors_of

NAMES = st.sampled_from(["", "a", "b", "a/b", "ü"])
RUNS = st.lists(st.tuples(NAMES, NAMES, st.integers(1, 5)), max_size=12)


def batch(pairs: list[tuple[str, str]]) -> pa.RecordBatch:
    columns = [pa.array([pair[column] for pair in pairs], pa.string()) for column in (0, 1)]
    return pa.RecordBatch.from_arrays(columns, names=["site", "sensor"])


@given(RUNS, st.integers(0, 20), st.sampled_from([0, wire_sensors.FEW_ROWS]))
def test_each_row_has_its_sensor(runs: list[tuple[str, str, int]], skipped: int, few_rows: int) -> None:
    pairs = [(site, sensor) for site, sensor, count in runs for _ in range(count)]
    with patch.object(wire_sensors, "FEW_ROWS", few_rows):
        sensors, number = sensors_of(batch(pairs).slice(skipped))
    assert number.dtype == np.int64
    assert [sensors[code] for code in number.tolist()] == pairs[skipped:]
    assert len(set(sensors)) == len(sensors) and set(sensors) == set(pairs[skipped:])


@pytest.mark.parametrize("few_rows", [0, wire_sensors.FEW_ROWS])
def test_sensors_are_numbered_as_sites_and_then_names_appear(few_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_sensors, "FEW_ROWS", few_rows)
    pairs = [("b", "y"), ("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
    sensors, number = sensors_of(batch(pairs))
    assert sensors == [("b", "y"), ("b", "x"), ("a", "y"), ("a", "x")]
    assert number.tolist() == [0, 3, 1, 2, 0]
