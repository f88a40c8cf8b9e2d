"""The inventory: all sightings folded into five tables, bounded per site.

While nothing has found no room, it is a function of the rows alone: the same for any order, any cut into batches, and
any merge of inventories of parts. Where a table is full, what came back stays (ADR 35).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.sensor_retention import BASELINE_RETENTION_US
from pipeline.errors import Failed
from pipeline.tools.assets.sightings import (
    ADDRESSES,
    EDGES,
    FUNCTIONS,
    HARDWARE,
    KINDS,
    SENSORS,
    Kind,
    fold,
    schema_of,
    sightings,
)

Ints = npt.NDArray[np.int64]

CAME_BACK_US = 900_000_000
"""What is seen again after so long came back; a block of the baselines' is as long, and counts for the same."""
PENDING_ROWS = 65_536
"""Rows that wait before they are folded in: with fewer, a small batch would cost as much as a large table."""
MAX_SITES = 4_096


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most rows a site may have in each table.

    A plant of 2,000 devices that each three sensors see, with six services each, fits twice. The tables of such a site
    take some 20 MB.
    """

    addresses: int = 16_384
    hardware: int = 16_384
    edges: int = 65_536
    functions: int = 65_536
    sensors: int = 1_024

    def of(self, kind: Kind) -> int:
        """The bound of a table."""
        bounds = {
            ADDRESSES.name: self.addresses,
            HARDWARE.name: self.hardware,
            EDGES.name: self.edges,
            FUNCTIONS.name: self.functions,
            SENSORS.name: self.sensors,
        }
        return bounds[kind.name]


@dataclass(slots=True)
class Inventory:
    """All that flows have shown of assets so far; `add` rows, `merge` others, `tables` to read."""

    bounds: Bounds = field(default_factory=Bounds)
    _tables: dict[str, pa.Table] = field(
        default_factory=lambda: {kind.name: schema_of(kind).empty_table() for kind in KINDS}
    )
    _pending: dict[str, list[pa.Table]] = field(default_factory=lambda: {kind.name: [] for kind in KINDS})
    _no_room: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def restored(cls, tables: dict[str, pa.Table], no_room: dict[tuple[str, str], int]) -> "Inventory":
        """An inventory as it was: its tables by kind, and what found no room."""
        return cls(_tables=dict(tables), _no_room=dict(no_room))

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows of schema `flow`, `features` or `scored` in: any sensors, any order."""
        if len(rows):
            self._take(sightings(rows))

    def merge(self, other: "Inventory") -> None:
        """Take another inventory's sightings in; it stays as it is."""
        self._take({kind.name: other.table(kind) for kind in KINDS})
        for key, count in other._no_room.items():
            self._no_room[key] = self._no_room.get(key, 0) + count

    def table(self, kind: Kind) -> pa.Table:
        """A table as it is now, sorted by its keys."""
        self._fold(kind)
        return self._tables[kind.name]

    @property
    def no_room(self) -> dict[tuple[str, str], int]:
        """By site and table: how many rows found no room. The same thing is counted each time it comes."""
        for kind in KINDS:
            self._fold(kind)
        return dict(self._no_room)

    def _take(self, tables: dict[str, pa.Table]) -> None:
        for kind in KINDS:
            pending = self._pending[kind.name]
            pending.append(tables[kind.name])
            # As many as the table has: the cost of folding a row in stays the same however large it grows.
            if sum(map(len, pending)) > max(PENDING_ROWS, len(self._tables[kind.name])):
                self._fold(kind)

    def _fold(self, kind: Kind) -> None:
        pending = self._pending[kind.name]
        if not pending:
            return
        folded = fold(kind, [self._tables[kind.name], *pending])
        pending.clear()
        self._tables[kind.name] = self._bounded(kind, folded)

    def _bounded(self, kind: Kind, table: pa.Table) -> pa.Table:
        """The table with no more rows of a site than its bound; those that find no room are counted."""
        sites = table.column("site").combine_chunks().dictionary_encode()
        if len(sites.dictionary) > MAX_SITES:
            raise Failed(
                f"inventory: got flows of {len(sites.dictionary):,} sites, expected {MAX_SITES:,} at most; ask for one "
                "with --site"
            )
        site = sites.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        counts = np.bincount(site, minlength=len(sites.dictionary))
        bound = self.bounds.of(kind)
        if not len(table) or counts.max() <= bound:
            return table
        order = _by_worth(table, site)
        position = np.empty(len(table), np.int64)
        # Sites lie side by side in `order`: the position within one's own is that in all, less where the site starts.
        starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        position[order] = np.arange(len(table)) - starts[site[order]]
        for index in np.flatnonzero(counts > bound):
            key = sites.dictionary[int(index)].as_py(), kind.name
            self._no_room[key] = self._no_room.get(key, 0) + int(counts[index] - bound)
        return table.filter(pa.array(position < bound)).combine_chunks()


def _by_worth(table: pa.Table, site: Ints) -> Ints:
    """(n,) the order in which rows keep their room, site by site.

    First what came back and was seen within the baselines' retention, longest known first: a flood brings nothing that
    is known longer. Then what came back once and is long gone; then what was answered; then the rest, newest first:
    what comes for the first time, with a full table, needs to be there when others are not.
    """
    first, last = (table.column(name).to_numpy().astype(np.int64) for name in ("first_us", "last_us"))
    newest = np.full(int(site.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(newest, site, last)
    came_back = last - first >= CAME_BACK_US
    gone = newest[site] - last > BASELINE_RETENTION_US
    names = set(table.column_names)
    answered = next((name for name in ("answered", "two_way") if name in names), None)
    was_answered = table.column(answered).to_numpy() > 0 if answered is not None else np.zeros(len(table), np.bool_)
    rank = np.where(came_back, np.where(gone, 1, 0), np.where(was_answered, 2, 3))
    # The table is sorted by its keys, and lexsort is stable: equal ones keep that order.
    order: Ints = np.lexsort((np.where(rank == 0, first, -last), rank, site))
    return order


def inventory_of(batches: Iterable[pa.RecordBatch], bounds: Bounds | None = None) -> Inventory:
    """The inventory of all rows of some batches."""
    inventory = Inventory(bounds or Bounds())
    for rows in batches:
        inventory.add(rows)
    return inventory
