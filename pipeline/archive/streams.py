"""Which rows go into which file: files open and close only where the rows themselves say so.

A stream is one table (`flows`, `late`, `rejects`) of one sensor in one raw partition; it has at most one open file.
Nothing here knows how the log was cut into messages, so that an archive written twice from the same `raw` has the
same files:

- `flows` are in event-time order per sensor. A file holds one UTC hour of `end_ts_us` and closes when the next row is
  of another hour.
- `late` rows are in raw order. A file closes when the hour of the watermark they came under (`end_ts_us +
  late_by_us`) changes.
- `rejects` are in raw order and have no event time. A file closes when a raw message's timestamp is of a later hour
  than the first row's.
- Every file closes after `Limits.rows` rows or `Limits.bytes` bytes of strings, and where its sensor's source ends.

A watermark that passes the hour closes a file earlier than the next row would, with the same rows in it.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.archive.pieces import Piece, joined
from pipeline.runtime.wire.sensors import sensors_of

HOUR_US = 3_600_000_000
MAX_KNOWN_SCHEMAS = 4
"""Of flows and of rejects, and those of the feature set before; of others the files' schemas are compared in full."""
FLOWS, LATE, REJECTS = TABLES = ("flows", "late", "rejects")

Ints = npt.NDArray[np.int64]


