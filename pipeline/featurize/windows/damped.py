"""Damped statistics of one key's flows: weight, mean and deviation of bytes, packets and gaps under five decays.

A flow counts 2^(-λΔt) after Δt seconds, λ in 5, 3, 1, 0.1, 0.01 a second (AfterImage: Mirsky et al., Kitsune, NDSS
2018, section V). All weights of a key fade alike, so a mean does not fade, and a sum of squared deviations fades as the
weight does (West, 1979): nothing is subtracted that is nearly equal. A gap is the time since the key's flow before,
so gaps have a weight of their own, one less.
"""

import math

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled

DECAYS = (5.0, 3.0, 1.0, 0.1, 0.01)
"""λ, per second; `faded` knows that each but the last is made of the next."""
STATISTICS = ("weight", "bytes_mean", "bytes_dev", "packets_mean", "packets_dev", "gap_mean", "gap_dev")
DAMPED_FEATURES = 35
DAMPED_VALUES = 41
"""Of a key: end of its last flow, then for each decay the weight, the gaps' weight, and mean and sum of squared
deviations of bytes, packets, gaps."""

_LN2 = 0.6931471805599453
_N = 5
_WEIGHT, _GAPS, _BYTES, _PACKETS, _GAP = 1, 6, 11, 21, 31

Values = npt.NDArray[np.float64]
Row = npt.NDArray[np.float32]


@compiled
def _to_the_tenth(x: float) -> float:
    square = x * x
    fifth = square * square * x
    return fifth * fifth


@compiled
def faded(elapsed_us: float, decayed: Values) -> None:
    """Write what is left after a time under each decay into decayed[0:5]: one exponential, then powers of it."""
    slowest = math.exp(-_LN2 * 1e-8 * elapsed_us)
    slow = _to_the_tenth(slowest)
    tenth = _to_the_tenth(slow)
    cube = tenth * tenth * tenth
    decayed[0], decayed[1], decayed[2], decayed[3], decayed[4] = cube * tenth * tenth, cube, tenth, slow, slowest


@compiled
def damped(v: Values, end_us: float, size: float, packets: float, late: bool, decayed: Values, out: Row) -> None:
    """Write the 35 features of a key with this flow in it into out; add the flow unless it is late.

    v (41,): the key's values, zeros where it is new; decayed (5,): scratch. A late flow has no gap.
    """
    known = v[_WEIGHT] > 0.0
    elapsed_us = max(end_us - v[0], 0.0) if known else 0.0
    faded(elapsed_us, decayed)
    with_gap = known and not late
    for q in range(_N):
        weight = v[_WEIGHT + q] * decayed[q] + 1.0
        gaps = v[_GAPS + q] * decayed[q]
        share = 1.0 / weight
        mean = v[_BYTES + q]
        off = size - mean
        mean += off * share
        bytes_spread = v[_BYTES + _N + q] * decayed[q] + off * (size - mean)
        out[q], out[5 + q], out[10 + q] = weight, mean, math.sqrt(max(bytes_spread * share, 0.0))
        packets_mean = v[_PACKETS + q]
        off = packets - packets_mean
        packets_mean += off * share
        packets_spread = v[_PACKETS + _N + q] * decayed[q] + off * (packets - packets_mean)
        out[15 + q], out[20 + q] = packets_mean, math.sqrt(max(packets_spread * share, 0.0))
        gap_mean, gap_spread = v[_GAP + q], v[_GAP + _N + q] * decayed[q]
        if with_gap:
            gaps += 1.0
            off = elapsed_us - gap_mean
            gap_mean += off / gaps
            gap_spread += off * (elapsed_us - gap_mean)
        out[25 + q] = gap_mean
        out[30 + q] = math.sqrt(max(gap_spread / gaps, 0.0)) if gaps > 0.0 else 0.0
        if not late:
            v[_WEIGHT + q], v[_GAPS + q] = weight, gaps
            v[_BYTES + q], v[_BYTES + _N + q] = mean, bytes_spread
            v[_PACKETS + q], v[_PACKETS + _N + q] = packets_mean, packets_spread
            v[_GAP + q], v[_GAP + _N + q] = gap_mean, gap_spread
    if not late:
        v[0] = max(end_us, v[0])
