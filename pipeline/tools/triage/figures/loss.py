"""What was lost before Kafka, of each sensor, as far as its exporters' sequence numbers in the archive show it."""

from collections.abc import Mapping
from typing import Any

from pipeline.archive import snapshot
from pipeline.archive.upkeep.exporter_loss.report import ExporterLoss
from pipeline.contracts.envelope import SensorName
from pipeline.runtime.storage.location import open_storage
from pipeline.settings import Settings

NO_NUMBERS = "nothing that is archived of it bears an exporter's sequence number"

Losses = Mapping[SensorName, Mapping[str, Any]]
"""By sensor: missing_flows, missing_packets (at most that, unless `exact`), exporters, since the archive's start."""


class LossReader:
    """Reads the archive again and again: each closed file once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loss = ExporterLoss()

    def read(self) -> Losses:
        """The losses of all sensors whose records have numbers."""
        archive = open_storage(self._settings.archive_uri)
        snapshots = snapshot.read(archive) if archive.exists() else []
        rows = self._loss.refresh(archive, snapshots)
        return {(row["site"], row["sensor"]): _shown(row) for row in rows}


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a sensor's report what the screen has room for."""
    unknown = [each for each in row["exporters"] if each["missing"] is None]
    return {
        "missing_flows": row["missing_flows"],
        "missing_packets": row["missing_packets"],
        "exact": bool(row["exact"]) and not unknown,
        "exporters": len(row["exporters"]),
        "exporters_unknown": len(unknown),
    }
