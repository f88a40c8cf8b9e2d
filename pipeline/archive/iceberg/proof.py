"""What the tables hold against what the manifests state: every closed file's rows, every raw position once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table

from pipeline.archive.iceberg import position, tables
from pipeline.archive.iceberg.position import Links, Position
from pipeline.archive.iceberg.rows import ARCHIVE_FILE
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.positions import PositionBlock, Positions, Source, doubled, positions_of
from pipeline.archive.streams import TABLES
from pipeline.runtime.storage.location import StorageLike, open_storage

MAX_PROBLEMS = 100
COLUMNS = (ARCHIVE_FILE, "raw_partition", "raw_offset", "raw_index", "raw_also")


@dataclass
class _Content:
    """What a table holds of a closed file."""

    rows: int
    also: int
    first: tuple[int, int]
    last: tuple[int, int]


def prove(archive: StorageLike, catalog: Catalog) -> dict[str, Any]:
    """Compare every table with the manifests up to its position.

    Returns `ok`, `tables` (table, files, rows, behind: closed files not copied yet), `problems`, `problems_left_out`.
    """
    storage = open_storage(archive)
    by_name = {name: tables.find(catalog, name) for name in TABLES}
    chains = position.read(storage)
    problems: list[str] = []
    listed = []
    for name, table in by_name.items():
        positions = {} if table is None else position.decode(table.properties, name)
        for partition, links in chains.items():
            links.check(positions.get(partition), name, storage.uri)
        contents: dict[str, _Content] = {}
        if table is not None:
            problems += _doubles(name, table, contents)
        problems += _differences(name, chains, positions, contents)
        listed.append(
            {
                "table": f"{tables.NAMESPACE}.{name}",
                "files": len(contents),
                "rows": sum(content.rows for content in contents.values()),
                "behind": sum(
                    item.entry is not None and not links.snapshot.locations[item.entry.path].purged
                    for partition, links in chains.items()
                    for item in links.ahead(positions.get(partition), name)
                ),
            }
        )
    return {
        "ok": not problems,
        "archive": storage.uri,
        "tables": listed,
        "problems": problems[:MAX_PROBLEMS],
        "problems_left_out": max(len(problems) - MAX_PROBLEMS, 0),
    }


def _doubles(name: str, table: Table, contents: dict[str, _Content]) -> Iterator[str]:
    """Read all rows, data file by data file; fills `contents`, and yields the raw positions that occur twice."""
    columns = [column for column in COLUMNS if column in table.schema().column_names]
    sources: dict[int, list[Source]] = {}
    for task in table.scan(selected_fields=tuple(columns)).plan_files():
        partition, offset = (tables.bound(table, task.file, column) for column in ("raw_partition", "raw_offset"))
        if partition is None or offset is None or partition[0] != partition[1]:
            # Somebody's compaction has merged partitions, or there are no bounds.
            for number in pc.unique(_read(table, task, columns)["raw_partition"]).to_pylist():
                sources.setdefault(number, []).append(Source((-1, 0), _reader(table, task, columns, number, contents)))
            continue
        sources.setdefault(int(str(partition[0])), []).append(
            Source((int(str(offset[0])), 0), _reader(table, task, columns, None, contents))
        )
    for number, some in sources.items():
        for part in Positions(some).in_order():
            for row in np.flatnonzero(doubled(part)).tolist():
                yield f"{name}: raw[{number}]@{part.offsets[row]}, record {part.indexes[row]}: is there twice"


def _read(table: Table, task: FileScanTask, columns: list[str]) -> pa.Table:
    schema = table.schema().select(*columns)
    return ArrowScan(table.metadata, table.io, schema, AlwaysTrue()).to_table([task])


def _reader(
    table: Table, task: FileScanTask, columns: list[str], partition: int | None, contents: dict[str, _Content]
) -> Callable[[], PositionBlock]:
    def read() -> PositionBlock:
        rows = _read(table, task, columns)
        if partition is not None:
            rows = rows.filter(pc.equal(rows["raw_partition"], partition))
        for path in pc.unique(rows[ARCHIVE_FILE]).to_pylist():
            _note(contents, path, rows.filter(pc.equal(rows[ARCHIVE_FILE], path)))
        offsets, indexes = positions_of(rows)
        order = np.lexsort((indexes, offsets))
        return PositionBlock(offsets[order], indexes[order], np.zeros(len(order), np.int64))

    return read


def _note(contents: dict[str, _Content], path: str, rows: pa.Table) -> None:
    offsets, indexes = positions_of(rows)
    also = len(offsets) - len(rows)
    order = np.lexsort((indexes[: len(rows)], offsets[: len(rows)]))
    first, last = ((int(offsets[row]), int(indexes[row])) for row in (order[0], order[-1]))
    before = contents.get(path)
    if before is None:
        contents[path] = _Content(len(rows), also, first, last)
    else:
        first, last = min(before.first, first), max(before.last, last)
        contents[path] = _Content(before.rows + len(rows), before.also + also, first, last)


def _differences(
    name: str, chains: dict[int, Links], positions: dict[int, Position], contents: dict[str, _Content]
) -> Iterator[str]:
    left = set(contents)
    for partition, links in chains.items():
        committed = positions.get(partition)
        ahead = {item.entry.path for item in links.ahead(committed, name) if item.entry is not None}
        purged = {path for item in links.ahead(committed, name) for path in item.purged}
        for entry in links.snapshot.files:
            if entry.table != name or entry.path in ahead:
                continue
            left.discard(entry.path)
            # What was purged since may still be there, or may have been gone before it was copied.
            gone = links.snapshot.locations[entry.path].purged
            yield from _difference(entry, contents.get(entry.path), gone, entry.path in purged)
    for path in sorted(left):
        yield f"{path}: the table has {contents[path].rows} rows of it, no manifest up to the table's position lists it"


def _difference(entry: ClosedFile, got: _Content | None, gone: bool, lately: bool) -> Iterator[str]:
    if got is None:
        if not gone:
            yield f"{entry.path}: the table has no rows of it, its manifest states {entry.rows}"
    elif gone and not lately:
        yield f"{entry.path}: the table has {got.rows} rows of it, the archive has purged it"
    elif (got.rows, got.also, got.first, got.last) != (entry.rows, entry.also, entry.first, entry.last):
        yield (
            f"{entry.path}: the table has {got.rows} rows and {got.also} records within them, from {got.first} "
            f"to {got.last}; its manifest states {entry.rows} and {entry.also}, from {entry.first} to {entry.last}"
        )
