"""Reading a topic from a reader's position to the topic's present end, open transactions included."""

import time
from collections.abc import Iterable, Iterator

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # its types do not say that it exports it

from pipeline.errors import Failed, KafkaUnreachable
from pipeline.runtime.kafka.clients import WORKER_WAIT, admin, reader
from pipeline.settings import Settings

# A reader passed to `read_to` needs this: only the end-of-partition event shows where control records end.
EOF_EVENTS = {"enable.partition.eof": True}
REQUEST_S = 10.0


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """Numbers of a topic's partitions; Failed where there is no such topic."""
    described = consumer.list_topics(topic, timeout=REQUEST_S).topics[topic]
    if described.error is None:
        return sorted(described.partitions)
    if described.error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
        raise Failed(
            f"topic {topic}: got no such topic, expected one; `forebay topic create` makes it, --prefix names another"
        )
    raise KafkaException(described.error)


def ends(
    settings: Settings,
    topic: str,
    partitions: Iterable[int],
    timeout_s: float = 30.0,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[int, int]:
    """End offset of each partition; by default records of transactions still open are included."""
    client = admin(settings)  # referenced until the answers are here: they come through its thread
    answers = client.list_offsets(
        {TopicPartition(topic, partition): OffsetSpec.latest() for partition in partitions},  # type: ignore[no-untyped-call]
        isolation_level=isolation,
        request_timeout=timeout_s,
    )
    return {at.partition: answer.result(timeout_s).offset for at, answer in answers.items()}


def committed(
    settings: Settings, group: str, topic: str, partitions: Iterable[int], timeout_s: float = 30.0
) -> dict[int, int]:
    """What a group (its name without the topics' prefix) has committed, of the partitions of which it has.

    Asked as a consumer that does not join: an admin client ended the process with a segmentation fault where a
    coordinator was still loading (confluent-kafka 2.16.1, a broker that had just started).
    """
    consumer = reader(settings, "committed", **{"group.id": f"{settings.topic_prefix}{group}"})
    try:
        answers = consumer.committed([TopicPartition(topic, partition) for partition in partitions], timeout_s)
    finally:
        consumer.close()
    for at in answers:
        if at.error is not None:
            raise KafkaException(at.error)
    return {at.partition: at.offset for at in answers if at.offset >= 0}


def read_to(consumer: Consumer, topic: str, ends_at: dict[int, int], timeout_s: float = 30.0) -> Iterator[Message]:
    """Messages of a consumer with partitions assigned (made with EOF_EVENTS) until each partition's end is reached.

    Waits for transactions that were open when the ends were asked for. KafkaUnreachable where nothing came for
    `timeout_s`; what the caller does with a message takes what it takes.
    """
    missing = {partition: end for partition, end in ends_at.items() if end > 0}
    came_at = time.monotonic()
    while missing:
        if time.monotonic() - came_at > timeout_s:
            raise KafkaUnreachable(
                f"{topic}: nothing came for {timeout_s:g} s, expected up to {missing}; check the brokers"
            )
        came = consumer.consume(1000, 0.05)
        for message in came:
            error = message.error()
            partition, offset = message.partition() or 0, message.offset() or 0
            if error is None:
                yield message
                offset += 1  # a topic that grows as fast as it is read has an end too: the one asked for
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if offset >= missing.get(partition, 0):
                missing.pop(partition, None)
        if came:
            came_at = time.monotonic()


class Follower:
    """Follows one partition of a topic from its start; reads only what was committed and commits nothing."""

    def __init__(self, settings: Settings, client: str, topic: str, partition: int = 0) -> None:
        self._settings = settings
        self._topic = topic
        self._partition = partition
        self._reader = reader(settings, client, **EOF_EVENTS, **WORKER_WAIT)
        self._reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        self._reached = 0

    def catch_up(self, timeout_s: float = 90.0) -> Iterator[Message]:
        """Messages up to the present end, those of transactions still open included: it waits for them."""
        end = ends(self._settings, self._topic, [self._partition])[self._partition]
        if end > self._reached:
            yield from read_to(self._reader, self._topic, {self._partition: end}, timeout_s)
            self._reached = max(self._reached, end)

    def poll(self) -> Iterator[Message]:
        """Messages that have arrived since the last call; never waits."""
        for message in self._reader.consume(100, 0):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                self._reached = max(self._reached, message.offset() or 0)
            elif error.fatal():
                raise KafkaException(error)

    def close(self) -> None:
        """Close the consumer."""
        self._reader.close()
