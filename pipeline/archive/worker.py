"""The worker of stage 5: topics `archive` and `rejects` in, files and manifests out, offsets last."""

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from pipeline.archive.manifest import Progress
from pipeline.archive.pairing import Pairing, read_rejects, read_scored
from pipeline.archive.partition import Committed, PartitionArchive
from pipeline.archive.streams import Limits
from pipeline.errors import ForebayError, Misconfigured
from pipeline.runtime import failpoints
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.retention import MARK
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.tail import EOF_EVENTS
from pipeline.runtime.storage.location import open_storage
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.settings import Settings

GROUP = "archive"
PATIENCE_S = 30.0
"""How long Kafka may take to say what it holds, while the group is joined."""
MESSAGES_A_TURN = 4
"""All of them are in memory at once, unpacked: some 3 MB each, 64 MiB (wire/framing.py) at the most."""
COMMIT_AT_LATEST_S = 60.0
"""Open rows and positions are made durable at least this often: what a restart reads again, and how old Kafka's lag
may look."""
COMMIT_AT_MOST_EVERY_S = 0.5
"""A closed file waits so long for others: every commit writes what is open aside, and less often is cheaper."""
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Messages of one topic that wait for the other topic's, of all partitions."""
MAX_OPEN_BYTES = 32 * 1024 * 1024
"""Open rows in memory, of all partitions: beyond, those of the partition with most are written aside."""
OVERRIDES = {
    # Files belong to a raw partition, so both topics' same partition must be one worker's: the range assignor gives
    # them together.
    "group.protocol": "classic",
    "partition.assignment.strategy": "range",
    # What is fetched and not taken yet, packed: some ten thousand rows.
    "queued.max.messages.kbytes": 2_048,
    "fetch.max.bytes": 2_097_152,
    "max.partition.fetch.bytes": 1_048_576,
    # A position that Kafka no longer has is rows lost: an error, never a silent jump.
    "auto.offset.reset": "error",
    **EOF_EVENTS,
}


class Owned:
    """A partition this worker owns: what waits to be paired, and its archive."""

    def __init__(self, archive: PartitionArchive) -> None:
        self.archive = archive
        self.pairing = Pairing(archive.partition, archive.progress)
        self.committed_at = time.monotonic()
        self.paused: set[str] = set()

    @property
    def since_commit_s(self) -> float:
        """Seconds since its archive was committed."""
        return time.monotonic() - self.committed_at


