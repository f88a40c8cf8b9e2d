"""Room 6's door: samples from `retrain` into the store, and a candidate on schedule, in a process of its own.

Steps for a stretch of messages, in this order:
1. read; 2. write the samples, whole or not at all; 3. trim the store to its bound; 4. commit the offsets.
A crash between 2 and 4 reads the stretch again; the store takes each raw position once.
"""

import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field

import pyarrow as pa
from confluent_kafka import Consumer, Message, TopicPartition

from pipeline.kafka import clients
from pipeline.retrain import samples
from pipeline.settings import Settings, inherited_environment
from pipeline.shutdown import Stop
from pipeline.telemetry import Telemetry, configure, log, start
from pipeline.telemetry.traceparent import HEADER
from pipeline.wire import batches

STRETCH_ROWS = 20_000
STRETCH_S = 5.0


@dataclass(slots=True)
class Collected:
    """What has been read of one partition since its last file."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    first_seq: int = 0
    last_seq: int = 0
    feature_hash: str = ""
    rows: int = 0
    next_offset: int = 0
    since_s: float = 0.0


class Trainer:
    """The scheduled candidate: `forebay retrain now` in a process of its own, one at a time."""

    def __init__(self, settings: Settings, every_s: float) -> None:
        self._settings = settings
        self._every_s = every_s
        self._due_s = time.monotonic() + every_s
        self._running: subprocess.Popen[bytes] | None = None

    def tick(self) -> int | None:
        """Start one when it is due; the exit code of one that has just ended."""
        if self._running is not None:
            code = self._running.poll()
            if code is not None:
                self._running = None
            return code
        if self._every_s > 0 and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + self._every_s
            command = [sys.executable, "-m", "pipeline.cli", "retrain", "now", "--promote", "--json"]
            self._running = subprocess.Popen(
                command, env=inherited_environment(self._settings.variables()), stdin=subprocess.DEVNULL
            )
        return None

    def stop(self) -> None:
        """End a training that is under way; nothing half-made is left in the registry."""
        if self._running is not None:
            self._running.terminate()
            self._running.wait()


def run(settings: Settings, every_s: float = 86_400.0) -> None:
    """Collect samples until asked to stop; train every `every_s` seconds (0: never by itself)."""
    configure(settings.log_level)
    stop = Stop().listen()
    clients.require_broker(settings)
    telemetry = start("retrain", settings)
    logger = log("retrain")
    consumer = clients.consumer(settings, "retrain")
    collected: dict[int, Collected] = defaultdict(Collected)
    trainer = Trainer(settings, every_s)

    def assigned(_consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # What was read of these partitions before belongs to whoever committed since: begin at the commit.
        collected.clear()
        telemetry.ready()
        logger.info("ready", partitions=[p.partition for p in partitions], metrics_port=telemetry.metrics_port)

    consumer.subscribe([settings.topics.retrain], on_assign=assigned, on_revoke=lambda *_: collected.clear())
    try:
        while not stop.requested:
            telemetry.beat()
            for message in consumer.consume(100, 0.2):
                _take(collected, clients.raise_for(message), telemetry)
            for partition, stretch in list(collected.items()):
                if stretch.rows >= STRETCH_ROWS or time.monotonic() - stretch.since_s >= STRETCH_S:
                    _keep(settings, consumer, partition, collected.pop(partition), telemetry)
            code = trainer.tick()
            if code is not None:
                logger.info("candidate finished", exit_code=code)
        for partition, stretch in collected.items():
            _keep(settings, consumer, partition, stretch, telemetry)
    finally:
        trainer.stop()
        consumer.close()
        telemetry.close()


def _take(collected: dict[int, Collected], message: Message, telemetry: Telemetry) -> None:
    payload, partition = message.value(), message.partition() or 0
    stretch = collected[partition]
    stretch.next_offset = (message.offset() or 0) + 1
    if payload is None:
        return
    with telemetry.span("process retrain", clients.headers_of(message).get(HEADER)):
        batch, meta = batches.decode(payload, "scored")
    if not stretch.since_s:
        stretch.since_s = time.monotonic()
    if batch.num_rows == 0:
        return
    if not stretch.batches:
        stretch.first_seq, stretch.feature_hash = meta["seq"], meta["feature_hash"]
    stretch.batches.append(batch)
    stretch.last_seq = meta["seq"]
    stretch.rows += batch.num_rows


def _keep(settings: Settings, consumer: Consumer, partition: int, stretch: Collected, telemetry: Telemetry) -> None:
    if stretch.batches:
        named = samples.Stretch(partition, stretch.first_seq, stretch.last_seq, stretch.feature_hash)
        samples.write(settings.samples_uri, stretch.batches, named)
        dropped = samples.trim(settings.samples_uri, settings.samples_rows)
        telemetry.count("forebay_retrain_samples", stretch.rows)
        telemetry.count("forebay_retrain_samples_trimmed", dropped)
    consumer.commit(
        offsets=[TopicPartition(settings.topics.retrain, partition, stretch.next_offset)], asynchronous=False
    )
