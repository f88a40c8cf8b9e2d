"""How far intake and the followers are in the sources of the settings; read without a trace."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.ingest.follow.names import SOURCES_FOLLOWER
from pipeline.ingest.follow.worker import identity
from pipeline.runtime.kafka import clients, tail
from pipeline.settings import Settings
from pipeline.tools.followed_files import FileState, file_states
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


@dataclass(slots=True)
class SourceState:
    """One source: its topics, or its files of which records were sent."""

    source: TopicSource | FileEntry
    topics: list[TopicState] = field(default_factory=list)
    files: list[FileState] = field(default_factory=list)


def states(settings: Settings, follower: str = SOURCES_FOLLOWER) -> list[SourceState]:
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
                state.topics.append(_topic_state(settings, consumer, topic, partitions))
    finally:
        consumer.close()
    if settings.file_sources and settings.topics.positions in topics:
        _add_files(found, file_states(settings, identity(settings, follower)))
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


def _topic_state(settings: Settings, consumer: Consumer, topic: str, partitions: list[int]) -> TopicState:
    committed: dict[int, int] = {}
    lag: dict[int, int] = {}
    for at in consumer.committed([TopicPartition(topic, each) for each in partitions], REQUEST_S):
        if at.error is not None:
            raise KafkaException(at.error)
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, at.partition), REQUEST_S)
        committed[at.partition] = max(at.offset, -1)
        lag[at.partition] = max(0, end - max(at.offset, first))
    samples = read_last(settings, consumer, topic, partitions, 1, MARKS)
    return TopicState(topic, committed, lag, max((sample.timestamp_us for sample in samples), default=None))
