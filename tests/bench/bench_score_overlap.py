"""Whether score gains where a transaction's commit runs beside the next group's reading and scoring (ADR 44).

`python -m tests.bench.bench_score_overlap [RUNS]`: score's worker as it is, and one that overlaps, in turn, on a real
broker: a backlog of messages of 2,000 rows, and 40 messages a second of 250. The last line is JSON. The overlapping
worker is a prototype for this measurement: it handles no failure and no promotion.
"""

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition

from models.igan.config import IganConfig
from models.serving import registry
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.wire.messages import write
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT
from pipeline.score.group import encoded, score_group
from pipeline.score.position import StagePosition
from pipeline.score.worker import Group, ScoreWorker, load_model
from pipeline.settings import Settings, inherited_environment, load_settings
from tests.bench.path import cpu_s, workplace
from tests.contract.tree import ROOT
from tests.score.small_model import facts, features, small_model

WIDTH, PARTITIONS = 75, 4
BACKLOG, BACKLOG_ROWS = 400, 2_000
STEADY_PER_S, STEADY_ROWS, STEADY_S = 40, 250, 10
VARIANTS = ("as it is", "overlapped")
Sent = list[tuple[str, bytes, int]]


@dataclass
class Took:
    """Seconds by what a worker did, and groups."""

    seconds: dict[str, float] = field(default_factory=dict)
    groups: int = 0

    def add(self, name: str, since: float) -> float:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - since
        return now


class Measured(ScoreWorker):
    """Score's worker, which notes what its steps take."""

    took = Took()

    def _score(self, group: Group) -> bool:
        started = time.perf_counter()
        done = super()._score(group)
        if group.positions:
            self.took.groups += 1
            self.took.add("group", started)
        return done

    def _transact(self, send: Callable[[], None], positions: dict[int, StagePosition]) -> bool:
        def measured() -> None:
            started = time.perf_counter()
            send()
            self.took.add("encode and produce", started)

        started = time.perf_counter()
        done = super()._transact(measured, positions)
        self.took.add("transaction", started)
        return done


class Overlapped(Measured):
    """Scores and encodes a group while the one before is committed; transactions stay one after the other."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._thread = ThreadPoolExecutor(1)
        self._committing: Future[object] | None = None

    def _score(self, group: Group) -> bool:
        if not group.positions:
            return True
        at = started = time.perf_counter()
        routed = score_group([features for _, features in group.ready], self._ledger, self._cache)
        sent: Sent = []
        for (message, scored), batches in zip(group.ready, routed, strict=True):
            with self._telemetry.span("score features", clients.headers_of(message).get(TRACEPARENT)):
                payloads = encoded(batches, scored)
            sent += [
                (topic, each, message.partition() or 0)
                for topic, each in zip(self._outputs, payloads, strict=True)
                if each is not None
            ]
        at = self.took.add("score and encode", at)
        if self._committing is not None:
            self._committing.result()
        at = self.took.add("wait for the commit before", at)
        self._producer.begin_transaction()
        for topic, payload, partition in sent:
            self._produce(topic, None, payload, partition, [])
        self.took.add("produce", at)
        offsets = [
            TopicPartition(self._topic, partition, position.offset, metadata=position.metadata())
            for partition, position in group.positions.items()
        ]
        # Asked for here: beside a `consume` it comes only when that returns.
        membership = self._consumer.consumer_group_metadata()
        self._committing = self._thread.submit(self._commit, offsets, membership)
        self._positions.update(group.positions)
        self.took.groups += 1
        self.took.add("group", started)
        return True

    def _commit(self, offsets: list[TopicPartition], membership: Any) -> None:
        started = time.perf_counter()
        self._kafka.step(lambda timeout_s: self._producer.send_offsets_to_transaction(offsets, membership, timeout_s))
        self._kafka.step(self._producer.commit_transaction)
        self.took.add("commit, beside", started)


def work(variant: str) -> None:
    """The worker's process."""
    settings = load_settings()
    kind = Overlapped if variant == VARIANTS[1] else Measured
    with stage_process("score", settings) as (telemetry, kafka):
        cache = load_model(settings, telemetry)
        kafka.run(lambda: kind(settings, telemetry, kafka, cache).run())
    print(json.dumps({"groups": kind.took.groups, **{name: round(s, 3) for name, s in kind.took.seconds.items()}}))


