"""Log-odds shared out over features: exact where the network is linear, whole and from the right place elsewhere."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from models.errors import RefusedModel
from models.igan.distances import Closeness
from models.igan.forward import Forward
from models.rows import Floats
from models.serving.contributions import contributions, log_odds
from models.serving.model import Model
from models.serving.score import Scorer
from models.training.train import train
from tests.models import tiny

ORIGIN = "plant/a"


def linear(slope: Floats) -> Model:
    """The tiny model with a margin that is linear between the outermost knots, and odds that heed nothing else."""
    trained = tiny.model()
    weights = {name: value.copy() for name, value in trained.weights.items()}
    count = weights["knots.count"].astype(int)
    of_knot = np.repeat(weights["knots.column"].astype(int), count)
    weights["lookup.table"][:] = 0.0
    weights["lookup.table"][:, 0] = weights["knots.edge"] * slope[of_knot]
    weights["lookup.row"][:] = 0.0
    weights["lookup.row"][:, 0] = slope[weights["knots.plain"].astype(int)]
    for name, bias in (("lookup.bias", 60.0), ("middle.bias", 0.0), ("top.bias", 0.0), ("last.bias", -1e4)):
        weights[name][:] = bias  # 60: no relu cuts anything off
    for name in ("middle.weight", "top.weight", "last.weight"):
        weights[name][:] = 0.0
        weights[name][0, 0] = 1.0
    benign = trained.config.benign
    weights["last.weight"][0, 0], weights["last.weight"][benign, 0] = 0.0, 1.0
    weights["last.bias"][0], weights["last.bias"][benign] = 0.0, -60.0
    document = copy.deepcopy(trained.document)
    for entry in document["calibration"].values():
        entry["odds"]["pi"] = 1e-300
    return Model(document, weights)


def inside(model: Model, count: int) -> Floats:
    """Rows near the middle of the training's, so that no value lies beyond the outermost knots."""
    return np.random.default_rng(3).uniform(-0.5, 0.5, size=(count, len(model.features))).astype(np.float32)


def test_a_linear_margin_is_shared_out_exactly() -> None:
    slope = np.array([2.0, -1.0, 0.5, 0.0, 3.0, -0.25], np.float32)
    model = linear(slope)
    rows = inside(model, 20)
    shared = contributions(model, ORIGIN, rows)
    z, _ = Forward(model.arrays())(rows)
    view = model.origins[model.origin_of(ORIGIN)].view
    usual = view.prototypes[view.nearest(z)] if isinstance(view, Closeness) else view.centre
    np.testing.assert_allclose(shared.by_feature, slope * (z - usual), atol=2e-3)
    assert not shared.by_feature[:, 3].any()


def test_shares_add_up_to_the_difference_and_log_odds_are_those_of_scoring() -> None:
    model = tiny.model()
    rows = tiny.rows(seed=4, count=200).matrix
    shared = contributions(model, ORIGIN, rows)
    np.testing.assert_allclose(shared.by_feature.sum(axis=1), shared.log_odds - shared.usual, atol=1e-6)
    surprise = np.logaddexp(0.0, shared.log_odds)
    scored = Scorer(model, "cpu").score(rows, np.zeros(len(rows), np.int64), np.full(len(rows), ORIGIN))
    np.testing.assert_allclose(surprise / (1 + surprise), scored.score, atol=1e-4)


@pytest.mark.parametrize("feature", range(6))
def test_what_is_moved_alone_gets_what_it_adds(feature: int) -> None:
    model = tiny.model()
    rows = tiny.rows(seed=5, count=64)
    quiet = rows.matrix[rows.label == "normal"][:16].copy()
    moved = quiet.copy()
    moved[:, feature] = 40.0
    before, after = contributions(model, ORIGIN, quiet), contributions(model, ORIGIN, moved)
    gained = (after.by_feature - before.by_feature).mean(axis=0)
    assert gained.argmax() == feature
    assert gained[feature] > 0


def test_more_steps_change_little() -> None:
    model, rows = tiny.model(), tiny.rows(seed=6, count=64).matrix
    few, many = contributions(model, ORIGIN, rows), contributions(model, ORIGIN, rows, steps=1024)
    difference = np.abs(few.by_feature - many.by_feature).sum(axis=1)
    assert difference.sum() <= 0.01 * np.abs(many.by_feature).sum()


@pytest.mark.parametrize("view", ["closeness", "distance"])
def test_either_view_is_explained(view: str) -> None:
    sources = [{"name": "tiny", "sha256": "0" * 64}]
    model = train(tiny.rows(), tiny.FEATURES, replace(tiny.CONFIG, view=view), sources, "test")
    rows = tiny.rows(seed=7, count=50).matrix
    shared = contributions(model, "elsewhere/x", rows)
    assert shared.log_odds.shape == (50,)
    np.testing.assert_allclose(shared.by_feature.sum(axis=1), shared.log_odds - shared.usual, atol=1e-6)


def test_odd_values_are_explained_as_they_are_scored() -> None:
    model = tiny.model()
    rows = np.array([[np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0]], np.float32)
    shared = contributions(model, ORIGIN, rows)
    assert np.isfinite(shared.by_feature).all()
    assert shared.by_feature[0, 0] == pytest.approx(0.0, abs=5.0)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(RefusedModel, match=r"got \(2, 5\), expected \(n, 6\)"):
        contributions(tiny.model(), ORIGIN, np.zeros((2, 5), np.float32))


def test_log_odds_add_what_is_unusual() -> None:
    odds = tiny.model().origins["*"].odds
    low, high = log_odds(odds, np.array([-9.0, -9.0]), np.array([0.0, 500.0]))
    assert low < high
