"""The splitter hands out only what a stage may see: changing what it may not see changes nothing."""

import ast
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.lab import detectors
from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.trial import Trial
from models.lab.tables.prepare import Prepared
from models.lab.tables.table import Table, Unlabelled
from tests.models.lab.protocols.small import Remembering, family, table

TRAIN, TEST = table(600, 1, "train"), table(300, 2, "test", first=10_000)


def spoilt(test: Table) -> Table:
    """The same number of records with other labels and absurd values."""
    values = test.values * 1e6 - 7
    values[:, 2] = 1
    turned = np.where(test.attack, "normal", "scan")
    return replace(test, values=values, label=turned, family=np.where(test.attack, "normal", "probe"))


def document_of(test: Table) -> tuple[dict[str, Any], list[Remembering]]:
    candidates = [Remembering(1.0), Remembering(2.0)]
    document = fit(Unit("p", "s", family(*candidates), 3), Trial(TRAIN, [test], "binary"))
    return document, candidates


def test_nothing_learnt_depends_on_the_test_table() -> None:
    original, detectors_original = document_of(TEST)
    spoiled, detectors_spoiled = document_of(spoilt(TEST))
    assert original["candidate"] == spoiled["candidate"]
    thresholds = [
        {rate: at["threshold"] for rate, at in document["tests"]["test"]["at"].items()}
        for document in (original, spoiled)
    ]
    assert thresholds[0] == thresholds[1]
    assert original["tests"]["test"]["ranking"] != spoiled["tests"]["test"]["ranking"]
    for ours, theirs in zip(detectors_original, detectors_spoiled, strict=True):
        for a, b in zip(ours.training_sets, theirs.training_sets, strict=True):
            assert np.array_equal(a.matrix, b.matrix) and np.array_equal(a.y, b.y)


def test_a_mutant_that_scales_by_the_test_table_would_be_seen() -> None:
    """The test above can fail: constants fitted to both tables do depend on the test table."""
    both = [Unlabelled(TRAIN.columns, np.concatenate([TRAIN.values, table.values])) for table in (TEST, spoilt(TEST))]
    assert not np.array_equal(Prepared.fit(both[0]).mean, Prepared.fit(both[1]).mean)


def test_what_scores_sees_records_without_labels() -> None:
    assert {each.name for each in fields(Unlabelled)} == {"columns", "values"}
    _, candidates = document_of(TEST)
    assert all(isinstance(matrix, np.ndarray) for candidate in candidates for matrix in candidate.asked)
    public = [name for name in dir(Trial) if not name.startswith("_")]
    expected = ["as_task", "fit", "judge", "out_of_fold", "settle", "sizes", "tests", "training_set", "tune", "unseen"]
    assert sorted(public) == expected


def test_the_constants_come_from_the_lesson_alone() -> None:
    prepared, training_set = Trial(TRAIN, [TEST], "binary").training_set()
    assert np.array_equal(prepared.mean, Prepared.fit(TRAIN.unlabelled()).mean)
    assert abs(float(training_set.matrix[:, 0].mean())) < 0.05
    assert training_set.names[-4:] == ("service=dns", "service=http", "service=modbus", "service=unknown")


def test_no_normal_is_scored_by_a_detector_that_learnt_from_it() -> None:
    remembering = Remembering()
    normal = Trial(TRAIN, [TEST], "binary").out_of_fold(remembering, 5)
    assert len(normal) == int((~TRAIN.attack).sum()) and np.isfinite(normal).all()
    # Column 2 is the record's number, standardised per fold; order it back to numbers through the ranks of the fold.
    assert len(remembering.training_sets) == len(remembering.asked) == 3
    for training_set, asked in zip(remembering.training_sets, remembering.asked, strict=True):
        assert len(training_set.y) + len(asked) == len(TRAIN)
        assert not set(np.round(training_set.matrix[:, 2], 5)) & set(np.round(asked[:, 2], 5))


def test_groups_stay_together_in_the_folds() -> None:
    grouped = replace(TRAIN, group=np.arange(len(TRAIN)) // 50)
    remembering = Remembering()
    Trial(grouped, [TEST], "binary").out_of_fold(remembering, 5)
    assert sorted(len(asked) for asked in remembering.asked) == [200, 200, 200]


def test_tuning_is_done_on_training_records_and_finds_the_better_candidate() -> None:
    class Blind(Remembering):
        def fit(self, training_set: Any, seed: int) -> Any:
            turned = super().fit(training_set, seed)
            return replace(turned, centre=turned.centre + 50)

    trial = Trial(TRAIN, [TEST], "binary")
    assert trial.tune(family(Blind(), Remembering()), 0) == 1
    assert trial.tune(family(Remembering(), Remembering()), 0) == 0
    assert trial.tune(family(Remembering()), 0) == 0


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("5-class", 3), ("attack", 3)])
def test_every_task_has_its_classes(task: Any, classes: int) -> None:
    document = fit(Unit("p", "s", family(), 0, task, calibrated=False), Trial(TRAIN, [TEST], task))
    figures = document["tests"]["test"]
    assert len(figures["classes"]["confusion"]) == classes
    assert figures["at"] == {} and figures["decision"] is not None
    assert document["rows"] == {"train": 600, "tests": {"test": 300}}


def test_a_class_only_the_test_has_counts_as_wrong() -> None:
    label = np.where(TEST.label == "flood", "worm", TEST.label)
    stranger = replace(TEST, label=label, family=np.where(label == "worm", "worm", TEST.family))
    document = fit(Unit("p", "s", family(), 0, "5-class", calibrated=False), Trial(TRAIN, [stranger], "5-class"))
    assert document["tests"]["test"]["novel"]["novel_rows"] == int((label == "worm").sum())


def test_a_score_that_is_no_number_is_refused() -> None:
    trial = Trial(TRAIN, [TEST], "binary")
    prediction = trial.fit(Remembering(), 0).predict(trial.unseen("test"))
    prediction.score[3] = np.nan
    with pytest.raises(ValueError, match="expected 300 finite ones"):
        trial.judge("test", prediction, {})


def test_detectors_never_meet_tables_or_trials() -> None:
    """By construction: no detector imports what holds labels of a test, or the splitter."""
    for path in Path(detectors.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith(("models.lab.tables", "models.lab.protocols")), path.name
