"""What a flood costs where every row is a suspect: `python -m tests.bench.bench_flood [MESSAGES]`; last line: JSON.

Alert and retrain without Kafka, messages of 4,096 rows with 75 features; 200 hosts of one sensor ask 20 controllers.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from pipeline.alert.grouping import load_grouping
from pipeline.alert.partition import PartitionState, advance_partition
from pipeline.contracts.envelope import RowsFacts, SensorWatermark
from pipeline.retrain import samples
from pipeline.runtime.wire.batches import decode, encode
from tests.alert.suspects import SECOND, START_US, scored
from tests.contracts.facts import rows_facts

ROWS, FEATURES = 4_096, 75
PER_FILE = 5
"""Messages of a file of retrain: 20,000 rows."""


def flood(messages: int) -> Iterator[tuple[bytes, RowsFacts]]:
    """Messages of topic `suspects`, a second of event time each."""
    pick = np.random.default_rng(1)
    for number in range(messages):
        first, step_us = number * ROWS, SECOND / ROWS
        rows = [
            {
                "raw_offset": first + at,
                "end_ts_us": START_US + round((first + at) * step_us),
                "src_addr": f"10.0.{pick.integers(200)}.1",
                "dst_addr": f"10.1.{pick.integers(20)}.2",
                "class": "unknown",
            }
            for at in range(ROWS)
        ]
        batch = scored(rows, pick.exponential(1.0, (ROWS, FEATURES)).round(1))
        watermark = SensorWatermark("plant", "left", START_US + (number + 1) * SECOND)
        yield encode(batch, {}), rows_facts(seq=number, watermarks=(watermark,))


def main() -> None:
    """Each of the two stages over all messages, in processor time."""
    payloads = list(flood(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
    total, state, grouping = ROWS * len(payloads), PartitionState.empty(), load_grouping()
    advance_partition(PartitionState.empty(), decode(payloads[0][0], "scored")[0], payloads[0][1], grouping, _unknown)
    started, alerts = time.process_time(), 0
    for payload, said in payloads:
        advanced = advance_partition(state, decode(payload, "scored")[0], said, grouping, _unknown)
        alerts += len(advanced.events)
    alert_s = time.process_time() - started
    with tempfile.TemporaryDirectory(prefix="bench-flood-") as folder:
        started = time.process_time()
        for first in range(0, len(payloads), PER_FILE):
            group: list[pa.RecordBatch] = [decode(each, "scored")[0] for each, _ in payloads[first : first + PER_FILE]]
            samples.write(Path(folder), group, samples.SampleRange(0, first, first + len(group) - 1, "f" * 12))
        retrain_s = time.process_time() - started
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    print(f"alert   {alert_s / total * 1e6:6.2f} us a suspect, {alerts} alerts messages")
    print(f"retrain {retrain_s / total * 1e6:6.2f} us a suspect, {size / total:.0f} bytes a sample")
    document = {"rows": total, "alert_us": alert_s / total * 1e6, "retrain_us": retrain_s / total * 1e6}
    print(orjson.dumps({name: round(value, 2) for name, value in document.items()}).decode())


def _unknown(_model: str) -> None:
    return None


if __name__ == "__main__":
    main()
