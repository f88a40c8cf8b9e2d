"""Who does what with whom: a bounded table of relations, and how often each came back.

A relation is a 64-bit key (keys.py). The table never evicts a usual relation: when all are usual, new ones are turned
away and counted. What one block adds beyond an eighth of the room is turned away as well, so a flood costs little and
displaces nothing that came back.

How much room there is follows from how much is usual, when a block closes: whoever makes up relations where few are
usual gets no more room than a small plant needs.

    usual   room    new ones a block   names of addresses
    100     2,048   256                512
    256     2,048   256                512
    1,000   8,000   1,000              2,000
    5,000   32,768  4,096              8,192
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.baseline.recurrence import (
    BARRED,
    BLOCKS,
    CELLS,
    LAST_BLOCK,
    LAST_S,
    MADE_BY,
    OTHERS,
    OWED,
    USUAL,
    began,
    is_displaceable,
    mark,
    note_usual,
)
from pipeline.featurize.compiled import compiled
from pipeline.featurize.windows.bounded_tables import wider
from pipeline.featurize.windows.tables import USED, Table, find, grow, insert, new_table, replace

LEAST_ROOM, MOST_RELATIONS = 2_048, 32_768
"""65 kB and 1 MB saved. Sensors of plants have 11 to 64 relations between hosts, a few hundred with hardware and
functions; those of 25 plants side by side, 930 addresses, have 6,100."""
ROOM_A_USUAL = 8
"""What is usual comes to be so within three blocks or more: what is new meanwhile needs room as well."""
ADDITIONS_SHARE = 8
"""The part of the room that one block may fill with new relations."""
MOST_OTHERS = (1 << 12) - 1
"""Usual sources that are counted at a target; saved in 12 bits."""

SOURCE, TARGET, WHAT = 0, 1, 2
ENDS = 3
"""Columns of a relation's ends: keys of both addresses, and which relation it is with which service (keys.py)."""

USUAL_RELATIONS, ADDED, TURNED_AWAY, ROOM, NEXT_SPARE, SPARES_OF = range(6)
"""Counts: usual relations, new ones in this block, those that found no room; how many there is room for; of `spares`
which is the next, and in which block they are so, counted from 1."""
COUNTS = 6


class Relations(NamedTuple):
    """The table, beside it cells (r + 1, CELLS) int32 and ends (r + 1, ENDS) uint64; counts (COUNTS,) int64.

    spares: (s,) entries that a block may evict, those first that came in the fewest blocks, longest ago.
    """

    table: Table
    cells: npt.NDArray[np.int32]
    ends: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    spares: npt.NDArray[np.int64]


def room_for(usual: int) -> int:
    """How many relations there is room for where so many are usual."""
    return min(max(ROOM_A_USUAL * usual, LEAST_ROOM), MOST_RELATIONS)


def no_counts() -> npt.NDArray[np.int64]:
    """The counts of an empty table."""
    return np.array([0, 0, 0, LEAST_ROOM, 0, 0], np.int64)


def no_relations(entries: int = 32) -> Relations:
    """An empty table with memory for some relations."""
    cells, ends = np.zeros((entries + 1, CELLS), np.int32), np.zeros((entries + 1, ENDS), np.uint64)
    return Relations(new_table(entries), cells, ends, no_counts(), np.zeros(0, np.int64))


def begin_block(relations: Relations) -> None:
    """A block begins, which has room for as much as is usual now."""
    relations.counts[ADDED] = 0
    relations.counts[ROOM] = room_for(int(relations.counts[USUAL_RELATIONS]))


def forget_spares(relations: Relations) -> None:
    """What may be evicted is not what it was: a command changed it."""
    relations.counts[SPARES_OF] = 0


@compiled
def is_ready(relations: Relations, keys: int, block: int) -> bool:
    """Whether so many keys can be learnt: there is memory for them, or it is known what to evict for them."""
    wanted, counts = relations.table.cells[0, USED] + keys, relations.counts
    if min(wanted, counts[ROOM]) > len(relations.cells) - 1:
        return False
    return bool(wanted <= counts[ROOM] or counts[SPARES_OF] == block + 1)


