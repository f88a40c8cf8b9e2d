"""The worker of score: features in, suspects, archive and retrain out, one Kafka transaction a group of messages."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.contracts.preconditions import shipped
from pipeline.contracts.promotions import PromotionLedger, vote
from pipeline.errors import BadData, Failed
from pipeline.runtime import collector, failpoints
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.producing import produce
from pipeline.runtime.kafka.stage_process import stage_process
from pipeline.runtime.kafka.stall import ConsumerStall, StallDetector
from pipeline.runtime.kafka.tail import EOF_EVENTS, Follower
from pipeline.runtime.kafka.watchdog import Watchdog
from pipeline.runtime.storage.storage import folder_or_storage
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.runtime.wire.batches import CONTENT_TYPE, unpacked_bytes
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT
from pipeline.score.device import choose_device
from pipeline.score.group import Features, encoded, expect_features, read, score_group
from pipeline.score.model_cache import ModelCache
from pipeline.score.position import StagePosition
from pipeline.score.sensor_shares import rows_by_sensor
from pipeline.settings import Settings

IDLE_S = 0.1
GATHERED_WITHIN = 0.2
"""Of `gather_ms`: so long the worker waits, from a group's first message, for those of the other partitions. Ingest
sends a message to each at once, they do not come from featurize at once, and a transaction costs here and at the broker
as much for one as for all (docs/adr/0049)."""
WAIT_FOR_DECISION_S = 0.05
GAUGES_EVERY_S = 1.0
PATIENCE_S = 30.0
MAX_GROUP_BYTES = 16 * 1024 * 1024
"""Of features messages, unpacked: some 20,000 rows, a tenth of a second. A larger group saves nothing more a row, and
is held as it came, unpacked, and in the producer's queue."""
FETCHED: clients.Configuration = {
    # What is fetched ahead: two groups.
    "queued.max.messages.kbytes": 8_192,
    "fetch.max.bytes": 8_388_608,
    "max.partition.fetch.bytes": 1_048_576,
}
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
    """One session (kafka/outage.py): its only state is the position of each partition it owns."""

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
        self._checked: set[str] = set()
        self._gauged_at = 0.0
        telemetry.count("forebay_suspects", 0)
        telemetry.count("forebay_waits_for_promotion", 0)
        telemetry.count("forebay_messages_dropped", 0, stage="score")
        telemetry.count("forebay_producer_full", 0, stage="score")
        telemetry.count("forebay_malformed_records", 0, topic=settings.topics.models)
        self._partitions = self._partition_count()
        self._models = Follower(settings, "score-models", settings.topics.models)
        self._ledger = PromotionLedger(self._partitions)
        self._producer = clients.transactional_producer(
            settings, "score", kafka.hopeless, clients.SESSION_INIT_S, **clients.PACKED
        )
        self._watchdog = Watchdog("score", kafka.hopeless)
        self._consumer = clients.consumer(settings, "score", **EOF_EVENTS, **FETCHED)
        self._stall = ConsumerStall(StallDetector(settings, kafka), self._consumer)

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
                self._apply(self._models.poll())
                self._vote()
                group = self._split(messages)
                if self._score(group) and group.blocked:
                    self._seek_blocked(group)
                self._gauges()
        finally:
            self._models.close()
            clients.abandon(self._consumer, self._producer)

    # ---- partitions

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._load_positions([at.partition for at in partitions])
        consumer.assign(
            [TopicPartition(self._topic, at.partition, self._positions[at.partition].offset) for at in partitions]
        )
        self._kafka.announce(at.partition for at in partitions)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for at in partitions:
            self._positions.pop(at.partition, None)
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
        self._apply(self._models.catch_up())

    # ---- reading

    def _read_messages(self) -> list[Message]:
        """At most a group of messages: those already fetched, else the first to arrive and what comes right after."""
        messages = more = self._consumer.consume(1, IDLE_S)
        group_bytes, until_s = 0, 0.0
        while more and len(messages) < self._settings.score_group_messages:
            group_bytes += unpacked_bytes(more[0].value() or b"")
            if group_bytes >= MAX_GROUP_BYTES:
                break
            now_s = time.monotonic()
            if not until_s and more[0].error() is None:  # the end of a partition is no message
                until_s = now_s + self._gather_s
            more = self._consumer.consume(1, max(0.0, until_s - now_s))
            messages += more
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
        """Score a group and move its partitions on; False where the transaction was aborted and all is read again.

        1. One forward over the rows of all messages, then routing.
        2. In one transaction: a suspects and an archive message for every features message, a retrain message where it
           has samples, all to the partition number it came from, and the partitions' offsets with seq and event time
           beside them.
        3. Only when that is committed: the positions in memory.
        """
        if not group.positions:
            return True
        started = time.perf_counter()
        routed = score_group([features for _, features in group.ready], self._ledger, self._cache)  # 1
        self._telemetry.observe("forebay_forward_seconds", time.perf_counter() - started)

        def send() -> None:
            for (message, features), batches in zip(group.ready, routed, strict=True):
                parent = clients.headers_of(message).get(TRACEPARENT)
                with self._telemetry.span("score features", parent, rows=features.batch.num_rows) as span:
                    headers: list[tuple[str, str | bytes | None]] = [
                        ("content-type", CONTENT_TYPE),
                        (TRACEPARENT, span.traceparent),
                    ]
                    for topic, payload in zip(self._outputs, encoded(batches, features), strict=True):
                        if payload is not None:
                            self._produce(topic, message.key(), payload, message.partition() or 0, headers)

        if not self._transact(send, group.positions):  # 2
            return False
        self._positions.update(group.positions)  # 3
        rows = sum(features.batch.num_rows for _, features in group.ready)
        self._telemetry.stage.rows_in(rows)
        self._telemetry.stage.rows_out(rows)
        self._telemetry.count("forebay_suspects", sum(batches.suspects.num_rows for batches in routed))
        for batches in routed:
            self._count_by_sensor(batches.archive)
        self._telemetry.stage.batch(time.perf_counter() - started)
        return True

    def _count_by_sensor(self, scored: pa.RecordBatch) -> None:
        for (site, sensor), rows in rows_by_sensor(scored).items():
            self._telemetry.count("forebay_scored_rows", rows.suspects, site=site, sensor=sensor, suspect="yes")
            self._telemetry.count("forebay_scored_rows", rows.others, site=site, sensor=sensor, suspect="no")
            self._telemetry.count("forebay_scored_unusual_rows", rows.unusual, site=site, sensor=sensor)

    def _produce(
        self,
        topic: str,
        key: str | bytes | None,
        payload: bytes,
        partition: int,
        headers: list[tuple[str, str | bytes | None]],
    ) -> None:
        # The queue is bounded: wait for the broker, so that lag grows in Kafka and not in memory.
        produce(
            self._producer,
            topic,
            payload,
            stopped=self._kafka.hopeless,
            full=lambda: self._telemetry.count("forebay_producer_full", stage="score"),
            key=key,
            partition=partition,
            headers=headers,
        )
        self._producer.poll(0)

    def _vote(self) -> None:
        """Cast the votes that this worker's partitions owe, with their offsets (pipeline/contracts/promotions.py)."""
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
            return

        def send() -> None:
            for record in records:
                payload = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
                key = str(record["promotion"]).encode()
                self._produce(self._settings.topics.models, key, payload, 0, [])

        if self._transact(send, self._positions):
            self._apply(self._models.catch_up())

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

    def _transact(self, send: Callable[[], None], positions: dict[int, StagePosition]) -> bool:
        """Messages and positions in one transaction; False where it had to be aborted, and everything is read again."""
        offsets = [
            TopicPartition(self._topic, partition, position.offset, metadata=position.metadata())
            for partition, position in positions.items()
        ]
        try:
            self._producer.begin_transaction()
            failpoints.reached("score.begun")
            send()
            failpoints.reached("score.produced")
            self._kafka.step(
                lambda timeout_s: self._watchdog.send_offsets(self._producer, offsets, self._consumer, timeout_s)
            )
            failpoints.reached("score.offsets sent")
            self._kafka.step(self._producer.commit_transaction)
            failpoints.reached("score.committed")
        except KafkaException as error:
            self._kafka.abort(self._producer, error)
            self._rewind()
            return False
        self._kafka.progressed()
        return True

    def _rewind(self) -> None:
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
        for partition, position in self._positions.items():
            _first, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            lag += max(0, end - position.offset)
        self._telemetry.gauge("forebay_lag_messages", lag, stage="score")
        self._telemetry.gauge("forebay_partitions", len(self._positions))
        self._telemetry.gauge("forebay_models_held", len(self._cache.ids))


def run(settings: Settings) -> None:
    """Score until asked to stop."""
    with stage_process("score", settings) as (telemetry, kafka):
        cache = load_model(settings, telemetry)
        collector.freeze_loaded()
        kafka.run(lambda: ScoreWorker(settings, telemetry, kafka, cache).run())
        log("score").info("stopped")
