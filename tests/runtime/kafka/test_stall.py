"""A consumer that brings nothing although Kafka holds more is noticed; one that has read everything is let be."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from pipeline.errors import KafkaUnreachable, Stalled
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.tail import EOF_EVENTS
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.settings import Settings, load_settings
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

QUIET_S, CONFIRM_S = 1.0, 1.0


@pytest.fixture
def settings(kafka: str, prefix: str) -> Settings:
    """Topics of the test's own."""
    made = load_settings(bootstrap=kafka, topic_prefix=prefix, partitions=2, metrics_port=-1)
    topics.create(made)
    return made


@pytest.fixture
def consumer(settings: Settings) -> Iterator[Consumer]:
    """A reader of both partitions of `raw`."""
    made = clients.reader(settings, "stall", **EOF_EVENTS)
    made.assign([TopicPartition(settings.topics.raw, partition, 0) for partition in (0, 1)])
    yield made
    made.close()


def detector(settings: Settings, consumer: Consumer, kafka_answers: bool = True) -> ConsumerStall:
    """A detector that is quick, and a watch that has asked Kafka once."""
    telemetry = start("ingest", settings)
    watch = KafkaWatch("ingest", settings, telemetry, Stop(), lambda: kafka_answers)
    watch.answers()
    return ConsumerStall(StallDetector(settings, watch, quiet_s=QUIET_S, confirm_s=CONFIRM_S), consumer)


def read(consumer: Consumer, stall: ConsumerStall, seconds: float, enough: int = 0) -> int:
    """Consume for so long, as a stage does, after `enough` records have come; how many records came."""
    records, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline or records < enough:
        assert time.monotonic() < deadline + PATIENCE_S
        consumed = consumer.consume(100, 0.05)
        stall.observe(consumed)
        records += sum(message.error() is None for message in consumed)
    return records


def send(settings: Settings, records: int) -> None:
    """Records into partition 0, then an aborted transaction into both partitions."""
    producer = clients.transactional_producer(settings, "stall-test")
    for count, commit in ((records, True), (3, False)):
        producer.begin_transaction()
        for _record in range(count):
            producer.produce(settings.topics.raw, b"{}", partition=0)
            if not commit:
                producer.produce(settings.topics.raw, b"{}", partition=1)
        producer.flush(30)
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()


def test_marks_and_aborted_records_are_no_stall(settings: Settings, consumer: Consumer) -> None:
    send(settings, 5)
    stall = detector(settings, consumer)
    assert read(consumer, stall, 4.0, 5) == 5
    send(settings, 0)
    assert read(consumer, stall, 4.0) == 0


def test_a_client_that_brings_nothing_is_noticed(settings: Settings, consumer: Consumer) -> None:
    stall = detector(settings, consumer)
    read(consumer, stall, 2.0)
    consumer.pause(consumer.assignment())  # what a client that hangs looks like from outside
    send(settings, 5)
    with pytest.raises(Stalled, match=r"raw\[0\], .*: got no records for 2 s although Kafka answers") as raised:
        read(consumer, stall, PATIENCE_S)
    assert isinstance(raised.value, KafkaUnreachable), "the session ends, and another one follows"


def test_while_kafka_is_away_nothing_is_a_stall(settings: Settings, consumer: Consumer) -> None:
    stall = detector(settings, consumer, kafka_answers=False)
    consumer.pause(consumer.assignment())
    send(settings, 5)
    assert read(consumer, stall, 3.0) == 0
