"""What few suspects a message cost alert: `python -m tests.bench.bench_alert [MESSAGES]`; last line: JSON.

Without Kafka, messages of 12 rows with 75 features: 3 small incidents of 2 flows each, which close with the next
message, and 6 suspects in none. bench_flood has many of one incident.
"""

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from pipeline.alert.grouping import load_grouping
from pipeline.alert.partition import PartitionState, advance_partition
from pipeline.contracts.envelope import RowsFacts, SensorWatermark
from pipeline.runtime.wire.batches import decode, encode
from tests.alert.suspects import SECOND, START_US, scored
from tests.contracts.facts import rows_facts

INCIDENTS, LONE, FEATURES = 3, 6, 75
APART_US = 600 * SECOND
"""Event time between two messages, more than what keeps an incident open."""


def few(messages: int) -> Iterator[tuple[bytes, RowsFacts]]:
    """Messages of topic `suspects`."""
    pick = np.random.default_rng(1)
    for number in range(messages):
        at_us = START_US + number * APART_US
        hosts = [*range(INCIDENTS), *range(INCIDENTS + LONE)]
        rows: list[dict[str, Any]] = [
            {
                "raw_offset": number * len(hosts) + place,
                "end_ts_us": at_us + place * SECOND,
                "src_addr": f"10.0.{host}.1",
                "dst_addr": f"10.1.{host}.2",
                "class": "unknown",
                "nearest_class": "portscan",
            }
            for place, host in enumerate(hosts)
        ]
        watermark = SensorWatermark("plant", "left", at_us + len(hosts) * SECOND)
        features = pick.exponential(1.0, (len(rows), FEATURES)).round(1)
        yield encode(scored(rows, features), {}), rows_facts(seq=number, watermarks=(watermark,))


def main() -> None:
    """All messages, in processor time; the first tenth is not counted."""
    payloads = list(few(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
    state, grouping, events, started, warm = PartitionState.empty(), load_grouping(), 0, 0.0, len(payloads) // 10
    for number, (payload, said) in enumerate(payloads):
        if number == warm:
            started, events = time.process_time(), 0
        advanced = advance_partition(state, decode(payload, "scored")[0], said, grouping, lambda _model: None)
        events += len(advanced.events)
    messages = len(payloads) - warm
    ms_a_message = (time.process_time() - started) * 1e3 / messages
    print(f"alert {ms_a_message:.2f} ms a message, {events / messages:.1f} events each")
    print(orjson.dumps({"messages": messages, "events": events, "ms_a_message": round(ms_a_message, 2)}).decode())


if __name__ == "__main__":
    main()
