"""The chain of manifests: what is in the archive, where to go on, and who may write.

Manifest n of a partition names the SHA-256 of manifest n-1 and is created exclusively: of two writers one gets the
number, the other one learns that it is no longer the owner. A writer starts by claiming: a manifest without files.
From then on no earlier writer can add one, so what it left behind (files no manifest lists) may be deleted.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.archive import paths
from pipeline.archive.durable import create_exclusively
from pipeline.archive.paths import Position
from pipeline.errors import RefusedState

FORMAT = 1
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
    also: int = 0  # records put together with others: the rows stand for so many more than they are


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
class Progress:
    """How far a partition's topics have been taken in, and what that amounts to."""

    archive_next: int | None = None  # offset in topic `archive` to go on from; None: from its beginning
    rejects_next: int | None = None  # the same of `rejects` ...
    rejects_skip: int = 0  # ... and how many rows of that message have been taken
    seq_next: int | None = None
    through: Position | None = None  # last raw position taken in
    frontier: Position | None = None  # lowest raw position that featurize still held back then
    records: int = 0  # records of `raw` in all messages taken in
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
    format: int = FORMAT

    def encode(self) -> bytes:
        """The manifest's bytes; its hash is theirs."""
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)


@dataclass(frozen=True, slots=True)
class Chain:
    """A partition's manifests, checked, and the hash of the last one."""

    manifests: tuple[Manifest, ...]
    head: str


def decode(data: bytes, where: Path) -> Manifest:
    """A manifest from its bytes; RefusedState where they are none."""
    try:
        document = orjson.loads(data)
        if document["format"] != FORMAT:
            raise RefusedState(
                f"{where}: got format {document['format']!r}, expected {FORMAT}; use the version that wrote it"
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
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise RefusedState(f"{where}: got {error!r}, expected a manifest; restore the file from a copy") from error


def _position(value: Any) -> Position | None:
    return None if value is None else (int(value[0]), int(value[1]))


def _closed(entry: dict[str, Any]) -> ClosedFile:
    first, last = _position(entry["first"]), _position(entry["last"])
    if first is None or last is None:
        raise ValueError("a file without a range")
    return ClosedFile(**{**entry, "first": first, "last": last})


def _open(entry: dict[str, Any]) -> OpenRows:
    rows = tuple((str(table), str(site), str(sensor), int(count)) for table, site, sensor, count in entry["rows"])
    return OpenRows(**{**entry, "rows": rows})


def partitions(archive: Path) -> list[int]:
    """Raw partitions that have manifests."""
    folders = (archive / "_manifests").glob("p*")
    return sorted(int(folder.name[1:]) for folder in folders if folder.name[1:].isdecimal())


def read_links(archive: Path, partition: int) -> Iterator[tuple[Manifest, str]]:
    """Each manifest and its hash, from number 0; RefusedState where the chain is broken."""
    previous, number = NO_MANIFEST, 0
    there = {path.name for path in paths.manifests(archive, partition).glob("*.json") if not path.name.startswith(".")}
    while (path := paths.manifest(archive, partition, number)).name in there:
        data = path.read_bytes()
        manifest = decode(data, path)
        if (manifest.partition, manifest.number, manifest.previous) != (partition, number, previous):
            raise RefusedState(
                f"{path}: got partition {manifest.partition}, number {manifest.number}, previous "
                f"{manifest.previous[:12]}…, "
                f"expected {partition}, {number}, {previous[:12]}…; a manifest was changed: restore the folder from "
                f"a copy"
            )
        previous = hashlib.sha256(data).hexdigest()
        there.discard(path.name)
        number += 1
        yield manifest, previous
    if there:
        missing = paths.manifest(archive, partition, number)
        # A writer may have added its next manifest after the listing; only a gap is a broken chain.
        if not missing.exists():
            raise RefusedState(
                f"{missing}: missing, but {min(there)} is there; a manifest was lost: restore the folder from a copy"
            )


def read_chain(archive: Path, partition: int) -> Chain:
    """A partition's whole chain; empty where nothing was written yet."""
    manifests, head = [], NO_MANIFEST
    for manifest, digest in read_links(archive, partition):
        manifests.append(manifest)
        head = digest
    return Chain(tuple(manifests), head)


def append(archive: Path, manifest: Manifest) -> str | None:
    """Add a manifest to its chain: its hash, or None where another writer has added that number."""
    data = manifest.encode()
    path = paths.manifest(archive, manifest.partition, manifest.number)
    try:
        created = create_exclusively(path, data)
    except FileNotFoundError:
        return None  # our temp file was cleaned away: there is a new owner
    return hashlib.sha256(data).hexdigest() if created else None