def payloads(messages: int, rows: int) -> list[tuple[int, bytes]]:
    """Features messages of all partitions in turn, numbered."""
    made = []
    for number in range(messages):
        partition, seq = number % PARTITIONS, number // PARTITIONS
        batch = features(rows, partition, seq * rows, width=WIDTH, scale=1.0)
        made.append((partition, write(batch, facts(seq, partition, batch))))
    return made


def started(settings: Settings, variant: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.bench.bench_score_overlap", "--work", variant]
    environment = inherited_environment({**settings.variables(), "OMP_NUM_THREADS": "1"})
    return subprocess.Popen(
        words, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
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

    def run(self, variant: str, backlog: bool, made: list[tuple[int, bytes]]) -> dict[str, Any]:
        """The worker warm, then all of a backlog at once, or messages at their times."""
        warm, rest = made[:PARTITIONS], made[PARTITIONS:]
        for each in warm:
            self.put(*each)
        self.producer.flush()
        process = started(self.settings, variant)
        while self.came < PARTITIONS:
            self.take(0.1)
        if backlog:
            process.send_signal(signal.SIGSTOP)
            for each in rest:
                self.put(*each)
            self.producer.flush()
            process.send_signal(signal.SIGCONT)
        pids = {"score": process.pid, "broker": self.broker}
        before, begun = {name: cpu_s(pid) for name, pid in pids.items()}, time.perf_counter()
        upcoming = len(rest) if backlog else 0
        while self.came < len(made):
            while upcoming < len(rest) and time.perf_counter() >= begun + upcoming / STEADY_PER_S:
                self.put(*rest[upcoming])
                upcoming += 1
            self.take(0.1 if backlog else 0.001)
        took = time.perf_counter() - begun
        used = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        self.reader.close()
        rows = len(rest) * (BACKLOG_ROWS if backlog else STEADY_ROWS)
        document: dict[str, Any] = {
            "rows_per_s": round(rows / took),
            "cpu_us_a_row": {name: round(seconds * 1e6 / rows, 2) for name, seconds in used.items()},
            "worker": json.loads(out.strip().splitlines()[-1]),
        }
        if not backlog:
            pairs = zip(self.sent_at, self.came_at, strict=True)
            delays = sorted(came - sent for each in pairs for sent, came in list(zip(*each, strict=True))[1:])
            document["ms"] = {
                "p50": round(statistics.median(delays) * 1e3, 1),
                "p99": round(delays[int(len(delays) * 0.99)] * 1e3, 1),
            }
        return document


def main() -> None:
    """Both workers in turn, behind a backlog and at a steady rate."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    model = small_model(0, width=WIDTH, config=IganConfig(alert_level=0.01))
    backlog = payloads(BACKLOG, BACKLOG_ROWS)
    steady = payloads(STEADY_PER_S * STEADY_S, STEADY_ROWS)
    document: dict[str, list[Any]] = {}
    with workplace("bench-overlap-") as (_, running), tempfile.TemporaryDirectory() as models:
        registry.save(model, Path(models))
        for number in range(runs):
            for variant in VARIANTS[:: 1 if number % 2 == 0 else -1]:
                for name, made in (("backlog", backlog), ("steady", steady)):
                    bench = Bench(running.bootstrap, running.pid, Path(models), model.id)
                    shown = bench.run(variant, name == "backlog", made)
                    document.setdefault(f"{name}, {variant}", []).append(shown)
                    print(f"{name}, {variant}: {json.dumps(shown)}", flush=True)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
