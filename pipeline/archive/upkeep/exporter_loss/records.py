"""Records with their exporters' sequence numbers, as the archive's rows have them.

A row that was merged from several records stands for as many; a reject's number counts like a flow's.
"""

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.archive.paths import Position

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

STREAM = ("export_protocol", "exporter_addr", "export_domain")
COLUMNS = (
    *("raw_offset", "raw_index", "raw_also", "ingest_ts_us", "source_type", "content_type"),
    *(*STREAM, "export_sequence", "export_also"),
)
"""The columns that are read, where a file has them."""
_ALSO = r"^(?P<stream>[^ ]+ [^ ]+ (?:-|[0-9]{1,10})) (?P<sequence>[0-9]{1,10})$"
_MAX_SEQUENCE = (1 << 32) - 1


class Records(NamedTuple):
    """n records, numbered or not: their raw positions, their messages' timestamps, and by whom they are numbered.

    `streams` are indexes into `names`, texts of protocol, address and domain; -1 where a record has no number.
    """

    offsets: Ints
    indexes: Ints
    at_us: Ints
    streams: Ints
    numbers: Ints
    names: tuple[str, ...]

    def at(self, rows: Mask | Ints) -> "Records":
        """The records of these rows."""
        return Records(
            self.offsets[rows],
            self.indexes[rows],
            self.at_us[rows],
            self.streams[rows],
            self.numbers[rows],
            self.names,
        )

    def below(self, bound: Position) -> Mask:
        """Marks the records that lie below a raw position."""
        below: Mask = (self.offsets < bound[0]) | ((self.offsets == bound[0]) & (self.indexes < bound[1]))
        return below


_NO_INTS = np.empty(0, np.int64)
NO_RECORDS = Records(_NO_INTS, _NO_INTS, _NO_INTS, _NO_INTS, _NO_INTS, ())


def concatenated(first: Records, second: Records) -> Records:
    """The first's records, then the second's."""
    names = tuple(dict.fromkeys((*first.names, *second.names)))
    index = {name: number for number, name in enumerate(names)}
    renumbered = np.array([*(index[name] for name in second.names), -1], np.int64)
    return Records(
        np.concatenate((first.offsets, second.offsets)),
        np.concatenate((first.indexes, second.indexes)),
        np.concatenate((first.at_us, second.at_us)),
        np.concatenate((first.streams, renumbered[second.streams])),
        np.concatenate((first.numbers, second.numbers)),
        names,
    )


def joined(parts: Iterable[Records]) -> Records:
    """Several parts as one, in raw order."""
    whole = reduce(concatenated, (part for part in parts if len(part.offsets)), NO_RECORDS)
    return whole.at(np.lexsort((whole.indexes, whole.offsets)))


def records_of(rows: pa.Table) -> Records:
    """The records that rows of an archive's file (COLUMNS, as far as it has them) stand for, in raw order."""
    parts = [_row_records(rows)]
    if "raw_also" in rows.schema.names and rows.column("raw_also").null_count < len(rows):
        parts.append(_also_records(rows))
    return joined(parts)


def _row_records(rows: pa.Table) -> Records:
    offset, index, at_us = (_ints(rows.column(name)) for name in ("raw_offset", "raw_index", "ingest_ts_us"))
    if "export_sequence" not in rows.schema.names or rows.column("export_sequence").null_count == len(rows):
        none = np.full(len(rows), -1, np.int64)
        return Records(offset, index, at_us, none, none, ())
    parts = [rows.column(name).cast(pa.string()).fill_null("-") for name in STREAM]
    return _numbered(offset, index, at_us, pc.binary_join_element_wise(*parts, " "), rows.column("export_sequence"))


def _also_records(rows: pa.Table) -> Records:
    """The further records that rows stand for (`raw_also`)."""
    rows = rows.filter(rows.column("raw_also").is_valid())
    counts = pc.list_value_length(rows.column("raw_also")).to_numpy() // 2
    position = _ints(pc.list_flatten(rows.column("raw_also"))).reshape(-1, 2)
    at_us = np.repeat(_ints(rows.column("ingest_ts_us")), counts)
    texts = pa.nulls(len(position), pa.string())
    if "export_also" in rows.schema.names and rows.column("export_also").null_count < len(rows):
        split = pc.split_pattern(rows.column("export_also").fill_null(""), ",").combine_chunks()
        # One text for each position; a row that has fewer or more says nothing that can be relied on.
        fitting = pc.list_value_length(split).to_numpy() == counts
        valid = np.flatnonzero(np.repeat(fitting, counts))
        rows_of_texts = np.full(len(position), -1, np.int64)
        rows_of_texts[valid] = np.arange(len(valid))
        flat = pc.list_flatten(split.filter(pa.array(fitting)))
        texts = flat.take(pa.array(rows_of_texts, mask=rows_of_texts < 0))
    groups = pc.extract_regex(texts, _ALSO)
    return _numbered(
        position[:, 0],
        position[:, 1],
        at_us,
        pc.struct_field(groups, "stream"),
        pc.struct_field(groups, "sequence").cast(pa.int64()),
    )


def _numbered(offset: Ints, index: Ints, at_us: Ints, streams: pa.Array, sequences: pa.Array) -> Records:
    sequence = _ints(sequences.cast(pa.int64()).fill_null(-1))
    if isinstance(streams, pa.ChunkedArray):
        streams = streams.combine_chunks()
    coded = streams.dictionary_encode()
    stream = _ints(coded.indices.cast(pa.int64()).fill_null(-1))
    there = (sequence >= 0) & (sequence <= _MAX_SEQUENCE) & (stream >= 0)
    names = tuple(coded.dictionary.to_pylist())
    return Records(offset, index, at_us, np.where(there, stream, -1), np.where(there, sequence, -1), names)


def _ints(column: pa.Array | pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), np.int64)
