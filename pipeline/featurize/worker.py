"""The featurize worker: flows in, features out, through the shell around Faust."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pyarrow as pa

from pipeline.contracts.envelope import FlowsFacts, MessagePosition
from pipeline.contracts.notices import KINDS
from pipeline.errors import Failed
from pipeline.featurize.feature_set import FeatureSet
from pipeline.featurize.feature_sets import named
from pipeline.featurize.messages import CUTTING, CUTTING_BEFORE_FRAMES, FeaturesMessage
from pipeline.featurize.partition import (
    FlowsMessage,
    PartitionState,
    SiteRules,
    advance_partition,
    advance_partitions,
    evicted,
    full_sensors,
    phases,
    restore,
    sensors_by_name,
    snapshot,
)
from pipeline.featurize.sensor import SensorState
from pipeline.featurize.snapshot import snapshot as snapshot_sensor
from pipeline.featurize.windows.calendars import Calendars
from pipeline.runtime import heap
from pipeline.runtime.faust import worker
from pipeline.runtime.faust.stage import Incoming, Outgoing, Stage
from pipeline.runtime.telemetry import Telemetry, configure, start
from pipeline.runtime.wire.batches import CONTENT_TYPE, blank_row
from pipeline.runtime.wire.messages import is_framed, read, write
from pipeline.runtime.wire.sensors import row_counts
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT
from pipeline.settings import Settings


class Featurize(Stage[PartitionState]):
    """What the shell runs: a features message for every flows message, more where it released much, each with a seq."""

    name = "featurize"
    packs = True
    gathers = True

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.source = settings.topics.flows
        self.pointers = settings.topics.featurize_state
        self._features = settings.topics.features
        self._baselines = settings.topics.baselines
        self._feature_set = named(settings.feature_set, live=True)
        self._rules = SiteRules(
            settings.lateness_of, settings.stitch_of, Calendars(settings.calendars), settings.learning_of
        )
        self._telemetry = telemetry
        telemetry.count("forebay_late_rows", 0, site="", sensor="")
        for kind in KINDS:
            telemetry.count("forebay_baseline_notices", 0, kind=kind)

    def restore(self, partition: int, snapshot: bytes | None, parts: Mapping[str, bytes]) -> PartitionState:
        """The state of a partition; None is the start."""
        if snapshot is None:
            return PartitionState.empty(self._feature_set)
        state = restore(snapshot, parts, self._feature_set)
        self._count_phases(partition, state)
        return state

    def snapshot(self, state: PartitionState) -> bytes:
        """The state without its sensors."""
        for table, keys in evicted(state).items():
            self._telemetry.gauge("forebay_window_keys_evicted", keys, table=table)
        return snapshot(state)

    def parts(self, state: PartitionState) -> Mapping[str, object]:
        """The sensors."""
        return sensors_by_name(state)

    def part(self, part: object) -> bytes:
        """A sensor as bytes."""
        if not isinstance(part, SensorState):
            raise Failed(f"featurize: got {part!r} to save, expected a sensor's state")
        return snapshot_sensor(part)

    def seq(self, state: PartitionState) -> int:
        """Number of the next features message."""
        return state.seq

    def reached_us(self, state: PartitionState) -> int:
        """The latest end time of the released flows."""
        return state.reached_us

    def advance(self, state: PartitionState, message: Incoming) -> tuple[PartitionState, Sequence[Outgoing]]:
        """One flows message; BadData, BadEnvelope or SchemaMismatch where it is none: a fault, as ingest wrote it."""
        [advanced] = self.advance_together([(state, message)])
        return advanced

    def advance_together(
        self, messages: Sequence[tuple[PartitionState, Incoming]]
    ) -> Sequence[tuple[PartitionState, Sequence[Outgoing]]]:
        """A flows message of each of several partitions, in one step; raises what `advance` does."""
        started, outgoing = time.perf_counter(), list[list[Outgoing]]()
        with ExitStack() as spans:
            span_of = [
                spans.enter_context(self._telemetry.span("featurize flows", message.headers.get(TRACEPARENT)))
                for _, message in messages
            ]
            came = [self._read(message) for _, message in messages]
            before = [(state, len(state.sensors)) for state, _ in messages]
            advanced = advance_partitions(
                [(state, flows) for (state, _), flows in zip(before, came, strict=True)], self._rules
            )
            for span, (_, message), (_, features) in zip(span_of, messages, advanced, strict=True):
                span.set("rows", sum(each.rows.num_rows for each in features))
                headers = {"content-type": CONTENT_TYPE.encode(), TRACEPARENT: span.traceparent.encode()}
                payloads = [write(each.rows, each.facts) for each in features]
                outgoing.append([Outgoing(self._features, message.key, payload, headers) for payload in payloads])
        for (_, message), flows, (_, sensors), (after, features), out in zip(
            messages, came, before, advanced, outgoing, strict=True
        ):
            self._telemetry.stage.rows_in(flows.flows.num_rows)
            out += self._count(message.partition, sensors, after, features)
        for _ in messages:
            self._telemetry.stage.batch((time.perf_counter() - started) / len(messages))
        return [(after, out) for (after, _), out in zip(advanced, outgoing, strict=True)]

    def _read(self, message: Incoming) -> FlowsMessage:
        position = MessagePosition(self.source, message.partition, message.offset)
        flows, facts = read(message.value, FlowsFacts, position)
        return FlowsMessage(
            flows, facts, message.offset, CUTTING if is_framed(message.value) else CUTTING_BEFORE_FRAMES
        )

    def _count(
        self, partition: int, sensors: int, after: PartitionState, messages: Sequence[FeaturesMessage]
    ) -> list[Outgoing]:
        """Count what came of a message, before which the partition had so many sensors; its notices."""
        for features in messages:
            self._telemetry.stage.rows_out(features.rows.num_rows)
            self._count_late(features.rows)
        self._telemetry.count("forebay_sensors_evicted", sum(len(features.facts.evicted) for features in messages))
        self._telemetry.gauge("forebay_sensors", len(after.sensors) - len(after.idle), partition=str(partition))
        notices = [notice for features in messages for notice in features.facts.notices]
        for kind, count in Counter(notice.kind for notice in notices).items():
            self._telemetry.count("forebay_baseline_notices", count, kind=kind)
        if notices or len(after.sensors) != sensors:
            # No sensor changes its phase without a notice, and each writes one an hour.
            self._count_phases(partition, after)
        return [Outgoing(self._baselines, notice.key.encode(), notice.payload()) for notice in notices]

    def _count_late(self, rows: pa.RecordBatch) -> None:
        late = rows.column("late_by_us").to_numpy() != 0
        if late.any():
            for (site, sensor), count in row_counts(rows.select(["site", "sensor"]).filter(pa.array(late))).items():
                self._telemetry.count("forebay_late_rows", count, site=site, sensor=sensor)

    def _count_phases(self, partition: int, state: PartitionState) -> None:
        for phase, sensors in phases(state).items():
            self._telemetry.gauge("forebay_baseline_sensors", sensors, partition=str(partition), phase=phase)
        self._telemetry.gauge("forebay_baseline_full_sensors", full_sensors(state), partition=str(partition))


def _compile(feature_set: FeatureSet) -> None:
    """Take one made-up flow through, so that nothing is compiled while messages wait and the group with them."""
    facts = FlowsFacts(raw_partition=0, first=(0, 0), last=(0, 0), records=1, rejected=0, ended=(("", ""),))
    advance_partition(PartitionState.empty(feature_set), blank_row("flow"), facts, 0, lambda _site: 0)


def run(settings: Settings) -> None:
    """Featurize until asked to stop."""
    heap.share()
    configure(settings.log_level)
    telemetry = start("featurize", settings)
    try:
        _compile(named(settings.feature_set, live=True))
        worker.run(Featurize(settings, telemetry), settings, telemetry)
    finally:
        telemetry.close()