class ArchiveWorker:
    """Moves messages between Kafka and the partitions' archives."""

    def __init__(self, settings: Settings, telemetry: Telemetry, kafka: KafkaWatch) -> None:
        self._settings = settings
        self._kafka = kafka
        self._telemetry = telemetry
        self._log = log(GROUP)
        self._archive_topic, self._rejects_topic = settings.topics.archive, settings.topics.rejects
        self._owned: dict[int, Owned] = {}
        self._consumer = clients.consumer(settings, GROUP, **OVERRIDES)
        self._stall = ConsumerStall(StallDetector(settings, kafka), self._consumer)

    def run(self) -> None:
        """Archive until asked to stop. Raises the error that ended the session otherwise; what is durable stays."""
        self._consumer.subscribe(
            [self._archive_topic, self._rejects_topic],
            on_assign=self._assign,
            on_revoke=self._revoke,
            on_lost=self._lose,
        )
        try:
            while not self._kafka.stop.requested:
                self._telemetry.beat()
                self._receive()
                for owned in list(self._owned.values()):
                    self._advance(owned)
            for owned in self._owned.values():
                self._commit(owned)
        except BaseException:
            # What failed may have rows that are in no file and no longer open. Closing the client calls `_revoke`,
            # which would commit their position without them.
            self._owned.clear()
            raise
        finally:
            clients.abandon(self._consumer, None)

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take partitions over: claim each, and read both topics on from where its last manifest says."""
        of = {
            topic: {assigned.partition for assigned in partitions if assigned.topic == topic}
            for topic in (self._archive_topic, self._rejects_topic)
        }
        if of[self._archive_topic] != of[self._rejects_topic]:
            raise Misconfigured(
                f"topics {self._archive_topic} and {self._rejects_topic}: assigned partitions {of}, expected the "
                "same ones; give both topics the same partition count (`forebay topic check`)"
            )
        positions = []
        for partition in sorted(of[self._archive_topic]):
            archive = PartitionArchive(
                self._settings.archive_uri,
                partition,
                Limits(self._settings.archive_rows_per_file),
                self._settings.instance_id,
                _step,
            )
            self._owned[partition] = Owned(archive)
            positions += start_positions(archive.progress, partition, self._archive_topic, self._rejects_topic)
        consumer.assign([_behind_mark(consumer, position) for position in positions])
        self._kafka.announce(self._owned, archive=self._settings.archive_uri)

    def _revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Release partitions: commit what was read, so that the next owner resumes from there."""
        for partition in {revoked.partition for revoked in partitions}:
            owned = self._owned.pop(partition, None)
            if owned is not None:
                self._commit(owned)

    def _lose(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Another worker owns these partitions already: drop what is not durable, it reads that again."""
        for partition in {lost.partition for lost in partitions}:
            self._owned.pop(partition, None)

    def _receive(self) -> None:
        """Take what has come. Its bytes are gone as soon as their rows are written aside: nothing else holds them."""
        consumed = self._consumer.consume(MESSAGES_A_TURN, 0.2)
        if not any(owned.paused for owned in self._owned.values()):  # what is paused brings nothing
            self._stall.observe(consumed)
        messages = errors.records(consumed)
        self._telemetry.stage.waiting_since(clients.oldest_us(messages))
        for message in messages:
            self._offer(message)

    def _offer(self, message: Message) -> None:
        partition, offset, payload = message.partition(), message.offset(), message.value()
        owned = self._owned.get(-1 if partition is None else partition)
        if owned is None or offset is None:
            return
        position = clients.position_of(message)
        if message.topic() == self._archive_topic:
            traceparent = clients.headers_of(message).get("traceparent")
            scored = read_scored(payload or b"", position, traceparent)
            owned.pairing.offer_scored(scored)
            self._telemetry.stage.rows_in(len(scored.rows))
        else:
            rejects = read_rejects(payload or b"", position)
            owned.pairing.offer_rejects(offset, rejects)
            self._telemetry.stage.rows_in(len(rejects))

    def _advance(self, owned: Owned) -> None:
        """Archive what is complete; commit where a file closed, memory is full, or the last commit is long ago."""
        while self._take_next(owned):
            if owned.archive.full or (owned.archive.due and owned.since_commit_s >= COMMIT_AT_MOST_EVERY_S):
                self._commit(owned)
            self._make_room()
        if owned.archive.due and owned.since_commit_s >= COMMIT_AT_MOST_EVERY_S:
            self._commit(owned)
        if owned.archive.moved and owned.since_commit_s >= COMMIT_AT_LATEST_S:
            self._commit(owned)
        self._hold_back(owned)

    def _take_next(self, owned: Owned) -> bool:
        """Archive the next message that is complete; False where there is none."""
        paired = owned.pairing.next()
        if paired is None:
            return False
        scored, started = paired.scored, time.perf_counter()
        with self._telemetry.span(
            "process archive",
            parent=scored.traceparent,
            partition=owned.archive.partition,
            offset=scored.offset,
            rows=len(scored.rows),
        ):
            owned.archive.take(paired)
        late = int((scored.rows.column("late_by_us").to_numpy() > 0).sum())
        rejects = sum(len(rows) for rows in paired.rejects)
        for table, rows in (("flows", len(scored.rows) - late), ("late", late), ("rejects", rejects)):
            self._telemetry.stage.rows_out(rows, table=table)
        if len(scored.rows):
            sent_us = int(scored.rows.column("ingest_ts_us").to_numpy().min())
            self._telemetry.observe("forebay_archive_latency_seconds", max(0.0, time.time() - sent_us / 1e6))
        self._telemetry.stage.batch(time.perf_counter() - started)
        return True

    def _make_room(self) -> None:
        """Write open rows aside while all partitions have too many in memory: of the one with most, so that each write
        is a large one.
        """
        archives = [owned.archive for owned in self._owned.values()]
        if sum(archive.bytes_in_memory for archive in archives) >= MAX_OPEN_BYTES:
            self._commit(max(self._owned.values(), key=lambda owned: owned.archive.bytes_in_memory))

    def _hold_back(self, owned: Owned) -> None:
        """Stop reading one topic while too much of it waits for the other: memory stays bounded, the lag shows."""
        full = owned.pairing.waiting_bytes >= MAX_WAITING_BYTES / len(self._owned)
        partition = owned.archive.partition
        wanted = set()
        if full and owned.pairing.waits_for_rejects:
            wanted.add(self._archive_topic)
        if full and owned.pairing.waits_for_scored:
            wanted.add(self._rejects_topic)
        if wanted == owned.paused:
            return
        self._telemetry.gauge("forebay_archive_held_back", len(wanted), partition=str(partition))
        resumed = [TopicPartition(topic, partition) for topic in owned.paused - wanted]
        if resumed:
            self._consumer.resume(resumed)
        to_pause = [TopicPartition(topic, partition) for topic in wanted - owned.paused]
        if to_pause:
            self._consumer.pause(to_pause)
        owned.paused = wanted

    def _commit(self, owned: Owned) -> None:
        """The archive first, then Kafka's offsets: those only show operators how far it is."""
        owned.committed_at = time.monotonic()
        if not owned.archive.moved:
            return
        started = time.perf_counter()
        committed = owned.archive.commit()
        self._kafka.progressed()
        self._telemetry.observe("forebay_archive_commit_seconds", time.perf_counter() - started)
        self._report(owned.archive.partition, committed)
        failpoints.reached("archive.committed")
        positions = start_positions(
            committed.progress, owned.archive.partition, self._archive_topic, self._rejects_topic
        )
        try:
            known = [position for position in positions if position.offset >= 0]
            self._consumer.commit(offsets=known, asynchronous=True)
        except KafkaException as error:
            # The archive resumes from its manifests; these offsets are for lag metrics only.
            self._telemetry.stage.error()
            self._log.warning("offsets not committed", partition=owned.archive.partition, error=str(error))

    def _report(self, partition: int, committed: Committed) -> None:
        for entry in committed.files:
            self._telemetry.count("forebay_archive_files", 1, table=entry.table)
            self._telemetry.count("forebay_archive_bytes", entry.bytes, table=entry.table)
        self._telemetry.gauge("forebay_archive_open_rows", committed.open_rows, partition=str(partition))
        if committed.files:
            self._log.info(
                "files closed",
                partition=partition,
                files=len(committed.files),
                rows=sum(entry.rows for entry in committed.files),
                through=committed.progress.through,
            )


def start_positions(progress: Progress, partition: int, archive: str, rejects: str) -> list[TopicPartition]:
    """Where to resume reading a partition of both topics."""
    offsets = ((archive, progress.archive_next), (rejects, progress.rejects_next))
    return [TopicPartition(topic, partition, OFFSET_BEGINNING if at is None else at) for topic, at in offsets]


def _behind_mark(consumer: Consumer, position: TopicPartition) -> TopicPartition:
    """The position; behind the mark of the last transaction where retention has taken that mark, and nothing more."""
    if position.offset >= 0:
        first, _end = consumer.get_watermark_offsets(position, timeout=PATIENCE_S)
        if position.offset + MARK == first:
            return TopicPartition(position.topic, position.partition, first)
    return position


def _step(name: str) -> None:
    failpoints.reached(f"{GROUP}.{name}")


def run(settings: Settings) -> None:
    """Archive until SIGINT or SIGTERM; any error stops the worker with its position unmoved."""
    with stage_process(GROUP, settings) as (telemetry, kafka):
        open_storage(settings.archive_uri).begin()
        try:
            kafka.run(lambda: ArchiveWorker(settings, telemetry, kafka).run())
        except ForebayError as error:
            log(GROUP).error("stopped", error=str(error))
            raise
