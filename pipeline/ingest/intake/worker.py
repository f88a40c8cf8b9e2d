"""The intake worker: topics of other tools in, `raw` with headers and key out, with the positions in one transaction.

All partitions of a source's topics are read by one worker, merged (merge.py); a second one fences the first. It has no
state but its positions. What messages became is put to transactions (runtime/kafka/transactions.py): while one is
committed the next are read and converted.
"""

import time
from collections.abc import Iterable, Sequence

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from pipeline.contracts import raw
from pipeline.errors import Misconfigured
from pipeline.ingest.intake.convert import Converter
from pipeline.ingest.intake.merge import Partition, PartitionMerge
from pipeline.ingest.intake.origins import Envelope
from pipeline.ingest.intake.pack import RawPack
from pipeline.runtime.kafka import clients, errors, tail
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.retention import DeletedUnread
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.transactions import BY_KEY, Outgoing, TransactionWriter
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.settings import Settings
from schemas.intake import AUTO
from schemas.topics import topics as table

STAGE = "intake"
# At most so many messages are converted at once, or what came within POLL_S.
MAX_MESSAGES = 16_384
POLL_S = 0.05
# Of a partition that is ahead of the others so many messages wait; then it is paused. Together with the client's own
# queue that bounds memory, and lets partitions of uneven load be merged without a pause a message.
MAX_WAITING = 16_384
# Shippers put a thousand records into a message: of such a partition some dozen wait, not gigabytes of them.
MAX_WAITING_BYTES = 33_554_432
# Of what is converted at once: what is found in it takes several times as much memory.
MAX_BYTES = 33_554_432
# What the client reads ahead: some seconds at full rate; the rest of memory is the batch.
QUEUED_KIB = 32_768
# New topics of a pattern, new partitions, and topics that did not exist yet are looked for this often.
DISCOVER_S = 15.0
# Pause before reading again what Kafka aborted: its coordinator is busy just then.
RETRY_S = 0.1


