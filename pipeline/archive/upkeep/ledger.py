"""A live ledger: what topic `raw` holds per sensor, and what of it the archive's manifests have."""

from collections import Counter
from types import TracebackType
from typing import Any

from pipeline.archive import snapshot
from pipeline.archive.upkeep import raw_counts
from pipeline.archive.upkeep.exporter_loss.report import ExporterLoss
from pipeline.contracts.envelope import SensorName
from pipeline.runtime.storage.location import open_storage
from pipeline.settings import Settings

COUNTS = ("accepted", "rejected", "late", "open")


class Ledger:
    """Reads both, again and again; of `raw`, and of the archive's files for their numbers, only what is new is read.

    With a compacted or expired `raw` the archive has more than was counted: `on_its_way` is then what it is, negative.
    """

    def __init__(self, settings: Settings, kafka: bool) -> None:
        self._settings = settings
        self._sent: Counter[SensorName] = Counter()
        self._counter = raw_counts.RawCounter(settings) if kafka else None
        self._exporter_loss = ExporterLoss()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._counter is not None:
            self._counter.close()

    def refresh(self) -> dict[str, Any]:
        """`sensors`: site, sensor, sent, accepted, rejected, late, open, on_its_way; without Kafka the last and `sent`
        are None. `balanced`: nothing is on its way. `before_kafka`: what exporters' sequence numbers show.
        """
        # The archive first: what it has was sent, so nothing seems to come from nowhere.
        archive = open_storage(self._settings.archive_uri)
        snapshots = snapshot.read(archive) if archive.exists() else []
        counts = snapshot.count(snapshots)
        if self._counter is not None:
            self._sent.update(self._counter.poll())
        rows: list[dict[str, Any]] = []
        for site, sensor in sorted({*counts, *self._sent}):
            counted = counts.get((site, sensor), dict.fromkeys(COUNTS, 0))
            archived = {name: counted[name] for name in COUNTS}
            total = self._sent[site, sensor] if self._counter is not None else None
            left = None if total is None else total - sum(archived.values())
            rows.append({"site": site, "sensor": sensor, "sent": total, **archived, "on_its_way": left})
        balanced = None if self._counter is None else all(row["on_its_way"] == 0 for row in rows)
        before_kafka = self._exporter_loss.refresh(archive, snapshots)
        return {"sensors": rows, "balanced": balanced, "before_kafka": before_kafka}
