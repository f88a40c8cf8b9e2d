"""The rows that are in no closed file yet: in the archive's segments, and behind its position in its topics.

One manifest says which files are closed, which rows lie in segments, and up to which offsets of `archive` and
`rejects` both together go (`Progress`). So a manifest's files, its segments, and the topics from its offsets on are
every row exactly once, whatever the writer does meanwhile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition

from pipeline.archive import segments
from pipeline.archive.manifest import Progress
from pipeline.archive.pairing import read_rejects, read_scored
from pipeline.archive.snapshot import PartitionSnapshot, read_on
from pipeline.archive.streams import TABLES, by_stream
from pipeline.errors import BadData, KafkaUnreachable, RefusedState, SchemaMismatch
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.kafka.retention import MARK
from pipeline.runtime.storage.storage import Storage
from pipeline.settings import Settings

ATTEMPTS = 20
"""A commit deletes the segments that it has replaced, and a busy writer commits twice a second at most; reading what a
manifest lists takes less than that where they are mapped, and seconds from a bucket."""
PATIENCE_S = 3.0
"""How long Kafka may take to answer before a query goes on without it."""
REQUEST_S = 10.0
MAX_TAIL_BYTES = 1024 * 1024 * 1024
"""Of the topics, unpacked: a writer that runs commits each partition after 128 MiB at the latest; more lies there only
where it has been away. As much again as DuckDB may take for its own half."""


@dataclass
class OpenTables:
    """Rows of each table that are in no closed file; what could not be read, in words."""

    batches: dict[str, list[pa.RecordBatch]] = field(default_factory=lambda: {table: [] for table in TABLES})
    not_read: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return sum(len(batch) for batches in self.batches.values() for batch in batches)

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows of the `scored` or the `reject` schema, of any sensors."""
        for key, part in by_stream(rows):
            self.batches[key.table].append(part)


def add_segments(archive: Storage, state: PartitionSnapshot, into: OpenTables) -> PartitionSnapshot:
    """Add the open rows that the partition's newest manifest lists; returns the partition as of that manifest.

    Where a commit deletes a segment before it is read, the next manifest is taken, whole.
    """
    for _attempt in range(ATTEMPTS):
        try:
            parts = [part for entry in state.open for part in segments.read(archive, entry, check=True)]
        except FileNotFoundError as error:
            before, state = state, read_on(archive, state)
            if state is before:
                into.not_read.append(
                    f"partition {state.partition}: open rows are missing that a manifest lists ({error}); "
                    "`forebay archive verify` says what is wrong"
                )
                return state
            continue
        for key, rows in parts:
            into.batches[key.table].append(rows)
        return state
    raise RefusedState(
        f"archive {archive.uri}, partition {state.partition}: open rows moved {ATTEMPTS} times while they were read; "
        "try again, or with --closed"
    )


def add_tail(settings: Settings, archived: Mapping[int, Progress], into: OpenTables) -> None:
    """Add what the topics hold behind the positions that the partitions' manifests name; of other partitions, all."""
    try:
        clients.require_broker(settings, PATIENCE_S)
        consumer = clients.reader(settings, "query", **tail.EOF_EVENTS)
        try:
            _Tail(settings, consumer, archived, into).read()
        finally:
            consumer.close()
    except (KafkaUnreachable, KafkaException) as error:
        into.not_read.append(f"rows that came after the archive's last commit: {error}")


