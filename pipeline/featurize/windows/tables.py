"""Bounded tables for compiled code: open addressing over a dense block of entries, least recently used goes first.

An entry's number, from 1, is where its values stand in whatever arrays the table's owner keeps beside it; 0 is
no entry. What a table answers depends only on the order of its calls, never on how far it has grown (`grow`), until it
holds its bound of entries; from then on each new key evicts the one unused for longest, and EVICTED counts it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled, mix64

KEY, OLDER, NEWER = 0, 1, 2  # columns of an entry's cells
IS_KNOWN = 3  # of a guarded table
USED, OLDEST, NEWEST, EVICTED = 0, 1, 2, 3  # columns of row 0, which is the table's own
KNOWN_OLDEST, KNOWN_NEWEST, KNOWN, MAX_KNOWN = 4, 5, 6, 7  # the same, of a guarded table
PLAIN_WIDTH, GUARDED_WIDTH = 4, 8


class Table(NamedTuple):
    """`slots` holds entry numbers by hashed key (0 where free); `cells` (entries + 1, 4) the keys and the order of use.

    Two arrays, not one a column: compiled code pays for every array it hands to a function.
    """

    slots: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]


def new_table(entries: int, guarded_bound: int = 0) -> Table:
    """An empty table for `entries`; guarded where the bound it will have is given."""
    count = 1 << max(4, (2 * entries - 1).bit_length())
    cells = np.zeros((entries + 1, GUARDED_WIDTH if guarded_bound else PLAIN_WIDTH), np.int64)
    if guarded_bound:
        cells[0, MAX_KNOWN] = guarded_bound * 3 // 4
    return Table(slots=np.zeros(count, np.int64), cells=cells)


def grow(table: Table, entries: int) -> Table:
    """The same table for `entries`; entry numbers stay."""
    grown = new_table(entries, int(table.cells.shape[1] == GUARDED_WIDTH))
    grown.cells[: len(table.cells)] = table.cells
    _reindex(grown)
    return grown


def in_order_of_use(table: Table) -> npt.NDArray[np.int64]:
    """Entry numbers, least recently used first; of a guarded table, those on probation first."""
    order = np.empty(int(table.cells[0, USED]), np.int64)
    _walk(table, order)
    return order


def with_keys(keys: npt.NDArray[np.int64], evicted: int, known: int = 0, guarded_bound: int = 0) -> Table:
    """A table whose entries 1, 2, ... hold these keys in the order `in_order_of_use` gave them, the last `known` of
    them known.
    """
    table = new_table(max(len(keys), 1), guarded_bound)
    cells, probation = table.cells, len(keys) - known
    entries = np.arange(1, len(keys) + 1)
    cells[1 : len(keys) + 1, KEY] = keys
    for first, last, oldest, newest in (
        (1, probation, OLDEST, NEWEST),
        (probation + 1, len(keys), KNOWN_OLDEST, KNOWN_NEWEST),
    ):
        if first > last:
            continue
        chain = entries[first - 1 : last]
        cells[first : last + 1, OLDER] = np.where(chain > first, chain - 1, 0)
        cells[first : last + 1, NEWER] = np.where(chain < last, chain + 1, 0)
        cells[0, oldest], cells[0, newest] = first, last
    cells[0, USED], cells[0, EVICTED] = len(keys), evicted
    if guarded_bound:
        cells[probation + 1 : len(keys) + 1, IS_KNOWN] = 1
        cells[0, KNOWN] = known
    _reindex(table)
    return table


@compiled
def _reindex(table: Table) -> None:
    mask = len(table.slots) - 1
    for entry in range(1, table.cells[0, USED] + 1):
        slot = np.int64(mix64(np.uint64(table.cells[entry, KEY]))) & mask
        while table.slots[slot] != 0:
            slot = (slot + 1) & mask
        table.slots[slot] = entry


@compiled
def _walk(table: Table, order: npt.NDArray[np.int64]) -> None:
    entry = table.cells[0, OLDEST]
    for number in range(len(order)):
        if entry == 0:
            entry = table.cells[0, KNOWN_OLDEST]
        order[number] = entry
        entry = table.cells[entry, NEWER]


@compiled
def crowded(table: Table, additions: int, bound: int) -> bool:
    """Whether the table should grow before that many keys more come: it is nearly full and not at its bound."""
    capacity = len(table.cells) - 1
    return capacity < bound and table.cells[0, USED] + additions > capacity


@compiled
def find(table: Table, key: np.uint64) -> int:
    """The entry of a key, or 0."""
    slots, cells = table.slots, table.cells
    mask = len(slots) - 1
    wanted = np.int64(key)
    slot = np.int64(mix64(key)) & mask
    while True:
        entry = slots[slot]
        if entry == 0 or cells[entry, KEY] == wanted:
            return int(entry)
        slot = (slot + 1) & mask


@compiled
def _forget(table: Table, key: np.uint64) -> None:
    """Free the index slot of a key, moving back those that were pushed past it."""
    slots, cells = table.slots, table.cells
    mask = len(slots) - 1
    slot = np.int64(mix64(key)) & mask
    while cells[slots[slot], KEY] != np.int64(key):
        slot = (slot + 1) & mask
    hole = slot
    while True:
        slot = (slot + 1) & mask
        if slots[slot] == 0:
            break
        home = np.int64(mix64(np.uint64(cells[slots[slot], KEY]))) & mask
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            slots[hole] = slots[slot]
            hole = slot
    slots[hole] = 0


@compiled
def _append(cells: npt.NDArray[np.int64], entry: int, oldest: int, newest: int) -> None:
    """Put an entry at the end of an order of use."""
    last = cells[0, newest]
    cells[entry, OLDER], cells[entry, NEWER] = last, 0
    if last:
        cells[last, NEWER] = entry
    else:
        cells[0, oldest] = entry
    cells[0, newest] = entry


@compiled
def _unlink(cells: npt.NDArray[np.int64], entry: int, oldest: int, newest: int) -> None:
    older, newer = cells[entry, OLDER], cells[entry, NEWER]
    if older:
        cells[older, NEWER] = newer
    else:
        cells[0, oldest] = newer
    if newer:
        cells[newer, OLDER] = older
    else:
        cells[0, newest] = older


@compiled
def _on_probation(cells: npt.NDArray[np.int64]) -> None:
    """Put the known key unused for longest on probation again."""
    demoted = cells[0, KNOWN_OLDEST]
    _unlink(cells, demoted, KNOWN_OLDEST, KNOWN_NEWEST)
    _append(cells, demoted, OLDEST, NEWEST)
    cells[demoted, IS_KNOWN] = 0
    cells[0, KNOWN] -= 1


@compiled
def _index(table: Table, entry: int, key: np.uint64) -> None:
    """Give an entry its key, and the key its index slot."""
    slots = table.slots
    table.cells[entry, KEY] = np.int64(key)
    mask = len(slots) - 1
    slot = np.int64(mix64(key)) & mask
    while slots[slot] != 0:
        slot = (slot + 1) & mask
    slots[slot] = entry


@compiled
def insert(table: Table, key: np.uint64) -> int:
    """A new entry for a key that has none; the table must have room, and keeps no order of use."""
    table.cells[0, USED] += 1
    entry = table.cells[0, USED]
    _index(table, entry, key)
    return int(entry)


@compiled
def replace(table: Table, entry: int, key: np.uint64) -> None:
    """Give an entry of a table without an order of use to another key, which has none."""
    _forget(table, np.uint64(table.cells[entry, KEY]))
    table.cells[0, EVICTED] += 1
    _index(table, entry, key)


@compiled
def _new_entry(table: Table, key: np.uint64) -> int:
    """An entry for a key that has none, not yet in the order of use."""
    cells = table.cells
    if cells[0, USED] < len(cells) - 1:
        return insert(table, key)
    if cells[0, OLDEST] == 0:  # a guarded table whose keys are all known: it was given less than its bound
        _on_probation(cells)
    entry = cells[0, OLDEST]
    newer = cells[entry, NEWER]
    cells[0, OLDEST] = newer
    if newer:
        cells[newer, OLDER] = 0
    else:
        cells[0, NEWEST] = 0
    replace(table, entry, key)
    return int(entry)


@compiled
def _used_again(cells: npt.NDArray[np.int64], entry: int) -> None:
    """A guarded table's key was used again: it is known now, and the most recently used."""
    if cells[entry, IS_KNOWN]:
        if cells[0, KNOWN_NEWEST] != entry:
            _unlink(cells, entry, KNOWN_OLDEST, KNOWN_NEWEST)
            _append(cells, entry, KNOWN_OLDEST, KNOWN_NEWEST)
        return
    _unlink(cells, entry, OLDEST, NEWEST)
    _append(cells, entry, KNOWN_OLDEST, KNOWN_NEWEST)
    cells[entry, IS_KNOWN] = 1
    cells[0, KNOWN] += 1
    if cells[0, KNOWN] > cells[0, MAX_KNOWN]:
        _on_probation(cells)


@compiled
def use(table: Table, key: np.uint64) -> tuple[int, bool]:
    """The entry of a key, now the most recently used, and whether it is new: then its values are still another's."""
    cells = table.cells
    entry = find(table, key)
    fresh = entry == 0
    if cells.shape[1] == GUARDED_WIDTH:
        if fresh:
            entry = _new_entry(table, key)
            cells[entry, IS_KNOWN] = 0
            _append(cells, entry, OLDEST, NEWEST)
        else:
            _used_again(cells, entry)
        return entry, fresh
    if fresh:
        entry = _new_entry(table, key)
    elif cells[0, NEWEST] == entry:
        return entry, False
    else:
        older, newer = cells[entry, OLDER], cells[entry, NEWER]
        if older:
            cells[older, NEWER] = newer
        else:
            cells[0, OLDEST] = newer
        cells[newer, OLDER] = older
    newest = cells[0, NEWEST]
    cells[entry, OLDER], cells[entry, NEWER] = newest, 0
    if newest:
        cells[newest, NEWER] = entry
    else:
        cells[0, OLDEST] = entry
    cells[0, NEWEST] = entry
    return entry, fresh
