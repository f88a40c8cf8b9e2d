"""What the relations say of a whole block: whether the plant has changed, and which pollers fell silent.

Arrays over all relations, once a block.
"""

import numpy as np
import numpy.typing as npt

from pipeline.featurize.baseline.keys import CONTROL, FUNCTION, TALK, USE, WRITE, is_of
from pipeline.featurize.baseline.recurrence import FIRST_S, IS_SILENT, LAST_BLOCK, LAST_S, LONGEST_S, PAUSES, USUAL
from pipeline.featurize.baseline.relations import SOURCE, WHAT, Relations, entries_of
from pipeline.featurize.windows.tables import USED

STEADY_S = 300
"""A relation is steady if it was never away for longer while it was learnt."""
LEAST_REPLACED = 3
"""New relations beside usual ones without which nothing has been replaced, however strange a block is."""
LEAST_NEW, LEAST_SOURCES = 8, 4
"""New relations and sources of a changed plant: a scan has one source, a new device few relations."""
TIMES_LONGER, LEAST_SILENT_S, LONGEST_PAUSE_S = 3, 900, 4 * 86_400
"""A steady relation is silent after three times its longest absence, and a quarter of an hour; one that is known to
pause after four days, longer than a weekend with a holiday before or after it."""

Entries = npt.NDArray[np.int64]


def _between(relations: Relations) -> Entries:
    """Entries of relations between two ends: uses and talks."""
    entries = entries_of(relations)
    between: Entries = entries[is_of(relations.ends[entries, WHAT], (USE, TALK))]
    return between


def steady(relations: Relations) -> Entries:
    """Entries of usual relations that were never away for long."""
    entries = _between(relations)
    cells = relations.cells[entries]
    always: Entries = entries[(cells[:, USUAL] == 1) & (cells[:, LONGEST_S] <= STEADY_S)]
    return always


def news(relations: Relations, now_s: int, age_s: int) -> int:
    """How many relations began in the last quarter of the time learnt, or came then without being usual."""
    entries = entries_of(relations)
    cells, since_s = relations.cells[entries], now_s - age_s // 4
    is_new = (cells[:, FIRST_S] >= since_s) | ((cells[:, USUAL] == 0) & (cells[:, LAST_S] >= since_s))
    return int((is_of(relations.ends[entries, WHAT], (USE, WRITE, CONTROL, FUNCTION)) & is_new).sum())


def count_absence(relations: Relations, last_s: int, resumed_s: int) -> None:
    """Count for every relation that it is away now: what stopped while everything was learnt is not steady.

    last_s, resumed_s: when the sensor was last heard, and since when it has been: while it was not, nobody was away.
    """
    cells = relations.cells[1 : int(relations.table.cells[0, USED]) + 1]
    cells[:, LONGEST_S] = np.maximum(cells[:, LONGEST_S], _away_s(cells, last_s, resumed_s))


def _away_s(cells: npt.NDArray[np.int32], last_s: int, resumed_s: int) -> npt.NDArray[np.int32]:
    away_s: npt.NDArray[np.int32] = last_s - np.maximum(cells[:, LAST_S], resumed_s)
    return away_s


def is_changing(relations: Relations, block: int, rows: int, strange: int) -> bool:
    """Whether most of a block was new: most flows were strange, and no usual relation came, or few of the steady ones
    and more new ones; or the new ones were many and of several sources.

    A scan or a flood beside the plant's own traffic is not: it has one source, and the steady relations come as ever.
    """
    entries = _between(relations)
    cells = relations.cells[entries]
    came = cells[:, LAST_BLOCK] == block
    usual = int((came & (cells[:, USUAL] == 1)).sum())
    new = entries[came & (cells[:, USUAL] == 0)]
    sources = len(set(relations.ends[new, SOURCE].tolist()))
    always = relations.cells[steady(relations), LAST_BLOCK] == block
    is_gone = 2 * int(always.sum()) < len(always) and len(new) > max(usual, LEAST_REPLACED - 1)
    is_replaced = 2 * strange >= rows > 0 and (usual == 0 or is_gone)
    is_extended = len(new) >= max(LEAST_NEW, usual) and sources >= LEAST_SOURCES
    return is_replaced or is_extended


def fell_silent(relations: Relations, last_s: int, resumed_s: int) -> Entries:
    """Entries of steady relations that have been away for too long, each once until it is back; they are marked.

    last_s, resumed_s: as in `count_absence`.
    """
    entries = steady(relations)
    cells = relations.cells[entries]
    longest_s = np.maximum(
        TIMES_LONGER * cells[:, LONGEST_S], np.where(cells[:, PAUSES], LONGEST_PAUSE_S, LEAST_SILENT_S)
    )
    silent: Entries = entries[(cells[:, IS_SILENT] == 0) & (_away_s(cells, last_s, resumed_s) > longest_s)]
    relations.cells[silent, IS_SILENT] = 1
    return silent
