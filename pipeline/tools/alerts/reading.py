"""Alerts as their readers see them: a compacted topic, in which the same revision may come twice."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from confluent_kafka import Message, TopicPartition

from pipeline.contracts.incident_joining import is_alert
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.shutdown import Stop
from pipeline.settings import Settings

POLL_S = 0.2
BATCH_S = 1.0
MAX_KNOWN = 100_000


class Seen:
    """Which (uid, revision) was read: after a crash of the alert stage, alerts are re-emitted, byte for byte.

    Bounded: beyond 100,000 incidents the ones read longest ago are forgotten.
    """

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}

    def is_new(self, uid: str, revision: int) -> bool:
        """Whether this revision, or a later one, was not read before; it counts as read from now on."""
        before = self._highest.pop(uid, 0)
        self._highest[uid] = max(before, revision)
        if len(self._highest) > MAX_KNOWN:
            del self._highest[next(iter(self._highest))]
        return revision > before


def alerts(
    settings: Settings, from_start: bool, follow: bool, stop: Stop | None = None
) -> Iterator[dict[str, Any] | None]:
    """New alerts as they stand in the topic; with `follow` without end, and None whenever nothing arrives for a moment.

    Failed where the topic does not exist, KafkaUnreachable where it cannot be read to its end in time.
    """
    topic, stop, seen = settings.topics.alerts, stop or Stop(), Seen()
    reader = clients.reader(settings, "alert-tail", **tail.EOF_EVENTS)
    try:
        with clients.asking(settings, f"topic {topic}"):
            ends = tail.ends(settings, topic, tail.partitions_of(reader, topic))
            reader.assign([TopicPartition(topic, number, 0 if from_start else end) for number, end in ends.items()])
            if from_start:
                yield from _new(tail.read_to(reader, topic, ends), seen)
        while follow and not stop.requested:
            came = reader.consume(500, POLL_S)
            yield from _new((message for message in came if message.error() is None), seen)
            if not came:
                yield None
    finally:
        reader.close()


def batches(
    alerts: Iterable[dict[str, Any] | None], clock: Callable[[], float] = time.monotonic
) -> Iterator[list[dict[str, Any]]]:
    """Alerts as they come in batches, none empty: until nothing arrives for a moment, or for a second at most."""
    batch, until_s = list[dict[str, Any]](), 0.0
    for alert in alerts:
        if alert is not None:
            until_s = until_s if batch else clock() + BATCH_S
            batch.append(alert)
        if batch and (alert is None or clock() >= until_s):
            yield batch
            batch = []
    if batch:
        yield batch


def current_alerts(settings: Settings) -> list[dict[str, Any]]:
    """The latest revision of every alert there is; Failed where the topic does not exist, or cannot be read in time."""
    latest: dict[str, dict[str, Any]] = {}
    for alert in alerts(settings, from_start=True, follow=False):
        if alert is not None:
            latest[alert["finding_info"]["uid"]] = alert
    return list(latest.values())


def _new(messages: Iterable[Message], seen: Seen) -> Iterator[dict[str, Any]]:
    for message in messages:
        value = message.value()
        if value is None:
            continue
        alert = _alert(value)
        if alert is not None and seen.is_new(alert["finding_info"]["uid"], alert["metadata"]["sequence"]):
            yield alert


def _alert(value: bytes) -> dict[str, Any] | None:
    """An alert of ours; None where somebody else wrote into the topic."""
    try:
        alert = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return alert if is_alert(alert) else None
