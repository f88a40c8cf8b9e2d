"""How fast an archive is copied into Iceberg tables, and proven: `python -m tests.bench.bench_iceberg [ROWS]`.

The last line is one JSON document.
"""

import resource
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson

from pipeline.archive.iceberg.copy import copy
from pipeline.archive.iceberg.proof import prove
from pipeline.archive.iceberg.warehouse import opened
from pipeline.archive.manifest import Progress
from pipeline.archive.pairing import Pairing, read_scored
from pipeline.archive.partition import PartitionArchive
from pipeline.archive.streams import Limits
from tests.bench.bench_archive import BATCH_ROWS, flows, message
from tests.contracts.facts import at


def archived(folder: Path, rows: int) -> None:
    """An archive of so many rows, in files of 131,072."""
    archive, pairing = PartitionArchive(folder, 0, Limits(131_072), "bench"), Pairing(0, Progress())
    random, made = np.random.default_rng(1), flows()
    for seq in range(rows // BATCH_ROWS):
        pairing.offer_scored(read_scored(message(seq, made[seq % len(made)], 75, random), at("archive", offset=seq)))
        paired = pairing.next()
        assert paired is not None
        archive.take(paired)
        if archive.due:
            archive.commit()
    archive.commit()


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    started, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return answer, time.perf_counter() - started, time.process_time() - cpu


def main(rows: int) -> None:
    with TemporaryDirectory() as folder:
        archive = Path(folder, "archive")
        # In a process of its own, so that this one's memory is the copy's.
        writing = get_context("spawn").Process(target=archived, args=(archive, rows))
        writing.start()
        writing.join()
        with opened(str(Path(folder, "warehouse")), {}) as catalog:
            done, took, cpu = timed(lambda: copy(archive, catalog))
            again, idle, _ = timed(lambda: copy(archive, catalog))
            proof, proving, _ = timed(lambda: prove(archive, catalog))
        copied = done["flows"]["rows"]
        files = list(Path(folder, "warehouse").rglob("*.parquet"))
        document = {
            "rows": copied,
            "files": done["flows"]["files"],
            "rows_per_s": round(copied / took),
            "rows_per_cpu_s": round(copied / cpu),
            "bytes_per_row": round(sum(path.stat().st_size for path in files) / copied),
            "nothing_to_do_ms": round(idle * 1000),
            "verify_rows_per_s": round(copied / proving),
            "ok": proof["ok"] and not again["flows"]["commits"],
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    sys.stdout.write(orjson.dumps(document).decode() + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_200_000)
