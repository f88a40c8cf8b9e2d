"""Kinds of flow: a bounded table of points, and how often each came back.

A row within RADIUS of a kind is of that kind, else it begins a new one. A kind counts once a block. While one block
lasts, a kind it began is not displaced by what else comes in it: a flood of new kinds ends at ADDITIONS a block and is
counted. Usual kinds come first in the table: of most rows nothing else has to be looked at.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.baseline.coordinates import STEPS, WIDTH, Points
from pipeline.featurize.baseline.distance import squared_distance
from pipeline.featurize.baseline.recurrence import (
    BLOCKS,
    CELLS,
    KIND,
    RELATED,
    USUAL,
    began,
    displaceable,
    mark,
    note_usual,
)
from pipeline.featurize.compiled import compiled
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.windows.bounded_tables import wider

FEATURES = FEATURE_SET.width
MOST_KINDS = 512
"""45 kB saved; plants need 41 to 123 usual kinds, a phone on the Internet fills any table."""
MOST_USUAL = 384
"""What is left is for kinds that have not come back yet."""
ADDITIONS = 128
"""New kinds a block."""
MOST_BLOCKS = (1 << 15) - 1
"""A year of quarter hours; saved in 15 bits."""
LIKELY_KINDS = 4
"""Kinds that are tried before all are: the last one, what came after it, and so on; polls alternate between a few."""
FAR = 1 << 30
"""Farther than any two points: no usual kind is known."""

USED, USUAL_KINDS, ADDED, TURNED_AWAY = 0, 1, 2, 3
"""Entries, usual ones among them, new ones in this block, and rows that found the table or the block full."""


def squared(distance: float) -> int:
    """A distance in deviations, root mean square over the features, as the sum of squared steps that is compared."""
    return int(np.ceil(FEATURES * (distance * STEPS) ** 2))


def deviations(sum_of_squares: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The same back, float32; infinite where no usual kind is known."""
    distance = np.sqrt(sum_of_squares / FEATURES) / STEPS
    return np.where(sum_of_squares >= FAR, np.inf, distance).astype(np.float32)


RADIUS = squared(0.25)
"""Of a kind: at .15 plants need three times as many, at .4 an attack is of a usual kind."""


class Kinds(NamedTuple):
    """points (k, WIDTH) int8, cells (k, CELLS) int32, counts (4,) int64."""

    points: Points
    cells: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]


def no_kinds(entries: int = 32) -> Kinds:
    """An empty table with memory for some kinds."""
    return Kinds(np.zeros((entries, WIDTH), np.int8), np.zeros((entries, CELLS), np.int32), np.zeros(4, np.int64))


def grown(kinds: Kinds, rows: int) -> Kinds:
    """The same with memory for whatever so many rows add."""
    wanted = min(int(kinds.counts[USED]) + min(rows, ADDITIONS), MOST_KINDS)
    entries = len(kinds.points)
    if wanted <= entries:
        return kinds
    entries = min(max(2 * entries, wanted), MOST_KINDS)
    return Kinds(wider(kinds.points, entries), wider(kinds.cells, entries), kinds.counts)


@compiled
def squares(points: Points, kind: int, row: npt.NDArray[np.int8]) -> int:
    """Sum of squared steps between a kind and a row."""
    return int(squared_distance(points, np.uint64(kind), row))


@compiled
def nearest_usual(kinds: Kinds, row: npt.NDArray[np.int8], last: int) -> tuple[int, int]:
    """Distance to the nearest usual kind (FAR without any), and its number where it is within RADIUS, else -1.

    last: the kind the flow before it between these two was of, or -1. A row within RADIUS of it, or of what came after
    that kind before, is of that kind if it is usual, and no nearer one is looked for: most rows are, and a scan of all
    kinds costs a hundred times as much. Of kinds equally near the first is taken.
    """
    usual_kinds, cells = kinds.counts[USUAL_KINDS], kinds.cells
    likely = last
    for _ in range(LIKELY_KINDS):
        if not 0 <= likely < usual_kinds:
            break
        total = squares(kinds.points, likely, row)
        if total <= RADIUS:
            return total, likely
        likely = cells[likely, KIND] - 1
    usual, number = FAR, -1
    for kind in range(usual_kinds):
        total = squares(kinds.points, kind, row)
        if total < usual:
            usual, number = total, kind
    if usual > RADIUS:
        return usual, -1
    if 0 <= last < usual_kinds:
        cells[last, KIND] = number + 1
    return usual, number


@compiled
def _nearest_other(kinds: Kinds, row: npt.NDArray[np.int8]) -> int:
    """The nearest kind within RADIUS that is not usual, or -1."""
    number, nearest = -1, RADIUS + 1
    for kind in range(kinds.counts[USUAL_KINDS], kinds.counts[USED]):
        total = squares(kinds.points, kind, row)
        if total < nearest:
            number, nearest = kind, total
    return number


@compiled
def _exchange(kinds: Kinds, one: int, other: int) -> None:
    points, cells = kinds.points, kinds.cells
    for column in range(WIDTH):
        points[one, column], points[other, column] = points[other, column], points[one, column]
    for column in range(CELLS):
        cells[one, column], cells[other, column] = cells[other, column], cells[one, column]


@compiled
def make_usual(kinds: Kinds, kind: int) -> int:
    """Move a kind behind the last usual one: usual kinds come first in the table. Its new number."""
    first = kinds.counts[USUAL_KINDS]
    _exchange(kinds, kind, first)
    kinds.cells[first, USUAL], kinds.cells[first, RELATED] = 1, 0
    kinds.counts[USUAL_KINDS] += 1
    return int(first)


@compiled
def make_unusual(kinds: Kinds, kind: int) -> int:
    """Move a usual kind before the first that is not. Its new number."""
    last = kinds.counts[USUAL_KINDS] - 1
    _exchange(kinds, kind, last)
    kinds.cells[last, USUAL], kinds.cells[last, KIND] = 0, 0
    kinds.counts[USUAL_KINDS] -= 1
    return int(last)


@compiled
def learn(
    kinds: Kinds,
    row: npt.NDArray[np.int8],
    known: int,
    block: int,
    now_s: int,
    least_blocks: int,
    least_span_s: int,
    is_anchored: bool,
) -> int:
    """Count a row for its kind, or begin one: the kind's number, or -1 where there is no room.

    known: the usual kind the row is of, or -1. A kind is usual once it came in `least_blocks` blocks, the last
    `least_span_s` or more after the first.
    """
    cells, counts = kinds.cells, kinds.counts
    if known < 0:
        known = _nearest_other(kinds, row)
    if known < 0:
        if counts[ADDED] >= ADDITIONS:
            counts[TURNED_AWAY] += 1
            return -1
        if counts[USED] < MOST_KINDS:
            known = counts[USED]
            counts[USED] += 1
        else:
            known = displaceable(cells, counts[USUAL_KINDS], counts[USED], block)
            if known < 0:
                counts[TURNED_AWAY] += 1
                return -1
        counts[ADDED] += 1
        for column in range(WIDTH):
            kinds.points[known, column] = row[column]
        began(cells, known, now_s)
    is_usual = mark(cells, known, block, now_s, least_blocks, least_span_s, is_anchored)
    cells[known, BLOCKS] = min(cells[known, BLOCKS], MOST_BLOCKS)
    if is_usual and counts[USUAL_KINDS] < MOST_USUAL:
        known = make_usual(kinds, known)
        note_usual(cells, known, is_anchored)
    return int(known)
