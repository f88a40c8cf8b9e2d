"""The alert worker: suspects in, alerts out, with Faust; incidents, revision, position and seq are saved together."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.alert.grouping import Grouping, load_grouping
from pipeline.alert.manifests import Manifests
from pipeline.alert.ocsf import ACTIVITY, CLOSE, encode
from pipeline.alert.partition import PartitionState, advance_partition, restore, snapshot
from pipeline.alert.sensor_state import Tally
from pipeline.alert.site_techniques import meanings_of_sites
from pipeline.alert.validity import require_valid
from pipeline.contracts.class_names import UNKNOWN
from pipeline.contracts.envelope import MessagePosition, RowsFacts, ScoredFacts
from pipeline.runtime import heap
from pipeline.runtime.faust import worker
from pipeline.runtime.faust.stage import Incoming, Outgoing, Stage
from pipeline.runtime.telemetry import Telemetry, log, start
from pipeline.runtime.wire import messages
from pipeline.runtime.wire.batches import blank_row
from pipeline.settings import Settings

CONTENT_TYPE = b"application/json"
# Models without a manifest that are named in the log once each; their ids come with messages.
MAX_UNKNOWN_MODELS = 1_000


class AlertStage(Stage[PartitionState]):
    """The stage as the shell around Faust sees it; `advance` depends on state, message, manifests and rules alone."""

    name = "alert"

    def __init__(self, settings: Settings, telemetry: Telemetry, grouping: Grouping | None = None) -> None:
        self.source = settings.topics.suspects
        self.pointers = settings.topics.alert_state
        self._alerts = settings.topics.alerts
        self._telemetry = telemetry
        self._log = log(self.name)
        self._grouping = grouping or load_grouping()
        self._manifests = Manifests(settings.registry_uri)
        self._meanings_of = meanings_of_sites(settings.techniques, settings.site_techniques)
        self._pages_of = settings.pages_of
        self._without_manifest: set[str] = set()
        telemetry.count("forebay_pages", 0)
        for activity in ACTIVITY.values():
            telemetry.stage.rows_out(0, activity=activity.lower())

    def restore(self, partition: int, snapshot: bytes | None, _parts: Mapping[str, bytes]) -> PartitionState:
        """The state in a snapshot, empty where there is none; RefusedState where it is damaged."""
        return PartitionState.empty() if snapshot is None else restore(snapshot)

    def snapshot(self, state: PartitionState) -> bytes:
        """The state as bytes."""
        return snapshot(state)

    def seq(self, state: PartitionState) -> int:
        """Number of the next suspects message."""
        return state.seq

    def reached_us(self, state: PartitionState) -> int:
        """The latest end time of the suspects that came, or the latest watermark."""
        return state.reached_us

    def advance(self, state: PartitionState, message: Incoming) -> tuple[PartitionState, Sequence[Outgoing]]:
        """One suspects message: the incidents it changed, one alerts message each.

        Raises SequenceGap, SchemaMismatch or BadData where the message is not the next one of ours, and Failed where an
        event would violate its schema.
        """
        started = time.perf_counter()
        with self._telemetry.span("process suspects", message.headers.get("traceparent")) as span:
            position = MessagePosition(self.source, message.partition, message.offset)
            rows, facts = messages.read(message.value, ScoredFacts, position)
            span.set("forebay.rows", rows.num_rows)
            advanced = advance_partition(
                state, rows, facts, self._grouping, self._baseline_of, self._meanings_of, self._pages_of
            )
            outgoing = [self._outgoing(event, span.traceparent) for event in advanced.events]
            span.set("forebay.alerts", len(outgoing))
        if not advanced.accepted:
            self._telemetry.count("forebay_messages_dropped", stage=self.name)
            return state, ()
        self._telemetry.stage.rows_in(rows.num_rows)
        self._count(advanced.events, advanced.tally)
        self._telemetry.gauge(
            "forebay_incidents_open",
            sum(len(sensor.incidents) for sensor in advanced.state.sensors.values()),
            partition=str(message.partition),
        )
        self._telemetry.stage.batch(time.perf_counter() - started)
        return advanced.state, outgoing

    def _outgoing(self, event: dict[str, Any], traceparent: str) -> Outgoing:
        require_valid(event)
        headers = {
            "content-type": CONTENT_TYPE,
            "revision": str(event["metadata"]["sequence"]).encode(),
            "traceparent": traceparent.encode(),
        }
        return Outgoing(self._alerts, event["finding_info"]["uid"].encode(), encode(event), headers)

    def _baseline_of(self, model: str) -> Any:
        baseline = self._manifests.baseline_of(model)
        known = len(self._without_manifest) >= MAX_UNKNOWN_MODELS or model in self._without_manifest
        if baseline is None and not known:
            self._without_manifest.add(model)
            self._log.warning("no manifest of this model: alerts go out without reasons", model=model)
        return baseline

    def _count(self, events: list[dict[str, Any]], happened: Tally) -> None:
        for what in ("suspects", "alone", "dropped", "crowded"):
            self._telemetry.count("forebay_suspects", getattr(happened, what), what=what)
        self._telemetry.count("forebay_pages", happened.pages)
        for event in events:
            if event["activity_id"] == CLOSE and "notice" not in event["unmapped"]:
                about = event["unmapped"]
                labels = {"disposition": about["disposition"], "reason": about["disposition_reason"]}
                self._telemetry.count("forebay_incidents", **labels)
            self._telemetry.stage.rows_out(1, activity=ACTIVITY[event["activity_id"]].lower())
            waited_s = time.time() - event["unmapped"].get("latest_ingest_ts_us", 0) / 1e6
            # Records replayed from an old topic would only measure its age; a notice has no flow that it waited for.
            if 0 <= waited_s < 3600:
                self._telemetry.observe("forebay_ingest_to_alert_seconds", waited_s)


def warm_up(grouping: Grouping) -> None:
    """Take made-up suspects as far as an alert: what the first one loads and compiles would let it wait for seconds."""
    suspect = blank_row("scored", {"class": UNKNOWN, "src_addr": "192.0.2.1", "dst_addr": "192.0.2.2"})
    facts = RowsFacts(seq=0, raw_partition=0, feature_set="", feature_hash="", watermarks=(), ended=())
    rows = pa.concat_batches([suspect] * grouping.open_count)
    for event in advance_partition(PartitionState.empty(), rows, facts, grouping, lambda _model: None).events:
        require_valid(event)
        encode(event)


def run(settings: Settings) -> None:
    """Run the worker until it is asked to stop; raises what stopped it otherwise, its position unmoved."""
    heap.share()
    telemetry = start("alert", settings)
    try:
        grouping = load_grouping()
        warm_up(grouping)
        worker.run(AlertStage(settings, telemetry, grouping), settings, telemetry)
    finally:
        telemetry.close()
