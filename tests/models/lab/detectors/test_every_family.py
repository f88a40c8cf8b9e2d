"""What holds of every comparator, on clusters that can be told apart."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from models.errors import RefusedModel
from models.lab.detectors.catalogue import CONTROLS, FAMILIES
from models.lab.detectors.detector import BUDGET, Family, Opinion
from models.lab.detectors.opinions import from_logits
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


def same(one: Opinion, other: Opinion) -> None:
    np.testing.assert_array_equal(one.score, other.score)
    if one.probability is not None:
        np.testing.assert_array_equal(one.probability, other.probability)


@families
def test_with_a_class_missing_every_column_is_there_and_the_same_seed_says_the_same(family: Family) -> None:
    lesson, test = records(500, 0, absent=2), records(300, 1)
    opinion = family.candidates[0].fit(lesson, 3).opine(test.matrix)
    assert opinion.score.shape == (300,)
    assert np.isfinite(opinion.score).all()
    assert (opinion.probability is not None) == family.multiclass
    if opinion.probability is not None:
        assert opinion.probability.shape == (300, len(CLASSES))
        assert (opinion.probability >= 0).all()
        np.testing.assert_allclose(opinion.probability.sum(axis=1), 1, rtol=1e-5)
        assert (opinion.probability.argmax(axis=1) != 2).all()
        if family.name not in NONSENSE | {"stump"}:
            assert (opinion.probability.argmax(axis=1) == test.y)[test.y != 2].mean() > 0.8
    same(opinion, family.candidates[0].fit(lesson, 3).opine(test.matrix))


@families
def test_two_classes_are_told_apart(family: Family) -> None:
    lesson, test = two_classes(records(500, 0)), two_classes(records(400, 1))
    before = [array.copy() for array in (lesson.matrix, lesson.y, lesson.attack)]
    fitted = family.candidates[0].fit(lesson, 0)
    for old, new in zip(before, (lesson.matrix, lesson.y, lesson.attack), strict=True):
        np.testing.assert_array_equal(old, new)  # what learns does not write into the lesson
    opinion, size = fitted.opine(test.matrix), fitted.size()
    merit = auroc(opinion.score, test.y > 0)
    if family.name in NONSENSE:
        assert 0.25 < merit < 0.75
    elif family.name not in UNRELIABLE:
        assert merit > (0.7 if family.name == "stump" else 0.9)
    assert 8 <= size.stored_bytes < 5_000_000
    assert size.parameters is None or 1 < size.parameters < 1_000_000
    if opinion.probability is not None and family.name not in NONSENSE:
        np.testing.assert_array_equal(opinion.probability[:, 1] > 0.5, opinion.probability.argmax(axis=1) == 1)
    assert len(fitted.opine(test.matrix[:1]).score) == 1


@pytest.mark.parametrize("family", parameters(COMPARATORS))
def test_normal_records_alone_teach_novelty_or_are_refused(family: Family) -> None:
    lesson = two_classes(records(200, 0))
    lesson = replace(lesson, y=np.zeros_like(lesson.y))
    if family.multiclass or "+" in family.name:
        with pytest.raises(RefusedModel, match="at least two classes"):
            family.candidates[0].fit(lesson, 0)
    else:
        assert np.isfinite(family.candidates[0].fit(lesson, 0).opine(lesson.matrix[:9]).score).all()


def test_attacks_alone_teach_no_novelty() -> None:
    lesson = two_classes(records(100, 0))
    lesson = replace(lesson, y=np.ones_like(lesson.y))
    with pytest.raises(RefusedModel, match="normal"):
        FAMILIES["mahalanobis"].candidates[0].fit(lesson, 0)


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
    opinion = from_logits(np.array([[0.0, 50.0], [0.0, 60.0], [0.0, np.inf]]))
    assert opinion.probability is not None
    assert (opinion.probability[:, 1] == 1).all()
    assert np.isfinite(opinion.score).all()
    assert (np.diff(opinion.score) > 0).all()
