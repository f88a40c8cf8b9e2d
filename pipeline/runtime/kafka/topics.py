"""Topics in a cluster: create them from the table, compare them with it, describe them."""

import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its types do not say that it exports them
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from pipeline.errors import Failed
from pipeline.runtime.kafka.clients import MAX_MESSAGE_BYTES, admin, require_broker
from pipeline.settings import Settings
from schemas.topics import Topic, topics

REQUEST_S = 20.0
ANSWER_S = 6.0
SOON = {  # a leader is on its way; which of these is said depends on who has heard of it
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError._NOENT,  # librdkafka's "no leaders found"
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One topic as the table and the settings want it."""

    name: str
    topic: Topic
    partitions: int
    replication_factor: int
    configuration: dict[str, str]


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` did, by topic name."""

    created: tuple[str, ...]
    existing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a cluster's topic is not what the table says."""

    topic: str
    setting: str  # "topic", "partitions", "replication factor" or a topic configuration's name
    got: str
    expected: str


@dataclass(frozen=True, slots=True)
class Described:
    """A topic of the table as the cluster has it; `partitions` is 0 where it is missing."""

    name: str
    topic: Topic
    partitions: int
    records: int
    configuration: dict[str, str]


def wanted(settings: Settings) -> list[Wanted]:
    """All topics of `schemas/topics.toml` with every setting that matters said, nothing left to a broker's default."""
    replicas = settings.replication_factor
    return [
        Wanted(
            name=settings.topic_prefix + topic.name,
            topic=topic,
            partitions=topic.partition_count(settings.partitions),
            replication_factor=replicas,
            configuration={
                "cleanup.policy": "compact" if topic.compacted else "delete",
                "retention.ms": str(topic.retention_ms),
                # Producers compress; the broker stores what they sent.
                "compression.type": "producer",
                "max.message.bytes": str(MAX_MESSAGE_BYTES),
                # One replica may be down without a producer noticing.
                "min.insync.replicas": str(max(1, replicas - 1)),
                **({"segment.bytes": str(topic.segment_bytes)} if topic.segment_bytes else {}),
            },
        )
        for topic in topics().values()
    ]


def create(settings: Settings) -> Created:
    """Create the table's topics that are missing, and wait until they can be written.

    An existing topic is left as it is, whatever its settings: `check` reports what differs.

    Raises
    ------
    KafkaUnreachable
        No broker answers.
    Failed
        The cluster refuses a topic; its reason is in the message.
    """
    return _create(
        settings,
        [
            NewTopic(
                each.name,
                num_partitions=each.partitions,
                replication_factor=each.replication_factor,
                config=each.configuration,
            )
            for each in wanted(settings)
        ],
    )


def create_for_sources(settings: Settings) -> Created:
    """Create the topics that sources name and that are missing, for brokers that create none by themselves.

    Which time a client puts on a record is its own; intake merges partitions by time, so that the broker's is used.
    """
    names = dict.fromkeys(name for each in settings.topic_sources for name in (each.topic, *each.topics) if name)
    configuration = {
        "cleanup.policy": "delete",
        "retention.ms": str(topics()["raw"].retention_ms),
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(max(1, settings.replication_factor - 1)),
    }
    asked = [NewTopic(each, settings.partitions, settings.replication_factor, config=configuration) for each in names]
    return _create(settings, asked) if asked else Created((), ())


def _create(settings: Settings, asked: list[NewTopic]) -> Created:
    require_broker(settings, ANSWER_S)
    client = admin(settings)
    created: list[str] = []
    existing: list[str] = []
    for name, future in client.create_topics(asked, operation_timeout=REQUEST_S, request_timeout=REQUEST_S).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Failed(
                    f"topic {name}: {error.args[0].str()}; expected it to be created with replication factor "
                    f"{settings.replication_factor} and {settings.partitions} partitions a data topic; "
                    "correct the settings or the cluster, then `forebay topic create` again"
                ) from error
            existing.append(name)
    _wait_until_served(client, [each for each in asked if each.topic in created])
    return Created(tuple(created), tuple(existing))


def _wait_until_served(client: AdminClient, asked: list[NewTopic]) -> None:
    # Kafka answers before the partitions' leaders have taken over: whoever is faster gets NOT_LEADER_FOR_PARTITION.
    where = [TopicPartition(each.topic, part) for each in asked for part in range(each.num_partitions)]
    _offsets(client, where, OffsetSpec.latest())  # type: ignore[no-untyped-call]


def check(settings: Settings) -> list[Difference]:
    """How the cluster differs from the table; empty: not at all. Topics that are not in the table are not looked at."""
    require_broker(settings, ANSWER_S)
    client = admin(settings)
    present = client.list_topics(timeout=REQUEST_S).topics
    differences: list[Difference] = []
    configurations = _configurations(client, [each.name for each in wanted(settings) if each.name in present])
    for each in wanted(settings):
        if each.name not in present:
            differences.append(Difference(each.name, "topic", "missing", "present"))
            continue
        parts = present[each.name].partitions.values()
        counts = {
            "partitions": (str(len(parts)), str(each.partitions)),
            "replication factor": (
                ", ".join(sorted({str(len(part.replicas)) for part in parts})),
                str(each.replication_factor),
            ),
        }
        got = configurations[each.name]
        values = {name: (got.get(name, "unset"), expected) for name, expected in each.configuration.items()}
        differences += [
            Difference(each.name, setting, is_, should)
            for setting, (is_, should) in {**counts, **values}.items()
            if is_ != should
        ]
    return differences


def describe(settings: Settings) -> list[Described]:
    """The table's topics as the cluster has them, with how many records each holds (transaction marks count too)."""
    require_broker(settings, ANSWER_S)
    client = admin(settings)
    existing = client.list_topics(timeout=REQUEST_S).topics
    present = {each.name: list(existing[each.name].partitions) for each in wanted(settings) if each.name in existing}
    configurations = _configurations(client, list(present))
    where = [TopicPartition(name, part) for name, parts in present.items() for part in parts]
    first = _offsets(client, where, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    last = _offsets(client, where, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    return [
        Described(
            each.name,
            each.topic,
            len(present.get(each.name, [])),
            sum(last[each.name, part] - first[each.name, part] for part in present.get(each.name, [])),
            {name: configurations[each.name][name] for name in each.configuration} if each.name in present else {},
        )
        for each in wanted(settings)
    ]


def topic_id(settings: Settings, name: str, timeout_s: float = REQUEST_S) -> str:
    """The id Kafka gave a topic when it was made, another one each time it is made; "" where there is no such topic."""
    client = admin(settings)  # referenced until the answer is here
    try:
        return str(client.describe_topics(TopicCollection([name]), request_timeout=timeout_s)[name].result().topic_id)
    except KafkaException as error:
        if error.args[0].code() in SOON:
            return ""
        raise


def _configurations(client: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = client.describe_configs(asked, request_timeout=REQUEST_S)
    return {
        resource.name: {name: entry.value for name, entry in future.result().items()}
        for resource, future in answers.items()
    }


def _offsets(client: AdminClient, where: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    if not where:
        return {}
    deadline = time.monotonic() + REQUEST_S
    while True:
        answers: Any = client.list_offsets(dict.fromkeys(where, spec), request_timeout=REQUEST_S)
        try:
            return {(part.topic, part.partition): future.result().offset for part, future in answers.items()}
        except KafkaException as error:
            if error.args[0].code() not in SOON or time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
