"""The ingest worker: `raw` in, `flows` and `rejects` out, both and the offsets in one transaction."""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaException,
    TopicPartition,
)

from pipeline.contracts.envelope import RejectsFacts
from pipeline.contracts.raw import TICK, Headers, SourceInfo
from pipeline.errors import Failed
from pipeline.ingest.active_sensors import FAULT as TOO_MANY_SENSORS
from pipeline.ingest.active_sensors import ActiveSensors
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.headers import HeaderCache
from pipeline.ingest.idle import IdleDetector
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import Packed, pack
from pipeline.ingest.reject_log import RejectLog, reject_counts
from pipeline.ingest.scan.cells import Ints
from pipeline.runtime import collector, failpoints
from pipeline.runtime.kafka import clients, errors, producing, tail
from pipeline.runtime.kafka.caught_up import CaughtUp
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.retention import DeletedUnread
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.watchdog import Watchdog
from pipeline.runtime.spacing import Spacing
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.runtime.terminal import printable
from pipeline.runtime.wire.batches import CONTENT_TYPE
from pipeline.runtime.wire.messages import write
from pipeline.runtime.wire.sensors import row_counts
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT_HEADER
from pipeline.settings import Settings

STAGE = "ingest"
# One transaction holds at most so many raw messages (a core decodes them in less than 100 ms), or what came until it
# could start.
MAX_MESSAGES = 16_384
# After a transaction a rest of `gather_ms`, or of so many times what it took: what it costs depends on its partitions,
# hardly on how many records it holds, here, at the broker and in every stage behind (docs/adr/0047). However little is
# gathered, at most a third of the time goes into them; on a busy machine they take longer, and are fewer and larger.
REST_RATIO = 2.0
MAX_REST_S = 0.05
# So long an idle worker waits for a message before it looks after ticks, rejects and the request to stop.
POLL_S = 0.05
# Payload bytes of one transaction: decoding takes several times as much memory.
MAX_BYTES = 16_777_216
# Payload bytes that are asked for at once, by the messages that came before: what MAX_MESSAGES records have that are a
# message each. More in one pass of the decoder is not faster, and takes memory.
RECEIVE_BYTES = 5_767_168
# What the client fetches before it is asked. Records are compressed in Kafka, and one in the client takes several times
# its bytes: the 8 MiB a partition of other stages were some 300 MiB. 512 KiB are a few thousand records of Zeek, a
# partition's share of a transaction; nothing is fetched of a partition while 16 MiB lie ready.
FETCH: clients.Configuration = {"max.partition.fetch.bytes": 524_288, "queued.max.messages.kbytes": 16_384}
# So much of `gather_ms` the broker gathers for a fetch: without it each record that comes alone ends one, and a fetch
# costs the broker as much as a record does (docs/adr/0049).
FETCH_GATHERS = 0.5
# However little is gathered the broker waits so long: a busy sensor's client sends many requests a second, and each
# would end a fetch.
LEAST_FETCH_WAIT_MS = 10
# Pause before reading again what Kafka aborted: its coordinator is busy just then.
RETRY_S = 0.1
# Sources of one transaction: every format and set of columns is a decoding pass of its own.
MAX_SOURCES = 256
# A transaction that Kafka aborts so often in a row, over some seconds, will not pass by itself.
MAX_ABORTS = 20
# Sensors with counters of their own: a Prometheus server takes some thousand series a target.
MAX_SENSOR_LABELS = 1_024
# Characters of a name, or of what is wrong with a record, in a line of the log: names come with messages.
MAX_LOGGED_TEXT = 300


