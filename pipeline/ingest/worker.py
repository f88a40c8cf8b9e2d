"""The ingest worker: `raw` in, `flows` and `rejects` out, both and the offsets in one transaction.

It decodes and encodes what it receives, and puts it to its transactions (runtime/kafka/transactions.py): while one is
committed the next messages are received and decoded.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from pipeline.contracts.envelope import RejectsFacts
from pipeline.contracts.raw import TICK, Headers, SourceInfo
from pipeline.errors import Failed
from pipeline.ingest.active_sensors import ActiveSensors
from pipeline.ingest.counting import Count, SensorLabelLimit
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.headers import HeaderCache
from pipeline.ingest.idle import IdleDetector
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import Packed, pack
from pipeline.ingest.reject_log import RejectLog
from pipeline.ingest.scan.cells import Ints
from pipeline.runtime import collector, failpoints
from pipeline.runtime.kafka import clients, errors, tail
from pipeline.runtime.kafka.caught_up import CaughtUp
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.retention import DeletedUnread
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.transactions import Outgoing, TransactionWriter
from pipeline.runtime.spacing import Spacing
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.runtime.terminal import printable
from pipeline.runtime.wire.batches import CONTENT_TYPE
from pipeline.runtime.wire.messages import write
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT_HEADER
from pipeline.settings import Settings

STAGE = "ingest"
# At most so many raw messages are decoded at once (a core does in less than 100 ms), or what came until they could be.
MAX_MESSAGES = 16_384
# After a transaction a rest of `gather_ms`, or of so many times what it took: what it costs depends on its partitions,
# hardly on how many records it holds, here, at the broker and in every stage behind (docs/adr/0047). However little is
# gathered, at most a third of the time goes into them; on a busy machine they take longer, and are fewer and larger.
# The shortest of the last three counts: with 400 ms at most, a single slow one would hold up what comes after it.
REST_RATIO = 2.0
MAX_REST_S = 0.4
REST_OF_LAST = 3
# So long an idle worker waits for a message before it looks after ticks, rejects and the request to stop.
POLL_S = 0.05
# Payload bytes of one pass of the decoder: it takes several times as much memory.
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
# Sources of one pass: every format and set of columns is decoded by itself.
MAX_SOURCES = 256
# A transaction that Kafka aborts so often in a row, over some seconds, will not pass by itself.
MAX_ABORTS = 20
# Characters of a name, or of what is wrong with a record, in a line of the log: names come with messages.
MAX_LOGGED_TEXT = 300


class Assignment:
    """Which partitions are ours, and which were taken away during the last `consume`.

    Parameters
    ----------
    settle : callable
        Waits until all that was put is committed.
    """

    def __init__(self, settle: Callable[[], object]) -> None:
        self._settle = settle
        self.assigned: set[int] = set()
        self.taken: set[int] = set()

    def gained(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client inside `consume`."""
        self.assigned |= {each.partition for each in partitions}

    def lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client inside `consume`; no transaction is open when it returns."""
        self._settle()  # while they are ours: what is aborted now, their next owner decodes
        numbers = {each.partition for each in partitions}
        self.assigned -= numbers
        self.taken |= numbers


class IngestWorker:
    """Decodes raw messages in transactions, and writes ticks for idle sensors: one session (kafka/outage.py)."""

    def __init__(self, settings: Settings, telemetry: Telemetry, kafka: KafkaWatch) -> None:
        self.settings = settings
        self.kafka = kafka
        self.telemetry = telemetry
        self.headers = HeaderCache()
        self.labels = SensorLabelLimit()
        self.reject_log = RejectLog(time.monotonic)
        self.sensors = ActiveSensors(settings.max_sensors, time.monotonic)
        telemetry.gauge("forebay_ingest_sensors_max", settings.max_sensors)
        for what in ("taken", "ignored"):
            telemetry.count("forebay_ingest_commands", 0, what=what)
        self.idle = IdleDetector(settings.idle_us / 1e6, self.sensors.lateness_us)
        gather_s = settings.gather_ms / 1000
        self.spacing = Spacing(REST_RATIO, max(MAX_REST_S, gather_s), gather_s, REST_OF_LAST)
        self.consumer = clients.consumer(settings, STAGE, **tail.EOF_EVENTS, **fetching(settings.gather_ms))
        self.receive_messages = MAX_MESSAGES
        self.caught_up = CaughtUp(self.consumer, settings.topics.raw)
        self.stall = ConsumerStall(StallDetector(settings, kafka), self.consumer)
        self.unread = DeletedUnread(telemetry, self.consumer, settings.topics.raw)
        self.aborts = 0
        """Transactions aborted since the last one that was committed."""
        try:
            self.producer = clients.transactional_producer(
                settings, STAGE, kafka.hopeless, clients.SESSION_INIT_S, **clients.PACKED
            )
        except BaseException:
            self.consumer.close()
            raise
        self.transactions = TransactionWriter("ingest", self.producer, kafka, telemetry)
        self.assignment = Assignment(self.transactions.settle)

    def run(self) -> None:
        """Decode raw messages until asked to stop; Failed where Kafka aborts one transaction after the other."""
        self.subscribe()
        self.telemetry.started()  # without state there is nothing to restore, and a spare worker has no partitions
        while not self.kafka.stopping():
            self.telemetry.beat()
            if not self.advance():
                self.start_over()
            self.tick()
            self.log_rejects()
        self.transactions.settle()

    def advance(self) -> bool:
        """Receive and process what comes; False where a transaction was aborted. What came is not held any longer."""
        received = self.receive()
        self.telemetry.stage.waiting_since(int(received.timestamp_us.min()) if received else None)
        if self.kafka.announce(self.assignment.assigned, ready=bool(self.assignment.assigned)):
            self.idle.retain(self.assignment.assigned)
        return self.transactions.poll() and self.process_batches(received)

    def close(self) -> None:
        """Leave the clients, an open transaction to its commit."""
        self.transactions.close()
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
        consumed = self.gather()
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
            offsets = self.load(ours - self.sensors.partitions)
            self.unread.start(offsets)
            self.rewind({partition: offsets[partition] for partition in taken & ours})
        messages = self.headers.messages(records)
        if messages:
            self.unread.observe(messages.partition, messages.offset)
            self.receive_messages = messages_within(RECEIVE_BYTES, messages.sizes)
        return messages

    def gather(self) -> list[Message]:
        """What lies ready where that is enough for a pass of the decoder; else the first message to come, and what
        comes until the open transaction has ended, before which it could not be written, and the rest after it is over.
        """
        consumed = self.consumer.consume(1, POLL_S)
        if consumed:
            consumed += self.consumer.consume(self.receive_messages - 1, 0)
            wanted = self.receive_messages - len(consumed)
            if wanted > 0 and self.transactions.settle():
                consumed += self.consumer.consume(wanted, self.spacing.left_s(time.perf_counter()))
        return consumed

    def load(self, partitions: set[int]) -> dict[int, int]:
        """Take partitions over with the sensors committed beside their offsets; these offsets."""
        committed = self.committed(partitions)
        for partition, position in committed.items():
            self.sensors.load(partition, position.metadata)
        return {partition: position.offset for partition, position in committed.items()}

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

    def start_over(self) -> None:
        """After an abort: read again from what is committed, with the sensors known there, and put what follows.

        Failed where Kafka aborts one transaction after the other.
        """
        self.aborts += 1
        if self.aborts > MAX_ABORTS:
            raise Failed(
                f"ingest: got {self.aborts} aborted transactions in a row, expected one to pass; the log has Kafka's "
                "reasons; `forebay topic check` compares the topics with what they should be"
            )
        time.sleep(RETRY_S)
        self.transactions.resume()
        if self.sensors.partitions:  # what has just come to us is not read yet
            self.rewind(self.load(self.sensors.partitions))

    def process_batches(self, received: Messages) -> bool:
        """Process what was received, pass by pass; False where a transaction was aborted, and all is read again."""
        return all(map(self.process, passes(received)))

    def process(self, messages: Messages) -> bool:
        """Decode messages, and put what they became for a transaction; False after an abort.

        1. decode; 2. encode `flows` and `rejects`; 3. put them, and the offsets with the sensors known. After a crash
        anywhere, before their transaction is committed, the messages are read again and nothing of it has been seen.
        """
        started = time.perf_counter()
        messages = self.sensors.admit(messages)
        decoded = decode_messages(messages, self.settings.max_future_us)
        self.sensors.observe(messages, decoded.flows)
        self.idle.observe(messages, time.monotonic())
        packed = list(pack(messages, decoded, self.settings.flows_rows))
        failpoints.reached("ingest.decoded")
        counts = [Count.of(each) for each in packed]

        def committed(at_s: float) -> None:
            self.aborts = 0
            self.spacing.ended(started, at_s)
            self.report(counts, at_s)
            self.telemetry.stage.batch(at_s - started)

        outgoing = [message for each in packed for message in self.outgoing(each)]
        return self.put(outgoing, self.following(messages), committed, int(messages.timestamp_us.min()))

    def following(self, messages: Messages) -> list[TopicPartition]:
        """The offsets behind these messages, each with the sensors known there."""
        offsets = dict(zip(messages.partition.tolist(), (messages.offset + 1).tolist(), strict=True))
        for partition in offsets:
            self.telemetry.gauge("forebay_ingest_sensors", self.sensors.count(partition), partition=str(partition))
        return [
            TopicPartition(self.settings.topics.raw, partition, offset, metadata=self.sensors.metadata(partition))
            for partition, offset in offsets.items()
        ]

    def put(
        self,
        messages: list[Outgoing],
        offsets: list[TopicPartition],
        committed: Callable[[float], None],
        sent_us: int | None = None,
    ) -> bool:
        """Messages and the offsets behind them, for a transaction; False where an earlier one was aborted."""
        if offsets and self.settings.broken_order == "ingest-offsets-first":
            self.consumer.commit(offsets=offsets, asynchronous=False)
        # Asked for here: beside a `consume`, in the other thread, it comes only when that returns.
        membership = self.consumer.consumer_group_metadata()
        return self.transactions.put(messages, offsets, membership, committed, sent_us)

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

        def committed(_at_s: float) -> None:
            self.aborts = 0
            self.idle.mark_ticked(idle)
            self.telemetry.count("forebay_ingest_ticks", len(idle))

        marks = [(partition, SourceInfo(TICK, site=site, sensor=sensor)) for partition, site, sensor in idle]
        raw = self.settings.topics.raw
        ticks = [Outgoing(raw, partition, mark.key, b"", mark.headers) for partition, mark in marks]
        if self.put(ticks, [], committed):
            self.transactions.settle()  # until then they are due

    def outgoing(self, packed: Packed) -> Iterator[Outgoing]:
        """One flows message and its rejects, encoded in a span that continues the first raw message's trace.

        All to the partition the records came from.
        """
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
            yield Outgoing(topics.flows, packed.partition, packed.key, write(packed.flows, packed.facts), headers)
            for batch in packed.rejects:
                value = write(batch, RejectsFacts(raw_partition=packed.partition))
                yield Outgoing(topics.rejects, packed.partition, packed.key, value, headers)

    def report(self, counts: list[Count], at_s: float) -> None:
        """Count what was committed when time.perf_counter() was `at_s`, by sensor."""
        committed_s, stage = time.time() - (time.perf_counter() - at_s), self.telemetry.stage
        for each in counts:
            stage.rows_in(each.records)
            for (site, sensor), rows in each.flows.items():
                stage.rows_out(rows, **self.labels.bounded({"site": site, "sensor": sensor}))
            for counted in each.rejects:
                bounded = self.labels.bounded(
                    {"site": counted.site, "sensor": counted.sensor, "reason": counted.reason}
                )
                stage.rows_out(counted.rows, site=bounded["site"], sensor=bounded["sensor"])
                stage.rejected(counted.rows, **bounded)
                self.reject_log.add(counted._replace(site=bounded["site"], sensor=bounded["sensor"]))
            self.telemetry.observe("forebay_ingest_delay_seconds", max(0.0, committed_s - each.sent_us / 1e6))
            if each.commands:
                self.telemetry.count("forebay_ingest_commands", what=each.commands)

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


def passes(messages: Messages) -> Iterator[Messages]:
    """The messages in parts that are decoded at once, at least one message each."""
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
