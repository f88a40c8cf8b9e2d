"""The worker of score: features in, suspects, archive and retrain out, in Kafka transactions.

It reads a group of messages, scores and encodes it, and puts it to its transactions (runtime/kafka/transactions.py):
while one is committed the next group is read and scored.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.contracts.envelope import SensorName
from pipeline.contracts.preconditions import shipped
from pipeline.contracts.promotions import PromotionLedger, vote
from pipeline.contracts.raw import Headers
from pipeline.errors import BadData, Failed
from pipeline.runtime import collector
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.tail import EOF_EVENTS, Follower
from pipeline.runtime.kafka.transactions import Committed, Outgoing, TransactionWriter
from pipeline.runtime.storage.location import folder_or_storage
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.runtime.wire.batches import CONTENT_TYPE, unpacked_bytes
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT
from pipeline.score.device import choose_device
from pipeline.score.fetching import FETCHED, MAX_GROUP_BYTES
from pipeline.score.group import Features, encoded, expect_features, read, score_group
from pipeline.score.model_cache import ModelCache
from pipeline.score.position import StagePosition
from pipeline.score.route import Routed
from pipeline.score.sensor_shares import Counted, rows_by_sensor
from pipeline.settings import Settings

IDLE_S = 0.1
GATHERED_WITHIN = 0.2
"""Of `gather_ms`: so long the worker waits, from a group's first message, for those of the other partitions. Ingest
sends a message to each at once, they do not come from featurize at once, and a transaction costs here and at the broker
as much for one as for all (docs/adr/0049)."""
LOOK_AGAIN_S = 0.002
"""How often a group that waits for messages while a transaction is open looks whether it still is."""
WAIT_FOR_DECISION_S = 0.05
GAUGES_EVERY_S = 1.0
PATIENCE_S = 30.0
LOGGED_FIELDS = ("kind", "promotion", "model", "effective_from_us", "partition", "reason")


@dataclass
class Group:
    """Messages read at once, split into those to score now and those that must wait."""

    ready: list[tuple[Message, Features]] = field(default_factory=list)
    positions: dict[int, StagePosition] = field(default_factory=dict)
    """The position of each partition once `ready` is scored."""
    blocked: dict[int, int] = field(default_factory=dict)
    """Partition → offset of the first message that must wait for a promotion to be decided."""


def load_model(settings: Settings, telemetry: Telemetry) -> ModelCache:
    """The model to start with, on its device; Misconfigured where it, or the preconditions of names, cannot be used."""
    shipped()  # the file is edited by hand: a mistake in it shows before there are rows
    device, why = choose_device(settings.device)
    cache = ModelCache(settings.model, folder_or_storage(settings.registry_uri, "models"), device)
    log("score").info("model", id=cache.first.model.id, device=device, device_why=why)
    telemetry.gauge("forebay_model_info", 1, model=cache.first.model.id, device=device)
    return cache


class ScoreWorker:
    """One session (kafka/outage.py): its only state is the position of each partition it owns.

    A position is moved on when what lies before it is put, and so may be ahead of what is committed, which lag counts
    from. Where Kafka aborts a transaction, everything is read again from what is.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry, kafka: KafkaWatch, cache: ModelCache) -> None:
        self._settings = settings
        self._kafka = kafka
        self._cache = cache
        self._telemetry = telemetry
        self._log = log("score")
        self._topic = settings.topics.features
        self._gather_s = GATHERED_WITHIN * settings.gather_ms / 1000
        self._outputs = (settings.topics.suspects, settings.topics.archive, settings.topics.retrain)
        self._positions: dict[int, StagePosition] = {}
        self._committed: dict[int, int] = {}
        self._checked: set[str] = set()
        self._gauged_at = 0.0
        telemetry.count("forebay_suspects", 0)
        telemetry.count("forebay_waits_for_promotion", 0)
        telemetry.count("forebay_messages_dropped", 0, stage="score")
        telemetry.count("forebay_malformed_records", 0, topic=settings.topics.models)
        self._partitions = self._partition_count()
        self._models = Follower(settings, "score-models", settings.topics.models)
        self._ledger = PromotionLedger(self._partitions)
        self._producer = clients.transactional_producer(
            settings, "score", kafka.hopeless, clients.SESSION_INIT_S, **clients.PACKED
        )
        self._consumer = clients.consumer(settings, "score", **EOF_EVENTS, **FETCHED)
        self._stall = ConsumerStall(StallDetector(settings, kafka), self._consumer)
        self._transactions = TransactionWriter("score", self._producer, kafka, telemetry)

    def _partition_count(self) -> int:
        topic = clients.admin(self._settings).list_topics(self._topic, timeout=10).topics[self._topic]
        if not topic.partitions:
            raise Failed(f"topic {self._topic} does not exist; create the topics with `forebay topic create`")
        return len(topic.partitions)

    def run(self) -> None:
        """Until the worker is asked to stop; raises what ended the session otherwise, its offsets unmoved."""
        try:
            self._apply(self._models.catch_up())
            self._consumer.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )
            while not self._kafka.stopping():
                self._telemetry.beat()
                messages = self._read_messages()
                self._telemetry.stage.waiting_since(clients.oldest_us(messages))
                if not (self._transactions.poll() and self._process(messages)):
                    self._rewind()
                self._gauges()
            self._transactions.settle()
        finally:
            self._transactions.close()
            self._models.close()
            clients.abandon(self._consumer, self._producer)

    def _process(self, messages: list[Message]) -> bool:
        """Votes first, then what these messages became; False where a transaction was aborted and all is read again."""
        self._apply(self._models.poll())
        if not self._vote():
            return False
        group = self._split(messages)
        if not self._score(group):
            return False
        if group.blocked:
            self._seek_blocked(group)
        return True

    # ---- partitions

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._load_positions([at.partition for at in partitions])
        consumer.assign(
            [TopicPartition(self._topic, at.partition, self._positions[at.partition].offset) for at in partitions]
        )
        self._kafka.announce(at.partition for at in partitions)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._transactions.settle()  # while they are ours: what is aborted now, their next owner scores
        for at in partitions:
            self._positions.pop(at.partition, None)
            self._committed.pop(at.partition, None)
        consumer.unassign()

    def _load_positions(self, partitions: list[int]) -> None:
        """The positions of these partitions, from the group's committed offsets; waits for transactions still open.

        The votes are read after that: a former owner cast them together with the partition's offset.
        """
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        for at in self._consumer.committed(asked, timeout=PATIENCE_S) if asked else []:
            if at.error is not None:
                raise KafkaException(at.error)
            first, _end = self._consumer.get_watermark_offsets(at, timeout=PATIENCE_S)
            position = StagePosition(first)
            if at.offset >= 0:
                where = f"{self._topic}[{at.partition}]"
                position = StagePosition.committed(at.offset, at.metadata, where)
                position.expect_held(first, where)
            self._positions[at.partition] = position
            self._committed[at.partition] = position.offset
        self._apply(self._models.catch_up())

    # ---- reading

    def _read_messages(self) -> list[Message]:
        """At most a group of messages: those already fetched, else the first to arrive and what comes right after.

        While a transaction is open, what comes until its end is one group: it could not be written before.
        """
        messages = self._consumer.consume(1, IDLE_S)
        group_bytes = unpacked_bytes_of(messages)
        until_s: float | None = None
        while messages and len(messages) < self._settings.score_group_messages and group_bytes < MAX_GROUP_BYTES:
            now_s = time.monotonic()
            if until_s is None and messages[-1].error() is None:  # the end of a partition is no message
                until_s = now_s + self._gather_s
            wait_s = 0.0 if until_s is None else max(0.0, until_s - now_s)
            if until_s is not None and not wait_s and self._transactions.is_open():
                wait_s = LOOK_AGAIN_S
            more = self._consumer.consume(1, wait_s)
            if not (more or wait_s):
                break
            messages += more
            group_bytes += unpacked_bytes_of(more)
        self._stall.observe(messages)
        return errors.records(messages)

    def _split(self, messages: list[Message]) -> Group:
        """Which of these are to be scored now; messages seen before are dropped.

        SequenceGap where one is missing, SchemaMismatch where features are not the model's.
        """
        group = Group()
        bound_us = self._ledger.bound_us
        for message in messages:
            partition, offset = message.partition() or 0, message.offset() or 0
            position = group.positions.get(partition, self._positions.get(partition))
            if position is None or partition in group.blocked:
                continue  # revoked while the message was fetched, or after one that waits
            where = f"{self._topic}[{partition}]"
            at = clients.position_of(message)
            features = read(message.value() or b"", at)
            if not position.accepts(offset, features.seq, where):
                group.positions[partition] = position.skipped(offset)
                self._telemetry.count("forebay_messages_dropped", stage="score")
                continue
            if features.facts.feature_hash not in self._checked:
                expect_features(self._cache, features.facts, at)
                self._checked.add(features.facts.feature_hash)
            if bound_us is not None and features.until_us >= bound_us:
                group.blocked[partition] = offset
                continue
            group.positions[partition] = position.advanced(offset, features.seq, features.until_us)
            group.ready.append((message, features))
        return group

    def _seek_blocked(self, group: Group) -> None:
        """Read blocked partitions again from the message that must wait, after a moment."""
        for partition, offset in group.blocked.items():
            self._consumer.seek(TopicPartition(self._topic, partition, offset))
        self._telemetry.count("forebay_waits_for_promotion")
        time.sleep(WAIT_FOR_DECISION_S)

    # ---- scoring

    def _score(self, group: Group) -> bool:
        """Score a group, put what it became, and move its partitions on; False where all must be read again.

        1. One forward over the rows of all messages, then routing.
        2. For one transaction: a suspects and an archive message for every features message, a retrain message where it
           has samples, all to the partition number it came from, and the partitions' offsets with seq and event time
           beside them.
        """
        if not group.positions:
            return True
        started = time.perf_counter()
        routed = score_group([features for _, features in group.ready], self._ledger, self._cache)  # 1
        self._telemetry.observe("forebay_forward_seconds", time.perf_counter() - started)
        rows = sum(features.batch.num_rows for _, features in group.ready)
        suspects = sum(batches.suspects.num_rows for batches in routed)
        by_sensor = [rows_by_sensor(batches.archive) for batches in routed]

        def committed(at_s: float) -> None:
            self._telemetry.stage.rows_in(rows)
            self._telemetry.stage.rows_out(rows)
            self._telemetry.count("forebay_suspects", suspects)
            for counts in by_sensor:
                self._count_by_sensor(counts)
            self._telemetry.stage.batch(at_s - started)

        messages = [each for pair in zip(group.ready, routed, strict=True) for each in self._outgoing(*pair)]
        sent_us = clients.oldest_us(message for message, _ in group.ready)
        return self._put(messages, group.positions, committed, sent_us)  # 2

    def _outgoing(self, read: tuple[Message, Features], batches: Routed) -> Iterable[Outgoing]:
        """What a features message became, encoded in a span that continues its trace."""
        message, features = read
        parent = clients.headers_of(message).get(TRACEPARENT)
        with self._telemetry.span("score features", parent, rows=features.batch.num_rows) as span:
            headers: Headers = [("content-type", CONTENT_TYPE), (TRACEPARENT, span.traceparent)]
            for topic, payload in zip(self._outputs, encoded(batches, features), strict=True):
                if payload is not None:
                    yield Outgoing(topic, message.partition() or 0, message.key(), payload, headers)

    def _put(
        self,
        messages: Iterable[Outgoing],
        positions: dict[int, StagePosition],
        committed: Committed | None = None,
        sent_us: int | None = None,
    ) -> bool:
        """Messages, and positions to move on to, for a transaction; False where an earlier one was aborted."""
        offsets = [
            TopicPartition(self._topic, partition, position.offset, metadata=position.metadata())
            for partition, position in positions.items()
        ]

        def done(at_s: float) -> None:
            self._committed.update((at.partition, at.offset) for at in offsets if at.partition in self._committed)
            if committed is not None:
                committed(at_s)

        # Asked for here: beside a `consume`, in the other thread, it comes only when that returns.
        membership = self._consumer.consumer_group_metadata()
        if not self._transactions.put(messages, offsets, membership, done, sent_us):
            return False
        self._positions.update(positions)
        return True

    def _count_by_sensor(self, counts: Mapping[SensorName, Counted]) -> None:
        for (site, sensor), rows in counts.items():
            self._telemetry.count("forebay_scored_rows", rows.suspects, site=site, sensor=sensor, suspect="yes")
            self._telemetry.count("forebay_scored_rows", rows.others, site=site, sensor=sensor, suspect="no")
            self._telemetry.count("forebay_scored_unusual_rows", rows.unusual, site=site, sensor=sensor)

    def _vote(self) -> bool:
        """Cast the votes that this worker's partitions owe, with their offsets (pipeline/contracts/promotions.py).

        They are in the transaction of the rows that were scored before them, or in a later one. False where one was
        aborted.
        """
        records = [
            vote(promotion, partition, self._partitions, position.scored_until_us, self._cache.unusable(promotion))
            for partition, position in self._positions.items()
            for promotion in self._ledger.to_vote(partition)
        ]
        # One refusal is enough for a promotion that was void from the start; any partition may cast it.
        for partition in list(self._positions)[:1]:
            records += [
                vote(promotion, partition, self._partitions, last_us) for promotion, last_us in self._ledger.untimely
            ]
        if not records:
            return True
        topic = self._settings.topics.models
        votes = [
            Outgoing(topic, 0, str(record["promotion"]).encode(), orjson.dumps(record, option=orjson.OPT_SORT_KEYS), [])
            for record in records
        ]
        if not (self._put(votes, self._positions) and self._transactions.settle()):
            return False
        self._apply(self._models.catch_up())
        return True

    def _apply(self, messages: Iterable[Message]) -> None:
        """Apply records of `models` to the ledger; a malformed one is ignored, by every worker alike."""
        for message in messages:
            try:
                record = self._ledger.apply_payload(message.value())
            except BadData as error:
                self._log.warning("record of models ignored", offset=message.offset(), error=str(error))
                self._telemetry.count("forebay_malformed_records", topic=self._settings.topics.models)
            else:
                logged = {name: record[name] for name in LOGGED_FIELDS if name in record}
                self._log.info("record of models", offset=message.offset(), **logged)

    def _rewind(self) -> None:
        """Read again from what is committed, and put from there on."""
        self._transactions.resume()
        partitions = [at.partition for at in self._consumer.assignment()]
        self._stall.forget(self._topic, partitions)
        self._load_positions(partitions)
        for partition in partitions:
            self._consumer.seek(TopicPartition(self._topic, partition, self._positions[partition].offset))

    def _gauges(self) -> None:
        if time.monotonic() - self._gauged_at < GAUGES_EVERY_S:
            return
        self._gauged_at = time.monotonic()
        lag = 0
        for partition, offset in self._committed.items():
            _first, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            lag += max(0, end - offset)
        self._telemetry.gauge("forebay_lag_messages", lag, stage="score")
        self._telemetry.gauge("forebay_partitions", len(self._positions))
        self._telemetry.gauge("forebay_models_held", len(self._cache.ids))


def unpacked_bytes_of(messages: Iterable[Message]) -> int:
    """What messages hold, unpacked."""
    return sum(unpacked_bytes(message.value() or b"") for message in messages)


def run(settings: Settings) -> None:
    """Score until asked to stop."""
    with stage_process("score", settings) as (telemetry, kafka):
        cache = load_model(settings, telemetry)
        collector.freeze_loaded()
        kafka.run(lambda: ScoreWorker(settings, telemetry, kafka, cache).run())
        log("score").info("stopped")
