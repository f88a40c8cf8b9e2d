"""Room 6's door: samples from `retrain` into the store, and a candidate on schedule, in a process of its own.

Steps for a stretch of messages, in this order:
1. read; 2. write the samples, whole or not at all; 3. merge and trim the store to its bound; 4. commit the offsets.
A crash between 2 and 4 reads the stretch again; the store gives each raw position once.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.contracts.envelope import ScoredFacts
from pipeline.retrain import samples
from pipeline.retrain.trainer import Ended, Trainer
from pipeline.runtime import failpoints
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.errors import Kind
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry, configure, log, start
from pipeline.runtime.wire import messages
from pipeline.runtime.wire.traceparent import HEADER
from pipeline.settings import Settings, inherited_environment

# A file is written at the latest after so many rows of a partition, of all partitions, or so long.
STRETCH_ROWS = 20_000
ALL_ROWS = 100_000
STRETCH_S = 5.0
# Somebody else has the partition, or Kafka is away: the offset is committed with a later stretch, by whoever reads it.
LATER = {Kind.PASSES, Kind.REJOIN, Kind.AWAY, Kind.FENCED}


@dataclass(slots=True)
class Collected:
    """What has been read of one partition since its last file."""

    since_s: float
    next_offset: int = 0
    batches: list[pa.RecordBatch] = field(default_factory=list)
    first_seq: int = 0
    last_seq: int = 0
    feature_hash: str = ""
    rows: int = 0


class Door:
    """The worker: what it holds is what was read since the last files."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._log = log("retrain")
        self._topic = settings.topics.retrain
        self._collected: dict[int, Collected] = {}
        self._consumer = clients.consumer(settings, "retrain")

    def run(self, stop: Stop, trainer: Trainer) -> None:
        """Until `stop` is requested; raises what stopped it otherwise, its offsets unmoved."""
        self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
        try:
            while not stop.requested:
                self._telemetry.beat()
                messages = errors.records(self._consumer.consume(100, 0.2))
                self._telemetry.stage.waiting_since(clients.oldest_us(messages))
                for message in messages:
                    self._take(message)
                self._keep(due_only=True)
                self._report(trainer.tick(time.time_ns() // 1_000))
            self._keep(due_only=False)
        finally:
            trainer.stop()
            self._consumer.close()

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # What was read of these partitions before belongs to whoever committed since: begin at the commit.
        self._collected.clear()
        self._telemetry.ready()
        self._log.info(
            "ready", partitions=[at.partition for at in partitions], metrics_port=self._telemetry.metrics_port
        )

    def _revoked(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._collected.clear()

    def _take(self, message: Message) -> None:
        payload, partition, offset = message.value(), message.partition() or 0, message.offset() or 0
        if payload is None:
            return
        with self._telemetry.span("process retrain", clients.headers_of(message).get(HEADER)) as span:
            batch, facts = messages.read(payload, ScoredFacts, clients.position_of(message))
            span.set("rows", batch.num_rows)
        self._telemetry.stage.rows_in(batch.num_rows)
        held = self._collected.get(partition)
        if held is not None and held.batches and batch.num_rows and held.feature_hash != facts.feature_hash:
            self._write(partition, held)  # a file is of one feature set
            held = None
        if held is None:
            held = self._collected[partition] = Collected(time.monotonic())
        held.next_offset = offset + 1
        if batch.num_rows:
            if not held.batches:
                held.first_seq, held.feature_hash = facts.seq, facts.feature_hash
            held.batches.append(batch)
            held.last_seq = facts.seq
            held.rows += batch.num_rows

    def _keep(self, due_only: bool) -> None:
        """Put what is due, or everything, into the store; then move the offsets."""
        all_of_it = not due_only or sum(held.rows for held in self._collected.values()) >= ALL_ROWS
        now_s = time.monotonic()
        due = [
            partition
            for partition, held in self._collected.items()
            if all_of_it or held.rows >= STRETCH_ROWS or now_s - held.since_s >= STRETCH_S
        ]
        if not due:
            return
        started = time.perf_counter()
        kept = {partition: self._collected.pop(partition) for partition in due}
        for partition, held in kept.items():
            self._write(partition, held)
        failpoints.reached("retrain.written")
        if any(held.batches for held in kept.values()):
            samples.merge(self._settings.samples_uri)
            trimmed = samples.trim(self._settings.samples_uri, self._settings.samples_rows)
            self._telemetry.count("forebay_retrain_samples_trimmed", trimmed)
        failpoints.reached("retrain.merged")
        self._commit({partition: held.next_offset for partition, held in kept.items()})
        self._telemetry.stage.batch(time.perf_counter() - started)
        failpoints.reached("retrain.committed")

    def _write(self, partition: int, held: Collected) -> None:
        if not held.batches:
            return
        stretch = samples.Stretch(partition, held.first_seq, held.last_seq, held.feature_hash)
        samples.write(self._settings.samples_uri, held.batches, stretch)
        self._telemetry.stage.rows_out(held.rows)

    def _commit(self, offsets: dict[int, int]) -> None:
        asked = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=asked, asynchronous=False)
        except KafkaException as error:
            if errors.kind_of(error.args[0]) not in LATER:
                raise
            self._telemetry.stage.error()
            self._log.warning("offsets not committed, what is kept may be read again", error=str(error.args[0]))

    def _report(self, ended: Ended | None) -> None:
        if ended is None:
            return
        document = ended.document
        comparison, promotion = document.get("comparison") or {}, document.get("promotion") or {}
        self._log.info(
            "candidate finished",
            exit_code=ended.exit_code,
            candidate=document.get("candidate"),
            passed=comparison.get("passed"),
            against=comparison.get("against"),
            promotion=promotion.get("decision"),
        )
        self._telemetry.count("forebay_retrain_candidates", outcome=_outcome(ended, promotion))


def _outcome(ended: Ended, promotion: object) -> str:
    if ended.exit_code not in (0, 1) or not ended.document:
        return "failed"
    if ended.document.get("candidate") is None:
        return "nothing new"
    if not ended.document["comparison"]["passed"]:
        return "refused"
    return "promoted" if promotion and ended.exit_code == 0 else "passed"


def run(settings: Settings, every_s: float = 86_400.0, labels: Sequence[Path] = (), base: bool = True) -> None:
    """Collect samples until asked to stop; train every `every_s` seconds (0: never by itself).

    `labels` and `base` are passed on to `forebay retrain now`.
    """
    configure(settings.log_level)
    failpoints.arm(settings.failpoint)
    stop = Stop().listen()
    clients.require_broker(settings)
    command = [sys.executable, "-m", "pipeline.tools.cli", "retrain", "now", "--promote", "--json"]
    command += [part for path in labels for part in ("--labels", str(path))]
    command += [] if base else ["--no-base"]
    environment = inherited_environment(settings.variables())
    trainer = Trainer(command, environment, settings.samples_uri, every_s, time.time_ns() // 1_000)
    telemetry = start("retrain", settings)
    try:
        Door(settings, telemetry).run(stop, trainer)
        log("retrain").info("stopped")
    finally:
        telemetry.close()
