"""Ascending numbers of many origins, one origin's behind the other's: each row is looked up in those of its own."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from models.rows import Doubles, Floats, Ints

_compiled = njit(cache=True, nogil=True, error_model="numpy")


def firsts(parts: Sequence[npt.NDArray[np.number]]) -> Ints:
    """(s + 1,) where each of s parts begins when they lie one behind the other, and where the last one ends."""
    return np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)


@_compiled
def _below(values: Doubles | Floats, first: int, stop: int, x: np.float64 | np.float32) -> int:
    """How many of values[first:stop] are below x; of what is no number all are."""
    low, high = first, stop
    while low < high:
        middle = (low + high) // 2
        if values[middle] < x or x != x:
            low = middle + 1
        else:
            high = middle
    return low - first


@_compiled
def below(values: Floats, first: Ints, origin: Ints, x: Floats, out: Ints) -> None:
    """Numbers x (n,), each of an origin (n,) → out (n,): how many of its origin's values are below each."""
    for row in range(len(x)):
        out[row] = _below(values, first[origin[row]], first[origin[row] + 1], x[row])


@_compiled
def interpolated(values: Doubles, heights: Doubles, first: Ints, origin: Ints, x: Doubles, out: Doubles) -> None:
    """Numbers x (n,), each of an origin (n,) → out (n,): np.interp of each in its origin's values and their heights."""
    for row in range(len(x)):
        start, stop = first[origin[row]], first[origin[row] + 1]
        at = start + _below(values, start, stop, x[row])
        if x[row] != x[row]:
            out[row] = x[row]
        elif at == stop:
            out[row] = heights[stop - 1]
        elif at == start or values[at] == x[row]:
            out[row] = heights[at]
        else:
            slope = (heights[at] - heights[at - 1]) / (values[at] - values[at - 1])
            out[row] = slope * (x[row] - values[at - 1]) + heights[at - 1]
