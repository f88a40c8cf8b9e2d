"""The proof that nothing is lost and nothing twice: `accepted + rejected + late = sent`, per sensor, from manifests
and topics.

It re-hashes every file, re-counts its rows, follows each partition's chain of manifests, and checks every raw
position: none twice, none missing below the frontier (the lowest position that featurize still held back). With Kafka
at hand it counts what was sent in topic `raw` itself; without, it relies on the record counts that ingest wrote
beside the flows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.archive import checkpoint, segments, snapshot
from pipeline.archive.closed_rows import ClosedRows
from pipeline.archive.manifest import ClosedFile, OpenRows
from pipeline.archive.paths import Position
from pipeline.archive.positions import PositionBlock, Positions, Source, join, positions_of
from pipeline.archive.snapshot import COLUMN, Location, PartitionSnapshot
from pipeline.archive.streams import TABLES
from pipeline.archive.upkeep.exporter_loss.report import ExporterLoss
from pipeline.archive.upkeep.tally import Tally, check_against_raw, check_alone
from pipeline.errors import RefusedState
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.runtime.storage.storage import Storage
from pipeline.settings import Settings

READ_ATTEMPTS = 5


def account(archive: StorageLike) -> list[dict[str, Any]]:
    """Records per sensor as the manifests state them, without reading a data file.

    Each entry: site, sensor, accepted, rejected, late (records in closed files), open (rows whose file is still open),
    files.
    """
    storage = open_storage(archive)
    if not storage.exists():
        return []
    counts = snapshot.count(snapshot.read(storage))
    return [{"site": site, "sensor": sensor, **numbers} for (site, sensor), numbers in counts.items()]


def verify(archive: StorageLike, settings: Settings | None) -> dict[str, Any]:
    """Check everything; with `settings`, also against topic `raw`.

    Returns `ok`, `sensors` (site, sensor, sent, accepted, rejected, late, in_flight, holes, doubles, unsent, stated,
    files, given_up: records of which retention has left the positions), `problems` (what is wrong, with positions),
    `kafka`, `partitions`, `files`, `bytes`, `rows`, `strays`, `replaced` (files that compaction or retention will
    delete), `before_kafka` (what exporters' sequence numbers show, which is no problem of the archive's).
    """
    storage = open_storage(archive)
    for _attempt in range(READ_ATTEMPTS):
        try:
            return _verify(storage, settings, writer_at_work=True)
        except FileNotFoundError:
            # A writer deletes segments once a newer manifest replaces them: read again.
            continue
    return _verify(storage, settings, writer_at_work=False)


def _verify(archive: Storage, settings: Settings | None, writer_at_work: bool) -> dict[str, Any]:
    tally = Tally()
    snapshots = {state.partition: state for state in snapshot.read(archive, whole=True)}
    reader, packs = ClosedRows(archive), dict[str, bool]()
    numbers = set(snapshots) | (set(range(settings.partitions)) if settings is not None else set())
    for number in sorted(numbers):
        state = snapshots.get(number, PartitionSnapshot(number, ()))
        check_not_moved = partial(_raise_if_moved, archive, number) if writer_at_work else _never
        sources = [
            Source(entry.first, _read(reader, entry, state.locations[entry.path], tally, check_not_moved))
            for entry in state.files
            if _whole(archive, entry, state.locations[entry.path], packs, tally, check_not_moved)
        ]
        for problem in checkpoint.problems(archive, number, state.manifests):
            tally.problem(problem)
        if state.problem:
            # Rows open at the last manifest in order may since have gone into files: only the newest one's count.
            tally.problem(state.problem)
        elif state.open:
            stored = (_open(archive, open_rows, tally, writer_at_work) for open_rows in state.open)
            sources += [source for source in stored if source is not None]
        if settings is None:
            check_alone(state, Positions(sources), tally)
        else:
            check_against_raw(state, Positions(sources), settings, tally)
    tally.check_marks()
    replaced = _strays(archive, snapshots, tally)
    files = [entry for state in snapshots.values() for entry in state.files]
    return {
        "ok": not tally.problems,
        "archive": archive.uri,
        "kafka": settings is not None,
        "partitions": len(snapshots),
        "files": len(files),
        "bytes": sum(entry.bytes for entry in files),
        "rows": sum(entry.rows for entry in files),
        "sensors": tally.table(),
        "problems": tally.problems,
        "problems_left_out": tally.left_out,
        "strays": tally.strays,
        "replaced": replaced,
        "before_kafka": ExporterLoss().refresh(archive, snapshots.values(), whole=not tally.problems),
    }


CheckNotMoved = Callable[[ClosedFile, Location], None]
"""Raises FileNotFoundError where a file is missing because a compaction has replaced it meanwhile."""


def _raise_if_moved(archive: Storage, partition: int, entry: ClosedFile, where: Location) -> None:
    if snapshot.moved(archive, partition, entry.path, where):
        raise FileNotFoundError(where.file)


def _never(_entry: ClosedFile, _where: Location) -> None:
    return


def _whole(
    archive: Storage,
    entry: ClosedFile,
    where: Location,
    packs: dict[str, bool],
    tally: Tally,
    check_not_moved: CheckNotMoved,
) -> bool:
    """Whether the file that holds a closed file's rows has the hash its manifest says; a pack is hashed once."""
    tally.counts_of((entry.site, entry.sensor))["files"] += 1
    sha256 = entry.sha256 if where.pack is None else where.pack.sha256
    if where.pack is None or where.file not in packs:
        packs[where.file] = _has_hash(archive, where.file, sha256, tally, lambda: check_not_moved(entry, where))
    return packs[where.file]


