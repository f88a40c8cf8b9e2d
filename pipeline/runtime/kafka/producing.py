"""Producing with backpressure: where the client's queue is full, wait for the broker, but never without an end."""

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.errors import Backpressure, Failed
from pipeline.runtime.kafka import errors, watchdog

# As long as a transaction may take: whoever waits longer has lost it anyway.
FULL_S = 60.0
# The queue holds 256 MiB; a broker that answers makes space for a message in less.
POLL_S = 0.05
# When to try again: a broker that was away for a minute is not back in less than its start takes.
RETRY_AFTER_S = 1.0
# A producer in a fatal state answers at once, or hangs (librdkafka #4420).
REASON_S = 2.0
# The client waits for whole milliseconds: asked for less it does not wait, and a core would be spent on asking again.
LEAST_WAIT_S = 0.001
# How often a wait for acknowledgements checks whether it was asked to stop.
FLUSH_S = 0.2


class ProducerBroken(Failed):
    """The producer cannot continue: what was not acknowledged is sent again, from the saved position, by a new one."""


def _never() -> bool:
    return False


def _nothing() -> None:
    return None


def produce(
    producer: Producer,
    topic: str,
    value: bytes | None,
    *,
    limit_s: float = FULL_S,
    stopped: Callable[[], bool] = _never,
    full: Callable[[], None] = _nothing,
    **message: Any,
) -> None:
    """Queue one message; where the client's queue is full, wait until it is not.

    Parameters
    ----------
    limit_s : float
        How long to wait at most, seconds.
    stopped : callable
        True ends the waiting at once: the worker was asked to stop.
    full : callable
        Called each time the queue is found full, to count it or to show that the worker lives.
    **message
        What Producer.produce takes beside topic and value: key, partition, headers, on_delivery.

    Raises
    ------
    Backpressure
        The queue is still full after `limit_s`, or `stopped()`; the message is not queued.
    MessageTooLarge, KafkaDenied
        Kafka will never take it.
    KafkaException
        The client cannot continue.
    """
    deadline: float | None = None
    while True:
        try:
            producer.produce(topic, value, **message)
            return
        except BufferError:
            now = time.monotonic()
            deadline = now + limit_s if deadline is None else deadline
            if now >= deadline or stopped():
                raise Backpressure(
                    f"{topic}: {len(producer)} messages wait for Kafka to take them, the queue is full; expected space "
                    f"within {limit_s:g} s; look at the broker, then send it again",
                    RETRY_AFTER_S,
                ) from None
            full()
            producer.poll(min(POLL_S, max(0.0, deadline - now)))
        except KafkaException as error:
            reason = fatal_reason(producer, error)
            stopping = errors.must_stop(reason.args[0], topic)
            if stopping is None:
                raise reason from error
            raise stopping from error


def fatal_reason(producer: Producer, error: KafkaException) -> KafkaException:
    """What broke a producer for good: `produce` only says that something did, the next transaction says what."""
    if error.args[0].code() != KafkaError._FATAL:
        return error
    reasons: list[KafkaException] = []

    def begin() -> None:
        try:
            producer.begin_transaction()
        except KafkaException as reason:
            reasons.append(reason)

    watchdog.returns(begin, REASON_S)
    return next((reason for reason in reasons if reason.args[0].fatal()), error)


def flush(
    producer: Producer, where: str, *, limit_s: float | None = FULL_S, stopped: Callable[[], bool] = _never
) -> None:
    """Wait until Kafka has acknowledged all that the producer holds; errors of single messages go to their callbacks.

    `limit_s` None waits for any time. Raises Backpressure after `limit_s`, or where `stopped()`.
    """
    started = time.monotonic()
    while left := producer.flush(FLUSH_S):
        if stopped() or (limit_s is not None and time.monotonic() - started >= limit_s):
            raise Backpressure(
                f"{where}: {left} messages not acknowledged after {time.monotonic() - started:.0f} s; look at the "
                "broker, then send them again",
                RETRY_AFTER_S,
            )
