"""Issuing a promotion and waiting for score's verdict; the protocol is in pipeline/score/promotions.py.

A promotion names the event time from which the model holds. Score refuses one that comes too late; it is issued again
with a later time, beyond what the refusal says was scored.
"""

import getpass
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow.compute as pc
from confluent_kafka import TopicPartition

from pipeline.errors import Failed, Usage
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.tail import EOF_EVENTS, Follower, ends, read_to
from pipeline.runtime.wire import batches
from pipeline.settings import Settings

ATTEMPTS = 5
MARGIN_US = 5_000_000
# Promotions are ordered: one that holds from a far day would keep all others out until then.
MOST_AHEAD_US = 30 * 86_400_000_000
# Offsets looked at for the last message of a partition: the last ones of a transactional topic are control records.
TAIL_OFFSETS = (20, 200, 2_000)


@dataclass(frozen=True, slots=True)
class Target:
    """The model to promote: its id, the SHA-256 of its manifest, and its folder relative to the registry."""

    model: str
    sha256: str
    uri: str


def partition_count(settings: Settings) -> int:
    """How many partitions vote; Failed where the topic does not exist."""
    topic = settings.topics.features
    found = clients.admin(settings).list_topics(topic, timeout=10).topics[topic]
    if not found.partitions:
        raise Failed(f"topic {topic} does not exist; create the topics with `forebay topic create`")
    return len(found.partitions)


def watermark_us(settings: Settings, partitions: int) -> int:
    """About the highest event time scored, by the last messages score has sent; 0 where there are none.

    Never beyond what was scored. Scored rows may lie beyond it: then the promotion is refused with the exact time.
    """
    topic = settings.topics.retrain
    end = ends(settings, topic, range(partitions))
    consumer = clients.reader(settings, "promote", **EOF_EVENTS)
    try:
        highest = 0
        for partition, last in end.items():
            for offsets in TAIL_OFFSETS:
                consumer.assign([TopicPartition(topic, partition, max(0, last - offsets))])
                found = [_highest_us(message.value() or b"") for message in read_to(consumer, topic, {partition: last})]
                if found or offsets >= last:
                    highest = max([highest, *found])
                    break
        return highest
    finally:
        consumer.close()


def _highest_us(payload: bytes) -> int:
    batch, meta = batches.decode(payload, "scored")
    marks = [mark for _site, _sensor, mark in meta["watermarks"] if mark is not None]
    return int(max([0, pc.max(batch.column("end_ts_us")).as_py() or 0, *marks]))


class Votes:
    """What the topic `models` says of promotions so far, read on whenever asked."""

    def __init__(self, settings: Settings) -> None:
        self._follower = Follower(settings, "promotions", settings.topics.models)
        self._records: list[Mapping[str, Any]] = []

    def __enter__(self) -> "Votes":
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.close()

    def records(self) -> list[Mapping[str, Any]]:
        """All records there are now, oldest first; what is no JSON object is left out, as score does."""
        for message in self._follower.catch_up():
            try:
                record = orjson.loads(message.value() or b"")
            except orjson.JSONDecodeError:
                continue
            if isinstance(record, dict):
                self._records.append(record)
        return self._records


def current(settings: Settings) -> str:
    """Id of the model of the latest promotion that every partition has accepted; empty where there is none."""
    partitions = partition_count(settings)
    with Votes(settings) as votes:
        return holding(votes.records(), partitions)


