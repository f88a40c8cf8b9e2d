"""How far the stages are behind in each partition, as Kafka has it: also where a stage does not run at all."""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.runtime.kafka import clients, tail
from pipeline.settings import Settings

HOPS: Final = {"ingest": "raw", "featurize": "flows", "score": "features", "alert": "suspects"}
"""Stage -> the topic that it reads. A sensor's records lie in the same partition of each."""
REQUEST_S = 5.0
UNREAD_S = 10.0
# Of each partition one message is enough, however large it is.
ONE_MESSAGE = {"max.partition.fetch.bytes": 1, "queued.min.messages": 1}


class HopLag(NamedTuple):
    """What a stage has not read yet of a partition: when the oldest message was sent, and how many there are.

    `oldest_us`: None where nothing is unread. `messages` has marks of transactions in it.
    """

    oldest_us: int | None
    messages: int


Lags = Mapping[tuple[str, int], HopLag]
"""By stage and partition."""


class SensorLag(NamedTuple):
    """How far what a sensor sends is behind: by time, by messages, and at which stage the oldest one waits."""

    lag_us: int
    messages: int
    stage: str


def lag_of(partition: int, lags: Lags, now_us: int) -> SensorLag | None:
    """The lag of the sensors of a partition; None where not every stage's is known."""
    found = {stage: lags.get((stage, partition)) for stage in HOPS}
    if any(each is None for each in found.values()):
        return None
    waiting = [(each.oldest_us, stage) for stage, each in found.items() if each and each.oldest_us is not None]
    messages = sum(each.messages for each in found.values() if each and each.oldest_us is not None)
    oldest_us, stage = min(waiting, default=(now_us, ""))
    return SensorLag(max(0, now_us - oldest_us), messages, stage)


def read_lags(settings: Settings) -> Lags:
    """The lag of every stage in every partition, but what did not come in time; KafkaException where it is refused."""
    clients.require_broker(settings, REQUEST_S)
    positions: dict[tuple[str, int], tuple[int, int]] = {}
    topics = {stage: settings.topic_prefix + topic for stage, topic in HOPS.items()}
    for stage, topic in topics.items():
        ends = tail.ends(settings, topic, range(settings.partitions), REQUEST_S)
        committed = tail.committed(settings, stage, topic, range(settings.partitions), REQUEST_S)
        positions |= {(stage, number): (committed.get(number, 0), end) for number, end in ends.items()}
    unread = {key: at for key, (at, end) in positions.items() if at < end}
    oldest = _oldest(settings, topics, unread) if unread else {}
    return {
        key: HopLag(oldest.get(key), max(0, end - at))
        for key, (at, end) in positions.items()
        if key not in unread or key in oldest
    }


def _oldest(
    settings: Settings, topics: Mapping[str, str], unread: Mapping[tuple[str, int], int]
) -> dict[tuple[str, int], int | None]:
    """When the first unread message of each was sent; None where nothing but marks of transactions is unread."""
    stages = {topic: stage for stage, topic in topics.items()}
    found: dict[tuple[str, int], int | None] = {}
    reader = clients.reader(settings, "triage-lag", **tail.EOF_EVENTS, **ONE_MESSAGE)
    try:
        reader.assign([TopicPartition(topics[stage], number, at) for (stage, number), at in unread.items()])
        until = time.monotonic() + UNREAD_S
        while len(found) < len(unread) and time.monotonic() < until:
            _observe(reader, stages, found)
    finally:
        reader.close()
    return found


def _observe(reader: Consumer, stages: Mapping[str, str], found: dict[tuple[str, int], int | None]) -> None:
    for message in reader.consume(64, 0.2):
        error = message.error()
        key = stages.get(message.topic() or "", ""), message.partition() or 0
        if error is None:
            found.setdefault(key, message.timestamp()[1] * 1_000)
        elif error.code() == KafkaError._PARTITION_EOF:
            found.setdefault(key, None)
        elif error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
            raise KafkaException(error)
        else:
            continue
        reader.pause([TopicPartition(message.topic() or "", key[1])])
