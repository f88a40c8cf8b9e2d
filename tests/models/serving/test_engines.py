"""Every engine says what the kernel says, on golden rows, attacks and the plant; bits do not depend on neighbours."""

import subprocess
import sys
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from loadtest.plants.westermo import traffic
from models.errors import RefusedModel
from models.igan.known_classes import KnownClasses
from models.rows import Floats
from models.serving import engines, registry
from models.serving.engine import TILE, Engine
from models.serving.engines import ENGINES, engine_of
from models.serving.kernel_engine import KernelEngine
from models.serving.model import POOLED, finish, tensors_of
from models.serving.onnx_engine import OnnxEngine
from models.serving.parity import EXACT, REDUCED, difference, golden_rows, measured, require_parity
from models.serving.score import Scorer
from models.serving.scored import Scored
from models.serving.torch_engine import BUCKETS, RING, TorchEngine, as_tensor, bucket
from models.training.recalibrate import recalibrate
from pipeline.runtime.wire.batches import matrix, matrix_column
from pipeline.settings import load_settings
from pipeline.tools.offline.training_rows import Span, read_labels, read_rows
from tests.contract.tree import ROOT
from tests.examples import examples
from tests.models import tiny
from tests.models.kinds import MODELS

ON_THE_CPU = ("kernel", "torch", "onnx")
NAMES = tuple(field.name for field in fields(Scored))
NO_GPU = "not proven: what a GPU computes (no CUDA device on this machine)"
BIGGEST = BUCKETS[-1] * TILE


@cache
def made(name: str, model: str) -> Engine:
    return engine_of(name, MODELS[model]())


def bits(scored: Scored) -> list[bytes]:
    return [getattr(scored, name).tobytes() for name in NAMES]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_golden_rows_get_the_kernels_scores(name: str, model: str) -> None:
    found = measured(made(name, model), MODELS[model]())
    assert found.within(EXACT), found
    assert found.rows == 256 * len(MODELS[model]().origins)


@cache
def plant_rows() -> Floats:
    """(n, F) of the sensor on the left, after the cut."""
    file, span = traffic.zipped("left"), Span(start_us=traffic.CUT_US)
    return read_rows(file, traffic.SITE, "left", load_settings(), span, read_labels(file)).matrix[:4_000]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_the_plants_attacks_get_the_kernels_scores_and_names(name: str) -> None:
    rows, key = plant_rows(), f"{traffic.SITE}/left"
    got, wanted = made(name, "shipped").score(rows, key), KernelEngine(registry.load()).score(rows, key)
    assert wanted.suspect.sum() > 100 and wanted.known.sum() > 100
    assert difference(got, wanted).within(EXACT)
    assert np.quantile(np.abs(got.probability - wanted.probability), 0.99) < 1e-3
    assert np.quantile(np.abs(got.novelty - wanted.novelty), 0.99) < 1e-2
    for one in NAMES:
        assert getattr(got, one).dtype == getattr(wanted, one).dtype, one


SPLITS = ((0, 1), (1, 8), (TILE - 1, TILE + 1), (700, TILE + 300))


def test_a_rows_bits_do_not_depend_on_the_split_with_the_kernel() -> None:
    rows, engine = tiny.rows(seed=3, count=TILE + 300).matrix, made("kernel", "tiny")
    whole = engine.score(rows, POOLED)
    for start, stop in SPLITS:
        part = engine.score(rows[start:stop], POOLED)
        assert all(np.array_equal(getattr(part, one), getattr(whole, one)[start:stop]) for one in NAMES)


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_of_tiles_a_row_has_its_bits_by_where_it_lies_and_whatever_lies_beside_it(name: str) -> None:
    """Elsewhere in a tile the last digit may be another: libraries multiply a block's edge otherwise."""
    rows, engine = tiny.rows(seed=3, count=TILE + 300).matrix, made(name, "tiny")
    whole = engine.score(rows, POOLED)
    for start, stop in SPLITS:
        part = engine.score(rows[start:stop], POOLED)
        np.testing.assert_allclose(part.score, whole.score[start:stop], atol=1e-6)
    others = rows[::-1].copy()
    others[17:500:3] = rows[17:500:3]
    again = engine.score(others[: TILE - 9], POOLED)
    assert all(np.array_equal(getattr(again, one)[17:500:3], getattr(whole, one)[17:500:3]) for one in NAMES)


