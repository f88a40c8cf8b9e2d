"""Rows of files that are still open, kept on disk as Arrow files and read through memory maps.

So the archive's position in Kafka always moves on: a sensor that falls silent with a file half full does not pin the
topics (which expire), nothing is read twice after a restart, and open rows take the page cache's memory, not the
worker's.
"""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.archive import paths
from pipeline.archive.durable import Step, make_folder, sync_folder
from pipeline.archive.manifest import OpenRows
from pipeline.archive.streams import OpenFile, StreamKey, by_stream
from pipeline.errors import RefusedState

BATCH_ROWS = 65_536


def to_rewrite(open_files: Iterable[OpenFile], stored: Iterable[OpenRows]) -> set[int]:
    """Which segments to write anew together with the rows in memory, so that few segments, and few dead rows, are kept.

    Those most of whose rows have gone into closed files, for then a rewritten row stands for three that need none; and
    small ones, from the newest back while they are not larger than what is written anyway.
    """
    live: Counter[int | None] = Counter()
    for file in open_files:
        for piece in file.pieces:
            live[piece.segment] += len(piece.rows)
    total: Counter[int] = Counter()
    for entry in stored:
        total[entry.segment] += entry.total
    chosen = {segment for segment in total if 0 < live[segment] * 4 <= total[segment]}
    written = live[None] + sum(live[segment] for segment in chosen)
    for segment in sorted(set(total) - chosen, reverse=True):
        if 0 < live[segment] <= min(written, BATCH_ROWS):
            chosen.add(segment)
            written += live[segment]
    return chosen


def write(
    archive: Path, partition: int, number: int, files: Iterable[OpenFile], moved: set[int | None], step: Step
) -> list[OpenRows]:
    """Write the files' rows that lie in the segments `moved` (None: in memory) as segment `number`: a file a schema."""
    by_schema: list[tuple[pa.Schema, list[OpenFile]]] = []
    for file in files:
        if not any(piece.segment in moved for piece in file.pieces):
            continue
        for schema, same in by_schema:
            if schema.equals(file.schema, check_metadata=True):
                same.append(file)
                break
        else:
            by_schema.append((file.schema, [file]))
    if by_schema:
        make_folder(paths.segments(archive, partition))
    entries = []
    for part, (schema, same) in enumerate(by_schema):
        name = paths.segment(partition, number, part)
        entries.append(_write_one(archive, str(name), number, schema, same, moved))
        step("segment written")
    if entries:
        sync_folder(paths.segments(archive, partition))
    return entries


def _write_one(
    archive: Path, name: str, number: int, schema: pa.Schema, files: list[OpenFile], moved: set[int | None]
) -> OpenRows:
    counts: Counter[StreamKey] = Counter()
    target = archive / name
    target.unlink(missing_ok=True)
    try:
        with _Hashing(target) as sink:
            with pa.ipc.new_file(pa.PythonFile(sink, "w"), schema) as writer:
                for batch in _batches(schema, files, moved, counts):
                    writer.write_batch(batch)
            sink.sync()
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    rows = tuple((*key, count) for key, count in sorted(counts.items()))
    return OpenRows(name, sink.digest.hexdigest(), sink.size, number, counts.total(), rows)


def _batches(
    schema: pa.Schema, files: list[OpenFile], moved: set[int | None], counts: Counter[StreamKey]
) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for file in files:
        for piece in file.pieces:
            if piece.segment not in moved:
                continue
            counts[file.key] += len(piece.rows)
            waiting.append(piece.rows)
            rows += len(piece.rows)
            if rows >= BATCH_ROWS:
                yield from pa.Table.from_batches(waiting, schema).combine_chunks().to_batches()
                waiting, rows = [], 0
    if waiting:
        yield from pa.Table.from_batches(waiting, schema).combine_chunks().to_batches()


class _Hashing(io.RawIOBase):
    """A new file that knows the SHA-256 of what was written to it."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self.digest.update(view)
        self.size += len(view)
        left = view
        while len(left):
            left = left[os.write(self._handle, left) :]
        return len(view)

    def sync(self) -> None:
        os.fsync(self._handle)

    def close(self) -> None:
        if not self.closed:
            os.close(self._handle)
        super().close()


def read(archive: Path, entry: OpenRows, check: bool) -> Iterator[tuple[StreamKey, pa.RecordBatch]]:
    """The open rows of a segment's file, a stream at a time, as views of the mapped file.

    With `check` the file's hash is compared first.
    """
    path = paths.within(archive, entry.path)
    if check:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != entry.sha256:
            raise RefusedState(
                f"{path}: got SHA-256 {digest[:12]}…, its manifest says {entry.sha256[:12]}…; restore the file from "
                f"a copy"
            )
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    live = {(table, site, sensor) for table, site, sensor, _rows in entry.rows}
    for number in range(reader.num_record_batches):
        yield from (part for part in by_stream(reader.get_batch(number)) if part[0] in live)
