"""Every comparator on real records: flows of the Westermo plant always, NSL-KDD where it is at hand."""

import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import loadtest.plants.westermo
from models.lab.detectors.catalogue import CONTROLS, FAMILIES
from models.lab.detectors.detector import Family
from models.lab.protocols.trial import Trial
from models.lab.tables import nsl_kdd
from models.lab.tables.labelled import read
from models.lab.tables.table import Table
from models.training.measures.binary import auroc
from tests.real_records import FOLDER, needs

LABEL = "NST_M_Label"
IDENTIFIERS = (
    *("sAddress", "rAddress", "sMACs", "rMACs", "sIPs", "rIPs", "startDate", "endDate", "start", "end"),
    *("startOffset", "endOffset", "IT_B_Label", "IT_M_Label", "NST_B_Label"),
)
QUICK = {
    *("svm-rbf", "svm-linear", "decision-tree", "lightgbm", "xgboost", "logistic-regression", "knn", "knn-normal"),
    *("mahalanobis", "smote"),
}
NO_BETTER_THAN_CHANCE = {"majority", "shuffled-labels", "gan-discriminator"}
EVERYBODY = [family for name, family in (FAMILIES | CONTROLS).items() if name != "igan-ids"]


def parameters() -> list[Any]:
    return [
        pytest.param(each, id=each.name, marks=[] if each.name in QUICK else [pytest.mark.nightly])
        for each in EVERYBODY
    ]


@cache
def westermo(folder: Path) -> tuple[Table, Table]:
    """Scans and logins by force among the bottom sensor's flows, divided at random."""
    archive = Path(loadtest.plants.westermo.__file__).with_name("output_bottom.zip")
    with zipfile.ZipFile(archive) as opened, opened.open("output_bottom.csv") as file:
        flows = pa.csv.read_csv(pa.BufferReader(file.read()))
    label = np.asarray(flows.column(LABEL).to_pylist(), dtype=np.str_)
    random = np.random.default_rng(0)
    chosen = [random.permutation(np.flatnonzero(label == name))[:most] for name, most in counts(label).items()]
    path = folder / "flows.csv"
    pa.csv.write_csv(flows.take(random.permutation(np.concatenate(chosen))), path)
    table = read(path, LABEL, "Normal", IDENTIFIERS).table
    train = np.arange(len(table)) < 0.6 * len(table)
    return table.take(train, "train"), table.take(~train, "test")


def counts(label: Any) -> dict[str, int]:
    return {str(name): 700 if name == "Normal" else 120 for name in np.unique(label)}


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Table, Table]:
    return westermo(tmp_path_factory.mktemp("westermo"))


@pytest.mark.parametrize("family", parameters())
def test_attacks_on_a_plant_are_found(family: Family, flows: tuple[Table, Table]) -> None:
    train, test = flows
    trial = Trial(train, [test], "binary")
    prediction = trial.fit(family.candidates[0], 0).predict(trial.unseen("test"))
    assert np.isfinite(prediction.score).all()
    if family.name not in NO_BETTER_THAN_CHANCE:
        assert auroc(prediction.score, test.attack) > 0.6


@cache
def kdd(name: str, rows: int) -> Table:
    table = nsl_kdd.load(FOLDER / "nsl-kdd", name)
    return table.take(np.random.default_rng(0).permutation(len(table))[:rows])


@pytest.mark.slow
@needs("nsl-kdd", "every comparator names the five classes of NSL-KDD")
@pytest.mark.parametrize("family", parameters())
def test_five_classes_of_nsl_kdd_are_named(family: Family) -> None:
    train, test = kdd(nsl_kdd.TRAIN, 3_000), kdd(nsl_kdd.TEST, 1_000)
    trial = Trial(train, [test], "5-class")
    prediction = trial.fit(family.candidates[0], 0).predict(trial.unseen(test.name))
    assert np.isfinite(prediction.score).all()
    if family.name not in NO_BETTER_THAN_CHANCE:
        assert auroc(prediction.score, test.attack) > 0.6
    if prediction.probability is not None:
        assert prediction.probability.shape == (1_000, 5)
        np.testing.assert_allclose(prediction.probability.sum(axis=1), 1, rtol=1e-5)
