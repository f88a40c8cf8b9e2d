"""How far stages are behind in each partition, on a real Kafka: what marks of transactions are, and what waits."""

import time

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.kafka.errors import Kind, kind_of
from pipeline.settings import Settings, load_settings
from pipeline.tools.triage.figures.hop_lag import HOPS, HopLag, Lags, lag_of, read_lags
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration
SENT_MS = 1_678_443_600_000


@pytest.fixture
def settings(kafka: str, prefix: str) -> Settings:
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix, partitions=2)
    topics.create(settings)
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            read_lags(settings)
            return settings
        except KafkaException as error:  # a broker that has just started loads its coordinators
            assert kind_of(error.args[0]) in (Kind.PASSES, Kind.AWAY) and time.monotonic() < until, error
            time.sleep(0.5)


def send(settings: Settings, partition: int, messages: int) -> None:
    """Messages of one transaction in `flows`, a second apart."""
    producer = clients.transactional_producer(settings, "lag-test")
    producer.begin_transaction()
    for number in range(messages):
        producer.produce(settings.topics.flows, b"x" * 1_000, partition=partition, timestamp=SENT_MS + 1_000 * number)
    producer.commit_transaction()


def lags_until(settings: Settings, expected: Lags) -> Lags:
    """The lags once they are those expected: a transaction's mark may follow a little after its commit."""
    deadline = time.monotonic() + PATIENCE_S
    while (lags := read_lags(settings)) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return lags


def commit(settings: Settings, partition: int, offset: int) -> None:
    """What featurize has read."""
    consumer: Consumer = clients.consumer(settings, "featurize")
    consumer.commit(offsets=[TopicPartition(settings.topics.flows, partition, offset)], asynchronous=False)
    consumer.close()


def test_what_waits_is_found_and_marks_are_not(settings: Settings) -> None:
    nothing = {(stage, number): HopLag(None, 0) for stage in HOPS for number in range(2)}
    assert read_lags(settings) == nothing
    send(settings, 0, 3)
    send(settings, 1, 2)
    commit(settings, 1, 2)
    expected = nothing | {
        ("featurize", 0): HopLag(1_000 * SENT_MS, 4),
        ("featurize", 1): HopLag(None, 1),
    }
    lags = lags_until(settings, expected)
    assert lags == expected
    now_us = 1_000 * SENT_MS + 7_000_000
    assert lag_of(0, lags, now_us) == (7_000_000, 4, "featurize")
    assert lag_of(1, lags, now_us) == (0, 0, "")
    commit(settings, 0, 2)
    assert read_lags(settings)["featurize", 0] == HopLag(1_000 * SENT_MS + 2_000_000, 2)


def test_it_is_quick(settings: Settings) -> None:
    send(settings, 0, 200)
    read_lags(settings)
    before = time.process_time()
    read_lags(settings)
    assert time.process_time() - before < 2.0
