"""Read the rows of closed files, wherever they lie: in a file of their own, or in a pack of several."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.archive.parquet import without_footer
from pipeline.archive.snapshot import Location, PartitionSnapshot, read_partition
from pipeline.errors import RefusedState
from pipeline.runtime.storage.location import StorageLike, open_storage

OPEN_FILES = 4


class ClosedRows:
    """Reads closed files' rows; neighbours in a pack are read once, as a row group.

    Keeps the few files it read last open, and of packs the row group it read last: memory is bounded by that.
    """

    def __init__(self, archive: StorageLike) -> None:
        self._archive = open_storage(archive)
        self._open: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._group: tuple[str, int, tuple[str, ...] | None, pa.Table] | None = None

    def schema(self, where: Location) -> pa.Schema:
        """The schema of the rows; RefusedState where it cannot be read."""
        with self._reading(where):
            return without_footer(self._file(where.file).schema_arrow)

    def may_have(self, where: Location, columns: Sequence[str]) -> bool:
        """Whether any row may have a value in any of these columns, as far as the file's footer says."""
        with self._reading(where):
            file = self._file(where.file)
            numbers = range(file.num_row_groups) if where.pack is None else _covering(file, where)[1]
            for group in (file.metadata.row_group(number) for number in numbers):
                for column in (group.column(index) for index in range(group.num_columns)):
                    if column.path_in_schema in columns:
                        known = column.statistics
                        if known is None or not known.has_null_count or known.null_count < group.num_rows:
                            return True
            return False

    def read(self, where: Location, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows, or some of their columns (those the file does not have are left out); RefusedState where they
        cannot be read.
        """
        with self._reading(where):
            file = self._file(where.file)
            names = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
            rows = file.read(names) if where.pack is None else self._part(file, where, names)
            return rows.replace_schema_metadata(without_footer(rows.schema).metadata)

    @contextmanager
    def _reading(self, where: Location) -> Iterator[None]:
        try:
            yield
        except (*self._archive.errors, pa.ArrowException) as error:
            raise RefusedState(
                f"{self._archive.uri}: {where.file}: cannot be read ({error}), a manifest lists it; `forebay archive "
                "verify` says what is wrong"
            ) from error

    def _file(self, name: str) -> pq.ParquetFile:
        file = self._open.get(name)
        if file is None:
            file = self._open[name] = pq.ParquetFile(self._archive.open(name))
            while len(self._open) > OPEN_FILES:
                _, oldest = self._open.popitem(last=False)
                oldest.close(force=True)
        self._open.move_to_end(name)
        return file

    def _part(self, file: pq.ParquetFile, where: Location, columns: list[str] | None) -> pa.Table:
        starts, numbers = _covering(file, where)
        stop = where.first_row + where.rows
        parts = []
        for number in numbers:
            table = self._read_group(where.file, file, number, columns)
            first = max(where.first_row - starts[number], 0)
            parts.append(table.slice(first, min(stop, starts[number + 1]) - starts[number] - first))
        return pa.concat_tables(parts) if parts else file.schema_arrow.empty_table()

    def _read_group(self, name: str, file: pq.ParquetFile, number: int, columns: list[str] | None) -> pa.Table:
        wanted = None if columns is None else tuple(columns)
        if self._group is None or self._group[:3] != (name, number, wanted):
            self._group = name, number, wanted, file.read_row_group(number, columns)
        return self._group[3]


class FollowedRows:
    """Rows of one partition's closed files; follows them where a compaction moves them while they are read."""

    def __init__(self, archive: StorageLike, snapshot: PartitionSnapshot) -> None:
        self._archive, self._reader = open_storage(archive), ClosedRows(archive)
        self._partition, self._locations = snapshot.partition, snapshot.locations

    def read(self, path: str) -> pa.Table | None:
        """A closed file's rows; None where they have been purged. RefusedState where they cannot be read."""
        while True:
            where = self._locations[path]
            if where.purged:
                return None
            try:
                return self._reader.read(where)
            except RefusedState:
                locations = read_partition(self._archive, self._partition).locations
                if where.same_as(locations.get(path)):
                    raise
                self._locations = locations


def _covering(file: pq.ParquetFile, where: Location) -> tuple[list[int], list[int]]:
    """Where the row groups of a pack start (and the last one ends), and which of them hold a closed file's rows."""
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    stop = where.first_row + where.rows
    if stop > starts[-1]:
        raise OSError(f"{starts[-1]} rows, expected {stop} at least")
    return starts.tolist(), np.flatnonzero((starts[:-1] < stop) & (starts[1:] > where.first_row)).tolist()
