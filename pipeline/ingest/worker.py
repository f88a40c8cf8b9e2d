"""Room 1's door: `raw` in, `flows` and `rejects` out, both and the offsets in one transaction."""

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from pipeline.errors import Failed
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.headers import Headers
from pipeline.ingest.idle import Silence
from pipeline.ingest.messages import (
    CONTENT_TYPE_HEADER,
    SENSOR_HEADER,
    SITE_HEADER,
    TICK,
    Messages,
    RawMessage,
    Stream,
)
from pipeline.ingest.pack import Packed, pack
from pipeline.runtime import failpoints
from pipeline.runtime.kafka import clients, errors, producing
from pipeline.runtime.kafka.watchdog import Watchdog, broker_answers
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry, configure, log, start
from pipeline.runtime.wire.batches import CONTENT_TYPE, encode
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT_HEADER
from pipeline.settings import Settings

ROOM = "ingest"
# One transaction holds at most so many raw messages, or what came within this time.
MOST_MESSAGES = 16_384
WAIT_S = 0.05
MOST_BYTES = 16_777_216
RETRY_S = 0.1
# Every format is a decoding pass of its own; so many fit a transaction.
MOST_FORMATS = 256
# A transaction that Kafka aborts so often in a row will not pass by itself.
MOST_ABORTS = 20
MOST_SENSORS = 1_024

Header = list[tuple[str, str | bytes | None]]


class Assignment:
    """Which partitions are ours, and which were taken away during the last `consume`."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.taken: set[int] = set()

    def gained(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client inside `consume`."""
        self.held |= {one.partition for one in partitions}

    def lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client inside `consume`: no transaction is open then."""
        numbers = {one.partition for one in partitions}
        self.held -= numbers
        self.taken |= numbers


class Named:
    """Sensors that have counters of their own; names come with messages, so their number is bounded."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def bounded(self, labels: dict[str, str]) -> dict[str, str]:
        """The labels, with the sensor as `other` where too many are known already."""
        sensor = (labels["site"], labels["sensor"])
        if sensor not in self._known and len(self._known) >= MOST_SENSORS:
            return {**labels, "site": "other", "sensor": "other"}
        self._known.add(sensor)
        return labels


class Door(NamedTuple):
    """What the loop works with."""

    settings: Settings
    consumer: Consumer
    producer: Producer
    watchdog: Watchdog
    telemetry: Telemetry
    assignment: Assignment
    headers: Headers
    named: Named
    silence: Silence


def run(settings: Settings) -> None:
    """Decode raw messages until SIGINT or SIGTERM; KafkaUnreachable where no broker answers."""
    configure(settings.log_level)
    failpoints.arm(settings.failpoint)
    clients.require_broker(settings)
    stop = Stop()
    if threading.current_thread() is threading.main_thread():
        stop = stop.listen()
    warm_up()
    spare_the_collector()
    telemetry = start(ROOM, settings)
    consumer = clients.consumer(settings, ROOM)
    try:
        producer = clients.transactional_producer(settings, ROOM)
        watchdog = Watchdog(ROOM, lambda: broker_answers(settings))
        silence = Silence(settings.idle_us / 1e6)
        door = Door(settings, consumer, producer, watchdog, telemetry, Assignment(), Headers(), Named(), silence)
        consumer.subscribe([settings.topics.raw], on_assign=door.assignment.gained, on_revoke=door.assignment.lost)
        telemetry.started()  # without state there is nothing to restore, and a spare worker has no partitions
        announced: set[int] = set()
        aborts = 0
        while not stop.requested:
            telemetry.beat()
            received = receive(door)
            telemetry.stage.waiting_since(int(received.timestamp_us.min()) if received else None)
            if door.assignment.held != announced:
                announced = set(door.assignment.held)
                telemetry.ready(bool(announced))
                silence.keep(announced)
                log(ROOM).info("ready", partitions=sorted(announced), metrics_port=telemetry.metrics_port)
            if received:
                aborts = 0 if settle(door, received) else aborts + 1
            tick(door)
            if aborts > MOST_ABORTS:
                raise Failed(
                    f"{settings.topics.flows}: got {aborts} aborted transactions in a row, expected one to pass; "
                    "the log has Kafka's reasons; `forebay topic check` compares the topics with what they should be"
                )
    except KafkaException as error:
        raise errors.typed(error.args[0], ROOM, settings.instance_id) from error
    finally:
        consumer.close()
        telemetry.close()


