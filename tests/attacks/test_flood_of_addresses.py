"""A flood of spoofed addresses: the state stays within its bound, and the plant's own hosts look as they do without."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.featurize.partition import PartitionState, evicted
from pipeline.featurize.sensor import SensorState, advance
from pipeline.featurize.windows.calendars import ORDINARY
from pipeline.featurize.windows.ot import OtBounds
from pipeline.featurize.windows.ot_set import FULL
from tests.featurize.flows import START_US, batch, matrix_of

SPOOFED = 200_000
MAX_BYTES = 48 * 1024 * 1024
"""Bound of a sensor's windows in memory for `full`; docs/operations.md states it."""
OVER_THE_SENSOR = {
    "dst_host_srv_count",
    "dst_host_srv_serror_rate",
    "dst_host_srv_rerror_rate",
    "dst_host_srv_diff_host_rate",
}
"""Filled up with the sensor's newest flows to others, whoever sent them: so they do change."""


def _spread(row: pa.RecordBatch, columns: dict[str, Any], count: int) -> pa.RecordBatch:
    many = row.take(pa.array(np.zeros(count, np.int64)))
    for name, values in columns.items():
        field = many.schema.field(name)
        many = many.set_column(many.schema.get_field_index(name), field, pa.array(values, field.type))
    return many


def _plant(seconds: int) -> pa.RecordBatch:
    """Twenty hosts, each polling five of ten controllers once a second."""
    number = np.arange(seconds * 100)
    host, turn = number % 20, number // 20 % 5
    columns = {
        "src_addr": [f"10.1.0.{last}" for last in host],
        "dst_addr": [f"10.1.1.{last}" for last in (host + turn) % 10],
        "end_ts_us": START_US + number * 10_000,
        "fwd_bytes": 300 + number % 7,
    }
    return _spread(batch([{"dst_port": 502, "src_port": 4000}]), columns, len(number))


def _flood(after_s: int, seconds: int) -> pa.RecordBatch:
    number = np.arange(SPOOFED)
    columns = {
        "src_addr": [f"{11 + host // 65_536}.{host // 256 % 256}.{host % 256}.7" for host in number],
        "end_ts_us": START_US + after_s * 1_000_000 + number * (seconds * 1_000_000 // SPOOFED) + 3,
    }
    syn = {"dst_addr": "10.9.9.9", "dst_port": 80, "conn_state": "S0", "rev_pkts": 0}
    return _spread(batch([syn]), columns, SPOOFED)


def _bytes(windows: Any) -> int:
    if isinstance(windows, np.ndarray):
        return windows.nbytes
    return sum(_bytes(part) for part in windows)


def _run(flows: pa.RecordBatch) -> tuple[SensorState, np.ndarray[Any, Any]]:
    end = flows.column("end_ts_us").to_numpy()
    flows = flows.take(pa.array(np.argsort(end, kind="stable")))
    state, matrices = SensorState.empty(FULL), []
    for start in range(0, len(flows), 8_192):
        state, rows = advance(state, flows.slice(start, 8_192), False, 0)
        of_plant = pa.compute.starts_with(rows.column("src_addr"), "10.1.").to_numpy(zero_copy_only=False)
        matrices.append(matrix_of(rows)[of_plant])
    return state, np.concatenate(matrices)


@pytest.mark.slow
def test_a_flood_neither_fills_memory_nor_hides_the_plant() -> None:
    plant = _plant(100)
    calm, without = _run(plant)
    state, during = _run(pa.concat_batches([plant, _flood(70, 20)]))
    assert 1_000_000 < _bytes(state.windows[ORDINARY]) < MAX_BYTES
    evictions = evicted(PartitionState({("plant", "left"): state}, 0, FULL))
    assert evictions["ot.hosts"] > SPOOFED - OtBounds().ot_hosts - 100 and evictions["time.queue"] == 0
    assert not any(evicted(PartitionState({("plant", "left"): calm}, 0, FULL)).values())
    off = {
        name: float(np.abs(during[:, column] - without[:, column]).max())
        for column, name in enumerate(FULL.names)
        if (during[:, column] != without[:, column]).any()
    }
    assert set(off) <= OVER_THE_SENSOR, off
