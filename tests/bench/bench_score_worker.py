"""Score's worker on a real broker: behind a backlog, and at steady rates (docs/adr/0057).

`python -m tests.bench.bench_score_worker [RUNS]`: a backlog of messages of 2,000 rows; then messages of 250 rows, 40 a
second, and of 60 rows, 160 a second, a partition after the other, without gathering. The last line is JSON.
"""

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition

from models.igan.config import IganConfig
from models.serving import registry
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.wire.messages import write
from pipeline.settings import Settings, inherited_environment, load_settings
from pipeline.tools.processes import CLI
from tests.bench.path import cpu_s, workplace
from tests.contract.tree import ROOT
from tests.score.small_model import facts, features, small_model

WIDTH, PARTITIONS = 75, 4

Payloads = list[tuple[int, bytes]]


@dataclass(frozen=True)
class Load:
    """What is sent: all at once where `per_s` is 0."""

    name: str
    messages: int
    rows: int
    per_s: int = 0

    def payloads(self) -> Payloads:
        """Features messages of all partitions in turn, numbered."""
        made = []
        for number in range(self.messages):
            partition, seq = number % PARTITIONS, number // PARTITIONS
            batch = features(self.rows, partition, seq * self.rows, width=WIDTH, scale=1.0)
            made.append((partition, write(batch, facts(seq, partition, batch))))
        return made


LOADS = (Load("backlog", 400, 2_000), Load("40 a second", 400, 250, 40), Load("160 a second", 1_600, 60, 160))


def started(settings: Settings) -> subprocess.Popen[bytes]:
    """A worker."""
    environment = inherited_environment({**settings.variables(), "OMP_NUM_THREADS": "1"})
    return subprocess.Popen(
        [sys.executable, *CLI, "score", "run"], env=environment, cwd=ROOT, stderr=subprocess.DEVNULL
    )


class Bench:
    """Fresh topics, and one worker on them."""

    def __init__(self, kafka: str, broker: int, folder: Path, model: str) -> None:
        self.settings = load_settings(
            bootstrap=kafka,
            topic_prefix=f"b{uuid.uuid4().hex[:10]}.",
            partitions=PARTITIONS,
            registry_uri=folder,
            model=model,
            device="cpu",
            metrics_port=-1,
            gather_ms=0,
        )
        self.broker = broker
        topics.create(self.settings)
        self.producer = clients.producer(self.settings, "bench")
        self.reader = clients.reader(self.settings, "bench")
        archive = self.settings.topics.archive
        self.reader.assign([TopicPartition(archive, partition, 0) for partition in range(PARTITIONS)])
        self.sent_at: list[list[float]] = [[] for _ in range(PARTITIONS)]
        self.came_at: list[list[float]] = [[] for _ in range(PARTITIONS)]

    def put(self, partition: int, payload: bytes) -> None:
        """Send a features message."""
        while True:
            try:
                self.producer.produce(self.settings.topics.features, payload, partition=partition)
            except BufferError:
                self.producer.poll(0.05)
            else:
                self.sent_at[partition].append(time.perf_counter())
                self.producer.poll(0)
                return

    def take(self, wait_s: float) -> None:
        """Note what has come to `archive`."""
        for message in self.reader.consume(100, wait_s):
            self.came_at[clients.raise_for(message).partition() or 0].append(time.perf_counter())

    @property
    def came(self) -> int:
        """Messages in `archive`."""
        return sum(map(len, self.came_at))

    def run(self, load: Load, made: Payloads) -> dict[str, Any]:
        """The worker warm, then all of a backlog at once, or messages at their times."""
        warm, rest = made[:PARTITIONS], made[PARTITIONS:]
        for each in warm:
            self.put(*each)
        self.producer.flush()
        process = started(self.settings)
        while self.came < PARTITIONS:
            self.take(0.1)
        if not load.per_s:
            process.send_signal(signal.SIGSTOP)
            for each in rest:
                self.put(*each)
            self.producer.flush()
            process.send_signal(signal.SIGCONT)
        pids = {"score": process.pid, "broker": self.broker}
        before, begun = {name: cpu_s(pid) for name, pid in pids.items()}, time.perf_counter()
        upcoming = 0 if load.per_s else len(rest)
        while self.came < len(made):
            while upcoming < len(rest) and time.perf_counter() >= begun + upcoming / load.per_s:
                self.put(*rest[upcoming])
                upcoming += 1
            self.take(0.001 if load.per_s else 0.1)
        took = time.perf_counter() - begun
        used = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        self.reader.close()
        rows = len(rest) * load.rows
        document: dict[str, Any] = {
            "rows_per_s": round(rows / took),
            "cpu_us_a_row": {name: round(seconds * 1e6 / rows, 2) for name, seconds in used.items()},
        }
        if load.per_s:
            pairs = zip(self.sent_at, self.came_at, strict=True)
            delays = sorted(came - sent for each in pairs for sent, came in list(zip(*each, strict=True))[1:])
            document["ms"] = {
                "p50": round(statistics.median(delays) * 1e3, 1),
                "p99": round(delays[int(len(delays) * 0.99)] * 1e3, 1),
            }
        return document


def main() -> None:
    """The loads in turn."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    model = small_model(0, width=WIDTH, config=IganConfig(alert_level=0.01))
    made = {load: load.payloads() for load in LOADS}
    document: dict[str, list[Any]] = {}
    with workplace("bench-score-") as (_, running), tempfile.TemporaryDirectory() as models:
        registry.save(model, Path(models))
        for _ in range(runs):
            for load, payloads in made.items():
                shown = Bench(running.bootstrap, running.pid, Path(models), model.id).run(load, payloads)
                document.setdefault(load.name, []).append(shown)
                print(f"{load.name}: {json.dumps(shown)}", flush=True)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
