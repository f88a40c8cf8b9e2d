"""confluent-kafka clients with our settings, in one place (reference: librdkafka's CONFIGURATION.md)."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from pipeline.contracts.envelope import MessagePosition
from pipeline.errors import KafkaUnreachable, Misconfigured
from pipeline.runtime.kafka import security, watchdog
from pipeline.runtime.kafka.errors import refused_request
from pipeline.runtime.kafka.sessions import heartbeat_s, session_timeout_s
from pipeline.runtime.telemetry import log
from pipeline.settings import Settings

Configuration = dict[str, Any]

LIBRDKAFKA = logging.getLogger("librdkafka")

# Closing gives partitions back: the archive makes its rows durable meanwhile, which takes some seconds.
CLOSE_S = 45.0
# A predecessor's transaction is aborted within a moment; after the broker's own restart this may take its timeout.
INIT_S = 120.0
# The same for a client of a session: after that a new client tries again, in case this one hangs.
SESSION_INIT_S = 30.0
# A new transactional producer that needs so long says why it waits.
INIT_SLOW_S = 10.0

MAX_MESSAGE_BYTES = 8_388_608
"""What clients, topics and the local broker take; a message of 4,096 rows with features has some .8 MB, packed."""
PRODUCER: Configuration = {
    "linger.ms": 5,
    "batch.size": 2_000_000,
    "compression.type": "lz4",
    "enable.idempotence": True,
    "queue.buffering.max.kbytes": 262_144,
    "message.max.bytes": MAX_MESSAGE_BYTES,
    # Kafka's own producers hash keys with murmur2; by librdkafka's default a sensor would have a second partition.
    "partitioner": "murmur2_random",
}

PACKED: Configuration = {"compression.type": "none"}
"""Of a producer whose messages are compressed before they come to it (wire/framing.py)."""

CONSUMER: Configuration = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "check.crcs": True,
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 262_144,
    "fetch.wait.max.ms": 20,
    "fetch.queue.backoff.ms": 10,
    "max.partition.fetch.bytes": MAX_MESSAGE_BYTES,
}
# A worker's consumer waits longer at the end of its topics than one that only wants to reach the end: what comes ends a
# wait at once, and every wait costs the broker a request, 50 a second of each idle worker at 20 ms.
WORKER_WAIT: Configuration = {"fetch.wait.max.ms": 250}


def connection(settings: Settings, client: str) -> Configuration:
    """What every client needs: where the cluster is, how to authenticate, and a name for its logs."""
    return {
        "bootstrap.servers": settings.bootstrap,
        "client.id": f"forebay-{client}-{settings.instance_id}",
        "log_level": 2,
        "logger": LIBRDKAFKA,
        # Reconnect to a broker that was away every second, not every ten: its return is noticed at once.
        "reconnect.backoff.max.ms": 1_000,
        # librdkafka prints broker hiccups to stderr by itself; ours are reported through errors and metrics.
        "error_cb": _ignore,
        **settings.security,
    }


def _ignore(_error: KafkaError) -> None:
    return None


def producer(settings: Settings, client: str, **overrides: Any) -> Producer:
    """An idempotent producer."""
    return Producer({**connection(settings, client), **PRODUCER, **overrides})


def transactional_producer(
    settings: Settings,
    client: str,
    hopeless: Callable[[], bool] = lambda: False,
    limit_s: float = INIT_S,
    **overrides: Any,
) -> Producer:
    """A transactional producer, initialised: earlier ones of the same id are fenced.

    The id is the stage's and worker's own, so a restarted worker takes over at once from the one that died.
    KafkaException where Kafka has not answered within `limit_s`, or waiting is `hopeless`.
    """
    made = producer(
        settings,
        client,
        **{
            "transactional.id": f"{settings.topic_prefix}{client}-{settings.instance_id}",
            "transaction.timeout.ms": round(settings.transaction_timeout_s * 1_000),
            # After a commit the next transaction meets CONCURRENT_TRANSACTIONS; librdkafka waits this long (100).
            "retry.backoff.ms": 1,
            # send_offsets_to_transaction can wait for ever for a group coordinator that was away (librdkafka #5456,
            # #5511); it checks again whenever a connection changes its state, so let idle ones end.
            "connections.max.idle.ms": 10_000,
            **overrides,
        },
    )
    started, warned = time.monotonic(), False
    while True:
        try:
            made.init_transactions(5)
            return made
        except KafkaException as error:
            waited_s = time.monotonic() - started
            if not error.args[0].retriable() or waited_s > limit_s or hopeless():
                raise
            if waited_s > INIT_SLOW_S and not warned:
                warned = True
                log(client).warning("waiting for the transaction coordinator", client=client, reason=str(error.args[0]))


def consumer(settings: Settings, group: str, **overrides: Any) -> Consumer:
    """A read_committed consumer of the group `<prefix><group>`; offsets are committed by hand only."""
    session_s = session_timeout_s(settings, group)
    return Consumer(
        {
            **connection(settings, group),
            **CONSUMER,
            **WORKER_WAIT,
            "group.id": f"{settings.topic_prefix}{group}",
            # With "consumer" a killed static member's successor gets a fatal UNRELEASED_INSTANCE_ID while the dead
            # one's session lasts; with "classic" it takes over at once (measured: 0.1 s, Kafka 4.3.1).
            "group.protocol": "classic",
            "session.timeout.ms": round(session_s * 1000),
            "heartbeat.interval.ms": round(heartbeat_s(session_s) * 1000),
            # A restarted worker gets its partitions back at once instead of waiting out its own dead session.
            "group.instance.id": f"{settings.topic_prefix}{group}-{settings.instance_id}",
            **overrides,
        }
    )


def abandon(consumer: Consumer, producer: Producer | None) -> None:
    """Leave clients whose session is over, without waiting for a Kafka that may be away.

    What the producer has not sent is dropped: an open transaction is aborted by its successor's `init_transactions`.
    A consumer that does not close (librdkafka #4519) is left behind after CLOSE_S. Raises what the callbacks of the
    consumer raise.
    """
    if producer is not None:
        producer.purge()

    def close() -> None:
        with suppress(KafkaException, RuntimeError):  # a client that Kafka has fenced is closed already
            consumer.close()

    if not watchdog.returns(close, CLOSE_S):
        log("kafka").warning("the Kafka client does not close and is left behind", waited_s=CLOSE_S)


def reader(settings: Settings, client: str, **overrides: Any) -> Consumer:
    """A consumer that assigns partitions itself and commits nothing: for readers that track their own position."""
    return Consumer(
        {**connection(settings, client), **CONSUMER, "group.id": f"{settings.topic_prefix}{client}-reader", **overrides}
    )


def admin(settings: Settings) -> AdminClient:
    """An admin client."""
    return AdminClient(connection(settings, "admin"))


def require_broker(settings: Settings, timeout_s: float = 10.0) -> None:
    """KafkaUnreachable unless a broker answers within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    client = admin(settings)
    while True:
        try:
            client.list_topics(timeout=max(0.5, min(3.0, timeout_s)))
            return
        except KafkaException as error:
            if time.monotonic() >= deadline:
                raise unreachable(settings, error) from error


@contextmanager
def asking(settings: Settings, what: str) -> Iterator[None]:
    """Turn an error of Kafka's, for a command that asks for `what`, into ours, which names it and whom was asked."""
    try:
        yield
    except KafkaException as error:
        raise refused_request(error.args[0], f"{what}, asked of Kafka at {settings.bootstrap}") from error


def unreachable(settings: Settings, error: Exception) -> KafkaUnreachable | Misconfigured:
    """The error to show where Kafka does not answer; Misconfigured where only one of us speaks TLS."""
    contradiction = security.contradiction(settings)
    if contradiction:
        return Misconfigured(contradiction)
    return KafkaUnreachable(f"Kafka at {settings.bootstrap} does not answer ({error}); {how_to_start(settings)}")


def how_to_start(settings: Settings) -> str:
    """What to do where no Kafka answers: `forebay up` where it ran in this folder and nobody named another Kafka."""
    ran_here = "bootstrap" not in settings.model_fields_set and settings.run_folder.is_dir()
    start = "start it with `forebay up`" if ran_here else "start one with `forebay broker up`"
    return f"{start}, or name yours with --bootstrap or FOREBAY_BOOTSTRAP"


def position_of(message: Message) -> MessagePosition:
    """The position of a message that was read."""
    return MessagePosition(message.topic() or "", message.partition() or 0, message.offset() or 0)


def headers_of(message: Message) -> dict[str, bytes]:
    """A message's headers as a dictionary; of equal names the last one counts."""
    pairs: list[tuple[str, bytes | None]] = message.headers() or []  # type: ignore[assignment]
    return {name: value or b"" for name, value in pairs}


def oldest_us(messages: Iterable[Message]) -> int | None:
    """Kafka's timestamp of the oldest of the messages, in microseconds; None where there is none."""
    return min((message.timestamp()[1] * 1_000 for message in messages if message.error() is None), default=None)


def raise_for(message: Message) -> Message:
    """The message; KafkaException where it is an error event instead."""
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    return message
