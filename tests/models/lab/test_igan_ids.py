from dataclasses import replace

import numpy as np
import pytest

from models.errors import RefusedModel
from models.igan.scoring import score_rows
from models.lab.detectors.detector import TrainingSet
from models.lab.detectors.igan_ids import ABLATIONS, CONFIG, FAMILY, Igan, attack_names, column_groups
from models.rows import Floats, Ints
from models.training.measures.binary import auroc

QUICK = replace(
    CONFIG, width=16, latent=12, top=8, bins=16, steps=150, batch=64, noise=4, class_embedding=4, gan_batch=32
)


def table(rows: int, seed: int) -> tuple[Floats, Ints]:
    """Normal traffic and four attacks, each elsewhere: (rows, 6), attack number."""
    random = np.random.default_rng(seed)
    attack = random.choice(5, size=rows, p=[0.6, 0.2, 0.1, 0.07, 0.03])
    matrix = random.normal(size=(rows, 6)) + 3.0 * np.eye(5, 6)[attack] * (attack > 0)[:, None]
    return np.clip(matrix, -6, 6).astype(np.float32), attack.astype(np.int64)


def training(classes: int) -> TrainingSet:
    matrix, attack = table(1500, 0)
    y = np.minimum(attack, classes - 1)
    known = ("normal", "a", "b", "c", "d")
    names = known if classes == 5 else (*known[: classes - 1], "rest")
    return TrainingSet(matrix, y, names, attack, attack, tuple(f"f{i}" for i in range(6)))


def quick(**changes: object) -> Igan:
    return Igan(replace(QUICK, **changes), choose=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_tells_attacks_from_normal_and_names_their_class(classes: int) -> None:
    learnt = training(classes)
    first, again = quick().fit(learnt, 3), quick().fit(learnt, 3)
    matrix, attack = table(800, 1)
    prediction = first.predict(matrix)
    assert np.array_equal(prediction.score, again.predict(matrix).score)
    assert auroc(prediction.score, attack > 0) > 0.8
    assert prediction.probability is not None and prediction.probability.shape == (800, classes)
    assert np.allclose(prediction.probability.sum(axis=1), 1, atol=1e-5)
    assert (first.posterior.doubt == 0) == (classes == 2)  # being unusual is no vote between two classes
    assert (prediction.probability.argmax(axis=1) == np.minimum(attack, classes - 1)).mean() > 0.5
    size = first.size()
    assert size.parameters and size.stored_bytes > 4 * size.parameters


@pytest.mark.parametrize("family", ABLATIONS, ids=lambda family: family.name)
def test_every_ablation_learns(family: object) -> None:
    (full,) = family.candidates  # type: ignore[attr-defined]
    config = replace(
        full.config, width=16, latent=12, top=8, steps=10, batch=64, noise=4, class_embedding=4, gan_batch=32,
        classifier_epochs=1, gan_steps=3, prototypes=32, teacher_rows=1,
    )  # fmt: skip
    prediction = replace(full, config=config).fit(training(5), 0).predict(table(50, 2)[0])
    assert np.isfinite(prediction.score).all() and prediction.probability is not None


def test_a_class_without_training_records_gets_no_probability() -> None:
    learnt = training(5)
    prediction = quick().fit(replace(learnt, classes=(*learnt.classes, "absent")), 0).predict(table(40, 3)[0])
    assert prediction.probability is not None and prediction.probability.shape[1] == 6
    assert (prediction.probability[:, 5] == 0).all()


def test_a_name_of_two_classes_is_two_names() -> None:
    y, attack = np.array([0, 0, 0, 1, 2, 2], dtype=np.int64), np.array([0, 0, 0, 7, 7, 9])
    name, task = attack_names(replace(training(2), y=y, attack=attack, classes=("normal", "a", "b")))
    assert name.tolist() == [0, 0, 0, 1, 2, 3] and task.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(("normal", "attacks"), [(1500, 0), (0, 1500), (1, 1499), (2, 1498)])
def test_one_side_alone_is_refused(normal: int, attacks: int) -> None:
    y = np.repeat([0, 1], [normal, attacks])
    with pytest.raises(RefusedModel, match=f"got {normal} normal ones and {attacks} attacks, expected 3 normal"):
        quick().fit(replace(training(2), y=y), 0)


def test_families_have_names_of_their_own_and_the_default_synthesises_nothing() -> None:
    names = [FAMILY.name, *(family.name for family in ABLATIONS)]
    assert len(set(names)) == len(names)
    assert CONFIG.augmentation == "none"


def test_what_is_chosen_on_a_table_is_said_and_stands() -> None:
    learnt = training(5)
    detector, document = Igan(replace(QUICK, trial_steps=40)).settle(learnt, 0)
    assert isinstance(detector, Igan) and not detector.choose
    assert document["chosen"].startswith(detector.config.view)
    assert document["teacher"]["worth"] == (detector.config.teacher == "lightgbm")
    assert detector.settle(learnt, 0) == (detector, {})


def test_where_trial_networks_know_every_attack_no_teacher_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.lab.detectors.igan_ids.LEARNT", 0.0)
    detector, document = Igan(replace(QUICK, trial_steps=40)).settle(training(5), 0)
    assert isinstance(detector, Igan) and detector.config.teacher == "none"
    assert document["teacher"] == {"worth": False, "auroc": None, "recall": None}


def test_columns_of_a_category_are_one_group() -> None:
    assert column_groups(("a", "b=x", "b=y", "c", "b=unknown")).tolist() == [0, 1, 1, 2, 1]


def test_a_table_is_scored_by_the_functions_that_score_live_flows() -> None:
    fitted = quick().fit(training(5), 1)
    matrix = table(300, 4)[0]
    live = score_rows(fitted.forward, fitted.origin, matrix)
    prediction = fitted.predict(matrix)
    assert np.array_equal(live.score, prediction.score)
    in_two = [score_rows(fitted.forward, fitted.origin, part).score for part in (matrix[:7], matrix[7:])]
    assert np.array_equal(np.concatenate(in_two), prediction.score)
