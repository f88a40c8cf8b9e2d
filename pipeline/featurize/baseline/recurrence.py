"""How often a thing came back: the columns that kinds and relations share, and the rule that makes one usual.

Least blocks 3, least span 600 s, blocks of 300 s:

    at    block  blocks  span  usual
    100   0      1       0     no
    120   0      1       20    no     the same block
    700   2      2       600   no
    800   2      2       700   no
    4000  13     3       3900  yes
"""

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled

BLOCKS, FIRST_S, LAST_S, LAST_BLOCK, USUAL, OTHERS, KIND, LONGEST_S, IS_SILENT = range(9)
LARGEST, MADE_BY, OWED, RELATED, PAUSES = range(9, 14)
"""Columns of an entry: blocks it came in, when first and last (seconds since the baseline began), the number of the
last block, whether it is usual; of a relation's target how many sources are usual; from 1 the number of a kind, of a
relation that of its last flow, of a kind that of what came after it; the longest it was away while everything was
learnt, whether a notice named its silence; the bits of the most bytes of a flow; what made it usual; of a relation by
how much more it is to count at its target when it comes again; of a kind that is not usual the relation of its last
flow; whether it was silent for so long and came back that it is known to pause.
"""
CELLS = 14
BY_ITSELF, UNDONE, PENDING, FIRST_SLOT, SLOTS = 0, 1, 2, 3, 61
"""What made an entry usual: coming back while everything was learnt; a notice that was undone, so it is not usual and
becomes so only where the sensor is anchored; coming back in this block after it was shown; from FIRST_SLOT on one of
the last SLOTS notices that can be undone (undoable.py). Saved in six bits.
"""
BARRED = PENDING
"""Of an entry that is not usual: a person called it an attack, so it does not become usual by coming back, and makes
way for nothing. So does one with the code of a notice, which can be undone."""
PAUSE_S = 4 * 3_600
"""What was silent for so long and came back pauses, at nights or at weekends; what was away for less had failed."""
MOST_BLOCKS = (1 << 20) - 1
"""Thirty years of quarter hours; saved in 20 bits."""


@compiled
def began(cells: npt.NDArray[np.int32], entry: int, now_s: int) -> None:
    """Begin an entry that has not come in any block yet."""
    for column in range(CELLS):
        cells[entry, column] = 0
    cells[entry, FIRST_S], cells[entry, LAST_BLOCK] = now_s, -1


@compiled
def mark(
    cells: npt.NDArray[np.int32],
    entry: int,
    block: int,
    now_s: int,
    least_blocks: int,
    least_span_s: int,
    is_anchored: bool,
) -> bool:
    """Note that an entry came; whether that makes it usual, which the caller writes down by `note_usual`."""
    if cells[entry, IS_SILENT] and now_s - cells[entry, LAST_S] >= PAUSE_S:
        cells[entry, PAUSES] = 1
    cells[entry, LAST_S] = now_s
    cells[entry, IS_SILENT] = 0
    if cells[entry, LAST_BLOCK] != block:
        cells[entry, LAST_BLOCK] = block
        cells[entry, BLOCKS] = min(cells[entry, BLOCKS] + 1, MOST_BLOCKS)
    return bool(
        cells[entry, USUAL] == 0
        and cells[entry, BLOCKS] >= least_blocks
        and now_s - cells[entry, FIRST_S] >= least_span_s
        and (cells[entry, MADE_BY] == BY_ITSELF or (is_anchored and cells[entry, MADE_BY] == UNDONE))
    )


@compiled
def is_displaceable(cells: npt.NDArray[np.int32], entry: int, block: int) -> bool:
    """Whether an entry may be evicted: it is not usual, not barred, and not of this block."""
    return bool(cells[entry, USUAL] == 0 and cells[entry, MADE_BY] < BARRED and cells[entry, LAST_BLOCK] != block)


@compiled
def displaceable(cells: npt.NDArray[np.int32], first: int, end: int, block: int) -> int:
    """The entry from `first` to before `end` to evict, or -1: that came in the fewest blocks, longest ago."""
    chosen = -1
    for entry in range(first, end):
        if not is_displaceable(cells, entry, block):
            continue
        if (
            chosen < 0
            or cells[entry, BLOCKS] < cells[chosen, BLOCKS]
            or (cells[entry, BLOCKS] == cells[chosen, BLOCKS] and cells[entry, LAST_S] < cells[chosen, LAST_S])
        ):
            chosen = entry
    return chosen


@compiled
def note_usual(cells: npt.NDArray[np.int32], entry: int, is_anchored: bool) -> None:
    """Write down that an entry became usual by coming back."""
    cells[entry, USUAL], cells[entry, MADE_BY] = 1, PENDING if is_anchored else BY_ITSELF


def begin_again(cells: npt.NDArray[np.int32], entries: npt.NDArray[np.int64], now_s: int) -> None:
    """Entries are not usual any more, and have not come in any block since they were."""
    cells[entries, USUAL] = cells[entries, BLOCKS] = cells[entries, IS_SILENT] = 0
    cells[entries, FIRST_S], cells[entries, LAST_BLOCK], cells[entries, MADE_BY] = now_s, -1, UNDONE
