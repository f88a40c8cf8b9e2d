"""Cells repaired before they are read: sides are exchanged, and what programs print for "no number" is removed."""

from collections.abc import Sequence

import numpy as np

from pipeline.ingest.compiled import compiled
from pipeline.ingest.draft import Mask
from pipeline.ingest.scan.cells import ABSENT, Bytes, Cells, Ints


def swap_cells(cells: Cells, rows: Mask, pairs: Sequence[tuple[int, int]]) -> None:
    """Exchange each pair of columns in the chosen rows."""
    for left, right in pairs:
        for part in (cells.starts, cells.ends, cells.kinds):
            part[left, rows], part[right, rows] = part[right, rows], part[left, rows]


def without_no_numbers(cells: Cells, columns: Sequence[int], negative: bool = False) -> None:
    """Make cells of `columns` absent that are no number (nan, -nan, inf, Infinity), or are negative if so asked."""
    _drop(cells.text, cells.starts, cells.ends, cells.kinds, np.array(columns, np.int64), negative)


@compiled
def _drop(
    text: Bytes,
    starts: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    ends: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    kinds: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
    columns: Ints,
    negative: bool,
) -> None:
    for number in range(len(columns)):
        column = columns[number]
        for row in range(starts.shape[1]):
            first, last = starts[column, row], ends[column, row]
            if kinds[column, row] == ABSENT:
                continue
            signed = text[first] == 45 or text[first] == 43
            letters = first + signed
            # i: inf, Infinity; n: nan, NaN
            named = last - letters >= 3 and (text[letters] | 32) in (105, 110) and (text[letters + 1] | 32) in (97, 110)
            if named or (negative and text[first] == 45):
                starts[column, row], ends[column, row], kinds[column, row] = 0, 0, ABSENT
