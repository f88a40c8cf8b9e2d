import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.lab.significance import corrected_t, holm, wilcoxon

DIFFERENCES = st.lists(st.integers(-50, 50), min_size=2, max_size=30)


@given(DIFFERENCES)
def test_without_a_test_share_it_is_the_paired_t_test(differences: list[int]) -> None:
    if len(set(differences)) == 1:
        assert corrected_t(differences, 90, 10) == (1.0 if differences[0] == 0 else 0.0)
        return
    assert corrected_t(differences, 100, 0) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_the_correction_by_hand() -> None:
    # k = 4, mean 2.5, s² = 5/3; variance of the mean (1/4 + 1/9) · 5/3 = 0.601852; t = 3.222517 on 3 degrees
    t = 2.5 / math.sqrt((1 / 4 + 1 / 9) * 5 / 3)
    assert t == pytest.approx(3.222517, abs=1e-6)
    # Student's t with 3 degrees of freedom in closed form
    one_sided = 0.5 - (t / math.sqrt(3) / (1 + t * t / 3) + math.atan(t / math.sqrt(3))) / math.pi
    assert corrected_t([1, 2, 3, 4], 90, 10) == pytest.approx(2 * one_sided)


@given(DIFFERENCES)
def test_the_correction_never_makes_a_difference_surer(differences: list[int]) -> None:
    plain, corrected = corrected_t(differences, 90, 0), corrected_t(differences, 90, 10)
    assert plain is not None
    assert corrected is not None
    assert corrected >= plain - 1e-12


def test_too_few_pairs_say_nothing() -> None:
    assert corrected_t([0.1], 90, 10) is None
    assert corrected_t([], 90, 10) is None
    assert wilcoxon([]) is None


@given(st.lists(st.integers(-10, 10), min_size=1, max_size=60))
def test_signed_ranks_never_warn_and_no_difference_is_no_evidence(differences: list[int]) -> None:
    p = wilcoxon(differences)
    assert p is not None
    assert 0 <= p <= 1
    if not any(differences):
        assert p == 1.0


def test_signed_ranks_by_hand() -> None:
    assert wilcoxon([1, 2, 3, 4, 5]) == pytest.approx(2 / 2**5)
    assert wilcoxon([0, 0, 1, 2, 3, 4, 5]) == pytest.approx(2 / 2**5)
    assert wilcoxon([-1, 2, 3, 4, 5]) == pytest.approx(4 / 2**5)
    many = np.random.default_rng(0).normal(0.3, 1, 80).tolist()
    assert wilcoxon(many) == pytest.approx(stats.wilcoxon(many, method="approx").pvalue)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_p_value_and_bonferroni(pvalues: list[float]) -> None:
    adjusted = holm(pvalues)
    for p, a in zip(pvalues, adjusted, strict=True):
        assert a is not None
        assert p <= a <= min(1.0, p * len(pvalues))
    order = np.argsort(pvalues)
    assert (np.diff(np.array(adjusted, dtype=float)[order]) >= 0).all()