class _Tail:
    """Reads both topics from the archive's positions to their committed ends."""

    def __init__(
        self, settings: Settings, consumer: Consumer, archived: Mapping[int, Progress], into: OpenTables
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._archived = dict(archived)
        self._into = into
        self._ends: dict[tuple[str, int], int] = {}
        self._foreign: set[int] = set()
        self._unreadable: set[tuple[str, int]] = set()
        self._bytes = 0

    def read(self) -> None:
        """Add all rows; of what cannot be read, words."""
        topics = self._settings.topics
        starts: list[TopicPartition] = []
        for topic in (topics.archive, topics.rejects):
            starts += self._starts(topic)
        # Of a partition whose `archive` messages turn out not to be this archive's, its rejects are not either.
        for topic in (topics.archive, topics.rejects):
            of_topic = [at for at in starts if at.topic == topic and at.partition not in self._foreign]
            ends = {at.partition: self._ends[topic, at.partition] for at in of_topic}
            if not ends:
                continue
            self._consumer.assign(of_topic)
            for message in tail.read_to(self._consumer, topic, ends):
                if self._bytes > MAX_TAIL_BYTES:
                    self._not_read(
                        f"topic {topic}: the archive is more than {MAX_TAIL_BYTES >> 20} MiB behind; the newest rows "
                        "were not read: look with `forebay status` whether stage archive runs"
                    )
                    return
                self._take(message)

    def _starts(self, topic: str) -> list[TopicPartition]:
        """Where to read each partition from, of those that hold anything behind that."""
        described = self._consumer.list_topics(topic, timeout=REQUEST_S).topics[topic]
        if described.error is not None:
            if described.error.code() not in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
                raise KafkaException(described.error)
            self._not_read(f"topic {topic}: not in Kafka at {self._settings.bootstrap}; --prefix names another")
            return []
        partitions = sorted(described.partitions)
        ends = tail.ends(self._settings, topic, partitions, isolation=IsolationLevel.READ_COMMITTED)
        starts = []
        for partition, end in ends.items():
            low, _high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), REQUEST_S)
            start = self._position(topic, partition, low)
            if start > end or start < low:
                self._not_read(
                    f"topic {topic}[{partition}]: the archive continues at offset {start}, Kafka has {low} to {end}; "
                    "it is not this archive's topic, or retention has taken what was not archived: nothing of it "
                    "was read"
                )
                self._foreign.add(partition)
            elif start < end:
                self._ends[topic, partition] = end
                starts.append(TopicPartition(topic, partition, start))
        return starts

    def _position(self, topic: str, partition: int, low: int) -> int:
        progress = self._archived.get(partition, Progress())
        at = progress.archive_next if topic == self._settings.topics.archive else progress.rejects_next
        # Retention may take the mark of the transaction that was archived last.
        return low if at is None or at + MARK == low else at

    def _take(self, message: Message) -> None:
        position, payload = clients.position_of(message), message.value() or b""
        if position.partition in self._foreign or position.offset >= self._ends[position.topic, position.partition]:
            return
        progress = self._archived.get(position.partition, Progress())
        try:
            if position.topic == self._settings.topics.rejects:
                rows = read_rejects(payload, position)
                self._add(rows.slice(progress.rejects_skip) if position.offset == progress.rejects_next else rows)
                return
            scored = read_scored(payload, position)
        except (BadData, SchemaMismatch) as error:
            if (position.topic, position.partition) not in self._unreadable:
                self._unreadable.add((position.topic, position.partition))
                self._not_read(str(error))
            return
        seq = scored.facts.seq
        if progress.seq_next is not None and seq != progress.seq_next:
            self._foreign.add(position.partition)
            self._not_read(
                f"{position}: got seq {seq}, expected {progress.seq_next}; it is not this archive's topic, or "
                "messages were lost: nothing from there on was read"
            )
            return
        self._archived[position.partition] = replace(progress, seq_next=seq + 1)
        self._add(scored.rows)

    def _add(self, rows: pa.RecordBatch) -> None:
        self._bytes += rows.get_total_buffer_size()
        self._into.add(rows)

    def _not_read(self, text: str) -> None:
        self._into.not_read.append(text)


def tables(batches: Iterable[pa.RecordBatch]) -> list[pa.Table]:
    """Rows as tables, one for each set of columns; their features as lists, which is how Parquet has them."""
    by_schema: dict[pa.Schema, list[pa.RecordBatch]] = {}
    for batch in batches:
        plain = batch.replace_schema_metadata(None)
        at = plain.schema.get_field_index("features")
        if at >= 0 and pa.types.is_fixed_size_list(plain.schema.field(at).type):
            listed = plain.column(at).cast(pa.list_(plain.schema.field(at).type.value_type))
            plain = plain.set_column(at, "features", listed)
        by_schema.setdefault(plain.schema, []).append(plain)
    return [pa.Table.from_batches(several, schema) for schema, several in by_schema.items()]
