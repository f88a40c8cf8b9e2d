"""The follower's process: records of files that grow into `raw`, and how far it came in the same transaction."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from pipeline.contracts import lateness, raw
from pipeline.errors import Failed
from pipeline.ingest.follow.chain import Batch
from pipeline.ingest.follow.names import FileSource
from pipeline.ingest.follow.position import FilePosition, decode, key_of, number_of
from pipeline.ingest.follow.records import Run
from pipeline.ingest.follow.rotation import FollowedFiles
from pipeline.ingest.follow.tail import Followed
from pipeline.runtime import failpoints
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.transactions import BY_KEY, Outgoing, TransactionWriter
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT_HEADER
from pipeline.settings import Settings

STAGE = "follow"
# Of one transaction: some 30,000 records, a tenth of a second of work, and little memory.
MAX_BYTES = 8_388_608
# Of one message: ingest decodes many a message fastest, and Kafka takes 8 MiB.
MESSAGE_RECORDS = 1_000
MESSAGE_BYTES = 1_048_576
# A file is looked at this often: a record is in `raw` a second after it was written.
POLL_S = 1.0
# Where less than this was there to be sent, nothing waits: the next transaction may gather for a while.
SMALL_BYTES = 1_048_576
GATHER_S = 0.5
# What the client holds that Kafka has not taken: a transaction and a half.
QUEUE_KIB = 12_288
GAUGES_EVERY_S = 10.0
# Events that somebody should look into; the others say what goes on.
GAPS = frozenset(
    {
        "file gone before its end was sent",
        "file truncated, and no copy of what it held",
        "packed file ends too early",
        "file without what was sent of it last",
        "begins as another file and goes on differently",
        "cannot be read",
        "file of no known format",
    }
)


@dataclass
class Sent:
    """What a follower has sent since it was started, and what it could not."""

    records: int = 0
    messages: int = 0
    transactions: int = 0
    gaps: int = 0


class FollowWorker:
    """One session (kafka/outage.py): its clients, and the positions in topic `positions` from which it goes on."""

    def __init__(
        self, settings: Settings, telemetry: Telemetry, kafka: KafkaWatch, files: FollowedFiles, name: str, sent: Sent
    ) -> None:
        self.settings, self.telemetry, self.kafka = settings, telemetry, kafka
        self.files = files
        self.name = identity(settings, name)
        self.sent = sent
        self._gauged_s = 0.0
        self.producer = clients.transactional_producer(
            settings, f"{STAGE}-{name}", kafka.hopeless, **{"queue.buffering.max.kbytes": QUEUE_KIB}
        )
        self.transactions = TransactionWriter("follow", self.producer, kafka, telemetry)

    def run(self) -> None:
        """Send what comes until asked to stop; with `once`, what is there."""
        self.files.restore(committed_positions(self.settings, self.name))
        self.telemetry.started()
        self.files.poll(time.time())
        if begun := self.files.positions(time.time()):
            self._send(Batch(), begun)  # from now on what is rotated is found, whenever this process dies
        self.kafka.announce([], follower=self.name, files=len(self.files.chains))
        while not self.kafka.stopping():
            self.telemetry.beat()
            batch = self.turn(time.time())
            if batch is None and self.files.once and self.files.settled:
                return
            if batch is None or batch.size_bytes < SMALL_BYTES:
                self.kafka.stop.wait(GATHER_S if batch is not None or self.files.once else POLL_S)

    def close(self) -> None:
        """Leave the client, an open transaction to its commit."""
        self.transactions.close()
        self.producer.purge()

    def turn(self, now_s: float) -> Batch | None:
        """Look at the files, and send what is there; None where there was nothing."""
        self.files.poll(now_s)
        batch = self.files.read(now_s, MAX_BYTES)
        failpoints.reached("follow.read")
        self._report(now_s)
        positions = self.files.positions(now_s)
        if not positions and not self.files.forgotten:
            return None
        self._send(batch, positions)
        return batch

    def _send(self, batch: Batch, positions: Sequence[FilePosition]) -> None:
        """Records, and the position of each file they are of, in one transaction; then files that are done are let go.

        Nothing is read before it is committed. After a crash anywhere, or an abort, all is read again from the
        committed positions.
        """
        started = time.perf_counter()
        with self.telemetry.span("send raw", records=batch.records) as span:
            records = list(self._of_raw(batch, span.traceparent))
            messages = [*records, *self._of_positions(positions)]
            if not (self.transactions.put(messages, [], None) and self.transactions.settle()):
                self.transactions.resume()
                self.files.restore(committed_positions(self.settings, self.name))
                return
        self.files.committed(positions)
        self.sent.records += batch.records
        self.sent.messages += len(records)
        self.sent.transactions += 1
        self.telemetry.stage.rows_in(batch.records)
        self.telemetry.stage.rows_out(batch.records)
        self.telemetry.stage.batch(time.perf_counter() - started)

    def _of_raw(self, batch: Batch, traceparent: str) -> Iterator[Outgoing]:
        for followed, run in _joined(batch.runs):
            source = source_info(followed, run)
            headers = [*source.headers, (TRACEPARENT_HEADER, traceparent.encode())]
            for value in packed(run.records):
                yield Outgoing(self.settings.topics.raw, BY_KEY, source.key, value, headers)

    def _of_positions(self, positions: Sequence[FilePosition]) -> Iterator[Outgoing]:
        values: dict[int, bytes | None] = {each.number: each.encoded(self.name) for each in positions}
        values |= dict.fromkeys(self.files.forgotten)
        for number, value in values.items():
            yield Outgoing(self.settings.topics.positions, BY_KEY, key_of(self.name, number), value, [])

    def _report(self, now_s: float) -> None:
        """Log what has become of files; set gauges now and then."""
        while self.files.events:
            event, facts = self.files.events.popleft()
            if event in GAPS:
                self.sent.gaps += 1
                self.telemetry.count("forebay_follow_gaps")
                log(STAGE).warning(event, **facts)
            else:
                log(STAGE).info(event, **facts)
        if abs(now_s - self._gauged_s) >= GAUGES_EVERY_S:
            self._gauged_s = now_s
            self.telemetry.gauge("forebay_follow_files", len(self.files.chains))
            self.telemetry.gauge("forebay_follow_behind_bytes", self.files.behind_bytes)


def identity(settings: Settings, name: str) -> str:
    """What a follower is known by: two of one identity fence each other, and one goes on where the other stopped."""
    return f"{name}-{settings.instance_id}"


def committed_positions(settings: Settings, follower: str) -> dict[int, FilePosition]:
    """The positions of a follower's files, by number; waits for a transaction that is still open."""
    positions: dict[int, FilePosition] = {}
    for number, position in positions_as_written(settings, follower):
        if position is None:
            positions.pop(number, None)
        else:
            positions[number] = position
    return positions


