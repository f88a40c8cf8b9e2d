import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from typer.testing import CliRunner

from pipeline.errors import Failed, KafkaUnreachable
from pipeline.runtime.kafka import topics
from pipeline.runtime.kafka.clients import admin, producer, reader
from pipeline.runtime.kafka.topics import Difference
from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.topic import app
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(kafka: str, prefix: str) -> Settings:
    return load_settings(bootstrap=kafka, topic_prefix=prefix, partitions=2)


def topic(settings: Settings, *arguments: str, expect: int) -> dict[str, Any]:
    where = ["--bootstrap", settings.bootstrap, "--prefix", settings.topic_prefix, "--json"]
    done = CliRunner().invoke(app, [*arguments, *where])
    assert done.exit_code == expect, done.output
    document: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return document


def settled(settings: Settings) -> list[Difference]:
    """The differences once the broker has heard of both changes from its controller."""
    deadline = time.monotonic() + PATIENCE_S
    while len(differences := topics.check(settings)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return differences


def test_create_makes_the_table_and_check_finds_nothing(settings: Settings) -> None:
    names = [each.name for each in topics.wanted(settings)]
    assert topics.create(settings) == topics.Created(tuple(names), ())
    assert topics.check(settings) == []
    assert topics.create(settings) == topics.Created((), tuple(names))


def test_create_makes_topics_of_sources_that_the_broker_stamps(settings: Settings, tmp_path: Path) -> None:
    own = settings.topic_prefix
    text = f"""sources:
  - {{topic: {own}zeek, site: plant, sensor: edge}}
  - {{topics: [{own}flows-a, {own}flows-b], site: plant, sensor: edge}}
  - {{pattern: '^{own}more-', site: plant, sensor: edge}}
  - {{file: /opt/zeek/logs/current/conn.log, site: plant, sensor: edge}}
"""
    (tmp_path / "sources.yaml").write_text(text)
    with_sources = load_settings(
        bootstrap=settings.bootstrap, topic_prefix=f"{own}ours.", sources=str(tmp_path / "sources.yaml")
    )
    named = tuple(f"{own}{name}" for name in ("zeek", "flows-a", "flows-b"))
    command = ("create", "--sources", str(tmp_path / "sources.yaml"), "--partitions", "2")
    made = topic(with_sources, *command, expect=0)
    assert tuple(made["created"][-3:]) == named and not made["existing"]
    again = topic(with_sources, *command, expect=0)
    assert not again["created"] and tuple(again["existing"][-3:]) == named
    client = producer(settings, "test")
    for name in named:
        client.produce(name, b"value", timestamp=1)
    assert client.flush(10) == 0
    consumer = reader(settings, "test")
    consumer.assign([TopicPartition(name, partition, 0) for name in named for partition in (0, 1)])
    messages, deadline = list[Message](), time.monotonic() + PATIENCE_S
    while len(messages) < 3 and time.monotonic() < deadline:
        messages += [message for message in consumer.consume(3, 1.0) if message.error() is None]
    consumer.close()
    assert len(messages) == 3 and all(message.timestamp()[1] > 1_700_000_000_000 for message in messages)


def test_a_created_topic_can_be_written_at_once(settings: Settings) -> None:
    topics.create(settings)
    client = producer(settings, "test")
    for name in (settings.topics.raw, settings.topics.alerts):
        client.produce(name, b"value", key=b"key")
    assert client.flush(10) == 0
    records = {each.name: each.records for each in topics.describe(settings)}
    assert records[settings.topics.raw] == records[settings.topics.alerts] == 1
    assert sum(records.values()) == 2


def test_check_reports_what_differs(settings: Settings) -> None:
    topics.create(settings)
    client = admin(settings)
    changed = ConfigResource(
        ResourceType.TOPIC,
        settings.topics.raw,
        incremental_configs=[
            ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET),
        ],
    )
    for altered in client.incremental_alter_configs([changed]).values():
        altered.result(20)
    for deleted in client.delete_topics([settings.topics.suspects]).values():
        deleted.result(20)
    assert settled(settings) == [
        Difference(settings.topics.raw, "retention.ms", "1000", "604800000"),
        Difference(settings.topics.suspects, "topic", "missing", "present"),
    ]
    missing = next(each for each in topics.describe(settings) if each.name == settings.topics.suspects)
    assert (missing.partitions, missing.records) == (0, 0)


def test_partitions_that_differ_are_reported_per_data_topic(settings: Settings) -> None:
    topics.create(settings)
    more = settings.model_copy(update={"partitions": 3})
    assert {(each.setting, each.got, each.expected) for each in topics.check(more)} == {("partitions", "2", "3")}


def test_the_commands_agree_with_the_cluster(settings: Settings) -> None:
    assert topic(settings, "check", "--partitions", "2", expect=1)["equal"] is False
    assert len(topic(settings, "create", "--partitions", "2", expect=0)["created"]) == len(topics.wanted(settings))
    assert topic(settings, "check", "--partitions", "2", expect=0)["differences"] == []
    listed = topic(settings, "list", expect=0)["topics"]
    assert [each["name"] for each in listed] == [each.name for each in topics.wanted(settings)]


def test_more_replicas_than_brokers_is_the_clusters_answer_in_our_words(settings: Settings) -> None:
    with pytest.raises(Failed, match="replication factor 3"):
        topics.create(settings.model_copy(update={"replication_factor": 3}))


def test_no_kafka_is_reported_within_ten_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(KafkaUnreachable, match="forebay broker up"):
        topics.check(load_settings(bootstrap="127.0.0.1:1"))
    assert time.monotonic() - started < 10
