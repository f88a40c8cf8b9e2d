"""The chain of manifests: what is in the archive, where to resume, and who may write.

Manifest n of a partition names the SHA-256 of manifest n-1 and is created exclusively: of two writers one gets the
number, the other one learns that it is no longer the owner. A writer starts by claiming: a manifest without files.
From then on no earlier writer can add one, so what it left behind (files no manifest lists) may be deleted.

A manifest with packs is a swap: it says where closed files lie from now on, and changes nothing else. Anybody may add
one; the owner reads it and continues.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from pipeline.archive import paths
from pipeline.archive.paths import Position
from pipeline.errors import RefusedState
from pipeline.runtime.storage.storage import Storage

FORMAT, FORMAT_OF_SWAPS = 1, 2
NO_MANIFEST = "0" * 64


@dataclass(frozen=True, slots=True)
class ClosedFile:
    """A Parquet file that will not change any more."""

    path: str
    sha256: str
    bytes: int
    table: str
    site: str
    sensor: str
    rows: int
    first: Position  # lowest raw position (offset, index) in it
    last: Position
    from_ts_us: int  # event time; of rejects, which have none, the raw messages' timestamps
    to_ts_us: int
    feature_hash: str
    also: int = 0  # records merged into others: the rows stand for so many more than they are


@dataclass(frozen=True, slots=True)
class OpenRows:
    """A file of rows whose Parquet file is, or was, still open.

    `rows` counts those of streams (table, site, sensor) whose rows here are still open; a file takes all of a
    stream's rows along when it closes, so rows of other streams in here are dead. `total` counts all.
    """

    path: str
    sha256: str
    bytes: int
    segment: int
    total: int
    rows: tuple[tuple[str, str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """A file that from now on stands in for closed files: it holds their rows one after another, in this order.

    `positions_only`: it holds merely where in `raw` they came from; the rest has been purged (retention).
    """

    path: str
    sha256: str
    bytes: int
    table: str
    members: tuple[str, ...]
    positions_only: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition's topics have been read, and what has been counted up to there."""

    archive_next: int | None = None  # offset in topic `archive` to resume from; None: from its start
    rejects_next: int | None = None  # the same of `rejects` ...
    rejects_skip: int = 0  # ... and how many rows of that message have been taken
    seq_next: int | None = None
    through: Position | None = None  # last raw position archived
    frontier: Position | None = None  # lowest raw position that featurize still held back then
    records: int = 0  # records of `raw` in all messages archived
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One link of a partition's chain."""

    partition: int
    number: int
    previous: str  # SHA-256 of manifest number-1
    writer: str
    progress: Progress
    files: tuple[ClosedFile, ...] = ()  # closed since the manifest before
    open: tuple[OpenRows, ...] = ()  # all there are
    marks: tuple[tuple[str, str, int], ...] = ()  # ends of source since the manifest before: site, sensor, raw offset
    watermarks: tuple[tuple[str, str, int], ...] = ()  # of the sensors that `files` are of
    packs: tuple[Pack, ...] = ()  # a swap: where closed files lie from now on
    format: int = FORMAT

    def encode(self) -> bytes:
        """The manifest's bytes; its hash is theirs."""
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)


Link = tuple[Manifest, str]
"""A manifest, and its SHA-256."""


