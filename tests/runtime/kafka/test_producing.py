"""Producing with backpressure: bounded by a deadline, honours a request to stop, one typed error with its remedy."""

import socket
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from pipeline.errors import Backpressure, MessageTooLarge
from pipeline.runtime.kafka.producing import FULL_S, produce


@pytest.fixture
def full() -> Iterator[Producer]:
    """A producer whose queue holds two messages, and whose broker never answers."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # not listening: connections are refused
        producer = Producer(
            {
                "bootstrap.servers": f"127.0.0.1:{nobody.getsockname()[1]}",
                "queue.buffering.max.messages": 2,
                "message.max.bytes": 10_000,
                "log_level": 0,
            }
        )
        produce(producer, "flows", b"1")
        produce(producer, "flows", b"2")
        yield producer
        producer.purge()


def test_a_full_queue_is_waited_for_until_the_deadline(full: Producer) -> None:
    waited: list[int] = []
    started = time.monotonic()
    with pytest.raises(Backpressure, match=r"flows: 2 messages wait .* expected space within 0.3 s; look at") as raised:
        produce(full, "flows", b"3", limit_s=0.3, full=lambda: waited.append(1))
    assert 0.3 <= time.monotonic() - started < FULL_S
    assert waited
    assert raised.value.retry_after_s > 0
    assert raised.value.exit_code == 69


def test_a_request_to_stop_ends_the_waiting_at_once(full: Producer) -> None:
    started = time.monotonic()
    with pytest.raises(Backpressure):
        produce(full, "flows", b"3", stopped=lambda: time.monotonic() - started > 0.2)
    assert time.monotonic() - started < FULL_S


def test_a_message_kafka_never_takes_is_no_backpressure(full: Producer) -> None:
    with pytest.raises(MessageTooLarge, match=r"forebay topic check") as raised:
        produce(full, "flows", bytes(20_000))
    assert raised.value.exit_code == 65
