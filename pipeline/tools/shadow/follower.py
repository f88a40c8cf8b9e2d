"""Follows the topic of scored rows, scores them again with the candidate and counts; it writes to no topic.

A process of its own: score does not know of it. One session (kafka/outage.py) is one consumer; positions and counts
stay with the process, and in the registry with a file that is replaced every SAVE_EVERY_S.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from pipeline.contracts.envelope import ScoredFacts
from pipeline.contracts.promotions import PromotionLedger
from pipeline.errors import RefusedState
from pipeline.runtime.kafka import clients, errors, tail
from pipeline.runtime.kafka.caught_up import CaughtUp
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.storage.location import StorageLike
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.runtime.wire import messages as wire
from pipeline.runtime.wire.batches import unpacked_bytes
from pipeline.score.fetching import FETCHED, MAX_GROUP_BYTES
from pipeline.score.group import expect_features
from pipeline.score.model_cache import ModelCache
from pipeline.score.scoring import score_batches
from pipeline.settings import Settings
from pipeline.tools.shadow import state as states
from pipeline.tools.shadow.state import NO_TIME, UNKNOWN, Position, ShadowState
from pipeline.tools.shadow.tally import ADDED, BOTH, DROPPED

STAGE = "shadow"
MAX_MESSAGES = 100
POLL_S = 0.25
SAVE_EVERY_S = 2.0
SAID = {"added": ADDED, "dropped": DROPPED, "both": BOTH}

Notify = Callable[[ShadowState], None]


@dataclass(frozen=True)
class Request:
    """What to do with it.

    earliest : of a first run, whether rows count that the topic holds already
    span_s : end once so much time lies between the first message and the last one, by Kafka's timestamps; 0: never
    """

    registry: StorageLike
    earliest: bool = False
    span_s: float = 0.0


class ShadowFollower:
    """Counts into a state until asked to stop, or until what was asked for is reached."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        kafka: KafkaWatch,
        cache: ModelCache,
        request: Request,
        state: ShadowState,
        notify: Notify,
    ) -> None:
        self._settings, self._telemetry, self._kafka = settings, telemetry, kafka
        self._cache, self._request, self._state, self._notify = cache, request, state, notify
        self._topic = settings.topics.archive
        # No promotion holds: every row is the candidate's, whatever its event time.
        self._ledger = PromotionLedger(settings.partitions)
        self._checked: set[str] = set()
        self._saved_messages = UNKNOWN
        self._save_at = time.monotonic() + SAVE_EVERY_S
        for said in SAID:
            telemetry.count("forebay_shadow_suspects", 0, said=said)

    def session(self) -> None:
        """Read on from where the state is, with a consumer of its own."""
        consumer = clients.reader(self._settings, STAGE, **tail.EOF_EVENTS, **clients.WORKER_WAIT, **FETCHED)
        stall = ConsumerStall(StallDetector(self._settings, self._kafka), consumer)
        caught_up = CaughtUp(consumer, self._topic)
        try:
            self._assign(consumer)
            self._kafka.announce(self._state.positions, model=self._state.beside.model)
            while not (self._kafka.stopping() or self._is_complete()):
                self._telemetry.beat()
                consumed = consumer.consume(MAX_MESSAGES, POLL_S)
                stall.observe(consumed)
                caught_up.observe(consumed)
                messages = errors.records(consumed)
                self._telemetry.stage.waiting_since(clients.oldest_us(messages))
                self._count(messages)
                waiting = len(caught_up.partitions(self._state.positions)) < len(self._state.positions)
                self._reached(waiting)
                if time.monotonic() >= self._save_at:
                    self.save()
            self.save()
        finally:
            clients.abandon(consumer, None)

    def save(self) -> None:
        """Put positions and counts in the place of those saved before, where there are new ones, and show them."""
        self._save_at = time.monotonic() + SAVE_EVERY_S
        self._notify(self._state)
        if self._saved_messages == self._state.messages:
            return
        self._state.saved_us = time.time_ns() // 1_000
        states.write(self._request.registry, self._state)
        self._saved_messages = self._state.messages
        self._kafka.progressed()

    def _is_complete(self) -> bool:
        """Whether as much time was covered as was asked for; where nothing more comes, by the clock."""
        state, span_us = self._state, round(self._request.span_s * 1e6)
        if not span_us or state.first_us == NO_TIME:
            return False
        reached_us = state.last_us if state.behind_s else time.time_ns() // 1_000
        return reached_us - state.first_us >= span_us

    def _reached(self, is_waiting: bool) -> None:
        now_us = time.time_ns() // 1_000
        since_us = self._state.last_us if is_waiting and self._state.last_us != NO_TIME else now_us
        self._state.behind_s = max(0.0, (now_us - since_us) / 1e6)

    # ---- positions

    def _assign(self, consumer: Consumer) -> None:
        """Read on from the positions; a new shadow's are the topic's end, or its beginning, and are saved first."""
        numbers = tail.partitions_of(consumer, self._topic)
        unknown = [number for number in numbers if number not in self._state.positions]
        if unknown:
            # A partition that came later is read from its beginning, or its first rows would be left out.
            from_end = not self._request.earliest and not self._state.positions
            ends = tail.ends(self._settings, self._topic, unknown) if from_end else {}
            self._state.positions |= {number: Position(ends.get(number, 0)) for number in unknown}
            self._saved_messages = UNKNOWN
            self.save()
        ends = tail.ends(self._settings, self._topic, numbers)
        for number, position in self._state.positions.items():
            if position.offset > ends.get(number, 0):
                raise self._made_anew(number, f"it ends at {ends.get(number, 0)}, before {position.offset}")
        consumer.assign(
            [
                TopicPartition(self._topic, number, position.offset or OFFSET_BEGINNING)
                for number, position in self._state.positions.items()
            ]
        )

    def _made_anew(self, partition: int, found: str) -> RefusedState:
        return RefusedState(
            f"{self._topic}[{partition}]: {found}, where the shadow of {self._state.beside.model} is to read on; the "
            "topic was made anew: --anew drops what was counted and begins again"
        )

    # ---- rows

    def _count(self, messages: Sequence[Message]) -> None:
        """Score and count messages, some at a time."""
        first, size = 0, 0
        for number, message in enumerate(messages):
            size += unpacked_bytes(message.value() or b"")
            if size >= MAX_GROUP_BYTES or number + 1 == len(messages):
                self._count_group(messages[first : number + 1])
                first, size = number + 1, 0

    def _count_group(self, messages: Sequence[Message]) -> None:
        """1. Read and check all; 2. score; 3. count, and move positions behind them. What fails does so before 3."""
        started = time.perf_counter()
        moved: dict[int, Position] = {}
        batches: list[pa.RecordBatch] = []
        for message in messages:  # 1
            at = clients.position_of(message)
            batch, facts = wire.read(message.value() or b"", ScoredFacts, at)
            if facts.feature_hash not in self._checked:
                expect_features(self._cache, facts, at)
                self._checked.add(facts.feature_hash)
            before = moved.get(at.partition, self._state.positions[at.partition])
            moved[at.partition] = self._behind(before, at.partition, at.offset, facts.seq)
            batches.append(batch)
        # One batch: what each costs besides its rows is most of what a row costs where messages are small.
        in_use = pa.concat_batches(batches)
        [candidate] = score_batches([in_use], self._ledger, self._cache)  # 2
        state, before_total = self._state, self._state.counts.total
        state.counts.take(in_use, candidate)  # 3
        state.positions |= moved
        state.messages += len(messages)
        times_us = [message.timestamp()[1] * 1_000 for message in messages]
        state.first_us = min(times_us) if state.first_us == NO_TIME else min(state.first_us, *times_us)
        state.last_us = max(state.last_us, *times_us)
        rows = len(in_use)
        self._telemetry.stage.rows_in(rows)
        self._telemetry.stage.rows_out(rows)
        for said, outcome in SAID.items():
            news = int(state.counts.total[outcome] - before_total[outcome])
            self._telemetry.count("forebay_shadow_suspects", news, said=said)
        self._telemetry.stage.batch(time.perf_counter() - started)

    def _behind(self, before: Position, partition: int, offset: int, seq: int) -> Position:
        """The position behind a message; what is missing before it, retention has taken."""
        deleted = seq - before.seq if before.seq != UNKNOWN else 0
        if deleted < 0:
            raise self._made_anew(partition, f"message {seq} lies at {offset}, expected {before.seq} or later")
        if deleted:
            log(STAGE).warning(
                "deleted before it was read",
                topic=self._topic,
                partition=partition,
                messages=deleted,
                remedy="give the shadow more processor time (--nice), or raise the topic's retention",
            )
        return Position(offset + 1, seq + 1, before.deleted + deleted)
