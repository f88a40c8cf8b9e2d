"""What ingest counts of what is committed, by sensor: for metrics, and for lines of the log about rejects."""

from dataclasses import dataclass

from pipeline.contracts.envelope import SensorName
from pipeline.ingest.active_sensors import FAULT as TOO_MANY_SENSORS
from pipeline.ingest.pack import Packed
from pipeline.ingest.reject_log import RejectCount, reject_counts
from pipeline.runtime.wire.sensors import row_counts

# Sensors with counters of their own: a Prometheus server takes some thousand series a target.
MAX_SENSOR_LABELS = 1_024


class SensorLabelLimit:
    """Sensors that have counters of their own; names come with messages, so their number is bounded."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def bounded(self, labels: dict[str, str]) -> dict[str, str]:
        """The labels; the sensor is `other` where too many are known already, or ingest rejected it as too many."""
        sensor = (labels["site"], labels["sensor"])
        refused = labels.get("reason") == TOO_MANY_SENSORS
        if sensor not in self._known and (refused or len(self._known) >= MAX_SENSOR_LABELS):
            return {**labels, "site": "other", "sensor": "other"}
        self._known.add(sensor)
        return labels


@dataclass(frozen=True, slots=True)
class Count:
    """Of a flows message and its rejects what is counted once they are committed: without their rows."""

    records: int
    flows: dict[SensorName, int]
    rejects: list[RejectCount]
    sent_us: int
    """Kafka's timestamp of its first raw message."""
    commands: str
    """`taken` or `ignored` where it ends with a command, else empty."""

    @classmethod
    def of(cls, packed: Packed) -> "Count":
        """What is counted of a message."""
        return cls(
            packed.flows.num_rows + sum(batch.num_rows for batch in packed.rejects),
            row_counts(packed.flows),
            [counted for batch in packed.rejects for counted in reject_counts(batch)],
            packed.timestamp_us,
            "ignored" if packed.misread else "taken" if packed.facts.commands else "",
        )
