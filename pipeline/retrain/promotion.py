"""Issuing a promotion and waiting for score's verdict; the protocol is in pipeline/score/promotions.py.

A promotion names the event time from which the model holds. Score refuses one that comes too late; it is issued again
with a later time, beyond what the refusal says was scored.
"""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition

from pipeline.errors import Failed
from pipeline.kafka import clients
from pipeline.settings import Settings
from pipeline.wire import batches

ATTEMPTS = 5
MARGIN_US = 5_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """The model to promote: its id, the SHA-256 of its manifest, and its folder relative to the registry."""

    model: str
    sha256: str
    uri: str


def watermark_us(settings: Settings) -> int:
    """The highest event time score has let through, by the last messages of its topic; 0 where there are none."""
    topic = settings.topics.retrain
    consumer = clients.reader(settings, "promote")
    try:
        highest = 0
        for partition in range(settings.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            # The last offsets of a transactional topic are markers: read a short tail.
            for payload in read_to_end(consumer, TopicPartition(topic, partition, max(low, high - 20)), high):
                _, meta = batches.decode(payload, "scored")
                highest = max([highest, *(mark[2] for mark in meta["watermarks"] if mark[2] is not None)])
        return highest
    finally:
        consumer.close()


def records(settings: Settings) -> list[dict[str, Any]]:
    """Everything in the topic `models`, oldest first."""
    consumer = clients.reader(settings, "models")
    try:
        topic = settings.topics.models
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        return [orjson.loads(payload) for payload in read_to_end(consumer, TopicPartition(topic, 0, low), high)]
    finally:
        consumer.close()


def read_to_end(consumer: Consumer, start: TopicPartition, end: int, idle_s: float = 5.0) -> Iterator[bytes]:
    """Payloads from `start` to the offset `end`; markers and aborted messages count as read."""
    if start.offset >= end:
        return
    consumer.assign([start])
    deadline = time.monotonic() + idle_s
    while time.monotonic() < deadline:
        for message in consumer.consume(200, 0.2):
            clients.raise_for(message)
            deadline = time.monotonic() + idle_s
            payload = message.value()
            if payload is not None and (message.offset() or 0) < end:
                yield payload
        [position] = consumer.position([start])
        if position.offset >= end:
            return


def current(settings: Settings) -> str:
    """Id of the model of the latest promotion that every partition has accepted; empty where there is none."""
    votes: dict[str, set[int]] = {}
    holding = ""
    for record in records(settings):
        if record.get("kind") == "acceptance":
            accepted = votes.setdefault(record["promotion"], set())
            accepted.add(record["partition"])
            if len(accepted) == record["partitions"]:
                holding = record["model"]
    return holding


def promote(
    settings: Settings,
    target: Target,
    effective_from_us: int | None,
    margin_us: int = MARGIN_US,
    timeout_s: float = 30.0,
) -> dict[str, Any]:
    """Issue the promotion, again with a later time while it is refused as too late; the decision's document.

    Raises Failed where it is refused for another reason or refused `ATTEMPTS` times. A promotion that nobody votes on
    within `timeout_s` stays in the log and holds as soon as score has accepted it: the document says `undecided`.
    """
    from_us = effective_from_us if effective_from_us is not None else watermark_us(settings) + margin_us
    for attempt in range(1, ATTEMPTS + 1):
        name = uuid.uuid4().hex
        issue(settings, name, target, from_us)
        decision = await_decision(settings, name, timeout_s)
        document = {**decision, "promotion": name, "model": target.model, "effective_from_us": from_us}
        if decision["decision"] != "refused":
            return {**document, "attempts": attempt}
        if effective_from_us is not None or "too late" not in str(decision["reason"]):
            raise Failed(f"promotion of {target.model} was refused: {decision['reason']}")
        from_us = max(from_us, int(decision["watermark_us"])) + margin_us * 2**attempt
    raise Failed(
        f"promotion of {target.model} was refused {ATTEMPTS} times: event time runs faster than {margin_us / 1e6:g} s "
        "ahead of the vote; give a larger --margin-s"
    )


def issue(settings: Settings, name: str, target: Target, effective_from_us: int) -> None:
    """Append the promotion to the topic `models`."""
    record = {
        "kind": "promotion",
        "promotion": name,
        "model": target.model,
        "sha256": target.sha256,
        "uri": target.uri,
        "effective_from_us": effective_from_us,
    }
    producer = clients.producer(settings, "promote")
    producer.produce(settings.topics.models, key=name.encode(), value=orjson.dumps(record), partition=0)
    if producer.flush(10):
        raise clients.unreachable(settings, TimeoutError("the promotion was not acknowledged within 10 s"))


def await_decision(settings: Settings, name: str, timeout_s: float) -> dict[str, Any]:
    """`accepted` once every partition has voted for it, `refused` with the reason at the first vote against."""
    deadline = time.monotonic() + timeout_s
    while True:
        votes = [record for record in records(settings) if record.get("promotion") == name]
        for vote in votes:
            if vote["kind"] == "refusal":
                return {"decision": "refused", "reason": vote["reason"], "watermark_us": vote["watermark_us"]}
        accepted = {vote["partition"] for vote in votes if vote["kind"] == "acceptance"}
        if len(accepted) >= settings.partitions:
            return {"decision": "accepted"}
        if time.monotonic() > deadline:
            return {"decision": "undecided", "partitions_missing": settings.partitions - len(accepted)}
        time.sleep(0.2)
