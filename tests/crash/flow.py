"""The whole flow as processes on a real broker, for tests that end some of them the hard way."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from pipeline.archive.upkeep.verify import account
from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, load_settings
from pipeline.tools.chaos.round import work_left
from pipeline.tools.processes import Processes, StartedProcess, worker_environment
from tests.patience import PATIENCE_S

STAGES = ("ingest", "featurize", "score", "alert", "archive", "retrain")


class Ended(NamedTuple):
    """A stage that has ended by itself: its exit code, and its log."""

    stage: str
    code: int
    log: str


@dataclass
class Flow:
    """Six stages, one broker, one folder."""

    settings: Settings
    processes: Processes
    stages: dict[str, StartedProcess]

    def kill(self, name: str) -> None:
        """SIGKILL one stage and start it again."""
        stage = self.stages[name]
        os.kill(stage.process.pid, signal.SIGKILL)
        stage.process.wait(PATIENCE_S)
        self._start_again(name)
        self.processes.wait_ready([self.stages[name]], PATIENCE_S)

    def restart_ended(self) -> list[Ended]:
        """Start again, without waiting, the stages that have ended by themselves; return how they ended."""
        ended = []
        for name, stage in list(self.stages.items()):
            if (code := stage.process.poll()) is not None:
                ended.append(Ended(name, code, stage.log.read_text(encoding="utf-8")))
                self._start_again(name)
        return ended

    def _start_again(self, name: str) -> None:
        self.processes.running.remove(self.stages[name])
        self.stages[name] = self.processes.start(name, name, "run")

    def archived(self) -> int:
        """Records in closed files."""
        return sum(row["accepted"] + row["late"] + row["rejected"] for row in account(self.settings.archive_uri))

    def wait_archived(self, records: int, timeout_s: float = PATIENCE_S) -> None:
        """Wait until that many records are in closed files."""
        deadline = time.monotonic() + timeout_s
        while (now := self.archived()) < records:
            self.processes.check()
            assert time.monotonic() < deadline, f"{now} of {records} records archived; logs: {self.processes.logs}"
            time.sleep(0.2)

    def wait_ingested(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until ingest has committed all that lies in `raw`: what is sent then shares no message of `flows`."""
        deadline = time.monotonic() + timeout_s
        while left := work_left(self.settings, 0)[0]:
            self.processes.check()
            assert time.monotonic() < deadline, f"{left} messages of raw left; logs: {self.processes.logs}"
            time.sleep(0.2)

    def wait_drained(self, records: int, timeout_s: float = PATIENCE_S) -> None:
        """Wait until every stage has taken in, and committed, all that so many records in `raw` lead to."""
        deadline = time.monotonic() + timeout_s
        while any(left := work_left(self.settings, records)):
            self.processes.check()
            assert time.monotonic() < deadline, f"left to do: {left}; logs: {self.processes.logs}"
            time.sleep(0.5)


def everything_below(root: Path | str) -> dict[str, str]:
    """Settings that put state, archive, models and samples below a folder or `s3://bucket/prefix?options`."""
    address, _, options = str(root).partition("?")
    names = {"state_uri": "state", "archive_uri": "archive", "registry_uri": "models", "samples_uri": "samples"}
    return {setting: f"{address}/{name}{'?' if options else ''}{options}" for setting, name in names.items()}


def settings_in(folder: Path, kafka: str, prefix: str, **changes: object) -> Settings:
    """The settings of a flow in a folder, with `changes`; its topics are created."""
    common = {
        "bootstrap": kafka,
        "topic_prefix": prefix,
        "partitions": 2,
        "trace_file": folder / "traces.jsonl",
        "metrics_port": 0,
        "archive_rows_per_file": 1_000,
        "idle_us": 0,  # the ticks that a run needs stand in its `raw`; while stages are killed it is to add none
    }
    settings = load_settings(**{**common, **everything_below(folder), **changes})
    topics.create(settings)
    return settings


@contextmanager
def running(kafka: str, prefix: str, folder: Path, **changes: object) -> Iterator[Flow]:
    """Run all stages, ready, with `changes` to their settings; stop them at the end."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    settings = settings_in(folder, kafka, prefix, **changes)
    processes = Processes(logs, worker_environment(settings))
    try:
        stages = {name: processes.start(name, name, "run") for name in STAGES}
        processes.wait_ready(list(stages.values()), PATIENCE_S)
        yield Flow(settings, processes, stages)
    finally:
        processes.stop()


def send(flow: Flow, path: Path, sensor: str, speed: str = "max") -> None:
    """Send one sensor's file and wait for the sender."""
    arguments = ("flow", "send", str(path), "--site", "westermo", "--sensor", sensor, "--speed", speed)
    sender = flow.processes.start(f"send-{sensor}", *arguments)
    assert sender.process.wait(PATIENCE_S) == 0, sender.last_words()


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
