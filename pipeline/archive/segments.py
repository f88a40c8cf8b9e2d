"""Rows of files that are still open, stored on disk as Arrow files and read through memory maps.

So the archive's position in Kafka always moves on: a sensor that becomes idle with a file half full does not pin the
topics (which expire), nothing is read twice after a restart, and open rows take the page cache's memory, not the
worker's.

A column without any value is left out, as by an earlier version that did not know it: of a record of Zeek's that is a
sixth of its bytes, and each is written and hashed.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from operator import attrgetter

import pyarrow as pa

from pipeline.archive import paths
from pipeline.archive.manifest import OpenRows
from pipeline.archive.pieces import Piece, joined, parted
from pipeline.archive.streams import OpenFile, StreamKey, by_stream
from pipeline.errors import RefusedState
from pipeline.runtime.storage.mapped_files import release_pages
from pipeline.runtime.storage.storage import Step, Storage, buffered
from pipeline.runtime.wire.batches import widened

SMALL_ROWS = 8_192
"""A segment of no more live rows is written again with the next one, so that they do not become many."""
LARGE_ROWS = 4_096
"""Pieces from this size on are written as they lie; smaller ones are joined first: of each batch a reader makes 90
columns anew, and closing a file copies what lies in many."""


def to_rewrite(open_files: Iterable[OpenFile], stored: Iterable[OpenRows]) -> set[int]:
    """Which segments to rewrite with the rows in memory, so that few segments, and few dead rows, remain.

    Those most of whose rows have gone into closed files, for then a rewritten row stands for three that need none; and
    small ones, from the newest back while they are not larger than what is written anyway.
    """
    live: Counter[int | None] = Counter()
    for file in open_files:
        for piece in file.pieces:
            live[piece.segment] += piece.size
    total: Counter[int] = Counter()
    for entry in stored:
        total[entry.segment] += entry.total
    chosen = {segment for segment in total if 0 < live[segment] * 4 <= total[segment]}
    written = live[None] + sum(live[segment] for segment in chosen)
    for segment in sorted(set(total) - chosen, reverse=True):
        if 0 < live[segment] <= min(written, SMALL_ROWS):
            chosen.add(segment)
            written += live[segment]
    return chosen


def write(
    archive: Storage, partition: int, number: int, files: Iterable[OpenFile], moved: set[int | None], step: Step
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
    entries = []
    for part, (schema, same) in enumerate(by_schema):
        entries.append(_write_one(archive, paths.segment(partition, number, part), number, schema, same, moved))
        step("segment written")
    return entries


def _write_one(
    archive: Storage, name: str, number: int, schema: pa.Schema, files: list[OpenFile], moved: set[int | None]
) -> OpenRows:
    counts: Counter[StreamKey] = Counter()
    with_values = _with_values(schema, files, moved)
    written = pa.schema([schema.field(column) for column in with_values], metadata=schema.metadata)
    # A batch is some hundred buffers, most of them small.
    with archive.sink(name) as sink, buffered(sink) as file, pa.ipc.new_file(file, written) as writer:
        for batch in _batches(schema, files, moved, counts):
            writer.write_batch(batch.select(with_values))
            release_pages()  # of older segments, of which many are rewritten at a time
    rows = tuple((*key, count) for key, count in sorted(counts.items()))
    return OpenRows(name, sink.digest.hexdigest(), sink.size, number, counts.total(), rows)


def _with_values(schema: pa.Schema, files: list[OpenFile], moved: set[int | None]) -> list[str]:
    """The columns that the batches of the rows to write have a value in, and those that must have one."""
    batches = {id(piece.batch): piece.batch for file in files for piece in file.pieces if piece.segment in moved}
    return [
        field.name
        for number, field in enumerate(schema)
        if not field.nullable or any(batch.column(number).null_count < len(batch) for batch in batches.values())
    ]


def _batches(
    schema: pa.Schema, files: list[OpenFile], moved: set[int | None], counts: Counter[StreamKey]
) -> Iterator[pa.RecordBatch]:
    small: list[Piece] = []
    for file in files:
        for piece in file.pieces:
            if piece.segment not in moved:
                continue
            counts[file.key] += piece.size
            if piece.size >= LARGE_ROWS:
                yield piece.rows
            else:
                small.append(piece)
    for part in parted(small, attrgetter("size")):
        yield joined(part, schema)


def read(archive: Storage, entry: OpenRows, check: bool) -> Iterator[tuple[StreamKey, pa.RecordBatch]]:
    """The open rows of a segment's file, a stream at a time, as views of the mapped file.

    With `check` the file's hash is compared first.
    """
    buffer = archive.mapped(entry.path)
    if check:
        digest = hashlib.sha256(memoryview(buffer)).hexdigest()
        if digest != entry.sha256:
            raise RefusedState(
                f"{archive.uri}: {entry.path}: got SHA-256 {digest[:12]}…, its manifest says {entry.sha256[:12]}…; "
                "restore the file from a copy"
            )
        release_pages()
    reader = pa.ipc.open_file(pa.BufferReader(buffer))
    live = {(table, site, sensor) for table, site, sensor, _rows in entry.rows}
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        rows = widened(batch, "scored" if "late_by_us" in batch.schema.names else "reject")
        yield from (part for part in by_stream(rows) if part[0] in live)
    release_pages()
