"""How fast one core archives: `python -m tests.bench.bench_archive [ROWS]`; the last line is one JSON document."""

import resource
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import orjson
import pyarrow as pa

from pipeline.archive.manifest import Progress
from pipeline.archive.pairing import Pairing, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.archive.verify import verify
from pipeline.wire.batches import encode, matrix_column
from schemas.fields import arrow_schema

WIDTH, BATCH_ROWS, SENSORS = 75, 4096, 8


def message(seq: int, random: np.random.Generator) -> bytes:
    """A message of one sensor's flows, with values that compress as real ones do."""
    schema = arrow_schema("scored", WIDTH)
    sensor = f"sensor{seq % SENSORS}"
    columns = []
    for fld in schema:
        if fld.name == "features":
            matrix = np.round(random.exponential(50, (BATCH_ROWS, WIDTH))).astype(np.float32)
            matrix[:, WIDTH // 2 :] = 0
            columns.append(matrix_column(matrix))
        elif fld.name in ("site", "sensor"):
            columns.append(pa.array(["plant" if fld.name == "site" else sensor] * BATCH_ROWS))
        elif fld.name in ("raw_partition", "raw_index", "late_by_us"):
            columns.append(pa.array(np.zeros(BATCH_ROWS), fld.type))
        elif fld.name == "raw_offset":
            columns.append(pa.array(np.arange(seq * BATCH_ROWS, (seq + 1) * BATCH_ROWS)))
        elif fld.name == "end_ts_us":
            columns.append(pa.array(1_678_440_000_000_000 + np.arange(seq * BATCH_ROWS, (seq + 1) * BATCH_ROWS) * 100))
        elif pa.types.is_string(fld.type):
            columns.append(pa.array([f"10.0.{n % 50}.{n % 200}" for n in random.integers(0, 10_000, BATCH_ROWS)]))
        elif pa.types.is_list(fld.type):
            columns.append(pa.nulls(BATCH_ROWS, fld.type))
        elif pa.types.is_boolean(fld.type):
            columns.append(pa.array(random.random(BATCH_ROWS) < 0.01))
        else:
            columns.append(pa.array(random.integers(0, 200, BATCH_ROWS)).cast(fld.type))
    through = [(seq + 1) * BATCH_ROWS - 1, 0]
    meta = {
        "seq": seq,
        "raw_partition": 0,
        "feature_set": "bench",
        "feature_hash": "0",
        "through": through,
        "frontier": None,
        "records": BATCH_ROWS,
        "rejected": 0,
        "watermarks": [],
        "ended": [],
    }
    return encode(pa.RecordBatch.from_arrays(columns, schema=schema), meta)


def main(rows: int) -> None:
    random = np.random.default_rng(Random(1).randrange(2**32))
    samples = [message(seq, random) for seq in range(rows // BATCH_ROWS)]
    with TemporaryDirectory() as folder:
        archive = PartitionArchive(Path(folder), 0, Limits(131_072), "bench")
        pairing = Pairing(0, Progress())
        started, cpu = time.perf_counter(), time.process_time()
        for offset, payload in enumerate(samples):
            pairing.offer_scored(read_scored(offset, payload, 0))
            paired = pairing.next()
            assert paired is not None
            archive.take(paired)
            if archive.due:
                archive.commit()
        archive.commit()
        wrote, cpu = time.perf_counter() - started, time.process_time() - cpu
        started = time.perf_counter()
        proof = verify(Path(folder), None)
        verified = time.perf_counter() - started
        total = len(samples) * BATCH_ROWS
        document = {
            "rows": total,
            "rows_per_s": round(total / wrote),
            "rows_per_cpu_s": round(total / cpu),
            "bytes_per_row": round(proof["bytes"] / max(proof["rows"], 1)),
            "verify_rows_per_s": round(total / verified),
            "ok": proof["ok"],
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    sys.stdout.write(orjson.dumps(document).decode() + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_200_000)  # enough that every sensor fills a file
