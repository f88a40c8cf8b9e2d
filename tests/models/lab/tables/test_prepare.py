"""Preparation: constants from the records it was fitted to, and no others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.errors import RefusedModel
from models.lab.tables.prepare import CLIP, Prepared, heavy_tailed
from models.lab.tables.table import Column, Unlabelled

ODD = st.floats(allow_nan=True, allow_infinity=True, width=64)


def numbers(values: np.ndarray) -> Unlabelled:
    return Unlabelled(tuple(Column(f"c{index}", "number") for index in range(values.shape[1])), values)


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=ODD))
def test_any_numbers_become_finite_within_the_clip(values: np.ndarray) -> None:
    prepared = Prepared.fit(numbers(values))
    with np.errstate(over="ignore"):
        others = values[::-1] * -3
    for records in (values, others):
        with np.errstate(over="ignore"):
            matrix = prepared.matrix(numbers(np.asarray(records)))
        assert matrix.dtype == np.float32 and np.isfinite(matrix).all() and np.abs(matrix).max() <= CLIP


def test_a_constant_in_training_stays_quiet_until_it_moves() -> None:
    prepared = Prepared.fit(numbers(np.full((5, 1), 3.0)))
    assert prepared.matrix(numbers(np.array([[3.0], [4.0], [np.nan]]))).ravel().tolist() == [0.0, 1.0, 0.0]


def test_heavy_tails_are_compressed() -> None:
    assert heavy_tailed(np.array([1.0] * 900 + [1e6] * 100)) and not heavy_tailed(np.linspace(0, 1, 100))
    assert not heavy_tailed(np.array([np.nan, np.inf]))


def test_categories_meet_by_word_and_a_new_one_is_unknown() -> None:
    train = Unlabelled((Column("service", "category", ("dns", "http")),), np.array([[0.0], [1.0]]))
    later = Unlabelled((Column("service", "category", ("ftp", "http")),), np.array([[0.0], [1.0], [-1.0]]))
    prepared = Prepared.fit(train)
    assert prepared.names == ("service=dns", "service=http", "service=unknown")
    assert prepared.matrix(later).tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_other_columns_are_refused_by_name() -> None:
    prepared = Prepared.fit(numbers(np.zeros((2, 2))))
    with pytest.raises(RefusedModel, match=r"expected \['c0', 'c1'\] as in training"):
        prepared.matrix(numbers(np.zeros((2, 1))))
