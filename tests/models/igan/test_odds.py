"""The sum of odds: what is sure stays sure, what is unusual is said, and a manifest retains it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.igan.odds import LEAST_P, Odds, OddsConfig


def fitted(n: int = 500, shift: float = 0.0, constants: OddsConfig | None = None) -> Odds:
    random = np.random.default_rng(1)
    distance = random.gamma(4.0, 1.0, n).astype(np.float32)
    margin = random.normal(-9, 1.5, n).astype(np.float32)
    return Odds.fit(distance, margin, shift, constants or OddsConfig())


def test_either_view_alone_makes_a_row_suspicious() -> None:
    odds = fitted()
    distance = np.array([3.0, 3.0, 90.0], np.float32)
    margin = np.array([-9.0, 9.0, -9.0], np.float32)
    score, novelty = odds.score(distance, margin)
    assert score[0] < 0.01
    assert score[1] == pytest.approx(9 / 10, abs=1e-3)  # surprise is the margin where it is large
    assert score[2] > 0.5 > score[0]
    assert novelty[2] > novelty[0] >= 0


def test_the_log_odds_are_those_of_the_formula() -> None:
    odds = fitted(shift=2.0)
    distance, margin = np.array([4.0, 12.0], np.float32), np.array([-3.0, 1.0], np.float32)
    p = odds.p_unknown(odds.unusual(distance, margin))
    expected = np.log(np.exp(margin.astype(np.float64) - 2.0) + 1e-3 / p)
    surprise = np.log1p(np.exp(expected))
    score, novelty = odds.score(distance, margin)
    np.testing.assert_allclose(score, surprise / (1 + surprise), rtol=1e-6)
    np.testing.assert_allclose(novelty, -np.log10(p), rtol=1e-6)


def test_the_share_of_normal_rows_at_least_so_unusual_is_their_rank() -> None:
    random = np.random.default_rng(2)
    distance = random.gamma(4.0, 1.0, 2000).astype(np.float32)
    margin = np.full(2000, -9.0, np.float32)
    odds = Odds.fit(distance, margin, 0.0, OddsConfig())
    p = odds.p_unknown(odds.unusual(distance, margin))
    above = np.argsort(np.argsort(-distance)) / 2000
    unusual = distance > np.quantile(distance, 0.6)  # below the median all are alike
    np.testing.assert_allclose(p[unusual], above[unusual], rtol=0.05, atol=0.001)


def test_beyond_a_quiet_stretch_of_rows_that_are_all_alike_everything_is_unusual() -> None:
    alike = np.ones(1000, np.float32)
    odds = Odds.fit(alike, -9 * alike, 0.0, OddsConfig())
    beyond = odds.p_unknown(odds.unusual(np.array([3.0], np.float32), np.array([-9.0], np.float32)))
    assert beyond[0] <= 1 / 1001
    half = Odds.fit(np.arange(1000, dtype=np.float32).clip(0, 600), -9 * alike, 0.0, OddsConfig())
    p = half.p_unknown(half.unusual(np.array([600.0, 601.0], np.float32), np.full(2, -9.0, np.float32)))
    assert p[0] == pytest.approx(0.2, abs=0.01)  # ties share the middle of their ranks
    assert p[1] <= 1 / 1001


@given(
    distance=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=30),
    margin=st.floats(-(2.0**100), 2.0**100, width=32),
)
def test_scores_are_in_range_and_rise_with_the_distance(distance: list[float], margin: float) -> None:
    odds = fitted()
    ascending = np.sort(np.array(distance, np.float32))
    score, novelty = odds.score(ascending, np.full(len(ascending), margin, np.float32))
    assert np.isfinite(score).all()
    assert (score >= 0).all()
    assert (score <= 1).all()
    assert (np.diff(score) >= 0).all()
    assert (np.diff(novelty) >= 0).all()
    assert novelty.max() <= -np.log10(LEAST_P)


@given(values=st.lists(st.floats(0, 100, width=32), min_size=1, max_size=40))
def test_a_manifest_retains_the_odds_exactly(values: list[float]) -> None:
    distance = np.array(values, np.float32)
    odds = Odds.fit(distance, -distance, 1.5, OddsConfig(0.01, 0.5))
    again = Odds.from_document(odds.document())
    grid = np.linspace(-5, 200, 101).astype(np.float32)
    for first, second in zip(odds.score(grid, -grid), again.score(grid, -grid), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "change",
    [
        {"pi": 0.0},
        {"pi": float("nan")},
        {"margin_weight": -1.0},
        {"distance_unit": [0.0, 0.0]},
        {"value": []},
        {"value": [2.0, 1.0], "position": [0.0, 1.0]},
        {"position": [0.0], "value": [1.0], "n": 0},
        {"shift": float("inf")},
    ],
)
def test_a_manifest_without_sound_odds_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"odds|expected"):
        Odds.from_document(fitted().document() | change)


def test_no_normal_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="0 normal rows"):
        Odds.fit(np.empty(0, np.float32), np.empty(0, np.float32), 0.0, OddsConfig())
