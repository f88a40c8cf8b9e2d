"""The whole flow as processes on a real broker, for tests that end some of them the hard way."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from pipeline.archive.upkeep.verify import account
from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, load_settings
from pipeline.tools.supervisor import Processes, SupervisedProcess, worker_environment

STAGES = ("ingest", "featurize", "score", "alert", "archive", "retrain")


@dataclass
class Flow:
    """Six stages, one broker, one folder."""

    settings: Settings
    processes: Processes
    stages: dict[str, SupervisedProcess]

    def kill(self, name: str) -> None:
        """SIGKILL one stage and start it again."""
        stage = self.stages[name]
        os.kill(stage.process.pid, signal.SIGKILL)
        stage.process.wait(90)
        self.processes.running.remove(stage)
        self.stages[name] = self.processes.start(name, name, "run")
        self.processes.wait_ready([self.stages[name]], 60)

    def archived(self) -> int:
        """Records in closed files."""
        return sum(row["accepted"] + row["late"] + row["rejected"] for row in account(self.settings.archive_uri))

    def wait_archived(self, records: int, timeout_s: float) -> None:
        """Until that many records are in closed files."""
        deadline = time.monotonic() + timeout_s
        while (now := self.archived()) < records:
            self.processes.check()
            assert time.monotonic() < deadline, f"{now} of {records} records archived; logs: {self.processes.logs}"
            time.sleep(0.2)


@contextmanager
def running(kafka: str, prefix: str, folder: Path, **changes: object) -> Iterator[Flow]:
    """All stages, ready, with other settings where some are given; all gone afterwards."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    settings = load_settings(
        bootstrap=kafka,
        topic_prefix=prefix,
        partitions=2,
        state_uri=folder / "state",
        archive_uri=folder / "archive",
        registry_uri=folder / "models",
        samples_uri=folder / "samples",
        trace_file=folder / "traces.jsonl",
        metrics_port=0,
        archive_rows_per_file=1_000,
        idle_us=0,  # the ticks that a run needs stand in its `raw`; while stages are killed it is to add none
        **changes,
    )
    topics.create(settings)
    processes = Processes(logs, worker_environment(settings))
    try:
        stages = {name: processes.start(name, name, "run") for name in STAGES}
        processes.wait_ready(list(stages.values()), 90)
        yield Flow(settings, processes, stages)
    finally:
        processes.stop()


def send(flow: Flow, path: Path, sensor: str, speed: str = "max") -> None:
    """Send one sensor's file and wait for the sender."""
    arguments = ("flow", "send", str(path), "--site", "westermo", "--sensor", sensor, "--speed", speed)
    sender = flow.processes.start(f"send-{sensor}", *arguments)
    assert sender.process.wait(120) == 0, sender.last_words()


def copy_raw(source: Settings, target: Settings, messages_per_s: int | None = None) -> Iterator[int]:
    """Write one run's `raw` into another's, same partitions, offsets and timestamps; yields how many so far."""
    reader: Consumer = clients.reader(source, "copy")
    ends = {
        partition: reader.get_watermark_offsets(TopicPartition(source.topics.raw, partition), timeout=10)[1]
        for partition in range(source.partitions)
    }
    reader.assign([TopicPartition(source.topics.raw, partition, 0) for partition in ends])
    producer = clients.producer(target, "copy")
    total, copied, started = sum(ends.values()), 0, time.monotonic()
    while copied < total:
        for message in reader.consume(50, 1.0):
            clients.raise_for(message)
            producer.produce(
                target.topics.raw,
                value=message.value(),
                key=message.key(),
                headers=message.headers(),
                partition=message.partition() or 0,
                timestamp=message.timestamp()[1],
            )
            copied += 1
        producer.flush(30)
        yield copied
        if messages_per_s is not None:
            time.sleep(max(0.0, copied / messages_per_s - (time.monotonic() - started)))
    reader.close()
