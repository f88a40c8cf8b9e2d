"""Issuing a promotion and waiting for score's decision; the protocol is in pipeline/contracts/promotions.py.

A promotion names the event time from which the model holds. Score refuses one that comes too late; it is issued again
with a later time, beyond what the refusal says was scored.
"""

import getpass
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow.compute as pc
from confluent_kafka import Message, TopicPartition

from pipeline.contracts.envelope import ScoredFacts
from pipeline.contracts.promotions import Decision, Promotion, PromotionLedger
from pipeline.errors import BadData, Failed, Usage
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.tail import EOF_EVENTS, Follower, ends, read_to
from pipeline.runtime.wire import messages
from pipeline.settings import Settings

ATTEMPTS = 5
POLL_S = 0.2
MARGIN_US = 5_000_000
# Promotions are ordered: one that holds from a far day would keep all others out until then.
MAX_AHEAD_US = 30 * 86_400_000_000
# Offsets read for the last message of a partition: the last ones of a transactional topic are control records.
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
    described = clients.admin(settings).list_topics(topic, timeout=10).topics[topic]
    if not described.partitions:
        raise Failed(f"topic {topic} does not exist; create the topics with `forebay topic create`")
    return len(described.partitions)


def watermark_us(settings: Settings, partitions: int) -> int:
    """About the highest event time scored, by the last samples score has sent; 0 where there are none.

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
                read = [_highest_us(message) for message in read_to(consumer, topic, {partition: last})]
                if read or offsets >= last:
                    highest = max([highest, *read])
                    break
        return highest
    finally:
        consumer.close()


def _highest_us(message: Message) -> int:
    batch, facts = messages.read(message.value() or b"", ScoredFacts, clients.position_of(message))
    watermarks_us = [watermark.time_us for watermark in facts.watermarks]
    return int(max([0, pc.max(batch.column("end_ts_us")).as_py() or 0, *watermarks_us]))


class PromotionReader:
    """The ledger of the topic `models`, which reads on whenever it is asked."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self._follower = Follower(settings, "promotions", settings.topics.models)
        self._ledger = PromotionLedger(partitions)

    def __enter__(self) -> "PromotionReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.close()

    def read_on(self) -> PromotionLedger:
        """As `refresh`, with what has come by now: never waits, and Kafka may be away."""
        while came := list(self._follower.poll()):
            self._apply(came)
        return self._ledger

    def refresh(self) -> PromotionLedger:
        """The ledger with all records there are now; malformed ones are ignored, as score does."""
        self._apply(self._follower.catch_up())
        return self._ledger

    def _apply(self, messages: Iterable[Message]) -> None:
        for message in messages:
            with suppress(BadData):
                self._ledger.apply_payload(message.value())


def current(settings: Settings) -> str:
    """Id of the model that holds from the latest event time; empty where no promotion holds."""
    with PromotionReader(settings, partition_count(settings)) as reader:
        holding = reader.refresh().holding
    return holding[-1].model if holding else ""


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
    latest_us = max(reached_us, time.time_ns() // 1_000) + MAX_AHEAD_US
    from_us = effective_from_us if effective_from_us is not None else reached_us + margin_us
    if not 0 <= from_us <= latest_us:
        raise Usage(
            f"promotion from {from_us} us: expected 0 to {latest_us}, at most 30 days ahead; no other promotion could "
            "hold before that one"
        )
    with PromotionReader(settings, partitions) as reader:
        for attempt in range(1, ATTEMPTS + 1):
            promotion = Promotion(uuid.uuid4().hex, target.model, target.sha256, target.uri, from_us)
            issue(settings, promotion)
            decision = await_decision(reader, promotion.id, timeout_s)
            if decision.refusal is None:
                document: dict[str, Any] = {"decision": "accepted" if decision.holds else "undecided"}
                if not decision.holds:
                    document["partitions_missing"] = list(decision.missing)
                about = {"promotion": promotion.id, "model": target.model, "effective_from_us": from_us}
                return {**document, **about, "attempts": attempt}
            if effective_from_us is not None or decision.refusal.beyond_us is None:
                raise Failed(f"promotion of {target.model} was refused: {decision.refusal.reason}")
            from_us = max(from_us, decision.refusal.beyond_us) + margin_us * 2**attempt
    raise Failed(
        f"promotion of {target.model} was refused {ATTEMPTS} times: event time runs faster than {margin_us / 1e6:g} s "
        "ahead of the vote; give a larger --margin"
    )


def issue(settings: Settings, promotion: Promotion) -> None:
    """Append the promotion to the topic `models`; KafkaUnreachable where no broker acknowledges it."""
    refused: list[str] = []
    producer = clients.producer(settings, "promote")
    producer.produce(
        settings.topics.models,
        key=promotion.id.encode(),
        value=orjson.dumps(promotion.record(_who()), option=orjson.OPT_SORT_KEYS),
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


def await_decision(reader: PromotionReader, promotion_id: str, timeout_s: float) -> Decision:
    """The decision once it is final; the one as it stands after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        decision = reader.refresh().decision(promotion_id)
        if decision.is_final or time.monotonic() > deadline:
            return decision
        time.sleep(POLL_S)
