"""Flows a second through featurize on one core: batches as the topics carry them, from few and many endpoints."""

import time

import numpy as np
import pyarrow as pa
import pytest

from pipeline.featurize.sensor import SensorState, advance
from pipeline.featurize.snapshot import snapshot
from tests.bench.ahead import compile_ahead
from tests.featurize.flows import batch

ROWS = 65_536
SOME = 512  # rows made one by one; the rest repeats them, later


def _flows(endpoints: int) -> pa.RecordBatch:
    pick = np.random.default_rng(1)
    rows = [
        {
            "src_addr": f"10.{pick.integers(endpoints) // 250}.{pick.integers(endpoints) % 250}.1",
            "dst_addr": f"10.{pick.integers(endpoints) // 250}.{pick.integers(endpoints) % 250}.2",
            "src_mac": "00:07:7c:88:6e:63",
            "dst_port": int(pick.choice([502, 22, 80])),
            "conn_state": str(pick.choice(["SF", "S0", "REJ"])),
        }
        for _ in range(SOME)
    ]
    flows = batch(rows).take(pa.array(np.arange(ROWS) % SOME))
    end = pa.array(1_678_440_574_000_000 + np.arange(ROWS) * 1000)
    return flows.set_column(flows.schema.names.index("end_ts_us"), flows.schema.field("end_ts_us"), end)


@pytest.mark.bench
@pytest.mark.parametrize("endpoints", [20, 5_000])
@pytest.mark.parametrize("batch_rows", [2_048, 65_536])
@pytest.mark.parametrize("lateness_s", [0, 2])
def test_flows_a_second(endpoints: int, batch_rows: int, lateness_s: int) -> None:
    flows, state = _flows(endpoints), SensorState.empty()
    compile_ahead()
    started, cpu = time.perf_counter(), time.process_time()
    for start in range(0, ROWS, batch_rows):
        state, _ = advance(state, flows.slice(start, batch_rows), False, lateness_s * 1_000_000)
    took, used = time.perf_counter() - started, time.process_time() - cpu
    size = len(snapshot(state))
    print(
        f"featurize, {endpoints} endpoints, batches of {batch_rows}, lateness {lateness_s} s: "
        f"{ROWS / took / 1e3:.0f}k flows/s ({ROWS / used / 1e3:.0f}k per CPU second), state {size / 1e6:.2f} MB"
    )