class Assignment:
    """Which partitions are ours, and which were taken away during the last `consume`."""

    def __init__(self) -> None:
        self.assigned: set[int] = set()
        self.taken: set[int] = set()

    def gained(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client inside `consume`."""
        self.assigned |= {each.partition for each in partitions}

    def lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client inside `consume`: no transaction is open then."""
        numbers = {each.partition for each in partitions}
        self.assigned -= numbers
        self.taken |= numbers


class SensorLabelLimit:
    """Sensors that have counters of their own; names come with messages, so their number is bounded."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def bounded(self, labels: dict[str, str]) -> dict[str, str]:
        """The labels; the sensor is `other` where too many are known already, or ingest rejected it as too many."""
        sensor = (labels["site"], labels["sensor"])
        refused = labels.get("reason") == TOO_MANY_SENSORS
        if sensor not in self._known and (refused or len(self._known) >= MAX_SENSOR_LABELS):
            return {**labels, "site": "other", "sensor": "other"}
        self._known.add(sensor)
        return labels


class IngestWorker:
    """Decodes raw messages in transactions, and writes ticks for idle sensors: one session (kafka/outage.py)."""

    def __init__(self, settings: Settings, telemetry: Telemetry, kafka: KafkaWatch) -> None:
        self.settings = settings
        self.kafka = kafka
        self.telemetry = telemetry
        self.assignment = Assignment()
        self.headers = HeaderCache()
        self.labels = SensorLabelLimit()
        self.reject_log = RejectLog(time.monotonic)
        self.sensors = ActiveSensors(settings.max_sensors, time.monotonic)
        telemetry.gauge("forebay_ingest_sensors_max", settings.max_sensors)
        for what in ("taken", "ignored"):
            telemetry.count("forebay_ingest_commands", 0, what=what)
        self.idle = IdleDetector(settings.idle_us / 1e6, self.sensors.lateness_us)
        gather_s = settings.gather_ms / 1000
        self.spacing = Spacing(REST_RATIO, max(MAX_REST_S, gather_s), gather_s)
        self.consumer = clients.consumer(settings, STAGE, **tail.EOF_EVENTS, **fetching(settings.gather_ms))
        self.receive_messages = MAX_MESSAGES
        self.caught_up = CaughtUp(self.consumer, settings.topics.raw)
        self.stall = ConsumerStall(StallDetector(settings, kafka), self.consumer)
        self.unread = DeletedUnread(telemetry, self.consumer, settings.topics.raw)
        self.watchdog = Watchdog(STAGE, kafka.hopeless)
        try:
            self.producer = clients.transactional_producer(
                settings, STAGE, kafka.hopeless, clients.SESSION_INIT_S, **clients.PACKED
            )
        except BaseException:
            self.consumer.close()
            raise

    def run(self) -> None:
        """Decode raw messages until asked to stop; Failed where Kafka aborts one transaction after the other."""
        self.subscribe()
        self.telemetry.started()  # without state there is nothing to restore, and a spare worker has no partitions
        aborts = 0
        while not self.kafka.stopping():
            self.telemetry.beat()
            received = self.receive()
            self.telemetry.stage.waiting_since(int(received.timestamp_us.min()) if received else None)
            if self.kafka.announce(self.assignment.assigned, ready=bool(self.assignment.assigned)):
                self.idle.retain(self.assignment.assigned)
            if received:
                aborts = 0 if self.process_batches(received) else aborts + 1
            self.tick()
            self.log_rejects()
            if aborts > MAX_ABORTS:
                raise Failed(
                    f"{self.settings.topics.flows}: got {aborts} aborted transactions in a row, expected one to pass; "
                    "the log has Kafka's reasons; `forebay topic check` compares the topics with what they should be"
                )

    def close(self) -> None:
        """Leave the clients."""
        clients.abandon(self.consumer, self.producer)

    def subscribe(self) -> None:
        """Join the consumer group."""
        self.consumer.subscribe(
            [self.settings.topics.raw], on_assign=self.assignment.gained, on_revoke=self.assignment.lost
        )

    def receive(self) -> Messages:
        """The next messages of partitions that are ours, by partition and offset.

        Where a partition was taken away during the call, its messages are another worker's by now, or ours a second
        time: they are dropped, and a partition that came back is read again from its committed position.
        Raises what `errors.records` raises on an error that does not pass by itself.
        """
        ours, taken = self.assignment.assigned, self.assignment.taken
        taken.clear()
        consumed = self.consumer.consume(1, POLL_S)
        if consumed:
            consumed += self.consumer.consume(self.receive_messages - 1, self.spacing.left_s(time.perf_counter()))
        events = [message for message in consumed if message.error() is not None]
        self.caught_up.observe(events)
        self.stall.observe(events or consumed[:1])  # one record shows as well as all of them that something came
        records = errors.records(consumed) if events else consumed
        if taken:
            self.caught_up.forget(taken)
            self.stall.forget(self.settings.topics.raw, taken)
            self.sensors.forget(taken)
            records = [message for message in records if message.partition() not in taken]
        if ours - self.sensors.partitions:
            committed = self.committed(ours - self.sensors.partitions)
            for partition, position in committed.items():
                self.sensors.load(partition, position.metadata)
            self.unread.start({partition: position.offset for partition, position in committed.items()})
            self.rewind({partition: committed[partition].offset for partition in taken & ours})
        messages = self.headers.messages(records)
        if messages:
            self.unread.observe(messages.partition, messages.offset)
            self.receive_messages = messages_within(RECEIVE_BYTES, messages.sizes)
        return messages

    def committed(self, partitions: set[int]) -> dict[int, TopicPartition]:
        """What is committed of these partitions; KafkaException where Kafka does not say."""
        raw = self.settings.topics.raw
        positions = self.consumer.committed([TopicPartition(raw, number) for number in sorted(partitions)], 10)
        for position in positions:
            if position.error is not None:  # not the same as nothing committed: that would read everything again
                raise KafkaException(position.error)
        return {position.partition: position for position in positions}

    def rewind(self, offsets: Mapping[int, int]) -> None:
        """Read partitions again from these offsets; a negative one means the start."""
        self.caught_up.forget(offsets)
        self.stall.forget(self.settings.topics.raw, offsets)
        for partition, offset in offsets.items():
            if partition in self.assignment.assigned:
                target = offset if offset >= 0 else OFFSET_BEGINNING
                self.consumer.seek(TopicPartition(self.settings.topics.raw, partition, target))

    def process_batches(self, received: Messages) -> bool:
        """Process what was received, transaction by transaction; False where Kafka made us start over.

        Then everything from the aborted one on is read again, whatever partition it is of: the consumer is past it.
        """
        committed = 0
        for messages in transactions(received):
            if not self.process(messages):
                self.rewind(first_offsets(received.part(committed, len(received))))
                time.sleep(RETRY_S)
                return False
            committed += len(messages)
        return True

    def process(self, messages: Messages) -> bool:
        """Decode messages and commit what they became with their offsets; False where they must be read again.

        1. decode; 2. produce `flows` and `rejects`; 3. the offsets, with the sensors known; 4. commit. Steps 2 to 4 are
        one transaction: after a crash anywhere its messages are read again and nothing of it has been seen.
        """
        started = time.perf_counter()
        before = self.sensors.copied(np.unique(messages.partition).tolist())
        messages = self.sensors.admit(messages)
        decoded = decode_messages(messages, self.settings.max_future_us)
        self.sensors.observe(messages, decoded.flows)
        packed = list(pack(messages, decoded, self.settings.flows_rows))
        failpoints.reached("ingest.decoded")
        try:
            self.producer.begin_transaction()
            failpoints.reached("ingest.begun")
            for each in packed:
                self.send(each)
            following = dict(zip(messages.partition.tolist(), (messages.offset + 1).tolist(), strict=True))
            offsets = [
                TopicPartition(self.settings.topics.raw, partition, offset, metadata=self.sensors.metadata(partition))
                for partition, offset in following.items()
            ]
            if self.settings.broken_order == "ingest-offsets-first":
                self.consumer.commit(offsets=offsets, asynchronous=False)
            failpoints.reached("ingest.produced")
            membership = self.consumer.consumer_group_metadata()
            self.kafka.step(lambda timeout_s: self.watchdog.send_offsets(self.producer, offsets, membership, timeout_s))
            failpoints.reached("ingest.offsets sent")
            self.kafka.step(self.producer.commit_transaction)
            failpoints.reached("ingest.committed")
        except KafkaException as error:
            self.kafka.abort(self.producer, error, positions=positions(messages))
            self.sensors.revert(before)
            return False
        self.spacing.ended(started, time.perf_counter())
        self.kafka.progressed()
        self.idle.observe(messages, time.monotonic())
        for partition in np.unique(messages.partition).tolist():
            self.telemetry.gauge("forebay_ingest_sensors", self.sensors.count(partition), partition=str(partition))
        self.report(packed)
        self.telemetry.stage.batch(time.perf_counter() - started)
        return True

    def tick(self) -> None:
        """Write a tick into `raw` for each idle sensor: from there it goes the way of every message.

        Only where everything the partition holds has been read: behind an unread backlog a tick would stand among the
        sensor's flows, and those that come out of order would be late. A tick more, by a crash or a zombie, changes
        nothing; one that is held back or that Kafka aborts is due again the next time.
        """
        expired = self.idle.expired(time.monotonic())
        if not expired:
            return
        caught_up = self.caught_up.partitions({sensor.partition for sensor in expired})
        idle = [sensor for sensor in expired if sensor.partition in caught_up]
        if not idle:
            return
        try:
            self.producer.begin_transaction()
            for partition, site, sensor in idle:
                mark = SourceInfo(TICK, site=site, sensor=sensor)
                self.produce(self.settings.topics.raw, partition, mark.key, b"", mark.headers)
            self.kafka.step(self.producer.commit_transaction)
        except KafkaException as error:
            self.kafka.abort(self.producer, error, "ticks not written, trying again", sensors=len(idle))
            return
        self.idle.mark_ticked(idle)
        self.telemetry.count("forebay_ingest_ticks", len(idle))

    def send(self, packed: Packed) -> None:
        """Produce one flows message and its rejects, in a span that continues the first raw message's trace."""
        parent = packed.traceparents[0] if packed.traceparents else None
        with self.telemetry.span(
            "ingest flows",
            parent,
            packed.traceparents[1:],
            records=packed.flows.num_rows + sum(batch.num_rows for batch in packed.rejects),
            partition=packed.partition,
        ) as span:
            headers: Headers = [("content-type", CONTENT_TYPE), (TRACEPARENT_HEADER, span.traceparent)]
            topics = self.settings.topics
            self.produce(topics.flows, packed.partition, packed.key, write(packed.flows, packed.facts), headers)
            for batch in packed.rejects:
                value = write(batch, RejectsFacts(raw_partition=packed.partition))
                self.produce(topics.rejects, packed.partition, packed.key, value, headers)

    def produce(self, topic: str, partition: int, key: str | None, value: bytes, headers: Headers) -> None:
        """Produce to the partition the records came from; where the local queue is full, wait until it is not."""
        producing.produce(
            self.producer,
            topic,
            value,
            stopped=self.kafka.hopeless,
            key=key,
            partition=partition,
            headers=headers,
        )
        self.producer.poll(0)

    def report(self, packed: Sequence[Packed]) -> None:
        """Count what a transaction committed, by sensor."""
        now, stage = time.time(), self.telemetry.stage
        for each in packed:
            stage.rows_in(each.flows.num_rows + sum(batch.num_rows for batch in each.rejects))
            for (site, sensor), rows in row_counts(each.flows).items():
                stage.rows_out(rows, **self.labels.bounded({"site": site, "sensor": sensor}))
            for batch in each.rejects:
                for counted in reject_counts(batch):
                    bounded = self.labels.bounded(
                        {"site": counted.site, "sensor": counted.sensor, "reason": counted.reason}
                    )
                    stage.rows_out(counted.rows, site=bounded["site"], sensor=bounded["sensor"])
                    stage.rejected(counted.rows, **bounded)
                    self.reject_log.add(counted._replace(site=bounded["site"], sensor=bounded["sensor"]))
            self.telemetry.observe("forebay_ingest_delay_seconds", max(0.0, now - each.timestamp_us / 1e6))
            if each.facts.commands or each.misread:
                self.telemetry.count("forebay_ingest_commands", what="ignored" if each.misread else "taken")

    def log_rejects(self) -> None:
        """Say of which sensors records are rejected, and why, as often as an operator needs it."""
        for each in self.reject_log.due():
            log(STAGE).warning(
                "records rejected",
                site=printable(each.site, MAX_LOGGED_TEXT),
                sensor=printable(each.sensor, MAX_LOGGED_TEXT),
                reason=each.reason,
                rejects=each.rows,
                first=printable(each.detail, MAX_LOGGED_TEXT),
                remedy="`forebay rejects list` shows them, with what to do",
            )


def run(settings: Settings) -> None:
    """Run the worker until SIGINT or SIGTERM; KafkaUnreachable where no broker answers."""
    with stage_process(STAGE, settings) as (telemetry, kafka):
        warm_up()
        tune_gc()
        kafka.run(lambda: session(settings, telemetry, kafka))


def session(settings: Settings, telemetry: Telemetry, kafka: KafkaWatch) -> None:
    """Decode until asked to stop, with clients that end with the session."""
    worker = IngestWorker(settings, telemetry, kafka)
    try:
        worker.run()
    finally:
        worker.close()


def fetching(gather_ms: int) -> clients.Configuration:
    """How the consumer fetches: what comes in a moment at once, not each record."""
    wait_ms = max(LEAST_FETCH_WAIT_MS, int(FETCH_GATHERS * gather_ms))
    return {**FETCH, "fetch.min.bytes": FETCH["max.partition.fetch.bytes"], "fetch.wait.max.ms": wait_ms}


def warm_up() -> None:
    """Load or compile the decoders now: a worker that says it is ready does not let the first records wait."""
    for content_type, known in FORMATS.items():
        source = SourceInfo(content_type, known.required, "none", "none")
        decode_messages(Messages.of([RawMessage(0, 0, 0, source, b"{}")]), 0)


def tune_gc() -> None:
    """Let Python look for cycles rarely: a batch's many objects hold none, and looking took two thirds of `receive`."""
    collector.freeze_loaded()
    gc.set_threshold(200_000, 20, 20)


def transactions(messages: Messages) -> Iterator[Messages]:
    """The messages in parts that a transaction can hold, at least one message each."""
    through = np.cumsum(messages.sizes)
    first = 0
    while first < len(messages):
        before = through[first] - messages.sizes[first]
        end = max(int(np.searchsorted(through, before + MAX_BYTES, "right")), first + 1)
        first_of_source = np.sort(np.unique(messages.source[first:end], return_index=True)[1])
        if len(first_of_source) > MAX_SOURCES:
            end = first + int(first_of_source[MAX_SOURCES])
        yield messages.part(first, end)
        first = end


def messages_within(most_bytes: int, sizes: Ints) -> int:
    """How many messages as large as these on average hold so many bytes; 2 at least, MAX_MESSAGES at most."""
    return int(min(MAX_MESSAGES, max(2, most_bytes * len(sizes) // max(1, int(sizes.sum())))))


def first_offsets(messages: Messages) -> dict[int, int]:
    """The first offset of each partition among messages in order."""
    partitions, firsts = np.unique(messages.partition, return_index=True)
    return dict(zip(partitions.tolist(), messages.offset[firsts].tolist(), strict=True))


def positions(messages: Messages) -> list[str]:
    """First and last raw position of a batch, for the log."""
    return [f"raw[{messages.partition[index]}]@{messages.offset[index]}" for index in (0, -1)]
