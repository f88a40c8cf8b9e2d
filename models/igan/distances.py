"""How far a row lies from normal traffic: from its centre, or from the nearest of many prototypes. Without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numba import njit

from models.igan import kernel, packed
from models.igan.layout import PackedPrototypes, PrototypeSpace
from models.rows import Doubles, Floats, Ints

ROUNDS = 10
MAX_LEARNT_FROM = 60_000  # normal rows


@dataclass(frozen=True, eq=False)
class Distance:
    """z (n, F) → (n,) Mahalanobis distance to normal traffic's centre, in its own deviations per feature.

    One thread at a time: what is written in between is made once, and what is read when it is first called.

    Attributes
    ----------
    centre : (F,) float32
    whitening : (F, F) float32, W with distance² = |W (z − centre)|² / F
    """

    centre: Floats
    whitening: Floats

    def __post_init__(self) -> None:
        features = len(self.centre)
        if not features or self.whitening.shape != (features, features):
            raise ValueError(
                f"distance: got a centre of {features} features and a whitening {self.whitening.shape}, "
                f"expected one at least and a square of as many"
            )

    @classmethod
    def fit(cls, z: Floats, shrinkage: float) -> "Distance":
        """From normal rows z (n, F), two at least; the covariance is shrunk towards the identity."""
        if len(z) < 2:
            raise ValueError(f"distance: got {len(z)} normal rows, expected two at least to say how they spread")
        double = z.astype(np.float64)
        centre = double.mean(axis=0)
        covariance = _covariance(double, centre)
        shrunk = (1 - shrinkage) * covariance + shrinkage * np.eye(len(centre))
        # distance² = |W (z − centre)|² with W = L⁻¹, covariance = L Lᵀ
        return cls(centre.astype(np.float32), _inverse_of_root(shrunk).astype(np.float32))

    def __call__(self, z: Floats) -> Floats:
        """(n, F) → (n,)."""
        return self._alone(z, np.zeros(len(z), np.int64))

    @cached_property
    def _alone(self) -> "Distances":
        return Distances([self])

    def tensors(self) -> dict[str, Floats]:
        """By name."""
        return {"centre": self.centre, "whitening": self.whitening}


class Distances:
    """Distances of many origins, one at least, side by side: each row is measured by its origin's.

    One thread at a time: what is written in between is made once.
    """

    def __init__(self, distances: Sequence[Distance]) -> None:
        self._features = len(distances[0].centre)
        self._packed = packed.pack_distances(
            [distance.centre for distance in distances], [distance.whitening for distance in distances]
        )
        self._space = packed.distance_space(self._packed)

    def __call__(self, z: Floats, origin: Ints) -> Floats:
        """(n, F), the origin of each row (n,) → (n,)."""
        out = np.empty(len(z), np.float32)
        order = np.argsort(origin, kind="stable")
        kernel.mahalanobis(expected_rows(z, self._features), order, origin, self._packed, self._space, out)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Closeness:
    """z (n, F) → (n,) distance to the nearest prototype of normal traffic.

    One thread at a time: what is written in between is made once.

    Attributes
    ----------
    prototypes : (P, F) float32
    """

    prototypes: Floats
    _packed: PackedPrototypes = field(init=False, repr=False)
    _space: PrototypeSpace = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.prototypes.ndim != 2 or not self.prototypes.size:
            raise ValueError(f"closeness: got prototypes {self.prototypes.shape}, expected one row at least")
        object.__setattr__(self, "_packed", packed.pack_prototypes(self.prototypes))
        object.__setattr__(self, "_space", packed.prototype_space(self._packed))

    @classmethod
    def fit(cls, z: Floats, count: int, seed: int) -> "Closeness":
        """`count` centres (at most one a row) of normal rows z (n, F); an empty cluster's stays where it is.

        Source: Lloyd 1982, "Least squares quantization in PCM".
        """
        random = np.random.default_rng(seed)
        some = np.ascontiguousarray(z[random.permutation(len(z))[:MAX_LEARNT_FROM]])
        centre = some[:count].copy()
        for _ in range(ROUNDS):
            total, size = _sums(some, cls(centre).nearest(some), len(centre))
            occupied = size > 0
            centre[occupied] = (total[occupied] / size[occupied, None]).astype(np.float32)
        return cls(centre)

    def __call__(self, z: Floats) -> Floats:
        """(n, F) → (n,)."""
        return self._measure(z)[0]

    def nearest(self, z: Floats) -> Ints:
        """(n, F) → (n,) which prototype is the nearest."""
        return self._measure(z)[1]

    def _measure(self, z: Floats) -> tuple[Floats, Ints]:
        out, nearest = np.empty(len(z), np.float32), np.empty(len(z), np.int64)
        kernel.closeness(expected_rows(z, self.prototypes.shape[1]), self._packed, self._space, out, nearest)
        return out, nearest

    def tensors(self) -> dict[str, Floats]:
        """By name."""
        return {"prototypes": self.prototypes}


def expected_rows(rows: Floats, features: int) -> Floats:
    """Rows (n, F) as the kernel reads them: float32, contiguous, writeable (so that it is compiled once)."""
    if rows.ndim != 2 or rows.shape[1] != features:
        raise ValueError(f"rows: got {rows.shape}, expected (n, {features})")
    return np.require(rows, np.float32, ["C", "W"])


# Sums in loops of our own: what numpy's libraries share out over threads has other bits with another number of them.
@njit(cache=True, nogil=True)
def _covariance(rows: Doubles, centre: Doubles) -> Doubles:
    features = len(centre)
    total, offset = np.zeros((features, features)), np.empty(features)
    for row in rows:
        offset[:] = row - centre
        for one in range(features):
            for other in range(one + 1):
                total[one, other] += offset[one] * offset[other]
    for one in range(features):
        for other in range(one):
            total[other, one] = total[one, other]
    return total / (len(rows) - 1)


@njit(cache=True, nogil=True)
def _inverse_of_root(matrix: Doubles) -> Doubles:
    """The inverse of a positive matrix's lower triangular root.

    Source: Golub & Van Loan 2013, "Matrix computations", sections 4.2.5 (Cholesky) and 3.1.1 (substitution).
    """
    size = len(matrix)
    root, inverse = np.zeros((size, size)), np.zeros((size, size))
    for row in range(size):
        for column in range(row + 1):
            rest = matrix[row, column]
            for k in range(column):
                rest -= root[row, k] * root[column, k]
            root[row, column] = np.sqrt(rest) if row == column else rest / root[column, column]
    for row in range(size):
        inverse[row, row] = 1 / root[row, row]
        for column in range(row):
            rest = 0.0
            for k in range(column, row):
                rest -= root[row, k] * inverse[k, column]
            inverse[row, column] = rest * inverse[row, row]
    return inverse


@njit(cache=True, nogil=True)
def _sums(rows: Floats, number: Ints, count: int) -> tuple[Doubles, Ints]:
    """Sum (count, F) and size (count,) of each group of rows."""
    total, size = np.zeros((count, rows.shape[1])), np.zeros(count, np.int64)
    for row in range(len(rows)):
        size[number[row]] += 1
        for column in range(rows.shape[1]):
            total[number[row], column] += rows[row, column]
    return total, size
