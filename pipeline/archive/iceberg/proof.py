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
from pipeline.archive.positions import Held, Positions, Source, doubled, positions_of
from pipeline.archive.streams import TABLES
from pipeline.runtime.storage.storage import StorageLike, open_storage

MAX_PROBLEMS = 100
COLUMNS = (ARCHIVE_FILE, "raw_partition", "raw_offset", "raw_index", "raw_also")


@dataclass
class _Found:
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
    found = {name: tables.find(catalog, name) for name in TABLES}
    chains = position.read(storage)
    problems: list[str] = []
    listed = []
    for name, table in found.items():
        positions = {} if table is None else position.decode(table.properties, name)
        for partition, links in chains.items():
            links.check(positions.get(partition), name, storage.uri)
        held: dict[str, _Found] = {}
        if table is not None:
            problems += _doubles(name, table, held)
        problems += _differences(name, chains, positions, held)
        listed.append(
            {
                "table": f"{tables.NAMESPACE}.{name}",
                "files": len(held),
                "rows": sum(one.rows for one in held.values()),
                "behind": sum(
                    one.entry is not None and not links.found.places[one.entry.path].given_up
                    for partition, links in chains.items()
                    for one in links.ahead(positions.get(partition), name)
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


def _doubles(name: str, table: Table, held: dict[str, _Found]) -> Iterator[str]:
    """Go over all rows, data file by data file; fills `held`, and says which raw positions are there twice."""
    columns = [column for column in COLUMNS if column in table.schema().column_names]
    sources: dict[int, list[Source]] = {}
    for task in table.scan(selected_fields=tuple(columns)).plan_files():
        partition, offset = (tables.bound(table, task.file, column) for column in ("raw_partition", "raw_offset"))
        if partition is None or offset is None or partition[0] != partition[1]:
            # Somebody's compaction has put partitions together, or there are no bounds.
            for number in pc.unique(_read(table, task, columns)["raw_partition"]).to_pylist():
                sources.setdefault(number, []).append(Source((-1, 0), _reader(table, task, columns, number, held)))
            continue
        sources.setdefault(int(str(partition[0])), []).append(
            Source((int(str(offset[0])), 0), _reader(table, task, columns, None, held))
        )
    for number, some in sources.items():
        for part in Positions(some).in_order():
            for row in np.flatnonzero(doubled(part)).tolist():
                yield f"{name}: raw[{number}]@{part.offsets[row]}, record {part.indexes[row]}: is there twice"


def _read(table: Table, task: FileScanTask, columns: list[str]) -> pa.Table:
    schema = table.schema().select(*columns)
    return ArrowScan(table.metadata, table.io, schema, AlwaysTrue()).to_table([task])


def _reader(
    table: Table, task: FileScanTask, columns: list[str], partition: int | None, held: dict[str, _Found]
) -> Callable[[], Held]:
    def read() -> Held:
        rows = _read(table, task, columns)
        if partition is not None:
            rows = rows.filter(pc.equal(rows["raw_partition"], partition))
        for path in pc.unique(rows[ARCHIVE_FILE]).to_pylist():
            _note(held, path, rows.filter(pc.equal(rows[ARCHIVE_FILE], path)))
        offsets, indexes = positions_of(rows)
        order = np.lexsort((indexes, offsets))
        return Held(offsets[order], indexes[order], np.zeros(len(order), np.int64))

    return read


def _note(held: dict[str, _Found], path: str, rows: pa.Table) -> None:
    offsets, indexes = positions_of(rows)
    also = len(offsets) - len(rows)
    order = np.lexsort((indexes[: len(rows)], offsets[: len(rows)]))
    first, last = ((int(offsets[row]), int(indexes[row])) for row in (order[0], order[-1]))
    before = held.get(path)
    if before is None:
        held[path] = _Found(len(rows), also, first, last)
    else:
        first, last = min(before.first, first), max(before.last, last)
        held[path] = _Found(before.rows + len(rows), before.also + also, first, last)


def _differences(
    name: str, chains: dict[int, Links], positions: dict[int, Position], held: dict[str, _Found]
) -> Iterator[str]:
    left = set(held)
    for partition, links in chains.items():
        at_ = positions.get(partition)
        ahead = {one.entry.path for one in links.ahead(at_, name) if one.entry is not None}
        given_up = {path for one in links.ahead(at_, name) for path in one.given_up}
        for entry in links.found.files:
            if entry.table != name or entry.path in ahead:
                continue
            left.discard(entry.path)
            # What was given up since may still be there, or have been gone already when its turn came.
            gone = links.found.places[entry.path].given_up
            yield from _difference(entry, held.get(entry.path), gone, entry.path in given_up)
    for path in sorted(left):
        yield f"{path}: the table has {held[path].rows} rows of it, no manifest up to the table's position lists it"


def _difference(entry: ClosedFile, found: _Found | None, gone: bool, lately: bool) -> Iterator[str]:
    if found is None:
        if not gone:
            yield f"{entry.path}: the table has no rows of it, its manifest states {entry.rows}"
    elif gone and not lately:
        yield f"{entry.path}: the table has {found.rows} rows of it, the archive has given it up"
    elif (found.rows, found.also, found.first, found.last) != (entry.rows, entry.also, entry.first, entry.last):
        yield (
            f"{entry.path}: the table has {found.rows} rows and {found.also} records within them, from {found.first} "
            f"to {found.last}; its manifest states {entry.rows} and {entry.also}, from {entry.first} to {entry.last}"
        )
