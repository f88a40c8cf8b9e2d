from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import RefusedModel
from models.igan.config import IganConfig
from models.igan.odds import OddsConfig
from models.serving import weights
from models.serving.score import Scorer
from models.training.label_trust import believable, class_numbers, near_coarse, quiet
from models.training.odds_choice import name_of
from models.training.recalibrate import recalibrate
from models.training.train import train
from schemas import model_manifest as manifest
from tests.models import tiny


@pytest.mark.slow
def test_training_twice_gives_the_same_bytes_and_leaves_the_rows_alone() -> None:
    rows, first = tiny.rows(), tiny.model()
    second = train(rows, tiny.FEATURES, tiny.CONFIG, first.document["data"], "test")
    assert np.array_equal(rows.matrix, tiny.rows().matrix)
    assert manifest.canonical(first.document) == manifest.canonical(second.document)
    assert weights.encode(first.weights) == weights.encode(second.weights)


@pytest.mark.slow
def test_another_seed_and_synthetic_rows_give_another_model() -> None:
    made = train(tiny.rows(), tiny.FEATURES, replace(tiny.CONFIG, seed=1, augmentation="gan"))
    assert made.id != tiny.model().id
    assert made.document["config"]["augmentation"] == "gan"


def test_the_manifest_says_what_the_model_was_made_of() -> None:
    document = tiny.model().document
    assert manifest.parse(manifest.canonical(document), "tiny")["id"] == tiny.model().id
    assert document["data"] == [{"name": "tiny", "sha256": "0" * 64}]
    config = IganConfig.from_document(document["config"])
    assert replace(config, pi=tiny.CONFIG.pi, margin_weight=tiny.CONFIG.margin_weight) == tiny.CONFIG
    assert set(document["calibration"]) == {"*", "plant", "plant/a", "plant/b"}
    assert len(document["baseline"]["q50"]) == len(document["features"]) == 6
    odds = document["metrics"]["odds"]
    assert odds["chosen"] == name_of(config.view, OddsConfig(config.pi, config.margin_weight))
    assert odds["chosen"] in odds["merit"]


@pytest.mark.parametrize("columns", ["truths", "constants"])
def test_a_table_without_numbers_is_learnt_from(columns: str) -> None:
    rows = tiny.rows()
    truths = (rows.matrix > np.median(rows.matrix, axis=0)).astype(np.float32)
    matrix = truths if columns == "truths" else np.zeros_like(truths)
    made = train(replace(rows, matrix=matrix), tiny.FEATURES, tiny.CONFIG)
    assert made.document["knots"] == {"columns": 0, "plain": 6, "edges": 0}
    scored = Scorer(made, "cpu").score(matrix, rows.end_ts_us, np.full(len(rows), "plant/a"))
    assert np.isfinite(scored.score).all()
    assert (len(np.unique(scored.score)) > 1) == (columns == "truths")


@pytest.mark.parametrize("label", ["normal", "mitm"])
def test_too_little_to_learn_from_is_refused(label: str) -> None:
    rows = tiny.rows()
    with pytest.raises(RefusedModel, match="training rows"):
        train(rows.take(rows.label == label), tiny.FEATURES, tiny.CONFIG)


def test_rows_that_do_not_fit_are_refused() -> None:
    rows = tiny.rows()
    with_nan = rows.matrix.copy()
    with_nan[7, 3] = np.nan
    for odd, message in (
        (replace(rows, matrix=rows.matrix[:, :5]), "expected the 6 columns of tiny-1 ab"),
        (replace(rows, matrix=with_nan), "1 of 2400 rows .* in f3"),
        (replace(rows, label=np.where(rows.label == "mitm", "bad-luck", rows.label)), "got label bad-luck"),
    ):
        with pytest.raises(RefusedModel, match=message):
            train(odd, tiny.FEATURES, tiny.CONFIG)


@pytest.mark.slow
@pytest.mark.skipif(
    torch.cuda.is_available(), reason="not proven: CUDA that is absent is refused (this machine has a CUDA device)"
)
def test_cuda_asked_for_and_absent_is_refused_and_auto_is_the_cpu() -> None:
    with pytest.raises(RefusedModel, match="device cuda: this machine has no CUDA device"):
        train(tiny.rows(), tiny.FEATURES, tiny.CONFIG, device="cuda")
    assert "device" not in train(tiny.rows(), tiny.FEATURES, tiny.CONFIG, device="auto").document["training"]


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="not proven: what a GPU computes (no CUDA device on this machine)"
)
def test_on_cuda_it_learns_the_same_twice() -> None:
    first, second = (train(tiny.rows(), tiny.FEATURES, tiny.CONFIG, device="cuda") for _ in range(2))
    assert first.id == second.id and first.document["training"]["device"] == "cuda"


def test_labels_by_the_clock_are_not_taken_at_their_word() -> None:
    rows = tiny.rows()
    label = rows.label.copy()
    during = (rows.end_ts_us > rows.end_ts_us[600]) & (rows.end_ts_us < rows.end_ts_us[700])
    label[during & (label == "normal")] = "misconf"  # ordinary traffic that went on meanwhile
    rows = replace(rows, label=label)
    y = class_numbers(rows, tiny.CONFIG)
    believed = believable(rows, y, tuple(f.log for f in tiny.FEATURES.features), tiny.CONFIG)
    ordinary = during & (rows.label == "misconf") & (np.abs(rows.matrix.mean(axis=1)) < 1)
    assert ordinary.sum() > 30
    assert believed[ordinary].mean() < 0.1
    assert believed[np.isin(rows.label, ["mitm", "portscan"])].all()
    assert not (quiet(rows, y, tiny.CONFIG) & near_coarse(rows, tiny.CONFIG)).any()


def test_another_site_gets_a_calibration_of_its_own() -> None:
    model, quiet_rows = tiny.model(), tiny.rows(seed=9)
    quiet_rows = quiet_rows.take(quiet_rows.label == "normal")
    made = recalibrate(model, "north/1", quiet_rows.matrix, quiet_rows.end_ts_us, 0.02, {"name": "quiet.csv"})
    assert made.document["parent"] == model.id and made.id != model.id
    entry = made.document["calibration"]["north/1"]
    assert entry["n"] == len(quiet_rows) and entry["alert_level"] == 0.02
    assert entry["quiet"] == {"name": "quiet.csv"}
    for name, value in model.weights.items():
        assert np.array_equal(made.weights[name], value)
    assert manifest.parse(manifest.canonical(made.document), "made")["id"] == made.id


@pytest.mark.parametrize("origin", ["", "*", "../up", "a/b/c", "a b"])
def test_a_site_needs_a_name(origin: str) -> None:
    rows = tiny.rows()
    with pytest.raises(RefusedModel, match="origin"):
        recalibrate(tiny.model(), origin, rows.matrix, rows.end_ts_us)


def test_a_short_quiet_stretch_is_refused() -> None:
    rows = tiny.rows(count=100)
    with pytest.raises(RefusedModel, match="quiet stretch"):
        recalibrate(tiny.model(), "north", rows.matrix, rows.end_ts_us)


def test_a_configuration_survives_json_and_nothing_else_does() -> None:
    document = tiny.CONFIG.document()
    assert IganConfig.from_document(document) == tiny.CONFIG
    for change in ({"epochs": "8"}, {"classes": "normal"}, {"hidden": [1.5, 2]}, {"unheard_of": 1}):
        with pytest.raises(ValueError, match="config"):
            IganConfig.from_document({**document, **change})