@pytest.mark.slow
@settings(max_examples=examples(8), deadline=None)
@given(st.integers(1, 2 * BIGGEST + 5), st.integers(0, 99))
def test_torchs_ring_gives_every_row_its_own_scores(count: int, seed: int) -> None:
    """Whatever lay in a slot before."""
    engine, few = made("torch", "tiny"), tiny.rows(seed=3, count=500).matrix
    chosen = np.random.default_rng(seed).integers(0, len(few), count)
    got, wanted = engine.score(few[chosen], "plant/a"), engine.score(few, "plant/a")
    np.testing.assert_allclose(got.score, wanted.score[chosen], atol=1e-6)
    assert np.array_equal(got.class_index, wanted.class_index[chosen])


def test_the_smallest_bucket_that_takes_the_rows() -> None:
    assert [bucket(rows) for rows in (1, TILE, TILE + 1, 3 * TILE, 4 * TILE + 1, BIGGEST)] == [1, 1, 2, 4, 8, 8]
    assert TorchEngine.rows_at_once % BIGGEST == 0 and RING == 2


def test_rows_that_must_not_be_written_become_a_tensor_on_the_same_memory() -> None:
    """As a CUDA engine reads Arrow's memory, pinned or not."""
    rows = matrix(pa.RecordBatch.from_arrays([matrix_column(tiny.rows(count=40).matrix)], names=["features"]))
    assert not rows.flags.writeable
    for part in (rows, rows[3:9]):
        assert as_tensor(part).data_ptr() == part.ctypes.data and np.array_equal(as_tensor(part).numpy(), part)
    for part in (rows[::2], rows[:0]):
        assert np.array_equal(as_tensor(part).numpy(), part)


@pytest.mark.parametrize("name", ON_THE_CPU)
def test_no_rows_and_rows_that_must_not_be_written(name: str) -> None:
    """Arrow's memory is numpy's to read only; the rows are as they were."""
    engine, rows = made(name, "tiny"), tiny.rows(seed=5, count=40).matrix
    assert all(len(getattr(engine.score(rows[:0], POOLED), one)) == 0 for one in NAMES)
    fixed = rows.copy()
    fixed.setflags(write=False)
    assert bits(engine.score(fixed, POOLED)) == bits(engine.score(rows, POOLED))
    assert bits(engine.score(rows[::2], POOLED)) == bits(engine.score(rows[::2].copy(), POOLED))
    assert np.array_equal(fixed, rows)


def test_half_precision_passes_its_gate_and_fails_the_one_of_single_precision() -> None:
    """On the CPU torch rounds as on CUDA, where only the order of additions differs."""
    model = registry.load()
    half = TorchEngine(model, "cpu", half=True)
    found = require_parity(half, model, REDUCED, "cuda-bf16")
    assert found.most > EXACT.most and found.largest < REDUCED.largest
    with pytest.raises(RefusedModel, match=r"engine cuda-bf16.*choose an engine in single precision"):
        require_parity(half, model, EXACT, "cuda-bf16")


def test_an_engine_of_another_model_does_not_pass() -> None:
    with pytest.raises(RefusedModel, match="with another verdict"):
        require_parity(TorchEngine(tiny.small_model(), "cpu"), tiny.model(), EXACT, "torch")


def test_scores_that_are_no_numbers_do_not_pass() -> None:
    rows = golden_rows(tiny.model())
    scored = KernelEngine(tiny.model()).score(rows, POOLED)
    assert difference(scored, scored).within(EXACT)
    nothing = replace(scored, score=np.full(len(rows), np.nan, np.float32))
    assert not difference(nothing, scored).within(REDUCED)