def decode(data: bytes, where: str) -> Manifest:
    """A manifest from its bytes; RefusedState where they are none."""
    try:
        document = orjson.loads(data)
        if document["format"] not in (FORMAT, FORMAT_OF_SWAPS):
            raise RefusedState(
                f"{where}: got format {document['format']!r}, expected {FORMAT} or {FORMAT_OF_SWAPS}; use the version "
                "that wrote it"
            )
        progress = document["progress"]
        return Manifest(
            partition=int(document["partition"]),
            number=int(document["number"]),
            previous=str(document["previous"]),
            writer=str(document["writer"]),
            progress=Progress(
                **{**progress, "through": _position(progress["through"]), "frontier": _position(progress["frontier"])}
            ),
            files=tuple(_closed(entry) for entry in document["files"]),
            open=tuple(_open(entry) for entry in document["open"]),
            marks=tuple((site, sensor, int(offset)) for site, sensor, offset in document["marks"]),
            watermarks=tuple((site, sensor, int(us)) for site, sensor, us in document["watermarks"]),
            packs=tuple(_pack(entry) for entry in document.get("packs", ())),
            format=int(document["format"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise RefusedState(f"{where}: got {error!r}, expected a manifest; restore the file from a copy") from error


def _position(value: Any) -> Position | None:
    return None if value is None else (int(value[0]), int(value[1]))


def _closed(entry: dict[str, Any]) -> ClosedFile:
    first, last = _position(entry["first"]), _position(entry["last"])
    if first is None or last is None:
        raise ValueError("a file without a range")
    paths.within(entry["path"])
    return ClosedFile(**{**entry, "first": first, "last": last})


def _pack(entry: dict[str, Any]) -> Pack:
    paths.within(entry["path"])
    return Pack(**{**entry, "members": tuple(str(member) for member in entry["members"])})


def _open(entry: dict[str, Any]) -> OpenRows:
    rows = tuple((str(table), str(site), str(sensor), int(count)) for table, site, sensor, count in entry["rows"])
    paths.within(entry["path"])
    return OpenRows(**{**entry, "rows": rows})


def partitions(archive: Storage) -> list[int]:
    """Raw partitions that have manifests."""
    return sorted(int(name[1:]) for name in archive.folders("_manifests") if name[:1] == "p" and name[1:].isdecimal())


def read_one(archive: Storage, partition: int, number: int) -> tuple[Manifest, str] | None:
    """One manifest and its hash, None where there is none of this number."""
    name = paths.manifest(partition, number)
    try:
        data = archive.read(name)
    except FileNotFoundError:
        return None
    return decode(data, f"{archive.uri}: {name}"), hashlib.sha256(data).hexdigest()


def changes_nothing(swap: Manifest, before: Manifest | None) -> bool:
    """Whether a swap leaves everything but the locations of closed files as the manifest before it says."""
    return (
        before is not None
        and (swap.progress, swap.open) == (before.progress, before.open)
        and not (swap.files or swap.marks or swap.watermarks)
    )


def read_links(archive: Storage, partition: int, after: Link | None = None) -> Iterator[Link]:
    """Each manifest and its hash, from number 0, or those after a link; RefusedState where the chain is broken."""
    before, previous = after if after is not None else (None, NO_MANIFEST)
    number = before.number + 1 if before is not None else 0
    last = paths.manifest(partition, before.number) if before is not None else ""
    there = {name for name in archive.names(paths.manifests(partition), last) if _is_manifest(name)}
    names: list[str] = []
    while (name := paths.manifest(partition, number + len(names))) in there:
        names.append(name)
    for name, data in zip(names, archive.read_many(names), strict=True):
        path = f"{archive.uri}: {name}"
        manifest = decode(data, path)
        if (manifest.partition, manifest.number, manifest.previous) != (partition, number, previous):
            raise RefusedState(
                f"{path}: got partition {manifest.partition}, number {manifest.number}, previous "
                f"{manifest.previous[:12]}…, expected {partition}, {number}, {previous[:12]}…; a manifest was changed: "
                "restore the folder from a copy"
            )
        if manifest.packs and not changes_nothing(manifest, before):
            raise RefusedState(f"{path}: a swap that changes more than where files lie; do not use this archive")
        before, previous = manifest, hashlib.sha256(data).hexdigest()
        there.discard(name)
        number += 1
        yield manifest, previous
    if there:
        missing = paths.manifest(partition, number)
        # A writer may have added its next manifest after the listing; only a gap is a broken chain.
        if not archive.has(missing):
            raise RefusedState(
                f"{archive.uri}: {missing}: missing, but {min(there)} is there; a manifest was lost: restore the "
                "folder from a copy"
            )


def _is_manifest(name: str) -> bool:
    file = name.rpartition("/")[2]
    return file.endswith(".json") and not file.startswith(".")


def collect(links: Iterable[Link], into: list[Link]) -> None:
    """Add links to a list as they come, of all but the last without their open rows: only the newest ones count."""
    for link in links:
        if into and into[-1][0].open:
            into[-1] = replace(into[-1][0], open=()), into[-1][1]
        into.append(link)


def append(archive: Storage, manifest: Manifest) -> str | None:
    """Add a manifest to its chain: its hash, or None where another writer has added that number."""
    data = manifest.encode()
    try:
        created = archive.create(paths.manifest(manifest.partition, manifest.number), data)
    except FileNotFoundError:
        return None  # our temp file was cleaned away: there is a new owner
    return hashlib.sha256(data).hexdigest() if created else None
