"""A closed file's rows as Parquet: the same rows give the same bytes, however they came."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.archive import paths
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.paths import Position
from pipeline.archive.pieces import parted
from pipeline.archive.positions import positions_of
from pipeline.archive.streams import HOUR_US, LATE, REJECTS, Ints, OpenFile
from pipeline.runtime.storage.storage import Sink, buffered
from pipeline.runtime.wire.by_schema import BySchema

ROW_GROUP_ROWS = 16_384
"""What is encoded together, 13 MB: a whole file of 131,072 rows took eight times the memory and was 2 % smaller
(docs/performance.md)."""
CHUNK_ROWS = 4_096
"""A large column is encoded so many rows at a time: of a whole row group the levels of the features are 5 MB."""
ROWS_A_PIECE = 1_024
"""Pieces of fewer rows than this on average are copied together: each costs every column some µs."""
ROWS_A_RUN = 256
"""Runs of fewer rows than this on average are copied by row number, for the same reason."""
DATA_PAGE_BYTES = 1024 * 1024
WRITE_BATCH_VALUES = 1024 * 1024
"""Encoded at a time, so all of a chunk; with Arrow's 1,024 a row costs 5 % more."""
COMPRESSION, COMPRESSION_LEVEL, FEW_VALUES_COMPRESSION = "zstd", 1, "snappy"
"""Columns of few values are a dictionary and some bytes: zstd needs 20 µs to begin with a page, whatever is in it."""
FOOTER = "raw_"
ENCODED = {
    "raw_offset": "DELTA_BINARY_PACKED",
    "source_record": "DELTA_BINARY_PACKED",
    "ingest_ts_us": "DELTA_BINARY_PACKED",
    "start_ts_us": "DELTA_BINARY_PACKED",
    "end_ts_us": "DELTA_BINARY_PACKED",
    "score": "BYTE_STREAM_SPLIT",
    "novelty": "BYTE_STREAM_SPLIT",
    "p_value": "BYTE_STREAM_SPLIT",
    "features": "PLAIN",
    "raw_also": "PLAIN",
    "record_id": "PLAIN",
    "community_id": "PLAIN",
    "sensor_uid": "PLAIN",
}
"""Columns whose values seldom occur twice: a dictionary would be built and abandoned, which costs half as much as
a row's other columns, and makes the file larger. Times and positions in order become differences, floats streams of
bytes; features stay as they lie, a row's much like those of the row before (docs/performance.md).
"""
MANY_VALUES = (
    "duration_us",
    "src_port",
    "dst_port",
    "fwd_bytes",
    "rev_bytes",
    "fwd_iat_mean_us",
    "rev_iat_mean_us",
    "strangeness",
    "detail",
    "record",
)
"""Columns with a dictionary that may have many values."""
IDS = ("record_id", "community_id", "sensor_uid")
MAX_HOURS = 24
"""Late rows of more hours than this go into one file: a sensor whose clock jumps must not make a file a row."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a closed stream file that become a Parquet file: by number, in order; their hour, None if of many."""

    of: OpenFile
    rows: "_Rows"
    order: Ints
    hour: int | None


def parts_of(file: OpenFile, release: Callable[[], None] = lambda: None) -> list[Part]:
    """The Parquet files of a closed stream file: one, or for `late` rows one for each hour of their own event time.

    `release` is called as in `write`.
    """
    rows = _Rows(file, release)
    if file.key.table != LATE:
        return [Part(file, rows, rows.order, file.hour)]
    hours = rows.columns("end_ts_us")[0][rows.order] // HOUR_US
    distinct = np.unique(hours)
    if len(distinct) > MAX_HOURS:
        return [Part(file, rows, rows.order, None)]
    return [Part(file, rows, rows.order[hours == hour], int(hour)) for hour in distinct]


