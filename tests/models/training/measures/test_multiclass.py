import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from models.training.measures import multiclass
from models.training.measures.intervals import wilson

CLASSES = ("normal", "dos", "probe", "u2r")
PAIRS = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1, max_size=60)


def one_hot(said: np.ndarray, sure: float = 0.7) -> np.ndarray:
    probability = np.full((len(said), len(CLASSES)), (1 - sure) / (len(CLASSES) - 1), dtype=np.float32)
    probability[np.arange(len(said)), said] = sure
    return probability


@pytest.mark.slow
@given(PAIRS)
def test_figures_agree_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, said = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    got = multiclass.figures(truth, one_hot(said), CLASSES, truth != 0)
    json.dumps(got, allow_nan=False)
    assert got["acc"] == pytest.approx((truth == said).mean())
    present = sorted(set(truth.tolist()) - {-1})
    if present:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # labels that nobody said
            f1 = metrics.f1_score(truth, said, labels=present, average=None, zero_division=0)
            assert got["macro_f1"] == pytest.approx(f1.mean())
            assert multiclass.macro_f1(truth, said, len(CLASSES)) == pytest.approx(f1.mean())
        assert [got["f1"][CLASSES[number]] for number in present] == pytest.approx(f1.tolist())
    else:
        assert got["macro_f1"] is None
        assert math.isnan(multiclass.macro_f1(truth, said, len(CLASSES)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert got["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, said))
    labels = [0, 1, 2, 3, -1] if (truth == -1).any() else [0, 1, 2, 3]
    table = metrics.confusion_matrix(truth, said, labels=labels)[:, :4]
    assert got["confusion"] == table.tolist()
    assert got["binary"]["tp"] == ((said != 0) & (truth != 0)).sum()
    for number, name in enumerate(CLASSES):
        recall = got["recall"][name]
        assert recall["n"] == (truth == number).sum()
        if recall["n"]:
            assert recall["low"] <= recall["recall"] <= recall["high"]
        else:
            assert (recall["recall"], recall["low"], recall["high"], got["f1"][name]) == (None, None, None, None)


@given(st.integers(0, 300), st.integers(0, 300))
def test_wilson_is_scipys(hits: int, more: int) -> None:
    if not hits + more:
        assert wilson(0, 0) == (None, None)
        return
    oracle = stats.binomtest(hits, hits + more).proportion_ci(method="wilson")
    low, high = wilson(hits, hits + more)
    assert low == pytest.approx(oracle.low, abs=1e-12)
    assert high == pytest.approx(oracle.high, abs=1e-12)


@pytest.mark.slow
@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(1, 200))
def test_brier_and_calibration(seed: int, k: int, n: int) -> None:
    random = np.random.default_rng(seed)
    probability = random.dirichlet(np.ones(k), n)
    truth = random.integers(0, k, n)
    got = multiclass.reliability(truth, probability)
    if k == 2:
        oracle = metrics.brier_score_loss(truth, probability[:, 1], labels=[0, 1])
    else:
        oracle = metrics.brier_score_loss(truth, probability, labels=list(range(k)))
    assert got["brier"] == pytest.approx(oracle)
    assert sum(each[2] for each in got["bins"]) == n
    assert got["ece"] == pytest.approx(sum(abs(c - a) * m for c, a, m in got["bins"]) / n)


def test_a_class_unknown_in_training_is_always_wrong() -> None:
    got = multiclass.figures(np.array([-1, 1]), one_hot(np.array([1, 1]), 1.0), CLASSES, np.array([True, True]))
    assert (got["acc"], got["confusion"][-1]) == (0.5, [0, 1, 0, 0])
    assert got["reliability"]["brier"] == pytest.approx(1.0)  # (1² + 1) / 2 rows
    assert got["binary"]["sen"] == 1.0


def test_no_rows_have_no_figures() -> None:
    got = multiclass.figures(np.empty(0, np.int64), np.empty((0, 4)), CLASSES, np.empty(0, np.bool_))
    assert (got["acc"], got["macro_f1"], got["reliability"]["ece"]) == (None, None, None)
    json.dumps(got, allow_nan=False)


@pytest.mark.parametrize("probability", [np.zeros((2, 3)), np.zeros((1, 4)), np.full((2, 4), np.nan)])
def test_probabilities_of_another_shape_or_not_finite_are_refused(probability: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected one finite column per class"):
        multiclass.figures(np.array([0, 1]), probability, CLASSES, np.array([False, True]))


def test_f1_and_calibration_error() -> None:
    f1 = multiclass.f1_by_class(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("a", "b", "c"))
    assert f1 == {"a": 2 / 3, "b": 0.8}
    sure = np.full(10, 0.75, dtype=np.float32)
    assert math.isclose(multiclass.expected_calibration_error(sure, np.arange(10) < 5), 0.25)