def _has_hash(archive: Storage, name: str, sha256: str, tally: Tally, missing: Callable[[], None]) -> bool:
    try:
        digest = archive.sha256(name)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            missing()
        tally.problem(f"{name}: listed in a manifest, cannot be read ({error})")
        return False
    if digest != sha256:
        tally.problem(f"{name}: got SHA-256 {digest[:12]}…, its manifest says {sha256[:12]}…")
    return digest == sha256


def _read(
    reader: ClosedRows, entry: ClosedFile, where: Location, tally: Tally, check_not_moved: CheckNotMoved
) -> Callable[[], PositionBlock]:
    """How to read a closed file's raw positions, to be compared with what its manifest says."""
    sensor = (entry.site, entry.sensor)

    def read() -> PositionBlock:
        try:
            rows = reader.read(where, ("raw_offset", "raw_index", "raw_also"))
        except RefusedState as error:
            check_not_moved(entry, where)
            tally.problem(str(error))
            return join(())
        block = _block(rows, tally.number(sensor))
        span = (_at(block, 0), _at(block, len(rows) - 1)) if len(rows) else (entry.first, entry.last)
        also = len(block.offsets) - len(rows)
        if (len(rows), also, span) != (entry.rows, entry.also, (entry.first, entry.last)):
            tally.problem(
                f"{entry.path}: holds {len(rows)} rows and {also} records within them, its manifest says {entry.rows} "
                f"and {entry.also}, from {entry.first} to {entry.last}"
            )
        tally.counts_of(sensor)[COLUMN[entry.table]] += len(block.offsets)
        if where.purged:
            tally.counts_of(sensor)["given_up"] += len(block.offsets)
        return block

    return read


def _open(archive: Storage, stored: OpenRows, tally: Tally, writer_at_work: bool) -> Source | None:
    """The rows of files still open: in flight, but not lost."""
    try:
        parts = list(segments.read(archive, stored, True))
    except (RefusedState, pa.ArrowException, OSError) as error:
        if writer_at_work and isinstance(error, FileNotFoundError):
            raise
        tally.problem(f"{stored.path}: open rows cannot be read ({error})")
        return None
    if not parts:
        return None
    blocks = [_block(rows, tally.number((key.site, key.sensor))) for key, rows in parts]
    for (key, _), block in zip(parts, blocks, strict=True):
        tally.counts_of((key.site, key.sensor))["in_flight"] += len(block.offsets)
    whole = PositionBlock(*(np.concatenate(columns) for columns in zip(*blocks, strict=True)))
    lowest = int(np.lexsort((whole.indexes, whole.offsets))[0])
    return Source(_at(whole, lowest), lambda: whole)


def _block(rows: pa.Table | pa.RecordBatch, holder: int) -> PositionBlock:
    offsets, indexes = positions_of(rows)
    return PositionBlock(offsets, indexes, np.full(len(offsets), holder, np.int64))


def _at(block: PositionBlock, row: int) -> Position:
    return int(block.offsets[row]), int(block.indexes[row])


def _strays(archive: Storage, snapshots: dict[int, PartitionSnapshot], tally: Tally) -> list[str]:
    """Notes data files no manifest lists: a writer's that died or is at work. Returns those that packs replace."""
    current = {name for state in snapshots.values() for name in state.current}
    known = {name for state in snapshots.values() for name in state.known}
    there = {name for table in TABLES for name in archive.names(table) if name.endswith(".parquet")}
    tally.strays = sorted(there - known)
    return sorted(there & known - current)
