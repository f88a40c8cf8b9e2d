"""Ranks of values among others, which put scores of different kinds on one scale."""

import numpy as np

from models.rows import Doubles


def rank(value: Doubles, ascending: Doubles) -> Doubles:
    """(n,) rank of each value among ascending ones (m,), 0 to 1, interpolated between neighbours: order is preserved.

    Beyond both ends the rank changes ever more slowly, and by less than one position.
    """
    values, last = np.unique(ascending, return_index=True)
    middle = (last + np.append(last[1:], len(ascending)) - 1) / 2  # ties share the middle of their positions
    position = np.interp(value, values, middle)
    spread = max(float(values[-1] - values[0]), 1e-12)
    above, below = np.maximum(value - values[-1], 0) / spread, np.maximum(values[0] - value, 0) / spread
    result: Doubles = (position + above / (1 + above) - below / (1 + below) + 1) / (len(ascending) + 1)
    return result
