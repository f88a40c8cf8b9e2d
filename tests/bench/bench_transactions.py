"""What a transaction costs here and at the broker, by how many partitions it writes to.

`python -m tests.bench.bench_transactions [--transactions N]`; a line each, and in the last line one JSON document. A
message of 3 kB a partition, with and without a consumer's offsets, one transaction after the other and with 30 ms
between them, as at a trickle. Processor time of both sides, and how long each took.
"""

import argparse
import os
import time
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from tests.bench.path import cpu_s, settings_for, workplace

PARTITIONS = 12
WIDTHS = ((1, False), (1, True), (4, True), (12, False), (12, True))
"""Partitions written to, and whether offsets are part of it."""
GAPS_S = (0.0, 0.03)
WARM_UP = 500
"""So many until the broker's code is compiled."""
MESSAGE_BYTES = 3_000


class Transactions:
    """A producer and a consumer's group, as a stage has them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Producer = clients.transactional_producer(settings, "bench")
        self._consumer: Consumer = clients.consumer(settings, "bench")
        self._consumer.subscribe([settings.topics.raw])
        while not self._consumer.assignment():
            self._consumer.poll(0.1)
        self._value = os.urandom(MESSAGE_BYTES)

    def one(self, partitions: int, offsets: bool) -> None:
        """Begin, a message for each partition, the offsets, commit."""
        self._producer.begin_transaction()
        for partition in range(partitions):
            self._producer.produce(self._settings.topics.flows, value=self._value, partition=partition)
        if offsets:
            read = [TopicPartition(self._settings.topics.raw, partition, 1) for partition in range(partitions)]
            self._producer.send_offsets_to_transaction(read, self._consumer.consumer_group_metadata())
        self._producer.commit_transaction()

    def close(self) -> None:
        """Leave the clients."""
        clients.abandon(self._consumer, self._producer)


def measured(transactions: Transactions, broker: int, partitions: int, offsets: bool, gap_s: float, count: int) -> Any:
    """Milliseconds of each transaction on the clock, and of a CPU in both processes."""
    took: list[float] = []
    at_broker, here = cpu_s(broker), time.process_time()
    for _ in range(count):
        started = time.perf_counter()
        transactions.one(partitions, offsets)
        took.append(time.perf_counter() - started)
        time.sleep(gap_s)
    took.sort()
    return {
        "partitions": partitions,
        "offsets": offsets,
        "gap_ms": gap_s * 1000,
        "p50_ms": round(took[count // 2] * 1000, 1),
        "p99_ms": round(took[count * 99 // 100] * 1000, 1),
        "broker_cpu_ms": round((cpu_s(broker) - at_broker) / count * 1000, 1),
        "client_cpu_ms": round((time.process_time() - here) / count * 1000, 1),
    }


def main() -> None:
    """Print what each kind of transaction costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=200, help="of each kind")
    count = parser.parse_args().transactions
    rows = []
    with workplace("forebay-transactions-") as (folder, running):
        transactions = Transactions(settings_for(running.bootstrap, "bench.", folder, PARTITIONS))
        for _ in range(WARM_UP):
            transactions.one(PARTITIONS, True)
        for gap_s in GAPS_S:
            for partitions, offsets in WIDTHS:
                rows.append(measured(transactions, running.pid, partitions, offsets, gap_s, count))
                print(rows[-1], flush=True)
        transactions.close()
    print(orjson.dumps(rows).decode())


if __name__ == "__main__":
    main()
