"""Distances from normal traffic: fitted without torch, refused where they are none."""

import numpy as np
import pytest

from models.igan.distances import Closeness, Distance
from models.rows import Floats

ROWS = np.random.default_rng(8)


def normal(count: int = 400, features: int = 9) -> Floats:
    """Correlated numbers, a flag, and a constant."""
    rows = ROWS.normal(size=(count, features)) @ ROWS.normal(size=(features, features))
    rows[:, 1], rows[:, 2] = ROWS.random(count) < 0.1, 1.5
    return rows.astype(np.float32)


def test_the_distance_is_that_of_the_shrunk_covariance() -> None:
    z = normal()
    distance = Distance.fit(z, 0.05)
    covariance = 0.95 * np.cov(z.astype(np.float64).T) + 0.05 * np.eye(9)
    offset = z.astype(np.float64) - z.astype(np.float64).mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset) / 9)
    assert np.abs(distance(z) - expected).max() < 1e-4
    assert not np.triu(distance.whitening, 1).any()
    assert {name: value.dtype for name, value in distance.tensors().items()} == {
        "centre": np.dtype(np.float32),
        "whitening": np.dtype(np.float32),
    }


def test_prototypes_come_to_lie_nearer_to_normal_rows() -> None:
    z = normal()
    start, fitted = Closeness(z[:20].copy()), Closeness.fit(z, 20, seed=1)
    assert fitted(z).mean() < 0.9 * start(z).mean()
    assert fitted.prototypes.shape == (20, 9)
    again = Closeness.fit(z, 20, seed=1)
    assert np.array_equal(fitted.prototypes, again.prototypes)
    for number in np.unique(fitted.nearest(z)):  # a centre is its rows' mean, but for the last round
        mean = z[fitted.nearest(z) == number].mean(axis=0)
        assert np.abs(mean - fitted.prototypes[number]).max() < 3


def test_there_are_no_more_prototypes_than_rows() -> None:
    z = normal(5)
    fitted = Closeness.fit(z, 1024, seed=1)
    assert fitted.prototypes.shape == (5, 9) and fitted(z).max() < 1e-6


def test_rows_may_be_read_only_and_of_any_layout() -> None:
    z = normal(50)
    distance, closeness = Distance.fit(z, 0.05), Closeness.fit(z, 7, 0)
    fixed = np.asfortranarray(z)
    fixed.setflags(write=False)
    assert np.array_equal(distance(fixed), distance(z)) and np.array_equal(closeness(fixed), closeness(z))


@pytest.mark.parametrize("made", [Distance.fit(normal(50), 0.05), Closeness.fit(normal(50), 7, 0)])
def test_rows_of_another_width_are_refused(made: Distance | Closeness) -> None:
    with pytest.raises(ValueError, match=r"got \(3, 8\), expected \(n, 9\)"):
        made(np.zeros((3, 8), np.float32))


def test_what_is_no_distance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"whitening \(2, 3\)"):
        Distance(np.zeros(3, np.float32), np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="expected two at least"):
        Distance.fit(normal(1), 0.05)
    with pytest.raises(ValueError, match=r"prototypes \(0, 9\)"):
        Closeness(np.zeros((0, 9), np.float32))
    with pytest.raises(ValueError, match=r"prototypes \(0, 9\)"):
        Closeness.fit(normal(0), 5, 0)
