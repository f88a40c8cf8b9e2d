"""How regular the gaps between an edge's flows are, and whether they are less so than usual.

Over the newest 32 gaps (at least 3): 1 - |Bowley's skew| and (median - MAD) / median, 0 where negative, and their mean:
RITA's score of beacons in time (activecm/rita, analysis of timestamps). In a plant regular polling is normal; what
counts is its loss: the running mean of that score (weight 1/n, at least 1/256) minus the present one, once 8 are known.
Quartiles are interpolated linearly. A late flow has no gap and sees the rhythm as it stands.
"""

import math

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled

GAPS = 32
FEWEST = 3
MEMORY, SETTLED = 256.0, 8.0
RHYTHM_FEATURES = 6
NEXT, FILLED, USUAL, SCORED = 0, 1, 2, 3  # columns of an edge's rhythm

Gaps = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]


@compiled
def _take_in(gaps: Gaps, ordered: Gaps, r: Values, gap: np.float32) -> None:
    """Put a gap into the ring and into its sorted copy, in place of the oldest where they are full."""
    filled, slot = int(r[FILLED]), int(r[NEXT])
    if filled == GAPS:
        oldest, hole = gaps[slot], 0
        while ordered[hole] != oldest:
            hole += 1
        for at in range(hole, GAPS - 1):
            ordered[at] = ordered[at + 1]
        filled -= 1
    at = filled
    while at > 0 and ordered[at - 1] > gap:
        ordered[at] = ordered[at - 1]
        at -= 1
    ordered[at], gaps[slot] = gap, gap
    r[NEXT] = slot + 1 if slot + 1 < GAPS else 0
    r[FILLED] = filled + 1


@compiled
def _quantile(ordered: Gaps, count: int, share: float) -> float:
    rank = share * (count - 1)
    below = int(rank)
    part = rank - below
    if part == 0.0:
        return float(ordered[below])
    return float(ordered[below]) * (1.0 - part) + float(ordered[below + 1]) * part


@compiled
def _median_deviation(ordered: Gaps, count: int, median: float) -> float:
    """Median of |x - median|, walking outward from the middle of the sorted values."""
    right = (count + 1) // 2
    left = right - 1
    value, before = 0.0, 0.0
    for _ in range(count // 2 + 1):
        before = value
        if right >= count or (left >= 0 and median - ordered[left] <= ordered[right] - median):
            value = median - ordered[left]
            left -= 1
        else:
            value = ordered[right] - median
            right += 1
    return value if count % 2 else (before + value) / 2.0


@compiled
def rhythm(
    gaps: Gaps, ordered: Gaps, r: Values, gap_us: float, met: bool, late: bool, out: npt.NDArray[np.float32]
) -> None:
    """Write the six features of an edge's rhythm into out; take the gap in where the edge was met before, unless late.

    gaps, ordered (32,): the ring and its sorted copy; r (4,).
    """
    for feature in range(RHYTHM_FEATURES):
        out[feature] = 0.0
    if met and not late:
        _take_in(gaps, ordered, r, np.float32(gap_us))
    count = int(r[FILLED])
    if count < FEWEST:
        return
    low, median = _quantile(ordered, count, 0.25), _quantile(ordered, count, 0.5)
    high = _quantile(ordered, count, 0.75)
    skew = (low + high - 2.0 * median) / (high - low) if low < median < high else 0.0
    evenness = 1.0 - abs(skew)
    spread = _median_deviation(ordered, count, median)
    steadiness = max((median - spread) / median, 0.0) if median > 0.0 else 0.0
    present = (evenness + steadiness) / 2.0
    out[0], out[1], out[2] = evenness, steadiness, present
    out[3] = r[USUAL]
    if r[SCORED] >= SETTLED:
        out[4] = max(r[USUAL] - present, 0.0)
    if not late:
        out[5] = abs(math.log1p(gap_us) - math.log1p(median))
        r[USUAL] += (present - r[USUAL]) / min(r[SCORED] + 1.0, MEMORY)
        r[SCORED] = min(r[SCORED] + 1.0, MEMORY)
