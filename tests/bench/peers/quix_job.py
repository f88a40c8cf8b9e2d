"""The job in Quix Streams, a record at a time; its own exactly-once is switched on."""

import sys
from typing import Any

import orjson
from quixstreams import Application

from tests.bench.peers.job import Recent, answer, inputs, scores


def main(bootstrap: str, source: str, sink: str) -> None:
    """Until it is ended."""
    app = Application(
        broker_address=bootstrap,
        consumer_group=sink,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        processing_guarantee="exactly-once",
        commit_interval=1.0,
    )
    recent = Recent()

    def scored(record: dict[str, Any]) -> bytes:
        count = recent.count(record)
        return answer(record, count, scores([inputs(record, count)])[0])

    messages = app.topic(source, value_deserializer="bytes")
    answers = app.topic(sink, value_serializer="bytes", key_serializer="bytes")
    records = app.dataframe(messages).apply(
        lambda value: [orjson.loads(line) for line in value.splitlines()], expand=True
    )
    records.apply(scored).to_topic(answers)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:4])
