"""The job in Quix Streams."""

import sys
from typing import Any

from quixstreams import Application

from tests.bench.peers.job import Recent, answer, inputs, scores


def main(bootstrap: str, source: str, sink: str) -> None:
    """Until it is ended."""
    app = Application(
        broker_address=bootstrap, consumer_group=sink, auto_offset_reset="earliest", auto_create_topics=False
    )
    recent = Recent()

    def scored(record: dict[str, Any]) -> bytes:
        count = recent.count(record)
        return answer(record, count, scores([inputs(record, count)])[0])

    records = app.topic(source, value_deserializer="json")
    answers = app.topic(sink, value_serializer="bytes", key_serializer="bytes")
    app.dataframe(records).apply(scored).to_topic(answers)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
