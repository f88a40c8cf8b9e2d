"""The network and the distances row by row in double precision, in the plainest Python."""

import math

from models.igan.arrays import NetworkArrays
from models.rows import Floats


def preprocessed(row: Floats, network: NetworkArrays) -> list[float]:
    """What one raw row looks like to the network."""
    z = []
    for x, log, mean, deviation in zip(row, network.log, network.mean, network.deviation, strict=True):
        value = float(x)
        if log > 0:
            value = math.copysign(math.log1p(abs(value)), value) if value else 0.0
        value = (value - float(mean)) / float(deviation)
        z.append(0.0 if math.isnan(value) else min(max(value, -network.clip), network.clip))
    return z


def logits(z: list[float], network: NetworkArrays) -> list[float]:
    """The logits of one preprocessed row."""
    wide = [float(bias) for bias in network.bias]
    knots = zip(network.column, network.first, network.count, network.scale, strict=True)
    for column, first, count, scale in knots:
        edge = [float(knot) for knot in network.edge[first : first + count]]
        bin_of = max(sum(knot <= z[column] for knot in edge[1:-1]), 0)
        share = (z[column] - edge[bin_of]) / (edge[bin_of + 1] - edge[bin_of])
        share = min(max(share, 0.0), 1.0)
        below, above = network.table[first + bin_of], network.table[first + bin_of + 1]
        low, high = (1 - share) * float(scale), share * float(scale)
        wide = [w + low * float(b) + high * float(a) for w, b, a in zip(wide, below, above, strict=True)]
    for column, row in zip(network.plain, network.row, strict=True):
        wide = [w + z[column] * float(r) for w, r in zip(wide, row, strict=True)]
    middle = _layer(wide, network.middle, network.middle_bias)
    return _layer(_layer(middle, network.top, network.top_bias), network.last, network.last_bias)


def _layer(values: list[float], matrix: Floats, bias: Floats) -> list[float]:
    positive = [max(value, 0.0) for value in values]
    return [
        float(b) + sum(value * float(weight) for value, weight in zip(positive, weights, strict=True))
        for b, weights in zip(bias, matrix.T, strict=True)
    ]


def mahalanobis(z: list[float], centre: Floats, whitening: Floats) -> float:
    """The root of the mean square of a row's whitened distances to the centre."""
    moved = [value - float(c) for value, c in zip(z, centre, strict=True)]
    white = [sum(float(w) * m for w, m in zip(row, moved, strict=True)) for row in whitening]
    return math.sqrt(sum(value * value for value in white) / len(white))


def closeness(z: list[float], prototypes: Floats) -> tuple[float, list[float]]:
    """The distance to the nearest prototype, and those to all."""
    distances = [
        math.sqrt(sum((value - float(p)) ** 2 for value, p in zip(z, prototype, strict=True)))
        for prototype in prototypes
    ]
    return min(distances), distances
