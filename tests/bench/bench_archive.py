"""How fast one core archives, with 80 features and without: `python -m tests.bench.bench_archive [ROWS] [FOLDER]`.

Flows of a made-up plant as ingest decodes them, with their features, eight sensors, 4,096 rows a message; every step of
a commit, fsync too. The last line is one JSON document.
"""

import resource
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from loadtest.conn_json import CONTENT_TYPE, conn_json
from loadtest.scenarios import SCENARIOS, records
from pipeline.archive.manifest import Progress
from pipeline.archive.pairing import Pairing, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.archive.upkeep.compact import compact
from pipeline.archive.upkeep.verify import verify
from pipeline.archive.worker import COMMIT_AT_MOST_EVERY_S
from pipeline.contracts.raw import SourceInfo
from pipeline.featurize.sensor import featurize_file_rows
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import pack
from pipeline.runtime.wire.batches import matrix, matrix_column
from pipeline.runtime.wire.messages import write
from schemas.fields import arrow_schema
from tests.contracts.facts import at, scored_facts

BATCH_ROWS, SENSORS, DISTINCT = 4096, 8, 8
START_US = 1_678_440_000_000_000
CONSTANT = {"class": "normal", "model": "igan-0123456789ab"}


def flows() -> list[pa.RecordBatch]:
    """Some messages' flows with their features, as featurize leaves them."""
    stream = SourceInfo(CONTENT_TYPE, (), "plant", "sensor")
    lines = conn_json(records(SCENARIOS["steady"], 3, 0, 0, BATCH_ROWS * DISTINCT, START_US))
    log = [
        RawMessage(0, number, START_US + 2**40, stream, lines.message(number * BATCH_ROWS, (number + 1) * BATCH_ROWS))
        for number in range(DISTINCT)
    ]
    messages = Messages.of(log)
    packed = pa.Table.from_batches(part.flows for part in pack(messages, decode_messages(messages, 2**60), BATCH_ROWS))
    rows = featurize_file_rows(packed.combine_chunks().to_batches()[0])
    return [rows.slice(number * BATCH_ROWS, BATCH_ROWS) for number in range(DISTINCT)]


def message(
    seq: int,
    of: pa.RecordBatch,
    width: int,
    random: np.random.Generator,
    partition: int = 0,
    sensors: int = SENSORS,
    last: bool = False,
) -> bytes:
    """One sensor's flows, scored; features come again where `width` is more. With the `last` one all sensors end."""
    schema = arrow_schema("scored", width)
    columns: list[Any] = []
    for field in schema:
        if field.name == "features":
            features = matrix(of)
            columns.append(matrix_column(features[:, np.arange(width) % features.shape[1]]))
        elif field.name == "sensor":
            columns.append(pa.array([f"sensor{seq % sensors}"] * BATCH_ROWS))
        elif field.name == "raw_offset":
            columns.append(pa.array(np.arange(seq * BATCH_ROWS, (seq + 1) * BATCH_ROWS)))
        elif field.name == "raw_index":
            columns.append(pa.array(np.zeros(BATCH_ROWS, np.int32)))
        elif field.name == "end_ts_us":
            columns.append(pa.array(START_US + np.arange(seq * BATCH_ROWS, (seq + 1) * BATCH_ROWS) * 100))
        elif field.name in of.schema.names:
            columns.append(of.column(field.name))
        elif field.name in CONSTANT:
            columns.append(pa.array([CONSTANT[field.name]] * BATCH_ROWS))
        elif pa.types.is_floating(field.type):
            columns.append(pa.array(random.random(BATCH_ROWS).astype(np.float32)))
        else:
            columns.append(pa.array(np.zeros(BATCH_ROWS, np.int64)).cast(field.type))
    facts = scored_facts(
        seq=seq,
        raw_partition=partition,
        ended=[("plant", f"sensor{number}") for number in range(sensors if last else 0)],
        feature_set="bench",
        feature_hash="0",
        through=((seq + 1) * BATCH_ROWS - 1, 0),
        records=BATCH_ROWS,
    )
    return write(pa.RecordBatch.from_arrays(columns, schema=schema), facts)


def measure(rows: int, width: int, within: str | None) -> dict[str, Any]:
    """Archive, verify and compact so many rows of so many features."""
    random = np.random.default_rng(Random(1).randrange(2**32))
    made = flows()
    samples = [message(seq, made[seq % len(made)], width, random) for seq in range(rows // BATCH_ROWS)]
    total = len(samples) * BATCH_ROWS
    with TemporaryDirectory(dir=within) as folder:
        archive, pairing = PartitionArchive(Path(folder), 0, Limits(131_072), "bench"), Pairing(0, Progress())
        started, cpu = time.perf_counter(), time.process_time()
        committed = started
        for offset, payload in enumerate(samples):
            pairing.offer_scored(read_scored(payload, at("archive", offset=offset)))
            paired = pairing.next()
            assert paired is not None
            archive.take(paired)
            # As the worker does it.
            if archive.full or (archive.due and time.perf_counter() - committed >= COMMIT_AT_MOST_EVERY_S):
                archive.commit()
                committed = time.perf_counter()
        archive.commit()
        wrote, cpu = time.perf_counter() - started, time.process_time() - cpu
        started = time.perf_counter()
        proof = verify(Path(folder), None)
        verified = time.perf_counter() - started
        started = time.perf_counter()
        packed = compact(Path(folder), 2**30, 2.0**40, newest=True)
        compacted = time.perf_counter() - started
        return {
            "features": width,
            "rows": total,
            "rows_per_s": round(total / wrote),
            "rows_per_cpu_s": round(total / cpu),
            "bytes_per_row": round(proof["bytes"] / max(proof["rows"], 1)),
            "verify_rows_per_s": round(total / verified),
            "compact_rows_per_s": round(packed["rows"] / compacted),
            "ok": proof["ok"] and verify(Path(folder), None)["ok"],
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def main(rows: int, within: str | None) -> None:
    pa.set_cpu_count(1)
    measured = [measure(rows, width, within) for width in (80, 1)]
    for result in measured:
        print(orjson.dumps(result).decode())
    sys.stdout.write(orjson.dumps({"archive": measured}).decode() + "\n")


if __name__ == "__main__":
    # Enough by default that every sensor fills a file.
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_200_000, sys.argv[2] if len(sys.argv) > 2 else None)
