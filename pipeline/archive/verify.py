"""The proof that nothing is lost and nothing twice: `accepted + rejected + late = sent`, per sensor, from manifests
and topics.

It re-hashes every file, re-counts its rows, follows each partition's chain of manifests, and looks at every raw
position: none twice, none missing below the frontier (the lowest position that featurize still held back). With Kafka
at hand it counts what was sent in topic `raw` itself; without, it relies on the record counts that ingest wrote
beside the flows.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.archive import paths, segments, snapshot
from pipeline.archive.before_kafka import BeforeKafka
from pipeline.archive.manifest import ClosedFile, OpenRows
from pipeline.archive.paths import Position
from pipeline.archive.positions import Held, Positions, Source, positions_of
from pipeline.archive.snapshot import COLUMN, PartitionSnapshot
from pipeline.archive.tally import Tally, check_against_raw, check_alone
from pipeline.errors import RefusedState
from pipeline.settings import Settings

READ_ATTEMPTS = 5


def account(archive: Path) -> list[dict[str, Any]]:
    """Records per sensor as the manifests state them, without reading a data file.

    Each entry: site, sensor, accepted, rejected, late (records in closed files), open (rows whose file is still open),
    files.
    """
    if not archive.is_dir():
        return []
    counts = snapshot.count(snapshot.read(archive))
    return [{"site": site, "sensor": sensor, **found} for (site, sensor), found in counts.items()]


def verify(archive: Path, settings: Settings | None) -> dict[str, Any]:
    """Check everything; with `settings`, also against topic `raw`.

    Returns `ok`, `sensors` (site, sensor, sent, accepted, rejected, late, in_flight, holes, doubles, unsent, stated,
    files), `problems` (what is wrong, with positions), `kafka`, `partitions`, `files`, `bytes`, `rows`, `before_kafka`
    (what exporters' sequence numbers show, which is no problem of the archive's).
    """
    for _attempt in range(READ_ATTEMPTS):
        try:
            return _verify(archive, settings, writer_at_work=True)
        except FileNotFoundError:
            # A writer deletes segments once a newer manifest replaces them: look again.
            continue
    return _verify(archive, settings, writer_at_work=False)


def _verify(archive: Path, settings: Settings | None, writer_at_work: bool) -> dict[str, Any]:
    tally = Tally()
    snapshots = {found.partition: found for found in snapshot.read(archive)}
    numbers = set(snapshots) | (set(range(settings.partitions)) if settings is not None else set())
    for number in sorted(numbers):
        found = snapshots.get(number, PartitionSnapshot(number, ()))
        sources = [source for entry in found.files if (source := _closed(archive, entry, tally)) is not None]
        if found.problem:
            # Rows open at the last manifest in order may since have gone into files: only the newest one's count.
            tally.problem(found.problem)
        elif found.open:
            stored = (_open(archive, one, tally, writer_at_work) for one in found.open)
            sources += [source for source in stored if source is not None]
        if settings is None:
            check_alone(found, Positions(sources), tally)
        else:
            check_against_raw(found, Positions(sources), settings, tally)
    tally.check_marks()
    _strays(archive, snapshots, tally)
    files = [entry for found in snapshots.values() for entry in found.files]
    return {
        "ok": not tally.problems,
        "archive": str(archive),
        "kafka": settings is not None,
        "partitions": len(snapshots),
        "files": len(files),
        "bytes": sum(entry.bytes for entry in files),
        "rows": sum(entry.rows for entry in files),
        "sensors": tally.table(),
        "problems": tally.problems,
        "problems_left_out": tally.left_out,
        "strays": tally.strays,
        "before_kafka": BeforeKafka().look(archive, snapshots.values(), whole=not tally.problems),
    }


def _closed(archive: Path, entry: ClosedFile, tally: Tally) -> Source | None:
    """A closed file, hashed and compared with what its manifest says."""
    sensor = (entry.site, entry.sensor)
    tally.of(sensor)["files"] += 1
    try:
        path = paths.within(archive, entry.path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, RefusedState) as error:
        tally.problem(f"{entry.path}: listed in a manifest, cannot be read ({error})")
        return None
    if digest != entry.sha256:
        tally.problem(f"{entry.path}: got SHA-256 {digest[:12]}…, its manifest says {entry.sha256[:12]}…")
        return None

    def read() -> Held:
        file = pq.ParquetFile(path)
        names = [name for name in ("raw_offset", "raw_index", "raw_also") if name in file.schema_arrow.names]
        rows = file.read(names)
        held = _held(rows, tally.number(sensor))
        own = (_at(held, 0), _at(held, len(rows) - 1)) if len(rows) else (entry.first, entry.last)
        also = len(held.offsets) - len(rows)
        if (len(rows), also, own) != (entry.rows, entry.also, (entry.first, entry.last)):
            tally.problem(
                f"{entry.path}: holds {len(rows)} rows and {also} records within them, its manifest says {entry.rows} "
                f"and {entry.also}, from {entry.first} to {entry.last}"
            )
        tally.of(sensor)[COLUMN[entry.table]] += len(held.offsets)
        return held

    return Source(entry.first, read)


def _open(archive: Path, stored: OpenRows, tally: Tally, writer_at_work: bool) -> Source | None:
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
    held = [_held(rows, tally.number((key.site, key.sensor))) for key, rows in parts]
    for (key, _), some in zip(parts, held, strict=True):
        tally.of((key.site, key.sensor))["in_flight"] += len(some.offsets)
    whole = Held(*(np.concatenate(columns) for columns in zip(*held, strict=True)))
    lowest = int(np.lexsort((whole.indexes, whole.offsets))[0])
    return Source(_at(whole, lowest), lambda: whole)


def _held(rows: pa.Table | pa.RecordBatch, holder: int) -> Held:
    offsets, indexes = positions_of(rows)
    return Held(offsets, indexes, np.full(len(offsets), holder, np.int64))


def _at(held: Held, row: int) -> Position:
    return int(held.offsets[row]), int(held.indexes[row])


def _strays(archive: Path, snapshots: dict[int, PartitionSnapshot], tally: Tally) -> None:
    """Data files no manifest lists: a writer's that died or is at work; its next start deletes them."""
    listed = {entry.path for found in snapshots.values() for entry in found.files}
    there = archive.glob("*/site=*/sensor=*/date=*/hour=*/*.parquet")
    tally.strays = sorted(name for path in there if (name := str(path.relative_to(archive))) not in listed)
