"""Flows as points: features on a fixed integer grid, so that a distance has the same bits everywhere.

Twenty steps are one deviation of the feature (scales.toml), 120 steps are the most. A logarithm is the float's own
bits: exponent and mantissa of 1 + |x| as one number grow as log2 does, straight between powers of two.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled
from pipeline.featurize.feature_set import FEATURE_SET

STEPS = 20
"""Steps of the grid in one deviation: finer than what moves a distance, coarse enough for a byte."""
MOST_STEPS = 120
"""Six deviations: beyond that, farther off says no more."""
WIDTH = 80
"""Bytes of a point: the features, and zeros up to a multiple of 16, so that distances go by whole vectors."""
_LINEAR_BITS = 16
_SHIFT = 32
_ONE_BITS = np.int64(0x3F800000)

Points = npt.NDArray[np.int8]


class Grid(NamedTuple):
    """(F,) each: whether a feature is on a log scale; the middle of its grid and the factor to steps, fixed-point."""

    is_log: npt.NDArray[np.uint8]
    centre: npt.NDArray[np.int64]
    factor: npt.NDArray[np.int64]


@cache
def grid() -> Grid:
    """The grid of `forebay-ics-1`."""
    scales = tomllib.loads(files(__package__).joinpath("scales.toml").read_text(encoding="utf-8"))
    is_log = np.array([feature.scale == "log1p" for feature in FEATURE_SET.features])
    centre, deviation = np.array([scales[name] for name in FEATURE_SET.names]).T
    unit = np.where(is_log, 2.0**23, 2.0**_LINEAR_BITS)
    factor = np.rint(STEPS * 2.0**_SHIFT / (deviation * unit)).astype(np.int64)
    return Grid(is_log.astype(np.uint8), np.rint(centre * unit).astype(np.int64), factor)


def points_of(matrix: npt.NDArray[np.float32]) -> Points:
    """(n, WIDTH) int8: rows of a feature matrix (n, F) float32 on the grid."""
    points = np.zeros((len(matrix), WIDTH), np.int8)
    bits = (np.float32(1.0) + np.abs(matrix)).view(np.int32)
    _points(matrix, bits, *grid(), points)
    return points


@compiled
def _points(
    matrix: npt.NDArray[np.float32],
    bits: npt.NDArray[np.int32],
    is_log: npt.NDArray[np.uint8],
    centre: npt.NDArray[np.int64],
    factor: npt.NDArray[np.int64],
    points: Points,
) -> None:
    half = np.int64(1) << (_SHIFT - 1)
    for row in range(len(matrix)):
        for column in range(len(centre)):
            value = np.float64(matrix[row, column])
            if is_log[column]:
                fixed = np.int64(bits[row, column]) - _ONE_BITS
                if value < 0.0:
                    fixed = -fixed
            else:
                # Written so that NaN is the lowest: made a whole number, it is another on every kind of processor.
                low = value if value > -32768.0 else -32768.0
                fixed = np.int64(np.rint(min(low, 32767.0) * 65536.0))
            steps = ((fixed - centre[column]) * factor[column] + half) >> _SHIFT
            points[row, column] = min(max(steps, -MOST_STEPS), MOST_STEPS)