class _Rows:
    """A file's rows by number, counted through its pieces: a row group is copied together at a time, never all."""

    def __init__(self, file: OpenFile, release: Callable[[], None]) -> None:
        self._schema, self._release = file.schema, release
        self._pieces = [piece.rows for piece in file.pieces]
        self._starts = np.cumsum([0, *map(len, self._pieces)])
        self.offsets, self.indexes = self.columns("raw_offset", "raw_index")
        further, same = np.diff(self.offsets), np.diff(self.indexes)
        if ((further > 0) | ((further == 0) & (same > 0))).all():  # as mostly
            self.order = np.arange(len(self.offsets))
        else:
            self.order = np.lexsort((self.indexes, self.offsets))

    def columns(self, *names: str) -> list[Ints]:
        """Columns of integers, (rows,) each, by number."""
        parts = []
        for pieces in parted(self._pieces, len):
            parts.append([np.concatenate([piece.column(name).to_numpy() for piece in pieces]) for name in names])
            self._release()  # of a mapped file a look at one page takes all that the page cache holds together
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def gather(self, numbers: Ints) -> pa.Table:
        """The rows of these numbers, in this order: as they lie where they are long runs, else copied.

        A run is of one piece:

            pieces   |0 . . . .|5 . . . .|     numbers  3 4 5 7 6     runs  |3 4| |5| |7| |6|
        """
        piece = np.searchsorted(self._starts, numbers, "right") - 1
        starts = np.flatnonzero((np.diff(numbers, prepend=-2) != 1) | (np.diff(piece, prepend=-1) != 0))
        if len(starts) * ROWS_A_RUN > len(numbers):
            return self._copied(numbers)
        firsts, lengths, of = numbers[starts], np.diff(starts, append=len(numbers)), piece[starts]
        runs = zip(of.tolist(), (firsts - self._starts[of]).tolist(), lengths.tolist(), strict=True)
        return pa.Table.from_batches([self._pieces[of].slice(first, rows) for of, first, rows in runs], self._schema)

    def _copied(self, numbers: Ints) -> pa.Table:
        """The rows of these numbers, in this order, copied.

        From each piece only the span that is wanted is taken:

            pieces       |0 . . . .|5 . . . .|     numbers  3 5 4 6
            spans              |3 4|   |5 6|       taken from those joined: 0 2 1 3
        """
        ascending = np.sort(numbers)
        bounds = np.searchsorted(ascending, self._starts)
        shift = np.zeros(len(self._pieces), np.int64)
        spans, joined = [], 0
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            first, last = int(ascending[bounds[number]]), int(ascending[bounds[number + 1] - 1])
            spans.append(self._pieces[number].slice(first - int(self._starts[number]), last + 1 - first))
            shift[number] = joined - first
            joined += last + 1 - first
        rows = pa.Table.from_batches(spans, self._schema)
        indexes = pa.array(numbers + shift[np.searchsorted(self._starts, numbers, "right") - 1])
        # A column at a time: the rows as they lay and in order are never both in memory.
        columns = [_in_order(column, indexes) for column in rows.columns]
        return pa.Table.from_arrays(columns, schema=self._schema)


def _in_order(column: pa.ChunkedArray, indexes: pa.Array) -> pa.Array:
    """A column's values by index, in one piece; many a column has none, and is not copied."""
    if column.null_count == len(column):
        return pa.nulls(len(indexes), column.type)
    return column.combine_chunks().take(indexes)


def _chunked(rows: pa.Table) -> pa.Table:
    """A row group's rows as they are written: the bytes do not depend on the pieces that the rows lie in.

    A column that fits into one page is encoded the same from any pieces, without a copy. Pages of others end where a
    piece does, so those are cut every CHUNK_ROWS rows.
    """
    chunks = rows.column(0).num_chunks
    if chunks > 1 and chunks * ROWS_A_PIECE > len(rows):
        rows = rows.combine_chunks()
    large = [number for number in _varying(rows.schema) if rows.column(number).nbytes >= DATA_PAGE_BYTES]
    for number in large:
        rows = rows.set_column(number, rows.schema.field(number), _cut(rows.column(number)))
    return rows


def _varying_of(schema: pa.Schema) -> list[int]:
    """Where the columns are that a row group of may be more than a page: all others have eight bytes a row at most."""
    return [number for number, field in enumerate(schema) if not pa.types.is_primitive(field.type)]


_varying = BySchema(_varying_of, with_metadata=False)