def holding(records: Iterable[Mapping[str, Any]], partitions: int) -> str:
    """Id of the model that holds from the latest event time by these records; empty where none does.

    A promotion holds once every partition has accepted it, and is void at the first refusal.
    """
    proposed: dict[str, Mapping[str, Any]] = {}
    accepted: dict[str, set[int]] = {}
    held: list[tuple[int, str]] = []
    for record in records:
        kind, name = record.get("kind"), str(record.get("promotion"))
        if kind == "promotion":
            if type(record.get("effective_from_us")) is not int or "model" not in record:
                continue
            proposed.setdefault(name, record)
            accepted.setdefault(name, set())
        elif kind == "refusal":
            accepted.pop(name, None)
        elif kind == "acceptance" and name in accepted and isinstance(record.get("partition"), int):
            accepted[name].add(record["partition"])
            if accepted[name] >= set(range(partitions)):
                held.append((proposed[name]["effective_from_us"], str(proposed[name]["model"])))
                accepted.pop(name)
    return max(held)[1] if held else ""


def promote(
    settings: Settings,
    target: Target,
    effective_from_us: int | None,
    margin_us: int = MARGIN_US,
    timeout_s: float = 30.0,
) -> dict[str, Any]:
    """Issue the promotion, again with a later time while it is refused as too late; the decision's document.

    Raises Usage where a time is asked for that is more than 30 days ahead of everything scored and of the clock, Failed
    where it is refused for another reason, or refused `ATTEMPTS` times, or refused at the very time that
    was asked for. A promotion that not every partition votes on within `timeout_s` stays in the log and is decided as
    soon as score gets to it: the document says `undecided`.
    """
    partitions = partition_count(settings)
    reached_us = watermark_us(settings, partitions)
    latest_us = max(reached_us, time.time_ns() // 1_000) + MOST_AHEAD_US
    from_us = effective_from_us if effective_from_us is not None else reached_us + margin_us
    if not 0 <= from_us <= latest_us:
        raise Usage(
            f"promotion from {from_us} us: expected 0 to {latest_us}, at most 30 days ahead; no other promotion could "
            "hold before that one"
        )
    with Votes(settings) as votes:
        for attempt in range(1, ATTEMPTS + 1):
            name = uuid.uuid4().hex
            issue(settings, name, target, from_us)
            decision = await_decision(votes, name, partitions, timeout_s)
            document = {**decision, "promotion": name, "model": target.model, "effective_from_us": from_us}
            if decision["decision"] != "refused":
                return {**document, "attempts": attempt}
            if effective_from_us is not None or "too late" not in str(decision["reason"]):
                raise Failed(f"promotion of {target.model} was refused: {decision['reason']}")
            from_us = max(from_us, int(decision["watermark_us"])) + margin_us * 2**attempt
    raise Failed(
        f"promotion of {target.model} was refused {ATTEMPTS} times: event time runs faster than {margin_us / 1e6:g} s "
        "ahead of the vote; give a larger --margin"
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
        "by": _who(),
    }
    refused: list[str] = []
    producer = clients.producer(settings, "promote")
    producer.produce(
        settings.topics.models,
        key=name.encode(),
        value=orjson.dumps(record, option=orjson.OPT_SORT_KEYS),
        partition=0,
        on_delivery=lambda error, _message: refused.append(str(error)) if error is not None else None,
    )
    if producer.flush(10) or refused:
        raise clients.unreachable(settings, TimeoutError(refused[0] if refused else "no acknowledgement in 10 s"))


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user needs no name
        return "unknown"


def await_decision(votes: Votes, name: str, partitions: int, timeout_s: float) -> dict[str, Any]:
    """`accepted` once every partition has voted for it, `refused` with the reason at the first vote against."""
    deadline = time.monotonic() + timeout_s
    while True:
        own = [record for record in votes.records() if record.get("promotion") == name]
        for vote in own:
            if vote.get("kind") == "refusal":
                return {"decision": "refused", "reason": vote["reason"], "watermark_us": vote["watermark_us"]}
        accepted = {vote["partition"] for vote in own if vote.get("kind") == "acceptance"}
        missing = sorted(set(range(partitions)) - accepted)
        if not missing:
            return {"decision": "accepted"}
        if time.monotonic() > deadline:
            return {"decision": "undecided", "partitions_missing": missing}
        time.sleep(0.2)
