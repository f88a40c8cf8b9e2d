"""What the relations say of a whole block: whether the plant was replaced or extended, and which pollers fell silent.

Arrays over all relations, once a block.
"""

import numpy as np
import numpy.typing as npt

from pipeline.featurize.baseline.keys import CONTROL, FUNCTION, TALK, USE, WRITE, is_of
from pipeline.featurize.baseline.recurrence import (
    BY_ITSELF,
    FIRST_S,
    IS_SILENT,
    LAST_BLOCK,
    LAST_S,
    LONGEST_S,
    MADE_BY,
    PAUSES,
    USUAL,
)
from pipeline.featurize.baseline.relations import SOURCE, WHAT, Relations, entries_of
from pipeline.featurize.windows.tables import USED

STEADY_S = 300
"""A relation is steady if it was never away for longer while it was learnt."""
LEAST_REPLACED = 3
"""New relations beside usual ones without which nothing has been replaced, however strange a block is."""
REFERENCE_S = 3_600
"""Which relations the plant has: the usual ones that came in the last hour in which it was there. Slower ones say
nothing within the hour in which a change is to be noticed."""
LEAST_NEW, LEAST_SOURCES = 8, 4
"""New relations and sources of an extended plant: a scan has one source, a new device few relations."""
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


def reference(relations: Relations, present_s: int) -> Entries:
    """Entries of the relations that the plant had in the hour up to `present_s`, when it was last there, or has since.

    What became usual by being shown does not count: whoever attacked for hours could stop it.
    """
    entries = _between(relations)
    cells = relations.cells[entries]
    of_plant: Entries = entries[
        (cells[:, USUAL] == 1) & (cells[:, MADE_BY] == BY_ITSELF) & (cells[:, LAST_S] > present_s - REFERENCE_S)
    ]
    return of_plant


def is_present(relations: Relations, present_s: int) -> bool:
    """Whether anything of the plant came since `present_s`."""
    return bool((relations.cells[reference(relations, present_s), LAST_S] > present_s).any())


def is_replaced(relations: Relations, rows: int, strange: int, present_s: int) -> bool:
    """Whether a block was another plant's: most of its flows were strange, and since `present_s` most of what the plant
    had in its last hour has not come, and more relations were new than usual.

    Whoever scans, floods or makes up sources beside the plant cannot make its own relations stay away.
    """
    if not 2 * strange >= rows > 0:
        return False  # nearly always
    of_plant = reference(relations, present_s)
    came = int((relations.cells[of_plant, LAST_S] > present_s).sum())
    cells = relations.cells[_between(relations)]
    usual = cells[cells[:, LAST_S] > present_s, USUAL]
    new = len(usual) - int(usual.sum())
    return new > max(int(usual.sum()), LEAST_REPLACED - 1) and 2 * came < len(of_plant)


def extension(relations: Relations, block: int) -> Entries:
    """Entries of what was new in a block, where it was as much as was usual, and of several sources: a new part of the
    plant, or sources that somebody made up.
    """
    entries = _between(relations)
    cells = relations.cells[entries]
    came = cells[:, LAST_BLOCK] == block
    usual = int((came & (cells[:, USUAL] == 1)).sum())
    new: Entries = entries[came & (cells[:, USUAL] == 0)]
    sources = len(set(relations.ends[new, SOURCE].tolist()))
    return new if len(new) >= max(LEAST_NEW, usual) and sources >= LEAST_SOURCES else new[:0]


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
