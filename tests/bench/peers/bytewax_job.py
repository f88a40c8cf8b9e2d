"""The job in Bytewax: one worker, batches of a thousand records from Kafka."""

import sys

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main

from tests.bench.peers.job import Recent, answer, inputs, scores


def main(bootstrap: str, source: str, sink: str, pack: int) -> None:
    """Until it is ended."""
    recent = Recent()

    def scored(messages: list[KafkaSourceMessage]) -> list[KafkaSinkMessage]:
        records = [orjson.loads(line) for message in messages for line in message.value.splitlines()]
        counts = [recent.count(record) for record in records]
        results = scores([inputs(record, count) for record, count in zip(records, counts, strict=True)])
        rows = zip(records, counts, results, strict=True)
        return [KafkaSinkMessage(None, answer(record, count, score)) for record, count, score in rows]

    flow = Dataflow("peers")
    came = op.input("in", flow, KafkaSource([bootstrap], [source], batch_size=1000 // pack))
    kafka.output("out", op.flat_map_batch("score", came, scored), brokers=[bootstrap], topic=sink)
    cluster_main(flow, [], 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
