"""The worker of retrain: samples from `retrain` into the store, and candidates in processes of their own.

One comes on schedule; one for a sensor, with a calibration fitted for it, once its baseline is anchored.

Steps for a range of messages, in this order:
1. read; 2. write the samples, whole or not at all; 3. merge and trim the store to its bound; 4. commit the offsets.
A crash between 2 and 4 reads the range again; the store gives each raw position once.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.contracts.envelope import ScoredFacts
from pipeline.retrain import fitted_records, samples
from pipeline.retrain.due import DueSensors
from pipeline.retrain.trainer import Ended, Trainer
from pipeline.runtime import failpoints
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.errors import Kind
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.retention import DeletedUnread
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.tail import EOF_EVENTS
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.runtime.wire import messages
from pipeline.runtime.wire.traceparent import HEADER
from pipeline.settings import Settings, inherited_environment

# A file is written at the latest after so many rows of a partition, of all partitions, or so long: no more is held
# in memory, and no more is read again after a crash.
MAX_ROWS = 20_000
MAX_ROWS_OF_ALL = 100_000
MAX_AGE_S = 5.0
# How long Kafka may take to say what was committed, while the group is joined.
PATIENCE_S = 30.0
COMMAND = (sys.executable, "-m", "pipeline.tools.cli", "retrain")
PROMOTE, OFF = "promote", "off"
"""Values of the setting fitted_calibrations; the third, the default, is `compare`."""
CANDIDATE_OUTCOMES = ("promoted", "passed", "refused", "nothing new", "failed")
FITTED_OUTCOMES = ("waiting", "calibrated", "passed", "refused", "promoted", "withdrawn", "failed")
# Another worker has the partition, or Kafka is away: the offset is committed with a later range, by whoever reads it.
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


class RetrainWorker:
    """Its only state is what was read since the last files."""

    def __init__(self, settings: Settings, telemetry: Telemetry, kafka: KafkaWatch) -> None:
        self._settings = settings
        self._kafka = kafka
        self._telemetry = telemetry
        self._log = log("retrain")
        self._topic = settings.topics.retrain
        self._samples = open_storage(settings.samples_uri, "samples")
        self._collected: dict[int, Collected] = {}
        self._consumer = clients.consumer(settings, "retrain", **EOF_EVENTS)
        self._stall = ConsumerStall(StallDetector(settings, kafka), self._consumer)
        self._unread = DeletedUnread(telemetry, self._consumer, self._topic)
        tried = fitted_records.records(self._samples) if settings.fitted_calibrations != OFF else {}
        for outcome in CANDIDATE_OUTCOMES:
            telemetry.count("forebay_retrain_candidates", 0, outcome=outcome)
        for outcome in FITTED_OUTCOMES:
            telemetry.count("forebay_retrain_fitted", 0, outcome=outcome)
        self._due = DueSensors({name: int(each["at_us"]) for name, each in tried.items()})

    def run(self, trainer: Trainer) -> None:
        """Until the worker is asked to stop; raises what ended the session otherwise, its offsets unmoved."""
        self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
        try:
            while not self._kafka.stop.requested:
                self._telemetry.beat()
                consumed = self._consumer.consume(100, 0.2)
                self._stall.observe(consumed)
                messages = errors.records(consumed)
                self._telemetry.stage.waiting_since(clients.oldest_us(messages))
                self._notice_deleted(messages)
                for message in messages:
                    self._collect(message)
                self._flush(due_only=True)
                self._report(trainer.tick(time.time_ns() // 1_000, self._fit_next))
            self._flush(due_only=False)
        finally:
            clients.abandon(self._consumer, None)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # What was read of these partitions before belongs to whoever committed since: start at the committed offset.
        self._collected.clear()
        committed = consumer.committed(partitions, timeout=PATIENCE_S) if partitions else []
        self._unread.start({at.partition: at.offset for at in committed if at.error is None})
        self._kafka.announce(at.partition for at in partitions)

    def _revoked(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._collected.clear()

    def _notice_deleted(self, messages: list[Message]) -> None:
        """Samples that retention deleted unread are said and counted: training goes on with what there is."""
        if messages:
            read_at = sorted((message.partition() or 0, message.offset() or 0) for message in messages)
            self._unread.observe(*np.array(read_at, np.int64).T)

    def _collect(self, message: Message) -> None:
        payload, partition, offset = message.value(), message.partition() or 0, message.offset() or 0
        if payload is None:
            return
        with self._telemetry.span("process retrain", clients.headers_of(message).get(HEADER)) as span:
            batch, facts = messages.read(payload, ScoredFacts, clients.position_of(message))
            span.set("rows", batch.num_rows)
        self._telemetry.stage.rows_in(batch.num_rows)
        collected = self._collected.get(partition)
        if (
            collected is not None
            and collected.batches
            and batch.num_rows
            and collected.feature_hash != facts.feature_hash
        ):
            self._write(partition, collected)  # a file is of one feature set
            collected = None
        if collected is None:
            collected = self._collected[partition] = Collected(time.monotonic())
        collected.next_offset = offset + 1
        if batch.num_rows:
            if not collected.batches:
                collected.first_seq, collected.feature_hash = facts.seq, facts.feature_hash
            collected.batches.append(batch)
            collected.last_seq = facts.seq
            collected.rows += batch.num_rows

    def _flush(self, due_only: bool) -> None:
        """Write what is due, or everything, into the store; then move the offsets."""
        everything = not due_only or sum(collected.rows for collected in self._collected.values()) >= MAX_ROWS_OF_ALL
        now_s = time.monotonic()
        due = [
            partition
            for partition, collected in self._collected.items()
            if everything or collected.rows >= MAX_ROWS or now_s - collected.since_s >= MAX_AGE_S
        ]
        if not due:
            return
        started = time.perf_counter()
        flushed = {partition: self._collected.pop(partition) for partition in due}
        for partition, collected in flushed.items():
            self._write(partition, collected)
        failpoints.reached("retrain.written")
        if any(collected.batches for collected in flushed.values()):
            samples.merge(self._samples)
            trimmed = samples.trim(self._samples, self._settings.samples_rows)
            self._telemetry.count("forebay_retrain_samples_trimmed", trimmed)
        failpoints.reached("retrain.merged")
        self._commit({partition: collected.next_offset for partition, collected in flushed.items()})
        self._telemetry.stage.batch(time.perf_counter() - started)
        failpoints.reached("retrain.committed")

    def _write(self, partition: int, collected: Collected) -> None:
        if not collected.batches:
            return
        sample_range = samples.SampleRange(partition, collected.first_seq, collected.last_seq, collected.feature_hash)
        samples.write(self._samples, collected.batches, sample_range)
        if self._settings.fitted_calibrations != OFF:
            self._due.observe(collected.batches)
        self._telemetry.stage.rows_out(collected.rows)

    def _commit(self, offsets: dict[int, int]) -> None:
        positions = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=positions, asynchronous=False)
            self._kafka.progressed()
        except KafkaException as error:
            if errors.kind_of(error.args[0]) not in LATER:
                raise
            self._telemetry.stage.error()
            if not self._kafka.away:  # which the watch has said already
                self._log.warning("offsets not committed, samples may be read again", error=str(error.args[0]))

    def _fit_next(self) -> list[str] | None:
        """The command that fits a calibration for the next sensor that is due."""
        due = self._due.next()
        if due is None:
            return None
        sensor, until_us = due
        promote = ["--promote"] if self._settings.fitted_calibrations == PROMOTE else []
        # The names come from the network: behind -- none of them is an option.
        return [*COMMAND, "fit", *promote, "--until-us", str(until_us), "--json", "--", "/".join(sensor)]

    def _report_fitted(self, ended: Ended) -> None:
        document = ended.document
        outcome = document.get("outcome", "failed")
        self._log.info(
            "calibration fitted",
            exit_code=ended.exit_code,
            sensor=document.get("sensor"),
            outcome=outcome,
            candidate=document.get("candidate"),
            against=document.get("against"),
        )
        self._telemetry.count("forebay_retrain_fitted", outcome=outcome)

    def _report(self, ended: Ended | None) -> None:
        if ended is None:
            return
        if not ended.scheduled:
            self._report_fitted(ended)
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
    command = [*COMMAND, "now", "--promote", "--json"]
    command += [part for path in labels for part in ("--labels", str(path))]
    command += [] if base else ["--no-base"]
    environment = inherited_environment(settings.variables())
    with stage_process("retrain", settings) as (telemetry, kafka):
        trainer = Trainer(command, environment, settings.samples_uri, every_s, time.time_ns() // 1_000)
        try:
            kafka.run(lambda: RetrainWorker(settings, telemetry, kafka).run(trainer))
            log("retrain").info("stopped")
        finally:
            trainer.stop()
