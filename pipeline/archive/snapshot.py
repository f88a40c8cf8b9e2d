"""Snapshots: an archive as its manifests describe it at one moment, read without disturbing its writer."""

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
from pipeline.runtime.storage.location import StorageLike, open_storage


class Location(NamedTuple):
    """Where the rows of a closed file lie: a file, and in a pack (that file) from which row on."""

    file: str
    first_row: int
    rows: int
    pack: Pack | None

    @property
    def purged(self) -> bool:
        """Whether the rows were purged: only their raw positions are left."""
        return self.pack is not None and self.pack.positions_only

    def same_as(self, other: "Location | None") -> bool:
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
    def locations(self) -> dict[str, Location]:
        """Where each closed file's rows lie now, by its name; RefusedState for a pack of files that are none."""
        rows = {entry.path: entry.rows for entry in self.files}
        by_path = {path: Location(path, 0, count, None) for path, count in rows.items()}
        for pack in (pack for manifest in self.manifests for pack in manifest.packs):
            first = 0
            for member in pack.members:
                if member not in by_path or by_path[member].purged:
                    raise RefusedState(
                        f"partition {self.partition}: pack {pack.path} stands in for {member}, which no manifest lists "
                        "or which was purged; a manifest was changed: restore the folder from a copy"
                    )
                by_path[member] = Location(pack.path, first, rows[member], pack)
                first += rows[member]
        return by_path

    @property
    def current(self) -> set[str]:
        """The files that hold the rows of closed files now."""
        return {where.file for where in self.locations.values()}

    @property
    def known(self) -> set[str]:
        """All files that have held rows of closed files at any time."""
        packs = {pack.path for manifest in self.manifests for pack in manifest.packs}
        return {entry.path for entry in self.files} | packs

    @property
    def readable(self) -> Iterator[ClosedFile]:
        """The closed files whose rows are still there, in the order they were closed."""
        return (entry for entry in self.files if not self.locations[entry.path].purged)

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


def read_on(archive: StorageLike, state: PartitionSnapshot) -> PartitionSnapshot:
    """The partition with the manifests added since."""
    storage = open_storage(archive)
    links: list[Link] = []
    while (link := read_one(storage, state.partition, len(state.manifests) + len(links))) is not None:
        links.append(link)
    if not links:
        return state
    manifests = [(manifest, "") for manifest in state.manifests]
    collect(links, manifests)
    return _sound(PartitionSnapshot(state.partition, tuple(manifest for manifest, _ in manifests), state.problem))


def moved(archive: StorageLike, partition: int, path: str, where: Location) -> bool:
    """Whether a closed file's rows have moved since."""
    return not where.same_as(read_partition(archive, partition).locations.get(path))


def _sound(state: PartitionSnapshot) -> PartitionSnapshot:
    """The same, with `locations` computed; where they are wrong, the state without packs, and `problem`."""
    try:
        state.locations  # noqa: B018 - worked out once, here, where what is wrong can be said
    except RefusedState as error:
        # Without its packs it is what it was before; nothing more is known of it.
        plain = tuple(replace(manifest, packs=()) for manifest in state.manifests)
        return PartitionSnapshot(state.partition, plain, state.problem or str(error))
    return state


COLUMN = dict(zip(TABLES, ("accepted", "late", "rejected"), strict=True))
"""The count that the rows of a table go into."""


def count(snapshots: list[PartitionSnapshot]) -> dict[SensorName, dict[str, int]]:
    """Rows per (site, sensor) as the manifests state them: accepted, rejected, late (closed files), open, files."""
    counts: dict[SensorName, dict[str, int]] = {}

    def of(sensor: SensorName) -> dict[str, int]:
        return counts.setdefault(sensor, dict.fromkeys(("accepted", "rejected", "late", "open", "files"), 0))

    for snapshot in snapshots:
        for entry in snapshot.files:
            of((entry.site, entry.sensor))[COLUMN[entry.table]] += entry.rows + entry.also
            of((entry.site, entry.sensor))["files"] += 1
        for stored in snapshot.open:
            for _table, site, sensor, rows in stored.rows:
                of((site, sensor))["open"] += rows
    return dict(sorted(counts.items()))
