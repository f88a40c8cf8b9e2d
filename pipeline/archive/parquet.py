"""A closed file's rows as Parquet bytes: the same rows give the same bytes, however they came."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.archive import paths
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.paths import Position
from pipeline.archive.positions import positions_of
from pipeline.archive.streams import HOUR_US, LATE, REJECTS, OpenFile

ROW_GROUP_ROWS = 131_072
DATA_PAGE_BYTES = 1024 * 1024
COMPRESSION, COMPRESSION_LEVEL = "zstd", 1
FOOTER = "raw_"
ENCODED = {
    "start_ts_us": "DELTA_BINARY_PACKED",
    "end_ts_us": "DELTA_BINARY_PACKED",
    "score": "BYTE_STREAM_SPLIT",
    "novelty": "BYTE_STREAM_SPLIT",
    "p_value": "BYTE_STREAM_SPLIT",
    "features": "BYTE_STREAM_SPLIT",
    "record_id": "PLAIN",
    "community_id": "PLAIN",
    "sensor_uid": "PLAIN",
}
"""Columns whose values seldom occur twice: a dictionary would be built and abandoned, which costs half as much as
a row's other columns, and makes the file larger. Times in order become differences, floats streams of bytes
(docs/performance.md).
"""
IDS = ("record_id", "community_id", "sensor_uid")
MAX_HOURS = 24
"""Late rows of more hours than this go into one file: a sensor whose clock jumps must not make a file a row."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A Parquet file in memory, and what its manifest will say of it."""

    entry: ClosedFile
    data: memoryview


def render(file: OpenFile, partition: int) -> list[Rendered]:
    """The Parquet files of a closed stream file: one, or for `late` rows one for each hour of their own event time."""
    rows = pa.Table.from_batches([piece.rows for piece in file.pieces], schema=file.schema)
    offsets, indexes = _numpy(rows, "raw_offset"), _numpy(rows, "raw_index")
    order = np.lexsort((indexes, offsets))
    # Mostly the order is right already, and a copy of the rows is saved; the bytes come out the same.
    in_order = bool((order[1:] > order[:-1]).all())
    rows = (rows if in_order else rows.take(pa.array(order))).combine_chunks()
    if file.key.table != LATE:
        return [_render(file, rows, file.hour, partition)]
    hours = _numpy(rows, "end_ts_us") // HOUR_US
    distinct = np.unique(hours)
    if len(distinct) > MAX_HOURS:
        return [_render(file, rows, None, partition)]
    return [
        _render(file, rows.take(pa.array(np.flatnonzero(hours == hour))).combine_chunks(), int(hour), partition)
        for hour in distinct
    ]


def _render(file: OpenFile, rows: pa.Table, hour: int | None, partition: int) -> Rendered:
    sink = pa.BufferOutputStream()
    offsets, indexes = _numpy(rows, "raw_offset"), _numpy(rows, "raw_index")
    first, last = (int(offsets[0]), int(indexes[0])), (int(offsets[-1]), int(indexes[-1]))
    positions = [rows.schema.get_field_index(name) for name in ("raw_offset", "raw_index")]
    order = [pq.SortingColumn(position) for position in positions]
    with pq.ParquetWriter(sink, rows.schema, sorting_columns=order, **writer_options(rows.schema)) as writer:
        writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata(footer(partition, first, last))
    data = memoryview(sink.getvalue())
    time_us = _numpy(rows, "ingest_ts_us" if file.key.table == REJECTS else "end_ts_us")
    entry = ClosedFile(
        path=paths.data_file(file.key, hour, partition, first, last),
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        table=file.key.table,
        site=file.key.site,
        sensor=file.key.sensor,
        rows=len(rows),
        first=first,
        last=last,
        from_ts_us=int(time_us.min()),
        to_ts_us=int(time_us.max()),
        feature_hash=(rows.schema.metadata or {}).get(b"feature_hash", b"").decode(),
        also=len(positions_of(rows)[0]) - len(rows),
    )
    return Rendered(entry, data)


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """How every Parquet file of the archive is written, beside its schema and order."""
    return {
        "version": "2.6",
        "compression": COMPRESSION,
        "compression_level": COMPRESSION_LEVEL,
        "use_dictionary": [name for name in schema.names if name not in ENCODED],
        "column_encoding": {
            f"{name}.list.element" if name == "features" else name: encoding
            for name, encoding in ENCODED.items()
            if name in schema.names
        },
        "data_page_size": DATA_PAGE_BYTES,
        # Least and greatest values are what queries skip files by; of a feature or an id nobody asks for them.
        "write_statistics": [
            field.name for field in schema if not pa.types.is_nested(field.type) and field.name not in IDS
        ],
    }


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


def _numpy(rows: pa.Table, name: str) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = rows.column(name).to_numpy()
    return values
