"""An archive as its manifests describe it at one moment, read without disturbing its writer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.archive.manifest import ClosedFile, Manifest, OpenRows, partitions, read_links
from pipeline.archive.streams import TABLES
from pipeline.errors import RefusedState, Usage


@dataclass(frozen=True, slots=True)
class PartitionSnapshot:
    """One partition's manifests up to the last that could be checked; `problem` says why there are no more."""

    partition: int
    manifests: tuple[Manifest, ...]
    problem: str | None = None

    @property
    def last(self) -> Manifest | None:
        """The newest manifest."""
        return self.manifests[-1] if self.manifests else None

    @property
    def files(self) -> Iterator[ClosedFile]:
        """All closed files, in the order they were closed."""
        return (entry for manifest in self.manifests for entry in manifest.files)

    @property
    def open(self) -> tuple[OpenRows, ...]:
        """Rows of files still open."""
        return self.last.open if self.last else ()


def read(archive: Path) -> list[PartitionSnapshot]:
    """All partitions of an archive; Usage where the folder holds none."""
    if not archive.is_dir():
        raise Usage(f"archive {archive}: no such folder; name one with --archive or FOREBAY_ARCHIVE_URI")
    return [_read_partition(archive, partition) for partition in partitions(archive)]


def _read_partition(archive: Path, partition: int) -> PartitionSnapshot:
    manifests = []
    try:
        for manifest, _digest in read_links(archive, partition):
            manifests.append(manifest)
    except RefusedState as error:
        return PartitionSnapshot(partition, tuple(manifests), str(error))
    return PartitionSnapshot(partition, tuple(manifests))


Sensor = tuple[str, str]

COLUMN = dict(zip(TABLES, ("accepted", "late", "rejected"), strict=True))
"""What the rows of a table are called in the accounting."""


def count(snapshots: list[PartitionSnapshot]) -> dict[Sensor, dict[str, int]]:
    """Rows per (site, sensor) as the manifests state them: accepted, rejected, late (closed files), open, files."""
    found: dict[Sensor, dict[str, int]] = {}

    def of(sensor: Sensor) -> dict[str, int]:
        return found.setdefault(sensor, dict.fromkeys(("accepted", "rejected", "late", "open", "files"), 0))

    for snapshot in snapshots:
        for entry in snapshot.files:
            of((entry.site, entry.sensor))[COLUMN[entry.table]] += entry.rows + entry.also
            of((entry.site, entry.sensor))["files"] += 1
        for stored in snapshot.open:
            for _table, site, sensor, rows in stored.rows:
                of((site, sensor))["open"] += rows
    return dict(sorted(found.items()))
