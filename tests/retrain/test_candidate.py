from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.rows import concatenate
from models.serving import registry
from models.serving.model import Model
from models.training import train
from pipeline.contracts.verdicts import Record
from pipeline.errors import BadData, Failed
from pipeline.retrain import candidate
from pipeline.retrain.candidate import PlantRows
from pipeline.retrain.compare import Gates
from pipeline.retrain.labels import Labels
from tests.contracts.verdict_records import labelling, uid_of
from tests.retrain.small_training import ATTACK, CONFIG, FEATURES, START_US, plant_rows, samples

SAMPLES = 1200


@pytest.fixture(scope="module")
def current() -> Model:
    return train.train(plant_rows(), FEATURES, CONFIG)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pa.Table.from_batches([samples(SAMPLES, seed=7)])


def verdicts(rows: range, wrong: bool = False, by: str = "ann", first: int = 0) -> list[Record]:
    """A verdict a row, as `samples` makes them; wrong ones call attacks benign."""
    return [
        labelling(
            uid_of(first + row),
            2 if row % 8 == 0 and not wrong else 1,
            [[0, 1000 + row, 0, None]],
            **{"by": by, "class": ATTACK},
        )
        for row in rows
    ]


def labels_of(*parts: list[Record]) -> Labels:
    labels = Labels()
    for part in parts:
        labels.add_verdicts(part, [ATTACK])
    return labels


def base() -> PlantRows:
    return PlantRows(plant_rows(), [{"name": "plant", "sha256": "0" * 64}])


def make(labels: Labels, table: pa.Table, current: Model, folder: Path, **gates: Any) -> candidate.Candidate:
    labelled = candidate.labelled_rows(table, labels)
    return candidate.make(labelled, labels, base(), FEATURES, current, folder, Gates(**gates))


@pytest.mark.slow
def test_a_candidate_is_trained_kept_and_compared_and_is_the_same_every_time(
    current: Model, table: pa.Table, tmp_path: Path
) -> None:
    labels = labels_of(verdicts(range(600)), verdicts(range(600, SAMPLES), by="bo"))
    made = make(labels, table, current, tmp_path / "a")
    assert made.comparison.passed, made.comparison.against
    assert (made.trained_on, made.held_out) == (720, 360)
    assert made.comparison.known_candidate.recall == {ATTACK: 1.0}
    saved = registry.load(made.model.id, tmp_path / "a")
    assert saved.document["parent"] == current.id
    plant, labelled = saved.document["data"]
    assert plant["name"] == "plant"
    assert labelled["by"] == {"ann": 600, "bo": 600}
    assert labelled["labels"] == {"normal": 1050, ATTACK: 150}
    assert candidate.has_seen(made.model, candidate.labelled_rows(table, labels))
    assert not candidate.has_seen(current, candidate.labelled_rows(table, labels))
    shuffled = table.take(pa.array(np.random.default_rng(3).permutation(table.num_rows))).sort_by("end_ts_us")
    again = make(labels_of(verdicts(range(600, SAMPLES), by="bo"), verdicts(range(600))), shuffled, current, tmp_path)
    assert again.model.id == made.model.id


@pytest.mark.slow
def test_too_little_evidence_does_not_pass(current: Model, table: pa.Table, tmp_path: Path) -> None:
    made = make(labels_of(verdicts(range(0, SAMPLES, 10))), table, current, tmp_path)
    assert not made.comparison.passed
    assert "held-out normal rows, expected at least 200" in " ".join(made.comparison.against)


@pytest.mark.slow
def test_poisoned_verdicts_are_found_out_by_attacks_known_for_certain(
    current: Model, table: pa.Table, tmp_path: Path
) -> None:
    """Who calls attacks benign agrees with themselves on the held-out part; the plant's own attacks do not."""
    made = make(labels_of(verdicts(range(SAMPLES), wrong=True)), table, current, tmp_path, min_attacks=0)
    assert made.comparison.candidate.false_rate < made.comparison.current.false_rate
    assert any(reason.startswith(f"recall of known {ATTACK}") for reason in made.comparison.against)


@pytest.mark.slow
def test_a_calibration_that_would_be_lost_speaks_against_it(current: Model, table: pa.Table, tmp_path: Path) -> None:
    elsewhere = plant_rows()
    elsewhere = replace(elsewhere, site=np.full(len(elsewhere), "mill"))
    both = train.train(concatenate([plant_rows(), elsewhere]), FEATURES, CONFIG)
    made = make(labels_of(verdicts(range(SAMPLES))), table, both, tmp_path)
    assert [reason for reason in made.comparison.against if "not calibrated for mill/left" in reason]


def test_without_a_label_that_counts_there_is_no_candidate(table: pa.Table) -> None:
    with pytest.raises(BadData, match="no sample has a label"):
        candidate.labelled_rows(pa.table({}), labels_of(verdicts(range(3))))
    contradiction = [*verdicts(range(1)), *verdicts(range(1), wrong=True, first=10_000)]
    with pytest.raises(BadData, match="1 have two different ones"):
        candidate.labelled_rows(table, labels_of(contradiction))


@pytest.mark.parametrize(
    ("rows", "says"), [(range(0, SAMPLES, 30), "training rows: got"), (range(40), "none is left to train on")]
)
def test_too_few_rows_to_train_on_are_refused(
    current: Model, table: pa.Table, tmp_path: Path, rows: range, says: str
) -> None:
    labels = labels_of(verdicts(rows))
    labelled = candidate.labelled_rows(table, labels)
    with pytest.raises(Failed, match=says):
        candidate.make(labelled, labels, PlantRows(None, []), FEATURES, current, tmp_path, Gates())


def test_the_newest_part_is_held_out_behind_an_embargo(table: pa.Table) -> None:
    rows = candidate.labelled_rows(table, labels_of(verdicts(range(SAMPLES)))).rows
    learn, last_part = map(rows.take, candidate.split_in_time(rows.end_ts_us))
    assert rows.end_ts_us.min() > START_US
    assert last_part.end_ts_us.min() - learn.end_ts_us.max() > candidate.EMBARGO_US
    assert len(last_part) == 360
