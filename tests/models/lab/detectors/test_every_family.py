"""What holds of every comparator, on clusters that can be separated."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from models.errors import RefusedModel
from models.lab.detectors.catalogue import CONTROLS, FAMILIES
from models.lab.detectors.detector import BUDGET, Family, Prediction
from models.lab.detectors.predictions import from_logits
from models.training.measures.binary import auroc
from tests.models.lab.detectors.clusters import CLASSES, records, two_classes

COMPARATORS = [family for name, family in FAMILIES.items() if name != "igan-ids"]
EVERYBODY = [*COMPARATORS, *CONTROLS.values()]
NONSENSE = {"majority", "shuffled-labels"}
# Trained on normal clusters alone, it may take anything far away for real: it is in the tables because of that.
UNRELIABLE = {"gan-discriminator"}

HEAVY = {"cnn", "lstm", "gru", "dbm", "gan-discriminator", "cgan-oversampling"}


def parameters(families: list[Family]) -> list[Any]:
    return [
        pytest.param(each, id=each.name, marks=[pytest.mark.nightly] if each.name in HEAVY else []) for each in families
    ]


families = pytest.mark.parametrize("family", parameters(EVERYBODY))


def same(prediction: Prediction, expected: Prediction) -> None:
    np.testing.assert_array_equal(prediction.score, expected.score)
    if prediction.probability is not None:
        np.testing.assert_array_equal(prediction.probability, expected.probability)


@families
def test_with_a_class_missing_every_column_is_there_and_the_same_seed_says_the_same(family: Family) -> None:
    training, test = records(500, 0, absent=2), records(300, 1)
    prediction = family.candidates[0].fit(training, 3).predict(test.matrix)
    assert prediction.score.shape == (300,)
    assert np.isfinite(prediction.score).all()
    assert (prediction.probability is not None) == family.multiclass
    if prediction.probability is not None:
        assert prediction.probability.shape == (300, len(CLASSES))
        assert (prediction.probability >= 0).all()
        np.testing.assert_allclose(prediction.probability.sum(axis=1), 1, rtol=1e-5)
        assert (prediction.probability.argmax(axis=1) != 2).all()
        if family.name not in NONSENSE | {"stump"}:
            assert (prediction.probability.argmax(axis=1) == test.y)[test.y != 2].mean() > 0.8
    same(prediction, family.candidates[0].fit(training, 3).predict(test.matrix))


@families
def test_two_classes_are_told_apart(family: Family) -> None:
    training, test = two_classes(records(500, 0)), two_classes(records(400, 1))
    before = [array.copy() for array in (training.matrix, training.y, training.attack)]
    fitted = family.candidates[0].fit(training, 0)
    for old, new in zip(before, (training.matrix, training.y, training.attack), strict=True):
        np.testing.assert_array_equal(old, new)  # what learns does not write into the training set
    prediction, size = fitted.predict(test.matrix), fitted.size()
    merit = auroc(prediction.score, test.y > 0)
    if family.name in NONSENSE:
        assert 0.25 < merit < 0.75
    elif family.name not in UNRELIABLE:
        assert merit > (0.7 if family.name == "stump" else 0.9)
    assert 8 <= size.stored_bytes < 5_000_000
    assert size.parameters is None or 1 < size.parameters < 1_000_000
    if prediction.probability is not None and family.name not in NONSENSE:
        np.testing.assert_array_equal(prediction.probability[:, 1] > 0.5, prediction.probability.argmax(axis=1) == 1)
    assert len(fitted.predict(test.matrix[:1]).score) == 1


@pytest.mark.parametrize("family", parameters(COMPARATORS))
def test_normal_records_alone_teach_novelty_or_are_refused(family: Family) -> None:
    training = two_classes(records(200, 0))
    training = replace(training, y=np.zeros_like(training.y))
    if family.multiclass or "+" in family.name:
        with pytest.raises(RefusedModel, match="at least two classes"):
            family.candidates[0].fit(training, 0)
    else:
        assert np.isfinite(family.candidates[0].fit(training, 0).predict(training.matrix[:9]).score).all()


def test_attacks_alone_teach_no_novelty() -> None:
    training = two_classes(records(100, 0))
    training = replace(training, y=np.ones_like(training.y))
    with pytest.raises(RefusedModel, match="normal"):
        FAMILIES["mahalanobis"].candidates[0].fit(training, 0)


def test_the_catalogue_is_what_the_tables_list() -> None:
    listed = (
        "igan-ids svm-rbf svm-linear decision-tree random-forest lightgbm xgboost logistic-regression knn dnn cnn lstm "
        "gru autoencoder rbm dbn dbm gan-discriminator knn-normal mahalanobis cgan-oversampling smote "
        "random-oversampling lightgbm-3 lightgbm+mahalanobis lightgbm+knn-normal"
    )
    assert list(FAMILIES) == listed.split()
    assert list(CONTROLS) == ["majority", "stump", "shuffled-labels"]
    for name, family in (FAMILIES | CONTROLS).items():
        assert family.name == name
        assert 1 <= len(family.candidates) <= BUDGET
        assert len(set(family.candidates)) == len(family.candidates)
        assert family.title
        assert 1 <= family.runs <= 10


def test_settings_cannot_be_changed() -> None:
    detector: Any = FAMILIES["lightgbm"].candidates[0]
    with pytest.raises(FrozenInstanceError):
        detector.rate = 1.0


def test_scores_of_certain_records_still_differ() -> None:
    prediction = from_logits(np.array([[0.0, 50.0], [0.0, 60.0], [0.0, np.inf]]))
    assert prediction.probability is not None
    assert (prediction.probability[:, 1] == 1).all()
    assert np.isfinite(prediction.score).all()
    assert (np.diff(prediction.score) > 0).all()