class StreamKey(NamedTuple):
    """What names a stream within its raw partition."""

    table: str
    site: str
    sensor: str


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file is full: rows, and bytes of its strings (2 GiB of them is where Arrow's offsets end)."""

    rows: int
    bytes: int = 64 * 1024 * 1024


@dataclass(slots=True)
class OpenFile:
    """The rows of a file that is still open."""

    key: StreamKey
    hour: int  # hours since epoch; of what, depends on the table (module docstring)
    schema: pa.Schema
    rows: int = 0
    bytes: int = 0
    pieces: list[Piece] = field(default_factory=list)


class Streams:
    """All open files of one raw partition."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open: dict[StreamKey, OpenFile] = {}
        self._schema = pa.schema([])
        self._known: list[tuple[pa.Schema, list[tuple[int, int]]]] = []

    def add(self, rows: pa.RecordBatch, segment: int | None = None) -> list[OpenFile]:
        """Take rows (`scored` or `reject` schema, several sensors) in; returns the files they closed."""
        closed: list[OpenFile] = []
        rows, runs = runs_of(rows)
        if not runs:
            return closed
        hours, varying = _hours(rows), self._varying_of(rows)
        starts = np.array([start for _, start, _ in runs])
        sizes = np.diff(_bytes_before(varying, np.append(starts, len(rows)))).tolist()
        lowest, highest = (of.reduceat(hours, starts).tolist() for of in (np.minimum, np.maximum))
        for (key, start, stop), size, low, high in zip(runs, sizes, lowest, highest, strict=True):
            file = self.open.get(key)
            if file is None:
                file = self.open[key] = OpenFile(key, int(hours[start]), self._schema)
            if self._takes_whole(file, stop - start, size, low, high):
                # Nearly every run of nearly every message: nothing closes.
                file.pieces.append(Piece(rows, start, stop, segment))
                file.rows += stop - start
                file.bytes += size
            else:
                closed += self._append(key, rows, hours, varying, start, stop, segment)
        return closed

    def _takes_whole(self, file: OpenFile, rows: int, size: int, lowest: int, highest: int) -> bool:
        """Whether a run of so many rows and bytes, of these hours and this schema, goes into a file that stays open."""
        same_hour = highest <= file.hour if file.key.table == REJECTS else lowest == highest == file.hour
        fits = file.rows + rows < self.limits.rows and file.bytes + size < self.limits.bytes
        return same_hour and fits and file.schema is self._schema

    def pass_watermark(self, site: str, sensor: str, watermark_us: int) -> list[OpenFile]:
        """Close the sensor's files whose hour is over; later rows would close them with the same content."""
        hour = watermark_us // HOUR_US
        keys = (StreamKey(FLOWS, site, sensor), StreamKey(LATE, site, sensor))
        return [self.open.pop(key) for key in keys if key in self.open and self.open[key].hour < hour]

    def end(self, site: str, sensor: str) -> list[OpenFile]:
        """Close all files of a sensor whose source has ended."""
        keys = [StreamKey(table, site, sensor) for table in TABLES]
        return [self.open.pop(key) for key in keys if key in self.open]

    def restore(self, stored: Iterable[tuple[int, StreamKey, pa.RecordBatch]]) -> None:
        """Restore rows that were open when a manifest was written: (segment, stream, rows); this closes no file."""
        for segment, key, rows in stored:
            file = self.open.get(key)
            if file is None:
                file = self.open[key] = OpenFile(key, int(_hours(rows.slice(0, 1))[0]), rows.schema)
            file.pieces.append(Piece.of(rows, segment))
            file.rows += len(rows)
            file.bytes += bytes_between(self._varying_of(rows), 0, len(rows))
        for key, file in self.open.items():
            if key.table == REJECTS:
                file.hour = _hour_of_first(file)

    def move(
        self, segments: Container[int | None], into: int, stored: Iterable[tuple[StreamKey, pa.RecordBatch]]
    ) -> None:
        """The rows of these segments (None: those in memory) have been stored in segment `into`: hold those instead."""
        for file in self.open.values():
            file.pieces = [piece for piece in file.pieces if piece.segment not in segments]
        for key, rows in stored:
            self.open[key].pieces.append(Piece.of(rows, into))

    def _varying_of(self, rows: pa.RecordBatch) -> list["Varying"]:
        """As `varying_of`. `_schema` is the rows' schema from here on: of equal ones always the same object, so that
        files compare it at once.
        """
        known = next((each for each in self._known if each[0].equals(rows.schema, check_metadata=True)), None)
        if known is None:
            known = rows.schema, varying_columns(rows.schema)
            self._known = [known, *self._known][:MAX_KNOWN_SCHEMAS]
        self._schema = known[0]
        return varying_of(rows, known[1])

    def _append(
        self,
        key: StreamKey,
        rows: pa.RecordBatch,
        hours: Ints,
        varying: list["Varying"],
        start: int,
        end: int,
        segment: int | None,
    ) -> Iterator[OpenFile]:
        """Put rows start..end, which are the stream's, into its files."""
        while start < end:
            file = self.open.get(key)
            if file is not None and file.schema is not self._schema and not file.schema.equals(self._schema, True):
                yield self.open.pop(key)
                continue
            if file is None:
                file = self.open[key] = OpenFile(key, int(hours[start]), self._schema)
            file.schema = self._schema  # the same object next time: compared at once
            other_hour = _first_of_next_file(hours, start, end, file.hour, key.table)
            stop = max(start, min(other_hour, start + self.limits.rows - file.rows))
            left = self.limits.bytes - file.bytes
            size = bytes_between(varying, start, stop)
            if size >= left:
                stop = min(stop, start + _first_beyond(varying, start, stop, left))
                size = bytes_between(varying, start, stop)
            if stop > start:
                file.pieces.append(Piece(rows, start, stop, segment))
                file.rows += stop - start
                file.bytes += size
                start = stop
            if start == other_hour < end or file.rows >= self.limits.rows or file.bytes >= self.limits.bytes:
                yield self.open.pop(key)


def join(files: Iterable[OpenFile]) -> None:
    """Join the scraps that these files have in memory, those of several files at once, in raw order: so each has them
    as one piece.

    For files that are written next, of some 10,000 rows together: they are copied. What lies in segments is left there:
    of many files at once it would be many pages of each.
    """
    of_schema: dict[int, list[tuple[OpenFile, list[Piece]]]] = {}
    for file in files:
        small = [piece for piece in file.pieces if piece.is_scrap]
        if small:
            of_schema.setdefault(id(file.schema), []).append((file, small))
    for group in of_schema.values():
        file_of = [number for number, (_, small) in enumerate(group) for _ in small]
        rows, stop = joined([piece for _, small in group for piece in small], group[0][0].schema, file_of), 0
        for file, small in group:
            start, stop = stop, stop + sum(piece.size for piece in small)
            others = [piece for piece in file.pieces if not piece.is_scrap]
            file.pieces = [*others, Piece(rows, start, stop, None)]


def _hours(rows: pa.RecordBatch) -> Ints:
    """The hour that decides which file a row is in, hours since epoch, of each row."""
    if "late_by_us" not in rows.schema.names:
        return _numpy(rows, "ingest_ts_us") // HOUR_US
    # A flow on time is 0 late: of those this is the hour of event time, of late ones that of the watermark they met.
    return (_numpy(rows, "end_ts_us") + _numpy(rows, "late_by_us")) // HOUR_US


def _hour_of_first(file: OpenFile) -> int:
    """The hour of the row with the lowest raw position; segments do not keep the order of a stream's rows."""
    lowest = []
    for rows in (piece.rows for piece in file.pieces):
        offsets, indexes = _numpy(rows, "raw_offset"), _numpy(rows, "raw_index")
        row = int(np.lexsort((indexes, offsets))[0])
        lowest.append((int(offsets[row]), int(indexes[row]), int(_hours(rows)[row])))
    return min(lowest)[2]


def _first_of_next_file(hours: Ints, start: int, end: int, hour: int, table: str, step: int = 1024) -> int:
    """Index of the first row from `start` on that a file of this hour does not take, `end` where it takes all."""
    while start < end:
        window = hours[start : min(start + step, end)]
        # A raw timestamp may jump back and forth; only a later hour counts, or two clocks would close a file a row.
        outside = np.flatnonzero(window > hour if table == REJECTS else window != hour)
        if len(outside):
            return start + int(outside[0])
        start += step
    return end


def runs_of(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, list[tuple[StreamKey, int, int]]]:
    """The rows with those of each stream together, in the order they had, and where each stream's start and end.

    Zero-copy where they lay together already, as featurize leaves them.
    """
    if not len(rows):
        return rows, []
    names, number = sensors_of(rows)
    late = _numpy(rows, "late_by_us") > 0 if "late_by_us" in rows.schema.names else None
    codes = number * 2 if late is None else number * 2 + late
    starts = np.concatenate(([0], np.flatnonzero(np.diff(codes)) + 1))
    if len(np.unique(codes[starts])) < len(starts):
        order = np.argsort(codes, kind="stable")
        rows, codes = rows.take(pa.array(order)), codes[order]
        starts = np.concatenate(([0], np.flatnonzero(np.diff(codes)) + 1))
    runs = []
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
        which, is_late = divmod(int(codes[start]), 2)
        table = REJECTS if late is None else LATE if is_late else FLOWS
        runs.append((StreamKey(table, *names[which]), start, stop))
    return rows, runs


def by_stream(rows: pa.RecordBatch) -> Iterator[tuple[StreamKey, pa.RecordBatch]]:
    """The rows of each stream in a batch, in the order they have there."""
    rows, runs = runs_of(rows)
    return ((key, rows.slice(start, stop - start)) for key, start, stop in runs)


class Varying(NamedTuple):
    """A column whose values are of varying length: where each starts, (rows + 1,), and bytes of one unit of that."""

    starts: npt.NDArray[np.int32]
    unit_bytes: int


def varying_columns(schema: pa.Schema) -> list[tuple[int, int]]:
    """Where columns of strings, bytes and lists are, and bytes of one unit of their lengths."""
    columns = []
    for number, column in enumerate(schema):
        if pa.types.is_list(column.type):
            columns.append((number, column.type.value_type.bit_width // 8))
        elif pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            columns.append((number, 1))
    return columns


def varying_of(rows: pa.RecordBatch, columns: list[tuple[int, int]]) -> list[Varying]:
    """Where the values of these columns start; empty for a batch without rows."""
    result = []
    for number, unit_bytes in columns if len(rows) else ():
        column = rows.column(number)
        starts = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
        result.append(Varying(starts, unit_bytes))
    return result


def bytes_between(varying: list[Varying], start: int, stop: int) -> int:
    """Bytes of all columns of varying length in rows start..stop."""
    return sum((int(column.starts[stop]) - int(column.starts[start])) * column.unit_bytes for column in varying)


def _bytes_before(varying: list[Varying], rows: Ints) -> Ints:
    """Bytes of all columns of varying length before each of these rows, (n,), counted from a row before them all."""
    size = np.zeros(len(rows), np.int64)
    for column in varying:
        size += np.multiply(column.starts[rows], column.unit_bytes, dtype=np.int64)
    return size


def _first_beyond(varying: list[Varying], start: int, stop: int, left: int) -> int:
    """The fewest rows from `start` on, none beyond `stop`, that hold `left` bytes or more."""
    size = _bytes_before(varying, np.arange(start, stop + 1))
    return int(np.searchsorted(size - size[0], left, "left"))


def _numpy(rows: pa.RecordBatch, name: str) -> Ints:
    values: Ints = rows.column(name).to_numpy(zero_copy_only=False)
    return values
