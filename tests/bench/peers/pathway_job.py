"""The job in Pathway: its own connectors, and a stateful reducer that is handed all rows of one of its commits.

A commit's rows are in no order there, and a batched function over a column got 128 of them at a time: counts of the
last 2 s were wrong. A reducer gets all of them, and puts them in order.
"""

import sys
from typing import Any

import orjson
import pathway as pw

from tests.bench.peers.job import Recent, answer, inputs, scores

COMMIT_MS = 20
BACKLOG_RECORDS = 10_000
"""Read and not yet worked off, and so the most of a commit."""


def main(bootstrap: str, source: str, sink: str, pack: int) -> None:
    """Until it is ended."""
    pw.set_license_key(None)  # without a key it calls neither a licence server nor a telemetry server
    pw.set_monitoring_config(server_endpoint=None)
    recent = Recent()

    def scored(_before: tuple[bytes, ...] | None, rows: list[tuple[list[bytes], int]]) -> tuple[bytes, ...]:
        # Equal messages of one commit are one row, with their number.
        records = [orjson.loads(line) for (value,), times in rows for line in value.splitlines() * times]
        records.sort(key=lambda record: record["ts"] + record.get("duration", 0.0))
        counts = [recent.count(record) for record in records]
        results = scores([inputs(record, count) for record, count in zip(records, counts, strict=True)])
        return tuple(answer(*each) for each in zip(records, counts, results, strict=True))

    came: Any = pw.io.kafka.read(
        {"bootstrap.servers": bootstrap, "group.id": sink, "auto.offset.reset": "earliest"},
        topic=source,
        format="raw",
        autogenerate_key=True,
        autocommit_duration_ms=COMMIT_MS,
        max_backlog_size=BACKLOG_RECORDS // pack,
    )
    # The reducer's row is replaced at each commit; of that change only the new row is wanted.
    batches = came.reduce(answers=pw.reducers.stateful_many(scored)(came.data)).to_stream()
    answers = batches.filter(batches.is_upsert).flatten(pw.this.answers)
    answers = answers.select(value=pw.declare_type(bytes, pw.this.answers))
    pw.io.kafka.write(answers, {"bootstrap.servers": bootstrap}, topic_name=sink, format="raw")
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
