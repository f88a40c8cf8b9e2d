import subprocess
import sys
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import RefusedModel
from models.serving.kernel_engine import KernelEngine
from models.serving.score import Scorer
from models.serving.scored import Scored
from tests.contract.tree import ROOT
from tests.examples import examples
from tests.models import tiny

ROWS_AT_ONCE = KernelEngine.rows_at_once
CHECKED = tuple(field.name for field in fields(Scored))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(tiny.model(), "cpu")


def score(scorer: Scorer, matrix: np.ndarray, origin: np.ndarray) -> Scored:
    return scorer.score(matrix, np.zeros(len(matrix), dtype=np.int64), origin)


@pytest.mark.slow
@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.integers(0, ROWS_AT_ONCE + 300), max_size=6))
def test_a_rows_bits_do_not_depend_on_the_split(cuts: list[int]) -> None:
    scorer = Scorer(tiny.model(), "cpu")
    rows = tiny.rows(seed=3, count=ROWS_AT_ONCE + 300)
    whole = score(scorer, rows.matrix, rows.origin)
    edges = sorted({0, len(rows), *cuts})
    parts = [score(scorer, rows.matrix[a:b], rows.origin[a:b]) for a, b in pairwise(edges)]
    for name in CHECKED:
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts])), name


WITHOUT_TORCH = """
import sys

import numpy as np
import pipeline.score.worker
from models.serving import registry
from models.serving.score import Scorer

model = registry.load()
rows = np.ones((7, len(model.features)), np.float32)
scored = Scorer(model, "cpu").score(rows, np.zeros(7, np.int64), np.array(["a/b"] * 7))
assert len(scored.score) == 7
assert "torch" not in sys.modules
"""


def test_a_worker_that_scores_on_the_cpu_has_not_loaded_torch() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def test_no_rows_give_no_scores(scorer: Scorer) -> None:
    nothing = score(scorer, np.empty((0, 6), np.float32), np.array([], dtype=np.str_))
    assert all(len(getattr(nothing, name)) == 0 for name in CHECKED)


def test_scores_rank_as_their_p_values_and_input_is_left_alone(scorer: Scorer) -> None:
    rows = tiny.rows(seed=6)
    before = rows.matrix.copy()
    got = score(scorer, rows.matrix, np.full(len(rows), "plant/a"))
    order = np.argsort(got.score)
    assert (np.diff(got.p_value[order]) <= 0).all()
    assert ((got.score >= 0) & (got.score < 1)).all()
    level = scorer.model.origins["plant/a"].alert_level
    assert np.array_equal(got.suspect, got.p_value <= np.float32(level))
    assert np.array_equal(rows.matrix, before)


def test_attacks_stand_out_and_logins_are_called_normal(scorer: Scorer) -> None:
    rows = tiny.rows(seed=7)
    got = score(scorer, rows.matrix, rows.origin)
    names = np.array(scorer.model.classes)[got.class_index]
    assert "login" not in names
    assert got.suspect[np.isin(rows.label, ["mitm", "portscan"])].mean() > 0.9
    assert got.suspect[rows.label == "normal"].mean() < 0.05


def test_an_unknown_sensor_is_measured_by_its_site_and_an_unknown_site_by_all(scorer: Scorer) -> None:
    model = scorer.model
    assert model.origin_of("plant/a") == "plant/a"
    assert model.origin_of("plant/zz") == model.origin_of("plant") == "plant"
    assert model.origin_of("elsewhere/a") == model.origin_of("") == "*"


def test_what_is_no_number_scores_as_usual_not_as_nothing(scorer: Scorer) -> None:
    matrix = np.full((1, 6), np.nan, dtype=np.float32)
    got = score(scorer, matrix, np.array(["plant/a"]))
    assert np.isfinite(got.score).all() and np.isfinite(got.novelty).all()


@pytest.mark.parametrize("shape", [(3, 5), (3, 7), (2, 6)])
def test_rows_of_another_shape_are_refused(scorer: Scorer, shape: tuple[int, int]) -> None:
    with pytest.raises(RefusedModel, match="rows to score"):
        scorer.score(np.zeros(shape, np.float32), np.zeros(3, np.int64), np.array(["a"] * 3))


def test_other_features_are_refused_with_both_names(scorer: Scorer) -> None:
    scorer.model.expect_features("tiny-1", "ab" * 32)
    with pytest.raises(RefusedModel, match=r"tiny-1 abababababab.*other-2 cdcdcdcdcdcd"):
        scorer.model.expect_features("other-2", "cd" * 32)


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="not proven: CUDA that is absent is refused (this machine has a CUDA device)"
)
def test_cuda_without_a_device_is_refused_and_auto_takes_the_cpu() -> None:
    with pytest.raises(RefusedModel, match="CUDA"):
        Scorer(tiny.model(), "cuda")
    assert Scorer(tiny.model(), "auto").device == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="not proven: what a GPU computes (no CUDA device on this machine)"
)
def test_cuda_agrees_with_the_cpu_within_a_tolerance() -> None:
    rows = tiny.rows(seed=8, count=ROWS_AT_ONCE + 5)
    on_cpu = score(Scorer(tiny.model(), "cpu"), rows.matrix, rows.origin)
    scorer = Scorer(tiny.model(), "cuda")
    on_gpu = score(scorer, rows.matrix, rows.origin)
    assert np.allclose(on_cpu.score, on_gpu.score, atol=1e-4)
    again = score(scorer, rows.matrix[7:], rows.origin[7:])
    assert np.array_equal(on_gpu.score[7:], again.score)