class IntakeWorker:
    """Reads the sources' topics and writes `raw`, in transactions: one session (runtime/kafka/outage.py)."""

    def __init__(self, settings: Settings, telemetry: Telemetry, kafka: KafkaWatch) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.kafka = kafka
        self.converters = [Converter(source) for source in settings.topic_sources]
        self.source_of: dict[str, int] = {}
        self.absent: set[int] = set()
        """Sources without a topic, as far as that has been said."""
        self.partitions: set[Partition] = set()
        self.paused: set[Partition] = set()
        self.merge: PartitionMerge[Message] = PartitionMerge()
        self.deleted: dict[str, DeletedUnread] = {}
        self.discover_at = 0.0
        self.consumer = clients.consumer(
            settings, STAGE, **tail.EOF_EVENTS, **{"queued.max.messages.kbytes": QUEUED_KIB}
        )
        self.stall = ConsumerStall(StallDetector(settings, kafka), self.consumer)
        try:
            self.producer = clients.transactional_producer(settings, STAGE, kafka.stopping)
        except BaseException:
            self.consumer.close()
            raise
        self.transactions = TransactionWriter("intake", self.producer, kafka, telemetry)

    def run(self) -> None:
        """Read until asked to stop."""
        self.telemetry.started()
        while not self.kafka.stopping():
            self.telemetry.beat()
            if time.monotonic() >= self.discover_at:
                self.discover()
            if not self.partitions:
                self.kafka.stop.wait(POLL_S)
                continue
            self.receive()
            messages = self.merge.released(MAX_MESSAGES, MAX_BYTES)
            self.telemetry.stage.waiting_since(messages[0].timestamp()[1] * 1000 if messages else None)
            self.resume()
            if not (self.transactions.poll() and self.process(messages)):
                self.restart()
                time.sleep(RETRY_S)
        self.transactions.settle()

    def close(self) -> None:
        """Leave the clients, an open transaction to its commit."""
        self.transactions.close()
        clients.abandon(self.consumer, self.producer)

    def discover(self) -> None:
        """Find the sources' topics and their partitions, and read the new ones from their committed positions."""
        self.discover_at = time.monotonic() + DISCOVER_S
        topics = self.consumer.list_topics(timeout=10).topics
        own = {self.settings.topic_prefix + name for name in table()}
        found: set[Partition] = set()
        for name, metadata in topics.items():
            number = next((n for n, each in enumerate(self.converters) if each.source.covers(name)), None)
            if number is None or name in own or metadata.error is not None:
                continue
            self.source_of[name] = number
            found |= {(name, partition) for partition in metadata.partitions}
        new = found - self.partitions
        if new:
            self.consumer.incremental_assign(self.start_positions(new))
            self.partitions |= new
            self.merge.assign(new)
        sources = [converter.source for converter in self.converters]
        absent = {number for number, each in enumerate(sources) if not any(map(each.covers, self.source_of))}
        for number in sorted(absent - self.absent):
            remedy = "`forebay topic create --sources FILE` creates it; or correct it"
            log(STAGE).warning("no such topic yet", source=sources[number].title, remedy=remedy)
        self.absent = absent
        self.kafka.announce(range(len(self.partitions)), topics=sorted(self.source_of))

    def start_positions(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        """Where to read on: the committed positions; the start of a partition that has none."""
        positions = self.consumer.committed([TopicPartition(*each) for each in sorted(partitions)], 10)
        for position in positions:
            if position.error is not None:
                raise KafkaException(position.error)
            self.deleted_in(position.topic).start({position.partition: position.offset})
            if position.offset < 0:
                position.offset = OFFSET_BEGINNING
        return positions

    def receive(self) -> None:
        """Read what has come, and pause partitions that are ahead of the others."""
        consumed = self.consumer.consume(MAX_MESSAGES, POLL_S)
        self.stall.observe(consumed)
        errors.records(consumed)  # raises on an error that does not pass by itself
        read: dict[Partition, list[Message]] = {}
        at_end: set[Partition] = set()
        for message in consumed:
            partition = message.topic() or "", message.partition() or 0
            error = message.error()
            if error is None:
                read.setdefault(partition, []).append(message)
                at_end.discard(partition)
            elif error.code() == KafkaError._PARTITION_EOF:
                at_end.add(partition)
        for partition, messages in read.items():
            offsets = np.array([message.offset() for message in messages], np.int64)
            self.deleted_in(partition[0]).observe(np.full(len(offsets), partition[1]), offsets)
            stamps = [message.timestamp()[1] for message in messages]
            self.merge.add(partition, messages, stamps, [len(message.value() or b"") for message in messages])
        for partition in at_end:
            self.merge.reached_end(partition)
        ahead = {each for each in self.partitions - self.paused if self.is_ahead(each)}
        if ahead:
            self.consumer.pause([TopicPartition(*each) for each in ahead])
            self.paused |= ahead

    def is_ahead(self, partition: Partition) -> bool:
        """Whether so much of a partition is held back that no more of it is read."""
        waiting = self.merge.waiting(partition)
        return waiting >= MAX_WAITING or (waiting > 0 and self.merge.waiting_bytes(partition) >= MAX_WAITING_BYTES)

    def deleted_in(self, topic: str) -> DeletedUnread:
        """What tells which records of a topic retention deleted before they were read."""
        if topic not in self.deleted:
            self.deleted[topic] = DeletedUnread(self.telemetry, self.consumer, topic)
        return self.deleted[topic]

    def resume(self) -> None:
        """Read partitions again that are not ahead any more."""
        ready = {each for each in self.paused if not self.is_ahead(each)}
        if ready:
            self.consumer.resume([TopicPartition(*each) for each in ready])
            self.paused -= ready

    def restart(self) -> None:
        """Read everything again from the committed positions: what was read and not committed is dropped."""
        self.transactions.resume()
        self.merge = PartitionMerge()
        self.merge.assign(self.partitions)
        self.paused = set()
        for topic, partition in self.partitions:
            self.stall.forget(topic, [partition])
        self.consumer.assign(self.start_positions(self.partitions))

    def process(self, messages: Sequence[Message]) -> bool:
        """Convert messages, and put what they became with the positions behind them; False after an abort."""
        if not messages:
            return True
        started = time.perf_counter()
        packs = self.convert(messages)
        records = sum(pack.records for pack in packs)
        following: dict[Partition, int] = {}
        for message in messages:
            following[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1

        def committed(at_s: float) -> None:
            self.telemetry.stage.rows_out(records)
            self.telemetry.stage.batch(at_s - started)

        return self.transactions.put(
            [self.outgoing(pack) for pack in packs],
            [TopicPartition(*partition, offset) for partition, offset in following.items()],
            self.consumer.consumer_group_metadata(),
            committed,
            clients.oldest_us(messages),
        )

    def convert(self, received: Sequence[Message]) -> list[RawPack]:
        """The messages of each source, as messages of `raw`."""
        packs: list[RawPack] = []
        by_source: dict[int, list[Message]] = {}
        for message in received:
            by_source.setdefault(self.source_of[message.topic() or ""], []).append(message)
        for number, messages in by_source.items():
            converter = self.converters[number]
            envelopes = [_envelope(message) for message in messages] if converter.needs_envelopes else []
            converted = converter.convert([message.value() or b"" for message in messages], envelopes)
            packs += converted.packs
            title = converter.source.title
            self.telemetry.stage.rows_in(converted.records)
            self.telemetry.count("forebay_intake_messages", len(messages), source=title)
            self.telemetry.count("forebay_intake_records", sum(pack.records for pack in converted.packs), source=title)
            self.telemetry.count("forebay_intake_skipped", sum(converted.other_logs.values()), source=title)
        return packs

    def outgoing(self, pack: RawPack) -> Outgoing:
        """One message of `raw`."""
        source = raw.SourceInfo(
            pack.content_type,
            pack.columns,
            pack.site,
            pack.sensor,
            time_zone=pack.time_zone,
            lateness_us=pack.lateness_us,
        )
        return Outgoing(self.settings.topics.raw, BY_KEY, source.key, pack.value, source.headers)


def _envelope(message: Message) -> Envelope:
    key = message.key()
    return Envelope(
        message.topic() or "", key.encode() if isinstance(key, str) else key, list(clients.headers_of(message).items())
    )


def run(settings: Settings) -> None:
    """Run the worker until SIGINT or SIGTERM; Misconfigured where no source is set."""
    if not settings.topic_sources:
        got = "files alone, which `forebay flow follow` reads" if settings.file_sources else "no sources"
        raise Misconfigured(
            f"FOREBAY_SOURCES: got {got}, expected the name of a YAML file with topics; docs/sources.md has an example"
        )
    with stage_process(STAGE, settings) as (telemetry, kafka):
        if settings.file_sources:
            files = [source.title for source in settings.file_sources]
            log(STAGE).info("files are not read here", files=files, remedy="`forebay flow follow` reads them")
        for source in settings.topic_sources:
            if source.time_zone and source.format not in (AUTO, *raw.WITH_LOCAL_TIMES):
                log(STAGE).info("time_zone changes nothing", source=source.title, format=source.format)
        kafka.run(lambda: session(settings, telemetry, kafka))


def session(settings: Settings, telemetry: Telemetry, kafka: KafkaWatch) -> None:
    """Read until asked to stop, with clients that end with the session."""
    worker = IntakeWorker(settings, telemetry, kafka)
    try:
        worker.run()
    finally:
        worker.close()
