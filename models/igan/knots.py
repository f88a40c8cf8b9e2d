"""Knots: where each number of a table is cut, from training rows only."""

from dataclasses import dataclass

import numpy as np

from models.rows import Doubles, Floats, Ints, Mask

MAX_BINS = 48


@dataclass(frozen=True, slots=True)
class Knots:
    """The knots of every numeric column, side by side.

        column   knots             first   count
        1        0  .5  1  4       0       4
        3        -2  0  6          4       3

    Attributes
    ----------
    column : (C,) which columns of a row are numbers
    first, count : (C,) where a column's knots begin in `edge`, and how many it has, two at least
    edge : (all,) float32, ascending within a column
    plain : (B,) the other columns: of two values, or constant in training
    """

    column: Ints
    first: Ints
    count: Ints
    edge: Floats
    plain: Ints

    @classmethod
    def fit(cls, z: Floats, bins: int = MAX_BINS) -> "Knots":
        """Knots of training rows (n, F), at most `bins` intervals a column."""
        numbers = numeric(z)
        edges = [knots(z[:, index].astype(np.float64), bins) for index in np.flatnonzero(numbers)]
        count = np.array([len(edge) for edge in edges], dtype=np.int64)
        first = np.cumsum(count) - count
        edge = np.concatenate([np.empty(0), *edges]).astype(np.float32)
        return cls(np.flatnonzero(numbers), first, count, edge, np.flatnonzero(~numbers))


def knots(values: Doubles, bins: int) -> Doubles:
    """Ascending knots of one number's training values (n,), its smallest and largest among them.

    With few distinct values each is a knot. Else values that are more frequent than a bin's share stand alone, again
    with what is left, and the rest is cut into equal shares.
    Source: Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning", section 3.2
    (quantile bins); that frequent values stand alone is ours.
    """
    distinct, count = np.unique(values, return_counts=True)
    if len(distinct) <= bins + 1:
        return distinct
    alone = np.zeros(len(distinct), dtype=np.bool_)
    while True:
        left = bins - int(alone.sum())
        frequent = ~alone & (count > count[~alone].sum() / max(left, 1))
        if left <= 1 or not frequent.any():
            break
        alone |= frequent
    rest = np.repeat(distinct[~alone], count[~alone])
    left = max(bins - int(alone.sum()), 1)
    shares = np.quantile(rest, np.linspace(0, 1, left + 1), method="nearest") if len(rest) else rest
    result: Doubles = np.unique(np.concatenate([distinct[alone], shares, distinct[[0, -1]]]))
    return result


def numeric(z: Floats) -> Mask:
    """(F,) which columns take more than two values."""
    low, high = z.min(axis=0), z.max(axis=0)
    between = (z > low) & (z < high)
    result: Mask = between.any(axis=0)
    return result