def warm_up() -> None:
    """Load or compile the decoders now: who is ready does not let the first records wait."""
    for content_type, known in FORMATS.items():
        stream = Stream(content_type, known.required, "none", "none")
        decode_messages(Messages.of([RawMessage(0, 0, 0, stream, b"{}")]), 0)


def spare_the_collector() -> None:
    """Let Python look for cycles rarely: a group's many objects hold none, and looking took two thirds of `receive`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)


def receive(door: Door) -> Messages:
    """The next messages of partitions that are ours, by partition and offset.

    Where a partition was taken away during the call, its messages are another worker's by now, or ours a second time:
    they are dropped, and a partition that came back is read again from its committed position.
    Raises what `errors.records` raises on an error that does not pass by itself.
    """
    held, taken = door.assignment.held, door.assignment.taken
    taken.clear()
    came = errors.records(door.consumer.consume(MOST_MESSAGES, WAIT_S))
    if taken:
        came = [message for message in came if message.partition() not in taken]
    if taken & held:
        raw = door.settings.topics.raw
        places = door.consumer.committed([TopicPartition(raw, number) for number in taken & held], 10)
        for one in places:
            if one.error is not None:  # not the same as nothing committed: that would read everything a second time
                raise KafkaException(one.error)
        rewind(door, {one.partition: one.offset for one in places})
    return door.headers.messages(came)


def rewind(door: Door, offsets: Mapping[int, int]) -> None:
    """Read partitions again from these offsets; a negative one means the beginning."""
    for partition, offset in offsets.items():
        if partition in door.assignment.held:
            place = offset if offset >= 0 else OFFSET_BEGINNING
            door.consumer.seek(TopicPartition(door.settings.topics.raw, partition, place))


def portions(messages: Messages) -> Iterator[Messages]:
    """The messages in portions that a transaction can hold, at least one message each."""
    through = np.cumsum(messages.sizes)
    first = 0
    while first < len(messages):
        before = through[first] - messages.sizes[first]
        end = max(int(np.searchsorted(through, before + MOST_BYTES, "right")), first + 1)
        streams = np.sort(np.unique(messages.stream[first:end], return_index=True)[1])
        if len(streams) > MOST_FORMATS:
            end = first + int(streams[MOST_FORMATS])
        yield messages.part(first, end)
        first = end


def settle(door: Door, received: Messages) -> bool:
    """Process what was received, portion by portion; False where Kafka made us start over.

    Then everything from the aborted portion on is read again, whatever partition it is of: the consumer is past it.
    """
    committed = 0
    for portion in portions(received):
        if not process(door, portion):
            rewind(door, first_offsets(received.part(committed, len(received))))
            time.sleep(RETRY_S)
            return False
        committed += len(portion)
    return True


def process(door: Door, messages: Messages) -> bool:
    """Decode messages and commit what they became with their offsets; False where they must be read again.

    1. decode; 2. produce `flows` and `rejects`; 3. the offsets; 4. commit. Steps 2 to 4 are one transaction: after a
    crash anywhere its messages are read again and nothing of it has been seen.
    """
    started = time.perf_counter()
    decoded = decode_messages(messages, door.settings.max_future_us)
    packed = list(pack(messages, decoded, door.settings.flows_rows))
    failpoints.reached("ingest.decoded")
    try:
        door.producer.begin_transaction()
        failpoints.reached("ingest.begun")
        for one in packed:
            send(door, one)
        following = dict(zip(messages.partition.tolist(), (messages.offset + 1).tolist(), strict=True))
        offsets = [TopicPartition(door.settings.topics.raw, *place) for place in following.items()]
        if door.settings.broken_order == "ingest-offsets-first":
            door.consumer.commit(offsets=offsets, asynchronous=False)
        failpoints.reached("ingest.produced")
        insist(lambda: door.watchdog.send_offsets(door.producer, offsets, door.consumer, 30))
        failpoints.reached("ingest.offsets sent")
        insist(lambda: door.producer.commit_transaction(30))
        failpoints.reached("ingest.committed")
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        if reason.fatal() or not (reason.txn_requires_abort() or reason.retriable()):
            log(ROOM).error("failed", error=str(reason), positions=positions(messages))
            raise
        door.telemetry.stage.error()
        log(ROOM).warning("transaction aborted, reading again", error=str(reason), positions=positions(messages))
        insist(lambda: door.producer.abort_transaction(30))
        return False
    door.silence.hear(messages, time.monotonic())
    report(door, packed)
    door.telemetry.stage.batch(time.perf_counter() - started)
    return True


def tick(door: Door) -> None:
    """Write a tick into `raw` for each sensor that has been silent: from there it goes the way of every message.

    A tick more, by a crash or a zombie, changes nothing; one that Kafka aborts is due again the next time.
    """
    silent = door.silence.due(time.monotonic())
    if not silent:
        return
    try:
        door.producer.begin_transaction()
        for partition, site, sensor in silent:
            headers: Header = [(CONTENT_TYPE_HEADER, TICK), (SITE_HEADER, site), (SENSOR_HEADER, sensor)]
            produce(door, door.settings.topics.raw, partition, f"{site}/{sensor}", b"", headers)
        insist(lambda: door.producer.commit_transaction(30))
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        if reason.fatal() or not (reason.txn_requires_abort() or reason.retriable()):
            raise
        door.telemetry.stage.error()
        log(ROOM).warning("ticks not written, trying again", error=str(reason), sensors=len(silent))
        insist(lambda: door.producer.abort_transaction(30))
        return
    door.silence.told(silent)
    door.telemetry.count("forebay_ingest_ticks", len(silent))


def first_offsets(messages: Messages) -> dict[int, int]:
    """The first offset of each partition among messages in order."""
    partitions, firsts = np.unique(messages.partition, return_index=True)
    return dict(zip(partitions.tolist(), messages.offset[firsts].tolist(), strict=True))


def positions(messages: Messages) -> list[str]:
    """First and last raw position of a group, for the log."""
    return [f"raw[{messages.partition[place]}]@{messages.offset[place]}" for place in (0, -1)]


def insist(step: Callable[[], object]) -> None:
    """Take a step of a transaction again while Kafka says that this may help, for a minute."""
    deadline = time.monotonic() + 60
    while True:
        try:
            step()
            return
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.txn_requires_abort() or not reason.retriable() or time.monotonic() > deadline:
                raise


def send(door: Door, packed: Packed) -> None:
    """Produce one flows message and its rejects, in a span that continues the first raw message's trace."""
    parent = packed.traceparents[0] if packed.traceparents else None
    with door.telemetry.span(
        "ingest flows",
        parent,
        packed.traceparents[1:],
        records=packed.flows.num_rows + sum(batch.num_rows for batch in packed.rejects),
        partition=packed.partition,
    ) as span:
        headers: Header = [("content-type", CONTENT_TYPE), (TRACEPARENT_HEADER, span.traceparent)]
        topics = door.settings.topics
        produce(door, topics.flows, packed.partition, packed.key, encode(packed.flows, packed.meta), headers)
        for batch in packed.rejects:
            value = encode(batch, {"raw_partition": packed.partition})
            produce(door, topics.rejects, packed.partition, packed.key, value, headers)


