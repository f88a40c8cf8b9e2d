"""Small models: the look-up table in eight bits, with one scale a column."""

from collections.abc import Mapping

import numpy as np

from models.igan.arrays import LEVELS, Int8s
from models.rows import Floats


def quantised(tensors: Mapping[str, Floats]) -> dict[str, Floats | Int8s]:
    """Tensors by name whose `lookup.table` (E, H) becomes int8, and `lookup.scale` (C,) what its 1 is worth.

    A column's scale is its largest entry / 127: an entry moves by half of that at most.
    """
    table, count = tensors["lookup.table"], tensors["knots.count"].astype(np.int64)
    first = np.cumsum(count) - count
    largest = np.abs(table).max(axis=1)
    scale = np.array([largest[start : start + size].max() for start, size in zip(first, count, strict=True)])
    scale = (scale / LEVELS).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1.0))
    whole = np.rint(table / np.repeat(scale, count)[:, None]).clip(-LEVELS, LEVELS).astype(np.int8)
    return {**tensors, "lookup.table": whole, "lookup.scale": scale}