def made_ready(relations: Relations, keys: int, block: int) -> Relations:
    """The same, ready for so many keys (`is_ready`)."""
    used, entries, room = int(relations.table.cells[0, USED]), len(relations.cells) - 1, int(relations.counts[ROOM])
    wanted = min(used + keys, room)
    if wanted > entries:
        entries = min(max(2 * entries, wanted), room)
        cells, ends = wider(relations.cells, entries + 1), wider(relations.ends, entries + 1)
        relations = relations._replace(table=grow(relations.table, entries), cells=cells, ends=ends)
    if used + keys > room and relations.counts[SPARES_OF] != block + 1:
        counts = relations.counts.copy()  # who only asks keeps the spares of before
        counts[NEXT_SPARE], counts[SPARES_OF] = 0, block + 1
        relations = relations._replace(counts=counts, spares=_spares(relations.cells[: used + 1], block))
    return relations


def _spares(cells: npt.NDArray[np.int32], block: int) -> npt.NDArray[np.int64]:
    """(s,) entries that may be evicted in a block, in that order; while it lasts they only become fewer."""
    may_go = (cells[:, USUAL] == 0) & (cells[:, MADE_BY] < BARRED) & (cells[:, LAST_BLOCK] != block)
    may_go[0] = False
    entries = np.flatnonzero(may_go)
    spares: npt.NDArray[np.int64] = entries[np.lexsort((cells[entries, LAST_S], cells[entries, BLOCKS]))]
    return spares


@compiled
def _next_spare(relations: Relations, block: int) -> int:
    """The next entry to evict, or -1: those that came meanwhile, or are usual now, stay."""
    spares, counts = relations.spares, relations.counts
    while counts[NEXT_SPARE] < len(spares):
        entry = spares[counts[NEXT_SPARE]]
        counts[NEXT_SPARE] += 1
        if is_displaceable(relations.cells, entry, block):
            return int(entry)
    return -1


def entries_of(relations: Relations) -> npt.NDArray[np.int64]:
    """(r,) numbers of all entries."""
    return np.arange(1, int(relations.table.cells[0, USED]) + 1)


@compiled
def is_usual(relations: Relations, key: np.uint64) -> bool:
    """Whether a relation is usual; an unknown one is not."""
    return bool(relations.cells[find(relations.table, key), USUAL])  # row 0 is no entry, and never usual


@compiled
def learn(
    relations: Relations,
    key: np.uint64,
    ends: tuple[np.uint64, np.uint64, np.uint64],
    block: int,
    now_s: int,
    least_blocks: int,
    least_span_s: int,
    is_anchored: bool,
) -> int:
    """Count a relation, or begin it: 1 where that makes it usual, 0 where not, -1 where there is no room.

    The table is ready for it (`is_ready`). ends: source, target, what, written down where it begins.
    """
    cells, counts = relations.cells, relations.counts
    entry = find(relations.table, key)
    if entry == 0:
        if counts[ADDED] >= counts[ROOM] // ADDITIONS_SHARE:
            counts[TURNED_AWAY] += 1
            return -1
        if relations.table.cells[0, USED] < counts[ROOM]:
            entry = insert(relations.table, key)
        else:
            entry = _next_spare(relations, block)
            if entry < 0:
                counts[TURNED_AWAY] += 1
                return -1
            replace(relations.table, entry, key)
        counts[ADDED] += 1
        began(cells, entry, now_s)
        relations.ends[entry, SOURCE], relations.ends[entry, TARGET], relations.ends[entry, WHAT] = ends
    if mark(cells, entry, block, now_s, least_blocks, least_span_s, is_anchored):
        note_usual(cells, entry, is_anchored)
        counts[USUAL_RELATIONS] += 1
        return 1
    return 0


@compiled
def add_other(
    relations: Relations,
    key: np.uint64,
    ends: tuple[np.uint64, np.uint64, np.uint64],
    block: int,
    now_s: int,
    is_anchored: bool,
) -> None:
    """Count one more usual source at a target, where there is room for it."""
    learn(relations, key, ends, block, now_s, 1, 0, is_anchored)
    entry = find(relations.table, key)
    if entry:
        relations.cells[entry, OTHERS] = min(relations.cells[entry, OTHERS] + 1, MOST_OTHERS)


@compiled
def remove_other(relations: Relations, key: np.uint64) -> None:
    """Count one usual source less at a target."""
    entry = find(relations.table, key)
    relations.cells[entry, OTHERS] = max(relations.cells[entry, OTHERS] - 1, 0)


@compiled
def others(relations: Relations, key: np.uint64) -> int:
    """How many sources are usual at a target."""
    return int(relations.cells[find(relations.table, key), OTHERS])


@compiled
def others_beside(relations: Relations, target: np.uint64, entry: int) -> int:
    """How many sources are usual at a target, with what a relation to it still owes."""
    return int(max(others(relations, target) + relations.cells[entry, OWED], 0))