def produce(door: Door, topic: str, partition: int, key: str | None, value: bytes, headers: Header) -> None:
    """Produce to the partition the records came from; where the local queue is full, wait until it is not."""
    producing.produce(door.producer, topic, value, key=key, partition=partition, headers=headers)
    door.producer.poll(0)


def report(door: Door, packed: Sequence[Packed]) -> None:
    """Count what a transaction committed, by sensor."""
    now, stage = time.time(), door.telemetry.stage
    for one in packed:
        stage.rows_in(one.flows.num_rows + sum(batch.num_rows for batch in one.rejects))
        for batch in (one.flows, *one.rejects):
            for labels, rows in tally(batch, ("site", "sensor")):
                stage.rows_out(rows, **door.named.bounded(labels))
        for batch in one.rejects:
            for labels, rows in tally(batch, ("site", "sensor", "reason")):
                stage.rejected(rows, **door.named.bounded(labels))
        door.telemetry.observe("forebay_ingest_delay_seconds", max(0.0, now - one.timestamp_us / 1e6))


def tally(batch: pa.RecordBatch, names: Sequence[str]) -> Iterator[tuple[dict[str, str], int]]:
    """How many rows have each combination of values."""
    if batch.num_rows:
        table = pa.Table.from_batches([batch.select(list(names))])
        for row in table.group_by(list(names)).aggregate([([], "count_all")]).to_pylist():
            rows = row.pop("count_all")
            yield row, rows