def positions_as_written(settings: Settings, follower: str) -> Iterator[tuple[int, FilePosition | None]]:
    """What a follower has committed of its files, as far as it is not compacted; None where a file is forgotten."""
    topic = settings.topics.positions
    metadata = clients.admin(settings).list_topics(topic, timeout=10).topics[topic]
    if metadata.error is not None or not metadata.partitions:
        raise Failed(f"topic {topic}: got none, expected it to exist; `forebay topic create` makes it")
    ends = tail.ends(settings, topic, metadata.partitions)
    consumer = clients.reader(settings, STAGE, **tail.EOF_EVENTS)
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in metadata.partitions])
        for message in tail.read_to(consumer, topic, ends):
            key = message.key()
            number = number_of(follower, key.encode() if isinstance(key, str) else key)
            if number is None:
                continue
            value, where = message.value(), f"{topic}[{message.partition()}]@{message.offset()}"
            yield number, None if value is None else decode(bytes(value), where)
    finally:
        consumer.close()


def source_info(followed: Followed, run: Run) -> raw.SourceInfo:
    """What the headers of a run's messages say."""
    return raw.SourceInfo(
        run.content_type,
        run.columns,
        followed.site,
        followed.sensor,
        time_zone=followed.time_zone,
        lateness_us=lateness.of_live_source(followed.lateness_us, run.content_type),
    )


def packed(records: Sequence[bytes]) -> Iterator[bytes]:
    """Records as messages' values, many each."""
    first, size = 0, 0
    for index, record in enumerate(records):
        if index > first and (index - first >= MESSAGE_RECORDS or size + len(record) > MESSAGE_BYTES):
            yield b"\n".join(records[first:index])
            first, size = index, 0
        size += len(record) + 1
    if first < len(records):
        yield b"\n".join(records[first:])


def _joined(runs: Sequence[tuple[Followed, Run]]) -> Iterator[tuple[Followed, Run]]:
    """Runs that follow one another in one file, and have the same columns, as one."""
    for (_, content_type, columns), group in groupby(runs, lambda each: (each[0].number, *each[1][:2])):
        pieces = list(group)
        records = [record for _, run in pieces for record in run.records]
        yield pieces[0][0], Run(content_type, columns, records)


def run(
    settings: Settings, sources: Sequence[FileSource], name: str, once: bool = False, stop: Stop | None = None
) -> Sent:
    """Follow files until SIGINT or SIGTERM, or with `once` up to where they end; KafkaUnreachable without a broker."""
    files, sent = FollowedFiles(sources, once), Sent()
    with stage_process(STAGE, settings, stop) as (telemetry, kafka):
        telemetry.count("forebay_follow_gaps", 0)
        kafka.run(_session(settings, telemetry, kafka, files, name, sent))
    return sent


def _session(
    settings: Settings, telemetry: Telemetry, kafka: KafkaWatch, files: FollowedFiles, name: str, sent: Sent
) -> Callable[[], None]:
    """Files stay open over sessions: what was deleted meanwhile can still be read."""

    def session() -> None:
        worker = FollowWorker(settings, telemetry, kafka, files, name, sent)
        try:
            worker.run()
        finally:
            worker.close()

    return session
