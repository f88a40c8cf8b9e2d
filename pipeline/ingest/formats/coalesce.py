"""One column out of several: sensors have an address, a time or a MAC under one of a few names, or none at all."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pipeline.ingest.compiled import compiled
from pipeline.ingest.scan.cells import ABSENT, BARE, NULL, NUMBER, STRING, Bytes, Cells, Ints, Kinds


class Choice(IntEnum):
    """Which of several cells is taken.

    A void value is what exporters write for "not reported": 0, 0.0.0.0, ::, 00:00:00:00:00:00, 0000-00-00, the epoch.
    """

    PRESENT = 0  # the first that is there
    FIRST_NON_VOID = 1  # the first that is there and not void; the first void one where all are
    NON_VOID_OR_NULL = 2  # the first that is there and not void; none where all are void


Merge = tuple[tuple[int, ...], Choice]  # the columns to choose from, and how


@compiled
def _void(text: Bytes, offset: int, end: int) -> bool:
    """Whether a text is made of zeros and punctuation only; the epoch as a date counts."""
    if end - offset > 10 and text[offset] == 49 and text[offset + 1] == 57 and text[offset + 2] == 55:
        epoch = text[offset + 3] == 48 and text[offset + 6] == 49 and text[offset + 9] == 49
        if epoch and text[offset + 4] == 45 and text[offset + 5] == 48 and text[offset + 8] == 48:
            offset += 10
    for at in range(offset, end):
        byte = text[at]
        if 49 <= byte <= 57 or (97 <= (byte | 32) <= 122 and byte not in (84, 116, 90, 122)):
            return False
    return True


@compiled
def _choose(
    text: Bytes,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.uint8],
    columns: Ints,
    choice: int,
    target: int,
) -> None:
    for row in range(starts.shape[1]):
        chosen = -1
        for candidate in range(len(columns)):
            column = columns[candidate]
            kind = kinds[column, row]
            first, last = starts[column, row], ends[column, row]
            textual = kind in (STRING, NUMBER, BARE)
            if kind in (ABSENT, NULL) or (textual and first == last):
                continue
            if choice != 0 and textual and _void(text, first, last):
                if choice == 1 and chosen < 0:
                    chosen = column
                continue
            chosen = column
            break
        if chosen >= 0:
            starts[target, row], ends[target, row] = starts[chosen, row], ends[chosen, row]
            kinds[target, row] = kinds[chosen, row]


def with_merged(cells: Cells, merges: Sequence[Merge]) -> Cells:
    """The cells with one column more for each of `merges`, which may name the columns of those before it."""
    if not merges:
        return cells
    count, rows = cells.kinds.shape
    starts, ends = (np.zeros((count + len(merges), rows), np.int64) for _ in range(2))
    kinds: Kinds = np.zeros((count + len(merges), rows), np.uint8)
    starts[:count], ends[:count], kinds[:count] = cells.starts, cells.ends, cells.kinds
    for target, (columns, choice) in enumerate(merges, count):
        _choose(cells.text, starts, ends, kinds, np.array(columns, np.int64), int(choice), target)
    return cells._replace(starts=starts, ends=ends, kinds=kinds)