def _cut(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in chunks of CHUNK_ROWS rows; what lies in one piece is not copied."""
    parts = (column.slice(start, CHUNK_ROWS) for start in range(0, len(column), CHUNK_ROWS))
    return pa.chunked_array([part.chunk(0) if part.num_chunks == 1 else part.combine_chunks() for part in parts])


def write(part: Part, partition: int, sink: Sink, release: Callable[[], None] = lambda: None) -> ClosedFile:
    """Write a part as a Parquet file; what its manifest will say of it.

    `release` is called after each row group: what it took of mapped files is not read again.
    """
    file, rows, order, also = part.of, part.rows, part.order, 0
    time, times_us = "ingest_ts_us" if file.key.table == REJECTS else "end_ts_us", list[int]()
    ends = order[[0, -1]]
    first, last = zip(rows.offsets[ends].tolist(), rows.indexes[ends].tolist(), strict=True)
    positions = [file.schema.get_field_index(name) for name in ("raw_offset", "raw_index")]
    sorting = [pq.SortingColumn(position) for position in positions]
    with (
        buffered(sink) as out,
        pq.ParquetWriter(out, file.schema, sorting_columns=sorting, **writer_options(file.schema)) as writer,
    ):
        for start in range(0, len(order), ROW_GROUP_ROWS):
            group = rows.gather(order[start : start + ROW_GROUP_ROWS])
            writer.write_table(_chunked(group), row_group_size=ROW_GROUP_ROWS)
            also += len(positions_of(group)[0]) - len(group)
            times_us += pc.min_max(group.column(time)).as_py().values()
            del group  # before the next one is made
            release()
        writer.add_key_value_metadata(footer(partition, first, last))
    return ClosedFile(
        path=paths.data_file(file.key, part.hour, partition, first, last),
        sha256=sink.digest.hexdigest(),
        bytes=sink.size,
        table=file.key.table,
        site=file.key.site,
        sensor=file.key.sensor,
        rows=len(order),
        first=first,
        last=last,
        from_ts_us=min(times_us),
        to_ts_us=max(times_us),
        feature_hash=(file.schema.metadata or {}).get(b"feature_hash", b"").decode(),
        also=also,
    )


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """How every Parquet file of the archive is written, beside its schema and order; not to be changed."""
    return _options(schema)


def _options_of(schema: pa.Schema) -> dict[str, Any]:
    paths = {
        field.name: f"{field.name}.list.element" if pa.types.is_nested(field.type) else field.name for field in schema
    }
    dense = [path for name, path in paths.items() if name in ENCODED or name in MANY_VALUES]
    return {
        "version": "2.6",
        "compression": {path: COMPRESSION if path in dense else FEW_VALUES_COMPRESSION for path in paths.values()},
        "compression_level": dict.fromkeys(dense, COMPRESSION_LEVEL),
        "use_dictionary": [path for name, path in paths.items() if name not in ENCODED],
        "column_encoding": {paths[name]: encoding for name, encoding in ENCODED.items() if name in paths},
        "data_page_size": DATA_PAGE_BYTES,
        "write_batch_size": WRITE_BATCH_VALUES,
        # Least and greatest values are what queries skip files by; of a feature or an id nobody asks for them.
        "write_statistics": [
            field.name for field in schema if not pa.types.is_nested(field.type) and field.name not in IDS
        ],
    }


_options = BySchema(_options_of, with_metadata=False)


def footer(partition: int, first: Position, last: Position) -> dict[str, str]:
    """What a file's footer says of where in `raw` its rows are from: lowest and highest position, `offset.index`."""
    return {
        f"{FOOTER}partition": str(partition),
        f"{FOOTER}first": f"{first[0]}.{first[1]}",
        f"{FOOTER}last": f"{last[0]}.{last[1]}",
    }


def without_footer(schema: pa.Schema) -> pa.Schema:
    """A schema as it was before it was written: what `footer` added is one file's own."""
    metadata = {name: value for name, value in (schema.metadata or {}).items() if not name.startswith(FOOTER.encode())}
    return schema.with_metadata(metadata)
