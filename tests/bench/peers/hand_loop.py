"""A loop by hand around confluent-kafka: fast, and nothing safe about it; `transactions` makes answers and offsets one.

With 100 records a message it reads the lines of each.
"""

import sys

import orjson
from confluent_kafka import Consumer, Producer

from tests.bench.peers.job import Recent, answer, inputs, scores

BATCH_RECORDS = 10_000


def main(bootstrap: str, source: str, sink: str, pack: int, transactions: bool) -> None:
    """Until it is ended."""
    own = {"enable.auto.commit": not transactions, "isolation.level": "read_committed"}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": sink, "auto.offset.reset": "earliest", **own})
    safe = {"transactional.id": sink} if transactions else {}
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000, **safe}
    )
    if transactions:
        producer.init_transactions(30.0)
    consumer.subscribe([source])
    recent = Recent()
    while True:
        values = [message.value() or b"" for message in consumer.consume(BATCH_RECORDS // pack, 0.1)]
        if not values:
            continue
        lines = values if pack == 1 else [line for value in values for line in value.splitlines()]
        records = [orjson.loads(line) for line in lines]
        counts = [recent.count(record) for record in records]
        results = scores([inputs(record, count) for record, count in zip(records, counts, strict=True)])
        if transactions:
            producer.begin_transaction()
        for record, count, score in zip(records, counts, results, strict=True):
            producer.produce(sink, answer(record, count, score))
        producer.poll(0)
        if transactions:
            at = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(at, consumer.consumer_group_metadata(), 30.0)
            producer.commit_transaction(30.0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:] == ["transactions"])