@pytest.mark.parametrize("most", [0.5, 20.0])
def test_quiet_rows_that_are_all_as_unusual_get_the_kernels_scores(most: float) -> None:
    """A table of one retained value."""
    quiet = tiny.rows(seed=7).matrix[:400]
    alike = recalibrate(tiny.model(), "plant/alike", np.repeat(quiet[:1], 300, axis=0), np.arange(300) * 1_000_000)
    rows = np.concatenate([quiet[:1], quiet, quiet * np.float32(most)])
    got = TorchEngine(alike, "cpu").score(rows, "plant/alike")
    assert difference(got, KernelEngine(alike).score(rows, "plant/alike")).within(EXACT)


def test_classes_without_prototypes_are_known_nowhere() -> None:
    model = tiny.model()
    count = len(model.classes)
    none = KnownClasses(np.empty((0, 6), np.float32), np.zeros(count + 1, np.int64), *np.zeros((2, count), np.float32))
    document = {name: value for name, value in model.document.items() if name not in ("id", "weights_sha256")}
    bare = {name: value for name, value in model.weights.items() if not name.startswith("known.")}
    unnamed = finish({**document, "known": none.document(model.classes)}, tensors_of(bare, {}, none))
    assert not TorchEngine(unnamed, "cpu").score(tiny.rows(seed=7).matrix, POOLED).known.any()


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_a_scorer_takes_any_engine(name: str) -> None:
    rows, model = tiny.rows(seed=8), tiny.model()
    times = np.zeros(len(rows), np.int64)
    got = Scorer(model, engine=made(name, "tiny")).score(rows.matrix, times, rows.origin)
    wanted = Scorer(model, "cpu").score(rows.matrix, times, rows.origin)
    assert difference(got, wanted).within(EXACT)


def test_an_engine_that_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedModel, match="engine: got abacus, expected one of kernel, torch"):
        engine_of("abacus", tiny.model())
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(RefusedModel, match=r"got no onnx and no onnxruntime.*pip install onnx onnxruntime, or choose"):
        engine_of("onnx", tiny.model())


@pytest.mark.skipif(torch.cuda.is_available(), reason="not proven: CUDA that is absent is refused")
@pytest.mark.parametrize("name", ["cuda", "cuda-bf16"])
def test_cuda_without_a_device_is_refused(name: str) -> None:
    with pytest.raises(RefusedModel, match="no CUDA device torch can use"):
        engine_of(name, tiny.model())


WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTorch())
import numpy as np
from models.serving import registry
from models.serving.onnx_engine import OnnxEngine

model = registry.load()
scored = OnnxEngine(model).score(np.ones((7, len(model.features)), np.float32), "*")
assert len(scored.score) == 7 and "torch" not in sys.modules
"""


@pytest.mark.slow
def test_onnx_runtime_scores_where_no_torch_is() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def test_every_engine_is_described() -> None:
    assert engines.__doc__ is not None
    assert all(f"\n    {name} " in engines.__doc__ for name in ENGINES)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
@pytest.mark.parametrize("model", MODELS)
def test_cuda_gives_the_kernels_scores(model: str) -> None:
    assert measured(made("cuda", model), MODELS[model]()).within(EXACT)
    assert measured(made("cuda-bf16", model), MODELS[model]()).within(REDUCED)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
@pytest.mark.parametrize("count", [1, TILE, 5 * TILE + 7, 3 * BIGGEST + 9])
def test_cudas_bits_do_not_depend_on_bucket_and_slot(count: int) -> None:
    few = tiny.rows(seed=1, count=500).matrix
    chosen = np.random.default_rng(count).integers(0, len(few), count)
    engine = made("cuda", "tiny")
    got, wanted = engine.score(few[chosen], "plant/a"), engine.score(few, "plant/a")
    for one in NAMES:
        assert np.array_equal(getattr(got, one), getattr(wanted, one)[chosen]), one


def test_onnx_runtime_reads_the_file_that_is_made_of_a_graph() -> None:
    files: list[bytes] = []

    def half(proto: ModelProto) -> bytes:
        proto.graph.output.pop()  # `probability`, which the engine asks for
        files.append(proto.SerializeToString())
        return files[-1]

    model = tiny.model()
    with pytest.raises(InvalidArgument, match="Invalid output name"):
        OnnxEngine(model, file_of=half).score(golden_rows(model), POOLED)
    assert len(files) == 1
