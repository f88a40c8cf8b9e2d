import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.training.measures.binary import auroc
from pipeline.retrain.compare import Figures, Gates, Known, compare, figures, known

ATTACK = np.array([True] * 30 + [False] * 300)
GOOD = Figures(auroc=0.99, recall=0.95, false_rate=0.001)


@given(
    hnp.arrays(np.float32, 40, elements=st.floats(0, 1, width=16)),
    hnp.arrays(np.bool_, 40),
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(
    score: npt.NDArray[np.float32], attack: npt.NDArray[np.bool_]
) -> None:
    pairs = [1.0 if high > low else 0.5 if high == low else 0.0 for high in score[attack] for low in score[~attack]]
    if not pairs:
        assert math.isnan(auroc(score, attack))
    else:
        assert auroc(score, attack) == pytest.approx(sum(pairs) / len(pairs))


def test_an_equal_candidate_passes() -> None:
    assert compare(GOOD, GOOD, ATTACK, Gates()).passed


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (Figures(0.98, 0.95, 0.001), "AUROC"),
        (Figures(0.99, 0.90, 0.001), "recall"),
        (Figures(0.99, 0.95, 0.010), "false rate"),
        (Figures(float("nan"), 0.95, 0.001), "AUROC"),
    ],
)
def test_a_worse_candidate_is_refused_with_both_figures(candidate: Figures, says: str) -> None:
    result = compare(GOOD, candidate, ATTACK, Gates())
    assert [says in reason for reason in result.against] == [True]
    assert "current model has" in result.against[0]


def test_too_little_evidence_speaks_against_it() -> None:
    result = compare(GOOD, GOOD, ATTACK[25:60], Gates())
    assert len(result.against) == 2
    assert result.document()["passed"] is False


def test_figures_count_suspects_on_each_side() -> None:
    score = np.linspace(1, 0, ATTACK.size)
    suspect = np.zeros(ATTACK.size, np.bool_)
    suspect[:15] = True
    suspect[-3:] = True
    got = figures(score, suspect, ATTACK)
    assert (got.auroc, got.recall, got.false_rate) == (1.0, 0.5, 0.01)


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (Known({"mitm": 0.90, "portscan": 1.0}, 0.001), "recall of known mitm 0.9000, the current model has 0.9500"),
        (Known({"mitm": 0.95}, 0.001), "recall of known portscan nan"),
        (Known({"mitm": 0.95, "portscan": 1.0}, 0.004), "false rate on known normal rows"),
    ],
)
def test_what_is_known_for_certain_must_still_be_found(candidate: Known, says: str) -> None:
    current = Known({"mitm": 0.95, "portscan": 1.0}, 0.001)
    assert compare(GOOD, GOOD, ATTACK, Gates(), current, current).passed
    result = compare(GOOD, GOOD, ATTACK, Gates(), current, candidate)
    assert [says in reason for reason in result.against] == [True]


def test_a_lost_calibration_speaks_against_it() -> None:
    assert "plant/left" in compare(GOOD, GOOD, ATTACK, Gates(), lost_calibration=["plant/left"]).against[0]


def test_known_figures_are_by_class() -> None:
    label = np.array(["mitm", "mitm", "portscan", "login", "normal", "normal"])
    got = known(np.array([True, False, True, True, False, False]), label, ("normal", "login"))
    assert got == Known({"mitm": 0.5, "portscan": 1.0}, 1 / 3)
