import json
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from models.training.measures import binary

Cells = list[tuple[int, bool]]
CELLS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60)  # few scores: many ties


def arrays(cells: Cells) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    return np.array([c[0] for c in cells], dtype=np.float32), np.array([c[1] for c in cells])


@given(CELLS)
def test_auroc_counts_pairs(cells: Cells) -> None:
    score, positive = arrays(cells)
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, p in cells if p for b, q in cells if not q]
    got = binary.auroc(score, positive)
    assert math.isnan(got) if not pairs else math.isclose(got, sum(pairs) / len(pairs))


@given(CELLS)
def test_areas_and_curve_agree_with_scikit_learn(cells: Cells) -> None:
    score, positive = arrays(cells)
    if positive.all() or not positive.any():
        assert math.isnan(binary.auroc(score, positive))
        assert math.isnan(binary.auprc(score, positive))
        assert len(binary.roc(score, positive)[0]) == 0
        return
    assert binary.auroc(score, positive) == pytest.approx(metrics.roc_auc_score(positive, score))
    assert binary.auprc(score, positive) == pytest.approx(metrics.average_precision_score(positive, score))
    fpr, tpr, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    got = binary.roc(score, positive)
    np.testing.assert_allclose(got[0], fpr)
    np.testing.assert_allclose(got[1], tpr)


@given(CELLS, st.floats(0, 1))
def test_recall_at_a_realised_rate_is_what_a_coin_among_ties_gives(cells: Cells, rate: float) -> None:
    score, positive = arrays(cells)
    if positive.all() or not positive.any():
        return
    fpr, tpr, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    at = [t for f, t in zip(fpr, tpr, strict=True) if f == rate]
    oracle = max(at) if at else float(np.interp(rate, fpr, tpr))
    assert binary.tpr_at(*binary.roc(score, positive), np.array([rate]))[0] == pytest.approx(oracle)


@pytest.mark.slow
@given(CELLS, st.integers(-1, 7))
def test_figures_at_a_threshold_agree_with_scikit_learn(cells: Cells, threshold: int) -> None:
    score, positive = arrays(cells)
    suspect = score > threshold
    got = binary.at_threshold(score, positive, threshold)
    assert (got["tp"] + got["fn"], got["fp"] + got["tn"]) == (positive.sum(), (~positive).sum())
    oracles: dict[str, Any] = {
        "acc": metrics.accuracy_score(positive, suspect),
        "sen": metrics.recall_score(positive, suspect, zero_division=np.nan),
        "spe": metrics.recall_score(~positive, ~suspect, zero_division=np.nan),
        "pre": metrics.precision_score(positive, suspect, zero_division=np.nan),
        "f1": metrics.f1_score(positive, suspect, zero_division=np.nan),
        "jss": metrics.jaccard_score(positive, suspect, zero_division=0) if (positive | suspect).any() else np.nan,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a single label
        oracles["mcc"] = metrics.matthews_corrcoef(positive, suspect)
    for name, oracle in oracles.items():
        if np.isnan(oracle):
            assert got[name] is None, name
        else:
            assert got[name] == pytest.approx(oracle), name
    for name, other in (("fpr", "spe"), ("fnr", "sen")):
        assert got[name] is None if got[other] is None else got[name] == pytest.approx(1 - got[other])
    json.dumps(got, allow_nan=False)


def test_mcc_of_many_rows_does_not_overflow() -> None:
    assert binary.mcc(10**6, 0, 0, 10**6) == 1.0
    assert binary.mcc(0, 10**6, 10**6, 0) == -1.0


@pytest.mark.slow
@given(CELLS)
def test_a_ranking_is_plain_json_and_its_curve_rises(cells: Cells) -> None:
    score, positive = arrays(cells)
    got = binary.ranking(score, positive)
    json.dumps(got, allow_nan=False)
    assert list(got["tpr_at"]) == ["0.001", "0.01", "0.05", "0.062"]
    if positive.all() or not positive.any():
        assert got["auroc"] is None
        assert got["roc"] == []
        return
    curve = np.array(got["roc"])
    assert len(curve) <= 200
    assert curve[0].tolist() == [0, 0]
    assert curve[-1].tolist() == [1, 1]
    assert (np.diff(curve, axis=0) >= 0).all()
    assert got["tpr_at"]["0.01"] == pytest.approx(binary.tpr_at(*binary.roc(score, positive), np.array([0.01]))[0])
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(got["auroc"], abs=0.02)


def test_recall_at_a_rate_of_other_rows() -> None:
    score = np.arange(200, dtype=np.float32)
    negative = np.arange(200) < 100
    assert binary.recall_at(score, ~negative, negative, 0.01) == 1.0
    assert binary.recall_at(score[::-1].copy(), ~negative, negative, 0.01) == 0.0


def test_seen_and_novel_attacks_each_stand_against_all_normals() -> None:
    score = np.array([0.0, 1, 2, 3, 4, 5])
    attack = np.array([False, False, True, False, True, True])
    novel = np.array([False, False, True, False, False, False])
    got = binary.seen_and_novel(score, attack, novel, {0.01: 2.5, 0.05: 1.5})
    assert (got["novel_rows"], got["seen_rows"]) == (1, 2)
    assert got["auroc_novel"] == pytest.approx(2 / 3)
    assert got["auroc_seen"] == 1.0
    assert got["recall"] == {"0.01": {"seen": 1.0, "novel": 0.0}, "0.05": {"seen": 1.0, "novel": 1.0}}


def test_nothing_novel_is_said_as_none() -> None:
    score, attack = np.array([0.0, 1.0]), np.array([False, True])
    got = binary.seen_and_novel(score, attack, np.zeros(2, dtype=np.bool_), {0.01: 0.5})
    assert (got["novel_rows"], got["auroc_novel"]) == (0, None)
    assert got["recall"]["0.01"] == {"seen": 1.0, "novel": None}
    nobody = binary.seen_and_novel(score, ~attack & attack, attack, {})
    assert (nobody["novel_rows"], nobody["auroc_seen"]) == (0, None)
