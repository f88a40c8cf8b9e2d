"""Room 2's door: flows in, features out, through the shell around Faust."""

import time
from collections.abc import Sequence

from pipeline.errors import BadData
from pipeline.faust import worker
from pipeline.faust.room import Incoming, Outgoing
from pipeline.featurize.partition import PartitionState, advance_partition, restore, snapshot
from pipeline.settings import Settings
from pipeline.telemetry import Telemetry, configure, start
from pipeline.telemetry.traceparent import HEADER as TRACEPARENT
from pipeline.wire.batches import CONTENT_TYPE, decode, encode


class Featurize:
    """What the shell runs: for every flows message exactly one features message, with the next seq."""

    name = "featurize"

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.source = settings.topics.flows
        self.pointers = settings.topics.featurize_state
        self._features = settings.topics.features
        self._lateness_of = settings.lateness_of
        self._telemetry = telemetry

    def restore(self, partition: int, blob: bytes | None) -> PartitionState:
        """The state of a partition; None is the beginning."""
        return PartitionState.empty() if blob is None else restore(blob)

    def snapshot(self, state: PartitionState) -> bytes:
        """The state as bytes."""
        return snapshot(state)

    def seq(self, state: PartitionState) -> int:
        """Number of the next features message."""
        return state.seq

    def advance(self, state: PartitionState, message: Incoming) -> tuple[PartitionState, Sequence[Outgoing]]:
        """One flows message; BadData where it is none: ingest wrote it, so that is a fault and no bad record."""
        with self._telemetry.span("featurize flows", message.headers.get(TRACEPARENT)) as span:
            started = time.perf_counter()
            flows, meta = decode(message.value, "flow")
            if meta.get("raw_partition") != message.partition:
                raise BadData(
                    f"{self.source}[{message.partition}]@{message.offset}: got flows of raw partition "
                    f"{meta.get('raw_partition')!r}, expected {message.partition}; every hop keeps the partition number"
                )
            after, features, facts = advance_partition(
                state, flows, {**meta, "flows_offset": message.offset}, self._lateness_of
            )
            payload = encode(features, facts)
            span.set("rows", features.num_rows)
            headers = {"content-type": CONTENT_TYPE.encode(), TRACEPARENT: span.traceparent.encode()}
        self._telemetry.count("forebay_featurized_rows", features.num_rows)
        self._telemetry.observe("forebay_featurize_seconds", time.perf_counter() - started)
        return after, [Outgoing(self._features, message.key, payload, headers)]


def run(settings: Settings) -> None:
    """Featurize until asked to stop."""
    configure(settings.log_level)
    telemetry = start("featurize", settings)
    try:
        worker.run(Featurize(settings, telemetry), settings, telemetry)
    finally:
        telemetry.close()
