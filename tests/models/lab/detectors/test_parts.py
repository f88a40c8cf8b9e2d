"""The comparators' own parts: subsets, ranks, oversampling, deep Boltzmann machine, descent."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, mahalanobis
from torch import nn
from torch.nn import functional

from models.lab.detectors import fusion, neighbours, oversampling
from models.lab.detectors.boltzmann import DeepBoltzmann, Hidden
from models.lab.detectors.controls import Majority, ShuffledLabels
from models.lab.detectors.descent import descend, seeded
from models.lab.detectors.detector import Fitted, TrainingSet
from models.lab.detectors.predictions import balanced_weight, some, spread, stratified
from models.lab.detectors.ranks import rank
from models.lab.detectors.trees import LightGbm, rounds
from tests.models.lab.detectors.clusters import records, two_classes


def test_a_stratified_subset_keeps_rare_classes() -> None:
    y = np.repeat([0, 1, 2], [9_000, 990, 10])
    chosen = stratified(y, 1_000, 10, seed=0)
    assert np.bincount(y[chosen]).tolist() == [900, 99, 10]
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(stratified(y, len(y), 1, 0), np.arange(len(y)))
    assert len(some(50, 20, 0)) == 20


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    y = np.array([0, 0, 0, 0, 2, 2, 4])
    np.testing.assert_allclose(balanced_weight(y), compute_sample_weight("balanced", y))


def test_logits_of_classes_seen_go_to_their_columns() -> None:
    every = spread(np.array([[1.0, 2.0]]), np.array([0, 3]), 4)
    assert every[0, [0, 3]].tolist() == [1.0, 2.0]
    assert (every[0, [1, 2]] < -1000).all()


def test_distances_are_those_of_scipy() -> None:
    training = two_classes(records(400, 0))
    normal, test = training.matrix[training.y == 0].astype(np.float64), records(30, 1).matrix
    fitted = neighbours.MahalanobisDistance(0.1).fit(training, 0)
    inverse = np.linalg.inv(0.9 * np.cov(normal, rowvar=False) + 0.1 * np.eye(normal.shape[1]))
    expected = [mahalanobis(row, normal.mean(axis=0), inverse) / np.sqrt(len(row)) for row in test.astype(np.float64)]
    np.testing.assert_allclose(fitted.predict(test).score, expected, rtol=1e-5)
    near = np.sort(cdist(test, normal), axis=1)[:, :5].mean(axis=1)
    np.testing.assert_allclose(neighbours.NearNormal(5).fit(training, 0).predict(test).score, near, rtol=1e-4)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
    st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=50),
)
def test_ranks_keep_the_order_and_stay_between_0_and_1(scale: list[float], score: list[float]) -> None:
    ordered = np.sort(np.array(score))
    ranks = rank(ordered, np.sort(np.array(scale)))
    assert ((ranks >= 0) & (ranks <= 1)).all()
    assert (np.diff(ranks) >= -1e-12).all()


def test_ranks_do_not_depend_on_the_other_records_scored() -> None:
    training, test = two_classes(records(400, 0)), records(60, 1).matrix
    fitted = fusion.RankSum((LightGbm(), neighbours.MahalanobisDistance())).fit(training, 0)
    alone = np.concatenate([fitted.predict(test[i : i + 1]).score for i in range(len(test))])
    np.testing.assert_allclose(alone, fitted.predict(test).score, atol=1e-6)


@pytest.mark.parametrize("method", ["cgan", "smote", "random"])
def test_rare_classes_are_filled_up_with_records_like_theirs(method: oversampling.Method) -> None:
    training = records(800, 0)
    lacking = oversampling.missing(training.y, 4, 0.5)
    assert sorted(lacking) == [1, 2, 3]
    rare = training.matrix[training.y == 3]
    if method == "cgan":
        made = oversampling.invented(training, lacking, 300, seed=0)[sorted(lacking).index(3)]
        assert set(np.unique(made[:, -1])) <= {0.0, 1.0}
    else:
        made = (oversampling.copied if method == "random" else oversampling.interpolated)(rare, lacking[3], 0)
    assert made.shape == (lacking[3], training.matrix.shape[1])
    assert made.dtype == np.float32
    assert (made >= training.matrix.min(axis=0) - 1e-5).all()
    assert (made <= training.matrix.max(axis=0) + 1e-5).all()
    if method == "random":
        assert {tuple(row) for row in made} <= {tuple(row) for row in rare}
    if method == "smote":
        assert not {tuple(row) for row in made} <= {tuple(row) for row in rare}
        assert (made >= rare.min(axis=0) - 1e-5).all()


def test_a_class_too_small_for_smote_is_copied() -> None:
    few = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = oversampling.interpolated(few, 7, 0)
    assert {tuple(row) for row in made} <= {tuple(row) for row in few}


def test_two_classes_are_brought_level() -> None:
    assert oversampling.missing(np.repeat([0, 1], [100, 80]), 2, 0.25) == {1: 20}
    assert oversampling.missing(np.repeat([0, 2], [100, 10]), 3, 0.25) == {2: 15}


def test_joint_learning_makes_data_likelier_by_exact_likelihood() -> None:
    """Machines of 6, 4 and 3 units: their probabilities can be summed over all states."""
    random = torch.Generator().manual_seed(0)
    prototypes = torch.bernoulli(torch.full((3, 6), 0.5), generator=random)
    data = prototypes[torch.randint(3, (2_000,), generator=random)]
    data = torch.where(torch.rand(data.shape, generator=random) < 0.05, 1 - data, data)
    small = [torch.randn(shape, generator=random) * 0.3 for shape in ((4, 6), (3, 4))]
    machine = DeepBoltzmann(Hidden(small[0], torch.zeros(4)), Hidden(small[1], torch.zeros(3)))
    visible, middle = (torch.tensor(list(product([0.0, 1.0], repeat=units))) for units in (6, 4))
    state = (data @ torch.tensor([32.0, 16.0, 8.0, 4.0, 2.0, 1.0])).long()

    def likelihood() -> float:
        top = functional.softplus(middle @ machine.high.T + machine.top).sum(dim=1)  # summed over its states
        energy = (visible @ machine.low.T) @ middle.T + (middle @ machine.middle + top)
        log = torch.logsumexp(energy, dim=1) + visible @ machine.visible
        return float((log - torch.logsumexp(log, dim=0))[state].mean())

    with torch.no_grad():
        machine.learn(data, 1, random)
        share = data.mean(dim=0)
        independent = float((share * share.log() + (1 - share) * (1 - share).log()).sum())
        for _ in range(3):
            machine.learn(data, 30, random)
        assert likelihood() > independent + 0.2
        q_middle, q_top = machine.infer(data)
        again = torch.sigmoid(data @ machine.low.T + machine.middle + q_top @ machine.high)
        assert float((again - q_middle).abs().max()) < 1e-2  # the two layers agree


def test_descent_is_seeded_and_leaves_the_outside_alone() -> None:
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(1))
    y = x @ torch.tensor([1.0, -2.0, 0.5])

    def fit(seed: int) -> list[float]:
        with seeded(seed) as random:
            layer = nn.Linear(3, 1)
            descend(
                layer.parameters(),
                lambda rows: (layer(x[rows]).squeeze(1) - y[rows]).square().mean(),
                len(x),
                random,
                epochs=1,
                rate=0.05,
            )
        weights: list[float] = layer.weight.detach().flatten().tolist()
        return weights

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert fit(1) == fit(1)
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_allclose(fit(2), [1.0, -2.0, 0.5], atol=0.1)


def test_shuffled_labels_keep_their_shares() -> None:
    seen: list[TrainingSet] = []

    class Listens:
        def fit(self, training: TrainingSet, seed: int) -> Fitted:
            seen.append(training)
            return Majority().fit(training, seed)

    training = records(300, 0)
    ShuffledLabels(Listens()).fit(training, 0)
    assert np.bincount(seen[0].y).tolist() == np.bincount(training.y).tolist()
    assert (seen[0].y != training.y).any()
    np.testing.assert_array_equal(seen[0].attack, seen[0].y)


def test_rounds_of_boosting_are_bounded_by_trees() -> None:
    assert [rounds(classes) for classes in (2, 5, 23, 200)] == [300, 150, 65, 20]
