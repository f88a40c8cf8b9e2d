"""How far this machine's clock is from the brokers': by the time that each broker puts on a message."""

import time
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from pipeline.tools.doctor.findings import Finding, refusal

TOPIC = "doctor-clock"
"""Made for the moment, and deleted again: only a topic of its own may be stamped by the brokers' clocks."""
WAIT_S = 10.0
WARN_S, FAIL_S = 2.0, 60.0
REMEDY = "set both clocks by NTP: lag, latencies and max_future_us compare one with the other"


class Skew(NamedTuple):
    """A broker's clock less this one's, in seconds, give or take `uncertain_s`."""

    seconds: float
    uncertain_s: float


def broker_clock(settings: Settings) -> Finding:
    """The broker whose clock is furthest from this one's; a warning where it cannot be measured."""
    try:
        skews = measured(settings)
    except KafkaException as error:
        remedy = f"allow Create, Write and Delete of {settings.topic_prefix}{TOPIC}, or compare the clocks by hand"
        return Finding("clock skew", "warn", f"not measured; {refusal(error)}", remedy)
    return judged(skews)


def judged(skews: list[Skew]) -> Finding:
    """What skews mean: a clock is wrong by what the measurement cannot explain."""
    worst = max(skews, key=lambda each: abs(each.seconds) - each.uncertain_s)
    off_s = max(0.0, abs(worst.seconds) - worst.uncertain_s)
    verdict = "fail" if off_s > FAIL_S else "warn" if off_s > WARN_S else "ok"
    direction = "ahead of" if worst.seconds > 0 else "behind"
    found = f"a broker is {abs(worst.seconds):.3f} s {direction} this machine, give or take {worst.uncertain_s:.3f} s"
    if verdict == "ok":
        return Finding("clock skew", "ok", found)
    return Finding("clock skew", verdict, found, REMEDY, f"at most {WARN_S:.0f} s")


def measured(settings: Settings) -> list[Skew]:
    """The skew of each broker; KafkaException where the topic cannot be made, written or led."""
    client = clients.admin(settings)
    name = settings.topic_prefix + TOPIC
    brokers = len(client.list_topics(timeout=WAIT_S).brokers)
    configuration = {"message.timestamp.type": "LogAppendTime", "retention.ms": "60000"}
    # A partition a broker, each with one replica: so each of them leads one.
    topic = NewTopic(name, num_partitions=brokers, replication_factor=1, config=configuration)
    try:
        client.create_topics([topic], request_timeout=WAIT_S)[name].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another doctor was interrupted, or is at it
            raise
    try:
        return [_skew(settings, name, partition) for partition in range(brokers)]
    finally:
        _delete(client, name)


def _skew(settings: Settings, name: str, partition: int) -> Skew:
    producer = clients.producer(settings, "doctor", **{"linger.ms": 0, "message.timeout.ms": int(WAIT_S * 1_000)})
    best: Skew | None = None
    for _ in range(3):  # the first waits for metadata, so the quickest counts
        delivered: list[Message | KafkaError] = []
        sent_s = time.time()
        producer.produce(
            name,
            b"",
            partition=partition,
            on_delivery=lambda error, message, into=delivered: into.append(error or message),  # type: ignore[misc]
        )
        producer.flush(WAIT_S + 1)
        received_s = time.time()
        if not delivered or isinstance(delivered[0], KafkaError):
            raise KafkaException(delivered[0] if delivered else KafkaError(KafkaError._MSG_TIMED_OUT))
        broker_s = delivered[0].timestamp()[1] / 1_000
        half_s = (received_s - sent_s) / 2
        skew = Skew(broker_s - (sent_s + half_s), half_s + 0.001)
        best = skew if best is None or skew.uncertain_s < best.uncertain_s else best
    assert best is not None  # noqa: S101 - three rounds were made
    return best


def _delete(client: AdminClient, name: str) -> None:
    for future in client.delete_topics([name], request_timeout=WAIT_S).values():
        future.exception(WAIT_S)  # who may create and not delete leaves an empty topic, which the next run uses
