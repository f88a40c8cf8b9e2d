"""The featurize worker: flows in, features out, through the shell around Faust."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline.contracts.envelope import FlowsFacts, MessagePosition
from pipeline.contracts.notices import KINDS
from pipeline.errors import Failed
from pipeline.featurize.feature_set import FeatureSet
from pipeline.featurize.feature_sets import named
from pipeline.featurize.messages import CUTTING, CUTTING_BEFORE_FRAMES
from pipeline.featurize.partition import (
    PartitionState,
    advance_partition,
    evicted,
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
from pipeline.runtime.faust.stage import Incoming, Outgoing
from pipeline.runtime.telemetry import Telemetry, configure, start
from pipeline.runtime.wire.batches import CONTENT_TYPE, blank_row
from pipeline.runtime.wire.messages import is_framed, read, write
from pipeline.runtime.wire.sensors import row_counts
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT
from pipeline.settings import Settings


class Featurize:
    """What the shell runs: a features message for every flows message, more where it released much, each with a seq."""

    name = "featurize"
    packs = True

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.source = settings.topics.flows
        self.pointers = settings.topics.featurize_state
        self._features = settings.topics.features
        self._baselines = settings.topics.baselines
        self._lateness_of = settings.lateness_of
        self._feature_set = named(settings.feature_set, live=True)
        self._stitch_of = settings.stitch_of
        self._calendars = Calendars(settings.calendars)
        self._learning_of = settings.learning_of
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
        with self._telemetry.span("featurize flows", message.headers.get(TRACEPARENT)) as span:
            started = time.perf_counter()
            position = MessagePosition(self.source, message.partition, message.offset)
            flows, facts = read(message.value, FlowsFacts, position)
            sensors = len(state.sensors)
            after, messages = advance_partition(
                state,
                flows,
                facts,
                message.offset,
                self._lateness_of,
                self._stitch_of,
                self._calendars,
                self._learning_of,
                CUTTING if is_framed(message.value) else CUTTING_BEFORE_FRAMES,
            )
            payloads = [write(features.rows, features.facts) for features in messages]
            rows = sum(features.rows.num_rows for features in messages)
            span.set("rows", rows)
            headers = {"content-type": CONTENT_TYPE.encode(), TRACEPARENT: span.traceparent.encode()}
        self._telemetry.stage.rows_in(flows.num_rows)
        self._telemetry.stage.rows_out(rows)
        for features in messages:
            self._count_late(features.rows)
        self._telemetry.count("forebay_sensors_evicted", sum(len(features.facts.evicted) for features in messages))
        self._telemetry.gauge("forebay_sensors", len(after.sensors) - len(after.idle), partition=str(message.partition))
        self._telemetry.stage.batch(time.perf_counter() - started)
        outgoing = [Outgoing(self._features, message.key, payload, headers) for payload in payloads]
        notices = [notice for features in messages for notice in features.facts.notices]
        for kind, count in Counter(notice.kind for notice in notices).items():
            self._telemetry.count("forebay_baseline_notices", count, kind=kind)
        if notices or len(after.sensors) != sensors:
            self._count_phases(message.partition, after)  # no sensor changes its phase without a notice
        return after, outgoing + [
            Outgoing(self._baselines, notice.key.encode(), notice.payload()) for notice in notices
        ]

    def _count_late(self, rows: pa.RecordBatch) -> None:
        late = rows.column("late_by_us").to_numpy() != 0
        if late.any():
            for (site, sensor), count in row_counts(rows.select(["site", "sensor"]).filter(pa.array(late))).items():
                self._telemetry.count("forebay_late_rows", count, site=site, sensor=sensor)

    def _count_phases(self, partition: int, state: PartitionState) -> None:
        for phase, sensors in phases(state).items():
            self._telemetry.gauge("forebay_baseline_sensors", sensors, partition=str(partition), phase=phase)


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
