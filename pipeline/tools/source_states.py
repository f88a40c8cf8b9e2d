"""How far intake and the followers are in the sources of the settings; read without a trace."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.ingest.follow.names import SOURCES_FOLLOWER
from pipeline.ingest.follow.worker import identity
from pipeline.runtime.kafka import clients, tail
from pipeline.settings import Settings
from pipeline.tools.followed_files import RATE_OVER_S, FileState, file_states
from pipeline.tools.sources import REQUEST_S, partitions_of, read_last
from schemas.intake import FileEntry, TopicSource
from schemas.topics import topics as table

STAGE = "intake"  # whose group the positions are of
# Transactions end with marks, which have offsets and are no records: the last record may lie so far before the end.
MARKS = 20


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic of a source: of each partition what is committed, -1 for nothing, and how many messages lie behind."""

    topic: str
    committed: dict[int, int]
    lag: dict[int, int]
    last_us: int | None
    rate_per_s: float
    """Messages that came a second over the last RATE_OVER_S, by Kafka's timestamps; marks of transactions count."""


@dataclass(slots=True)
class SourceState:
    """One source: its topics, or its files of which records were sent."""

    source: TopicSource | FileEntry
    topics: list[TopicState] = field(default_factory=list)
    files: list[FileState] = field(default_factory=list)

    @property
    def rate_per_s(self) -> float:
        """Messages of its topics, or records of its files, a second over the last RATE_OVER_S."""
        of_files = sum((each.rate_per_s for each in self.files), 0.0)
        return round(sum((each.rate_per_s for each in self.topics), of_files), 3)

    @property
    def behind(self) -> int | None:
        """Messages of its topics, or bytes of its files that can be seen, that are still to be read."""
        if isinstance(self.source, TopicSource):
            return sum(sum(each.lag.values()) for each in self.topics) if self.topics else None
        behind = [each.behind_bytes for each in self.files if each.behind_bytes is not None]
        return sum(behind) if behind else None

    @property
    def last_us(self) -> int | None:
        """When its last record came."""
        of_topics = [each.last_us for each in self.topics if each.last_us is not None]
        return max([*of_topics, *(each.modified_us for each in self.files if each.modified_us)], default=None)


def states(settings: Settings, now_us: int, follower: str = SOURCES_FOLLOWER) -> list[SourceState]:
    """The sources of the settings as the cluster has them; without topics where there is no such topic."""
    clients.require_broker(settings)
    found = [SourceState(source) for source in settings.sources]
    consumer = clients.reader(
        settings, "source-list", **{**tail.EOF_EVENTS, "group.id": f"{settings.topic_prefix}{STAGE}"}
    )
    own = {settings.topic_prefix + name for name in table()}
    try:
        topics = partitions_of(consumer)
        for topic, partitions in sorted(topics.items()):
            state = next((each for each in found if _covers(each.source, topic)), None)
            if state is not None and topic not in own:
                state.topics.append(_topic_state(settings, consumer, topic, partitions, now_us))
    finally:
        consumer.close()
    if settings.file_sources and settings.topics.positions in topics:
        _add_files(found, file_states(settings, identity(settings, follower), now_us))
    return found


def _covers(source: TopicSource | FileEntry, topic: str) -> bool:
    return isinstance(source, TopicSource) and source.covers(topic)


def _add_files(found: Sequence[SourceState], files: Sequence[FileState]) -> None:
    """Each file to the first entry whose path or glob it lay under."""
    for file in files:
        for state in found:
            if isinstance(state.source, FileEntry) and any(fnmatchcase(file.live, path) for path in state.source.paths):
                state.files.append(file)
                break


def _topic_state(settings: Settings, consumer: Consumer, topic: str, partitions: list[int], now_us: int) -> TopicState:
    committed: dict[int, int] = {}
    lag: dict[int, int] = {}
    ends: dict[int, int] = {}
    for at in consumer.committed([TopicPartition(topic, each) for each in partitions], REQUEST_S):
        if at.error is not None:
            raise KafkaException(at.error)
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, at.partition), REQUEST_S)
        committed[at.partition], ends[at.partition] = max(at.offset, -1), end
        lag[at.partition] = max(0, end - max(at.offset, first))
    samples = read_last(settings, consumer, topic, partitions, 1, MARKS)
    last_us = max((sample.timestamp_us for sample in samples), default=None)
    came = _came_since(consumer, topic, ends, now_us // 1_000 - RATE_OVER_S * 1_000)
    return TopicState(topic, committed, lag, last_us, round(came / RATE_OVER_S, 3))


def _came_since(consumer: Consumer, topic: str, ends: dict[int, int], since_ms: int) -> int:
    """How many offsets of a topic were written since then."""
    came = 0
    for at in consumer.offsets_for_times([TopicPartition(topic, each, since_ms) for each in ends], REQUEST_S):
        if at.error is not None:
            raise KafkaException(at.error)
        came += max(0, ends[at.partition] - at.offset) if at.offset >= 0 else 0
    return came
