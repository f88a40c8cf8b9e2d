"""An archive as its manifests describe it at one moment, read without disturbing its writer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from pipeline.archive import checkpoint
from pipeline.archive.manifest import (
    ClosedFile,
    Link,
    Manifest,
    OpenRows,
    Pack,
    collect,
    partitions,
    read_links,
    read_one,
)
from pipeline.archive.streams import TABLES
from pipeline.contracts.envelope import SensorName
from pipeline.errors import RefusedState, Usage
from pipeline.runtime.storage.storage import StorageLike, open_storage


class Placed(NamedTuple):
    """Where the rows of a closed file lie: a file, and in a pack (that file) from which row on."""

    file: str
    first_row: int
    rows: int
    pack: Pack | None

    @property
    def given_up(self) -> bool:
        """Whether there is nothing left but where its records came from."""
        return self.pack is not None and self.pack.positions_only

    def same_as(self, other: "Placed | None") -> bool:
        """Whether both are the same rows of the same file."""
        return other is not None and (self.file, self.first_row) == (other.file, other.first_row)


@dataclass(frozen=True)
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

    @cached_property
    def places(self) -> dict[str, Placed]:
        """Where each closed file's rows lie now, by its name; RefusedState for a pack of files that are none."""
        rows = {entry.path: entry.rows for entry in self.files}
        found = {path: Placed(path, 0, count, None) for path, count in rows.items()}
        for pack in (pack for manifest in self.manifests for pack in manifest.packs):
            first = 0
            for member in pack.members:
                if member not in found or found[member].given_up:
                    raise RefusedState(
                        f"partition {self.partition}: pack {pack.path} stands in for {member}, which no manifest lists "
                        "or which was given up; a manifest was changed: restore the folder from a copy"
                    )
                found[member] = Placed(pack.path, first, rows[member], pack)
                first += rows[member]
        return found

    @property
    def current(self) -> set[str]:
        """The files that hold the rows of closed files now."""
        return {where.file for where in self.places.values()}

    @property
    def known(self) -> set[str]:
        """All files that held some at any time."""
        return {entry.path for entry in self.files} | {pack.path for one in self.manifests for pack in one.packs}

    @property
    def readable(self) -> Iterator[ClosedFile]:
        """The closed files whose rows are still there, in the order they were closed."""
        return (entry for entry in self.files if not self.places[entry.path].given_up)

    @property
    def open(self) -> tuple[OpenRows, ...]:
        """Rows of files still open."""
        return self.last.open if self.last else ()


def read(archive: StorageLike, whole: bool = False) -> list[PartitionSnapshot]:
    """All partitions of an archive; Usage where there is none. `whole`: without the help of checkpoints."""
    storage = open_storage(archive)
    if not storage.exists():
        raise Usage(f"archive {storage.uri}: no such folder; name one with --archive or FOREBAY_ARCHIVE_URI")
    return [read_partition(storage, partition, whole) for partition in partitions(storage)]


def read_partition(archive: StorageLike, partition: int, whole: bool = False) -> PartitionSnapshot:
    """One partition of an archive; `whole`: every manifest of its chain is read, whatever its checkpoints say."""
    links: list[Link] = []
    problem = None
    storage = open_storage(archive)
    try:
        collect(read_links(storage, partition) if whole else checkpoint.links(storage, partition), links)
    except RefusedState as error:
        problem = str(error)
    return _sound(PartitionSnapshot(partition, tuple(manifest for manifest, _ in links), problem))


def read_on(archive: StorageLike, found: PartitionSnapshot) -> PartitionSnapshot:
    """The partition with the manifests added since."""
    storage = open_storage(archive)
    links: list[Link] = []
    while (link := read_one(storage, found.partition, len(found.manifests) + len(links))) is not None:
        links.append(link)
    if not links:
        return found
    manifests = [(one, "") for one in found.manifests]
    collect(links, manifests)
    return _sound(PartitionSnapshot(found.partition, tuple(one for one, _ in manifests), found.problem))


def moved(archive: StorageLike, partition: int, path: str, where: Placed) -> bool:
    """Whether a closed file's rows lie elsewhere by now."""
    return not where.same_as(read_partition(archive, partition).places.get(path))


def _sound(found: PartitionSnapshot) -> PartitionSnapshot:
    """The same, with `places` that can be asked for."""
    try:
        found.places  # noqa: B018 - worked out once, here, where what is wrong can be said
    except RefusedState as error:
        # Without its packs it is what it was before; nothing more can be told of it.
        plain = tuple(replace(one, packs=()) for one in found.manifests)
        return PartitionSnapshot(found.partition, plain, found.problem or str(error))
    return found


COLUMN = dict(zip(TABLES, ("accepted", "late", "rejected"), strict=True))
"""What the rows of a table are called in the accounting."""


def count(snapshots: list[PartitionSnapshot]) -> dict[SensorName, dict[str, int]]:
    """Rows per (site, sensor) as the manifests state them: accepted, rejected, late (closed files), open, files."""
    found: dict[SensorName, dict[str, int]] = {}

    def of(sensor: SensorName) -> dict[str, int]:
        return found.setdefault(sensor, dict.fromkeys(("accepted", "rejected", "late", "open", "files"), 0))

    for snapshot in snapshots:
        for entry in snapshot.files:
            of((entry.site, entry.sensor))[COLUMN[entry.table]] += entry.rows + entry.also
            of((entry.site, entry.sensor))["files"] += 1
        for stored in snapshot.open:
            for _table, site, sensor, rows in stored.rows:
                of((site, sensor))["open"] += rows
    return dict(sorted(found.items()))
