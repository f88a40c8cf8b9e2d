"""Who does what with whom: a bounded table of relations, and how often each came back.

A relation is a 64-bit key (keys.py). The table never gives up a usual relation: when all are usual, new ones are turned
away and counted. What one block adds beyond ADDITIONS is turned away as well, so a flood costs little and displaces
nothing that came back.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.baseline.recurrence import (
    CELLS,
    OTHERS,
    OWED,
    USUAL,
    began,
    displaceable,
    mark,
    note_usual,
)
from pipeline.featurize.compiled import compiled
from pipeline.featurize.windows.bounded_tables import wider
from pipeline.featurize.windows.tables import USED, Table, find, grow, insert, new_table, replace

MOST_RELATIONS = 2_048
"""65 kB saved. Sensors of plants have 11 to 64 relations between hosts, a few hundred with hardware and functions."""
ADDITIONS = 256
"""New relations a block."""

SOURCE, TARGET, WHAT = 0, 1, 2
ENDS = 3
"""Columns of a relation's ends: keys of both addresses, and which relation it is with which service (keys.py)."""

USUAL_RELATIONS, ADDED, TURNED_AWAY = 0, 1, 2


class Relations(NamedTuple):
    """The table, beside it cells (r + 1, CELLS) int32 and ends (r + 1, ENDS) uint64; counts (3,) int64."""

    table: Table
    cells: npt.NDArray[np.int32]
    ends: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]


def no_relations(entries: int = 32) -> Relations:
    """An empty table with memory for some relations."""
    cells, ends = np.zeros((entries + 1, CELLS), np.int32), np.zeros((entries + 1, ENDS), np.uint64)
    return Relations(new_table(entries), cells, ends, np.zeros(3, np.int64))


def grown(relations: Relations, keys: int) -> Relations:
    """The same with memory for whatever so many keys add."""
    used = int(relations.table.cells[0, USED])
    entries = len(relations.cells) - 1
    wanted = min(used + min(keys, ADDITIONS), MOST_RELATIONS)
    if wanted <= entries:
        return relations
    entries = min(max(2 * entries, wanted), MOST_RELATIONS)
    cells, ends = wider(relations.cells, entries + 1), wider(relations.ends, entries + 1)
    return Relations(grow(relations.table, entries), cells, ends, relations.counts)


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

    ends: source, target, what, written down where it begins.
    """
    cells, counts = relations.cells, relations.counts
    entry = find(relations.table, key)
    if entry == 0:
        if counts[ADDED] >= ADDITIONS:
            counts[TURNED_AWAY] += 1
            return -1
        if relations.table.cells[0, USED] < MOST_RELATIONS:
            entry = insert(relations.table, key)
        else:
            entry = displaceable(cells, 1, relations.table.cells[0, USED] + 1, block)
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
        relations.cells[entry, OTHERS] += 1


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
