"""How many different things a key has to do with of late, and how evenly: a fixed number of buckets a key.

A thing falls into one of 32 buckets by its hash. A bucket holds a damped count (half-life 60 s) as of its last use; the
sums over all buckets stand beside it and fade by themselves, so a flow touches one bucket:
S = Σ w, T = Σ w log2 w, D = Σ 2^(-age / half-life).
Distinct: -32 ln(1 - D/32), linear counting (Whang et al., 1990) over faded buckets; at most 32 ln 64 = 133. Entropy:
log2 S - T/S bits, over buckets, so at most 5. With few things, two share a bucket with probability n(n-1)/64.
"""

import math

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled, mix64

BUCKETS = 32
HALF_LIFE_US = 60_000_000.0
_LN2 = 0.6931471805599453
S, T, D = 0, 1, 2

Values = npt.NDArray[np.float64]


@compiled
def left_of(elapsed_us: float) -> float:
    """2^(-elapsed / half-life)."""
    return math.exp(-_LN2 / HALF_LIFE_US * elapsed_us)


@compiled
def sketched(
    weights: Values,
    used_us: Values,
    sums: Values,
    thing: np.uint64,
    now_us: float,
    elapsed_us: float,
    late: bool,
    out: npt.NDArray[np.float32],
) -> None:
    """Write distinct things and their entropy, this one included, into out[0:2]; add it unless late.

    weights, used_us (32,); sums (3,); elapsed_us: since the key was last used, 0 where it is new.
    """
    left = left_of(elapsed_us)
    s, d = sums[S] * left, sums[D] * left
    t = left * (sums[T] - sums[S] * elapsed_us / HALF_LIFE_US)
    bucket = np.int64(mix64(thing) & np.uint64(BUCKETS - 1))
    was, fresh = 0.0, 0.0
    if weights[bucket] > 0.0:
        fresh = left_of(max(now_us - used_us[bucket], 0.0))
        was = weights[bucket] * fresh
        if was > 0.0:
            t -= was * math.log2(was)
    weight = was + 1.0
    s, t, d = s + 1.0, t + weight * math.log2(weight), d + 1.0 - fresh
    out[0] = -BUCKETS * math.log(1.0 - min(d, BUCKETS - 0.5) / BUCKETS)
    out[1] = max(math.log2(s) - t / s, 0.0)
    if not late:
        weights[bucket], used_us[bucket] = weight, now_us
        sums[S], sums[T], sums[D] = s, t, d
