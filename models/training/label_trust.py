"""Which rows count as normal, as an attack, or as neither: labels made by the clock are not taken at their word."""

import numpy as np
import torch

from models.igan.config import IganConfig
from models.igan.distances import Distance
from models.igan.preprocess import Preprocess
from models.rows import Ints, Mask, Rows

EDGE_US = 2_000_000  # a labelled stretch may begin and end this much sooner or later than its label says


def class_numbers(rows: Rows, config: IganConfig) -> Ints:
    """The rows' classes as numbers, (n,) int64; KeyError names a class the configuration does not have."""
    numbers = {name: number for number, name in enumerate(config.classes)}
    names, inverse = np.unique(rows.label, return_inverse=True)
    lookup = np.array([numbers[str(name)] for name in names], dtype=np.int64)
    result: Ints = lookup[inverse]
    return result


def near_coarse(rows: Rows, config: IganConfig) -> Mask:
    """Rows within EDGE_US of one whose label was made by the clock alone, that one included."""
    times = np.sort(rows.end_ts_us[np.isin(rows.label, config.coarse)])
    if not len(times):
        return np.zeros(len(rows), dtype=np.bool_)
    after = np.searchsorted(times, rows.end_ts_us)
    gap_before = rows.end_ts_us - times[np.maximum(after - 1, 0)]
    gap_after = times[np.minimum(after, len(times) - 1)] - rows.end_ts_us
    near: Mask = (np.abs(gap_before) <= EDGE_US) | (np.abs(gap_after) <= EDGE_US)
    return near


def quiet(rows: Rows, y: Ints, config: IganConfig) -> Mask:
    """Presumed-normal rows: labelled so, and not near a stretch whose label was made by the clock."""
    result: Mask = (y == 0) & ~near_coarse(rows, config)
    return result


def believable(rows: Rows, y: Ints, log: tuple[bool, ...], config: IganConfig) -> Mask:
    """Rows to learn from.

    Normal rows near a coarsely labelled stretch are left out. Of the coarsely labelled rows only those stay that
    lie farther from normal than nearly all normal rows do: the rest is ordinary traffic that went on meanwhile.
    """
    coarse = np.isin(rows.label, config.coarse)
    normal = quiet(rows, y, config)
    preprocess = Preprocess.fit(rows.matrix, log, config.clip)
    z = preprocess(torch.from_numpy(rows.matrix)).numpy()
    distance = Distance.fit(z[normal], config.shrinkage)(z)
    unusual = distance > np.quantile(distance[normal], config.coarse_quantile)
    result: Mask = np.where(coarse, unusual, normal | (y > 0))
    return result
