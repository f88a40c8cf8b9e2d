"""What the archive's worker takes a row, and of memory: `python -m tests.bench.bench_archive_worker [ROWS]`.

Topic `archive` holds all rows, in four partitions of two sensors each; then the worker starts and works them off. CPU
is that of the whole process, its start and the Kafka client's threads included, until all lie in closed files; memory
is the most resident in the first and second half of the time, and at any time. The last line is one JSON document.
"""

import sys
import time
import uuid
from pathlib import Path

import numpy as np
import orjson

from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.kafka.producing import produce
from pipeline.settings import Settings, load_settings
from pipeline.tools.processes import Processes, worker_environment
from tests.bench.bench_archive import BATCH_ROWS, flows, message
from tests.bench.bench_flow import archived, memory_peak_mib
from tests.bench.path import cpu_s, workplace

WIDTH, SENSORS = 75, 2
LOOK_S = 0.5


def fill(settings: Settings, rows: int) -> int:
    """Put so many rows of closed sources into topic `archive`, the partitions in turn; how many it were."""
    random, made = np.random.default_rng(1), flows()
    rounds = max(SENSORS, rows // (BATCH_ROWS * settings.partitions))
    producer = clients.producer(settings, "bench")
    for seq in range(rounds):
        for partition in range(settings.partitions):
            payload = message(seq, made[seq % len(made)], WIDTH, random, partition, SENSORS, last=seq == rounds - 1)
            produce(producer, settings.topics.archive, payload, partition=partition)
    assert not producer.flush(120)
    return rounds * settings.partitions * BATCH_ROWS


def measure(kafka: str, rows: int, folder: Path) -> dict[str, float]:
    """Fill the topic, start the worker, and see what it needs until all is archived."""
    settings = load_settings(
        bootstrap=kafka,
        topic_prefix=f"b{uuid.uuid4().hex[:10]}.",
        archive_uri=folder / "archive",
        metrics_port=0,
    )
    topics.create(settings)
    total = fill(settings, rows)
    (folder / "logs").mkdir()
    processes, memory = Processes(folder / "logs", worker_environment(settings)), []
    try:
        worker, started = processes.start("archive", "archive", "run"), time.monotonic()
        while not (folder / "archive").exists() or archived(settings) < total:
            processes.check()
            memory.append(worker.memory_mib)
            time.sleep(LOOK_S)
        took_s, cpu = time.monotonic() - started, cpu_s(worker.process.pid)
        peak = memory_peak_mib(worker.process.pid)
    finally:
        processes.stop()
    half = len(memory) // 2
    return {
        "rows": total,
        "rows_per_s": round(total / took_s),
        "cpu_us_per_row": round(cpu * 1e6 / total, 2),
        "first_half_mib": round(max(memory[:half], default=0.0)),
        "second_half_mib": round(max(memory[half:], default=0.0)),
        "peak_mib": peak,
    }


def main(rows: int) -> None:
    with workplace("bench-archive-") as (folder, running):
        result = measure(running.bootstrap, rows, folder)
    print(orjson.dumps(result).decode())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
