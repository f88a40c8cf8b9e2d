"""Bounded tables for compiled code: open addressing over a dense block of entries, least recently used goes first.

An entry's number is where its values stand in whatever arrays the table's owner keeps beside it. What a table answers depends only on
the order of its calls, never on how much room it has been given so far (`grow`), until it holds its bound of entries; from then
on each new key takes the place of the one unused for longest, and `evicted` counts it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

USED, OLDEST, NEWEST, EVICTED = 0, 1, 2, 3
MIN_ENTRIES = 64

_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


class Table(NamedTuple):
    """`index` holds entry + 1 (0 where free), `key` the key of each entry, `older` and `newer` the order of use."""

    index: npt.NDArray[np.int64]
    key: npt.NDArray[np.uint64]
    older: npt.NDArray[np.int64]
    newer: npt.NDArray[np.int64]
    meta: npt.NDArray[np.int64]


def new_table(entries: int) -> Table:
    """An empty table with room for `entries`."""
    return Table(
        index=np.zeros(_index_slots(entries), np.int64),
        key=np.zeros(entries, np.uint64),
        older=np.full(entries, -1, np.int64),
        newer=np.full(entries, -1, np.int64),
        meta=np.array([0, -1, -1, 0], np.int64),
    )


def _index_slots(entries: int) -> int:
    return 1 << max(4, (2 * entries - 1).bit_length())


def room_for(table: Table, additions: int, bound: int) -> int:
    """How many entries a table should have before `additions` more keys may come: a power of two, or its bound."""
    needed = int(table.meta[USED]) + additions
    return min(bound, max(MIN_ENTRIES, len(table.key), 1 << (needed - 1).bit_length() if needed > 1 else 1))


def grow(table: Table, entries: int) -> Table:
    """The same table with room for `entries`; entry numbers stay."""
    used = int(table.meta[USED])
    grown = new_table(entries)
    grown.key[:used] = table.key[:used]
    grown.older[:used] = table.older[:used]
    grown.newer[:used] = table.newer[:used]
    grown.meta[:] = table.meta
    _reindex(grown)
    return grown


@njit(cache=True)
def _reindex(table: Table) -> None:
    mask = len(table.index) - 1
    for entry in range(table.meta[USED]):
        slot = np.int64(mixed(table.key[entry])) & mask
        while table.index[slot] != 0:
            slot = (slot + 1) & mask
        table.index[slot] = entry + 1


def in_order_of_use(table: Table) -> npt.NDArray[np.int64]:
    """Entry numbers, least recently used first."""
    order = np.empty(int(table.meta[USED]), np.int64)
    _walk(table, order)
    return order


@njit(cache=True)
def _walk(table: Table, order: npt.NDArray[np.int64]) -> None:
    entry = table.meta[OLDEST]
    for place in range(len(order)):
        order[place] = entry
        entry = table.newer[entry]


@njit(cache=True)
def mixed(key: np.uint64) -> np.uint64:
    """splitmix64's mixer: spreads keys that differ in few bits."""
    key = (key ^ (key >> np.uint64(30))) * _MIX_1
    key = (key ^ (key >> np.uint64(27))) * _MIX_2
    return key ^ (key >> np.uint64(31))


@njit(cache=True)
def find(table: Table, key: np.uint64) -> int:
    """The entry of a key, or -1."""
    mask = len(table.index) - 1
    slot = np.int64(mixed(key)) & mask
    while True:
        entry = table.index[slot] - 1
        if entry < 0 or table.key[entry] == key:
            return entry
        slot = (slot + 1) & mask


@njit(cache=True)
def _forget(table: Table, key: np.uint64) -> None:
    """Free the index slot of a key, moving back those that were pushed past it."""
    mask = len(table.index) - 1
    slot = np.int64(mixed(key)) & mask
    while table.key[table.index[slot] - 1] != key:
        slot = (slot + 1) & mask
    hole = slot
    while True:
        slot = (slot + 1) & mask
        if table.index[slot] == 0:
            break
        home = np.int64(mixed(table.key[table.index[slot] - 1])) & mask
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            table.index[hole] = table.index[slot]
            hole = slot
    table.index[hole] = 0


@njit(cache=True)
def use(table: Table, key: np.uint64) -> tuple[int, bool]:
    """The entry of a key, now the most recently used, and whether it is new: then its values are still another's."""
    meta = table.meta
    entry = find(table, key)
    if entry >= 0:
        if meta[NEWEST] == entry:
            return entry, False
        older, newer = table.older[entry], table.newer[entry]
        if older >= 0:
            table.newer[older] = newer
        else:
            meta[OLDEST] = newer
        table.older[newer] = older
        fresh = False
    else:
        fresh = True
        if meta[USED] < len(table.key):
            entry = meta[USED]
            meta[USED] += 1
        else:
            entry = meta[OLDEST]
            _forget(table, table.key[entry])
            meta[OLDEST] = table.newer[entry]
            if meta[OLDEST] >= 0:
                table.older[meta[OLDEST]] = -1
            else:
                meta[NEWEST] = -1
            meta[EVICTED] += 1
        table.key[entry] = key
        mask = len(table.index) - 1
        slot = np.int64(mixed(key)) & mask
        while table.index[slot] != 0:
            slot = (slot + 1) & mask
        table.index[slot] = entry + 1
    newest = meta[NEWEST]
    table.older[entry] = newest
    table.newer[entry] = -1
    if newest >= 0:
        table.newer[newest] = entry
    else:
        meta[OLDEST] = entry
    meta[NEWEST] = entry
    return entry, fresh
