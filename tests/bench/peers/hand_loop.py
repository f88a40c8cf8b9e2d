"""A loop by hand around confluent-kafka: fast, and nothing safe about it."""

import sys

import orjson
from confluent_kafka import Consumer, Producer

from tests.bench.peers.job import Recent, answer, inputs, scores


def main(bootstrap: str, source: str, sink: str) -> None:
    """Until it is ended."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": sink, "auto.offset.reset": "earliest"})
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
    consumer.subscribe([source])
    recent = Recent()
    while True:
        records = [orjson.loads(message.value() or b"") for message in consumer.consume(10_000, 0.1)]
        if not records:
            continue
        counts = [recent.count(record) for record in records]
        results = scores([inputs(record, count) for record, count in zip(records, counts, strict=True)])
        for record, count, score in zip(records, counts, results, strict=True):
            producer.produce(sink, answer(record, count, score))
        producer.poll(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
