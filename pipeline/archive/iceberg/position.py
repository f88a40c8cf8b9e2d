"""How far a table is: a position in each raw partition's chain of manifests, stored in the table's own properties.

It is written in the same Iceberg commit as the rows up to there, so that neither is ever without the other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import orjson

from pipeline.archive import checkpoint
from pipeline.archive.manifest import ClosedFile, Link, collect, partitions
from pipeline.archive.snapshot import PartitionSnapshot
from pipeline.errors import RefusedState, Usage
from pipeline.runtime.storage.storage import Storage

PREFIX = "forebay.position.p"


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to manifest `manifest` is in the table; of that one the first `files` files, or all of it."""

    manifest: int
    sha256: str  # of that manifest
    files: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Ahead:
    """The next item of a chain that concerns a table: a closed file, or files that were purged. `position` is the
    table's once the item is copied.
    """

    position: Position
    entry: ClosedFile | None = None
    purged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Links:
    """A raw partition's manifests, checked, and the hash of each."""

    snapshot: PartitionSnapshot
    hashes: tuple[str, ...]

    def check(self, at: Position | None, table: str, archive: str) -> None:
        """RefusedState where this is not the chain that the table was copied from."""
        if at is None:
            return
        there = self.hashes[at.manifest] if at.manifest < len(self.hashes) else None
        if there != at.sha256:
            has = f"SHA-256 {there}" if there else f"no such manifest: {len(self.hashes)} in all"
            raise RefusedState(
                f"table {table} was copied up to manifest {at.manifest} of partition {self.snapshot.partition} with "
                f"SHA-256 {at.sha256}, archive {archive} has {has}; it is another archive, or was changed or restored: "
                "`forebay archive verify` looks at it; a table can be dropped and copied anew"
            )

    def ahead(self, at: Position | None, table: str) -> Iterator[Ahead]:
        """What comes after a position, in order."""
        first = 0 if at is None else at.manifest + at.whole
        for manifest in self.snapshot.manifests[first:]:
            done = at.files if at is not None and manifest.number == at.manifest else 0
            sha256 = self.hashes[manifest.number]
            for number, entry in enumerate(manifest.files[done:], done + 1):
                if entry.table == table:
                    yield Ahead(Position(manifest.number, sha256, number, False), entry)
            gone = tuple(
                member
                for pack in manifest.packs
                if pack.positions_only and pack.table == table
                for member in pack.members
            )
            yield Ahead(Position(manifest.number, sha256, len(manifest.files), True), purged=gone)


def read(archive: Storage) -> dict[int, Links]:
    """All chains of an archive; Usage where there is no archive, RefusedState where one is broken."""
    if not archive.exists():
        raise Usage(f"archive {archive.uri}: no such folder; name one with --archive or FOREBAY_ARCHIVE_URI")
    return {partition: read_partition(archive, partition) for partition in partitions(archive)}


def read_partition(archive: Storage, partition: int) -> Links:
    """One partition's chain; RefusedState where it is broken."""
    links: list[Link] = []
    collect(checkpoint.links(archive, partition), links)
    snapshot = PartitionSnapshot(partition, tuple(manifest for manifest, _ in links))
    snapshot.locations  # noqa: B018 - worked out once, here: RefusedState for packs that fit no files
    return Links(snapshot, tuple(digest for _, digest in links))


def decode(properties: Mapping[str, str], table: str) -> dict[int, Position]:
    """A table's positions by raw partition; RefusedState where they cannot be read."""
    try:
        return {
            int(name.removeprefix(PREFIX)): Position(**orjson.loads(value))
            for name, value in properties.items()
            if name.startswith(PREFIX)
        }
    except (ValueError, TypeError) as error:
        raise RefusedState(
            f"table {table}: got {error!r} in its properties {PREFIX}*, expected positions; drop it and copy anew"
        ) from error


def encode(positions: Mapping[int, Position]) -> dict[str, str]:
    """The table properties that say so."""
    return {f"{PREFIX}{partition}": orjson.dumps(asdict(at)).decode() for partition, at in positions.items()}
