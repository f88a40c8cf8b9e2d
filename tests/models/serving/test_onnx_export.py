"""A model as ONNX, run by onnxruntime and by ONNX's own evaluator: Forebay's scores, whatever the rows."""

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from loadtest.plants.westermo import traffic
from models.errors import RefusedModel
from models.igan.known_classes import KnownClasses
from models.rows import Floats
from models.serving import registry
from models.serving.model import POOLED, Model, finish, tensors_of
from models.serving.score import Scorer
from models.serving.scored import Scored
from models.training.recalibrate import recalibrate
from pipeline.settings import load_settings
from pipeline.tools.cli import flow
from pipeline.tools.cli.model import app
from pipeline.tools.offline.training_rows import Span, read_labels, read_rows
from tests.contract.tree import ROOT
from tests.models import tiny
from tests.models.kinds import MODELS

FEW = 0.02  # of the rows
WHY = "onnx and onnxruntime are an extra: pip install -r requirements/dev.txt"
onnx = pytest.importorskip("onnx", reason=WHY)
runtime = pytest.importorskip("onnxruntime", reason=WHY)

from models.serving.onnx_export import OUTPUTS, difference, onnx_model, suspect_flows  # noqa: E402
from models.serving.parity import golden_rows  # noqa: E402


def run(content: bytes, rows: Floats) -> dict[str, npt.NDArray[Any]]:
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"rows": rows}), strict=True))


def ours(model: Model, rows: Floats, origin: str) -> Scored:
    return Scorer(model, "cpu").score(rows, np.zeros(len(rows), np.int64), np.full(len(rows), origin))


def expect_the_same(model: Model, origin: str, rows: Floats) -> None:
    """Scores within 1e-4; within 1e-2 where a row lies in a bin hardly wider than rounding, which few do."""
    got, wanted = run(onnx_model(model, origin).SerializeToString(), rows), ours(model, rows, origin)
    apart = np.abs(got["score"] - wanted.score)
    assert (apart > 1e-4).mean() <= FEW and apart.max() <= 1e-2
    sure = apart <= 1e-4
    assert np.abs(got["novelty"] - wanted.novelty)[sure].max() < 1e-2
    # A table of p-values has steps: the counts agree wherever no retained score lies between the two scores.
    table = model.origins[model.origin_of(origin)].table
    low, high = np.minimum(got["score"], wanted.score), np.maximum(got["score"], wanted.score)
    same = np.searchsorted(table.score, low, side="left") == np.searchsorted(table.score, high, side="left")
    np.testing.assert_allclose(got["p_value"][same], wanted.p_value[same], rtol=1e-6)
    assert np.array_equal(got["suspect"][same], wanted.suspect[same])
    assert (got["suspect"] != wanted.suspect).mean() <= FEW
    for name in ("class_index", "known"):
        assert (got[name] != getattr(wanted, name)).mean() <= FEW, name
    attack = wanted.class_index > 0
    named = got["probability"][np.flatnonzero(attack), wanted.class_index[attack]]
    assert not attack.any() or np.quantile(np.abs(named - wanted.probability[attack]), 0.99) < 1e-3
    assert np.allclose(got["probability"].sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_rows_of_every_kind_get_our_scores(name: str) -> None:
    """Usual ones, such that are far out, huge, infinite, and no numbers."""
    model = MODELS[name]()
    for origin in (POOLED, *model.origins):
        expect_the_same(model, origin, golden_rows(model))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "small", "closeness"])
def test_a_tiny_plants_attacks_get_our_scores(name: str) -> None:
    expect_the_same(MODELS[name](), "plant/a", tiny.rows(seed=7).matrix)


@pytest.mark.slow
@pytest.mark.parametrize("sensor", ["left", "bottom"])
def test_the_plants_real_rows_get_our_scores(sensor: str) -> None:
    file = traffic.zipped(sensor)
    span = Span(start_us=traffic.CUT_US)
    rows = read_rows(file, traffic.SITE, sensor, load_settings(), span, read_labels(file)).matrix
    assert len(rows) > 3_000
    expect_the_same(registry.load(), f"{traffic.SITE}/{sensor}", rows)


@pytest.mark.slow
def test_one_row_and_none() -> None:
    model = tiny.model()
    content = onnx_model(model, POOLED).SerializeToString()
    assert all(len(value) == 0 for value in run(content, np.empty((0, 6), np.float32)).values())
    rows = tiny.rows(seed=3).matrix
    assert abs(float(run(content, rows[5:6])["score"][0]) - float(run(content, rows)["score"][5])) < 1e-5


def test_it_is_made_of_standard_operators_and_single_precision() -> None:
    for model in (tiny.model(), tiny.small_model()):
        proto = onnx_model(model, "plant/a")
        assert [(each.domain, each.version) for each in proto.opset_import] == [("", 17)]
        assert {node.domain for node in proto.graph.node} == {""}
        kinds = {onnx.TensorProto.DataType.Name(each.data_type) for each in proto.graph.initializer}
        assert kinds - {"INT8"} == {"FLOAT", "INT64", "BOOL"}
        assert ("INT8" in kinds) == (model.config.table == "int8")
        assert proto.SerializeToString() == onnx_model(model, "plant/a").SerializeToString()


def test_it_says_what_it_is() -> None:
    model = tiny.model()
    facts = {entry.key: entry.value for entry in onnx_model(model, "plant/other").metadata_props}
    assert facts["model"] == model.id and facts["sha256"] == model.sha256
    assert json.loads(facts["features"]) == list(model.features) and facts["feature_hash"] == tiny.FEATURES.hash
    assert json.loads(facts["classes"]) == list(model.classes)
    assert (facts["origin"], facts["calibration"]) == ("plant/other", "plant")
    assert float(facts["alert_level"]) == model.origins["plant"].alert_level


def test_a_suspect_is_one_at_every_score_of_the_table() -> None:
    for origin in tiny.model().origins.values():
        scores = np.concatenate([[0.0], origin.table.score, [0.999]]).astype(np.float32)
        p_value = origin.table.p_value(scores)
        flows = np.round(p_value.astype(np.float64) * (origin.table.n + 1))
        assert np.array_equal(flows <= suspect_flows(origin), p_value <= np.float32(origin.alert_level))


@pytest.mark.parametrize("most", [0.5, 20.0])
def test_quiet_rows_that_are_all_as_unusual_get_our_scores(most: float) -> None:
    model = tiny.model()
    quiet = tiny.rows(seed=7).matrix[:400]
    alike = recalibrate(model, "plant/alike", np.repeat(quiet[:1], 300, axis=0), np.arange(300) * 1_000_000)
    rows = np.concatenate([quiet[:1], quiet, quiet * np.float32(most)])
    expect_the_same(alike, "plant/alike", rows)


def test_classes_without_prototypes_are_known_nowhere() -> None:
    model = tiny.model()
    count = len(model.classes)
    none = KnownClasses(np.empty((0, 6), np.float32), np.zeros(count + 1, np.int64), *np.zeros((2, count), np.float32))
    document = {name: value for name, value in model.document.items() if name not in ("id", "weights_sha256")}
    bare = {name: value for name, value in model.weights.items() if not name.startswith("known.")}
    unnamed = finish({**document, "known": none.document(model.classes)}, tensors_of(bare, {}, none))
    rows = tiny.rows(seed=7).matrix
    assert not run(onnx_model(unnamed, POOLED).SerializeToString(), rows)["known"].any()
    expect_the_same(unnamed, POOLED, rows)


def test_a_file_of_another_model_is_not_taken_for_ours() -> None:
    proto = onnx_model(tiny.small_model(), POOLED)
    with pytest.raises(RefusedModel, match="as ONNX: got scores that differ"):
        difference(proto, tiny.model(), POOLED)


@pytest.mark.slow
def test_the_command_writes_and_checks_it(tmp_path: Path) -> None:
    model = tiny.small_model()
    folder, file = registry.save(model, tmp_path / "registry"), tmp_path / "out" / "model.onnx"
    words = ["export", "--model", str(folder), "--onnx", str(file), "--origin", "plant/b", "--json"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    document = json.loads(result.stdout.splitlines()[-1])
    assert document["calibration"] == "plant/b" and document["largest_difference"] < 1e-2
    assert document["bytes"] == file.stat().st_size
    rows = tiny.rows(seed=2).matrix
    assert np.abs(run(file.read_bytes(), rows)["score"] - ours(model, rows, "plant/b").score).max() < 1e-4


@pytest.mark.slow
def test_the_pages_example_scores_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/model-export.md, as it stands there, on a file's features."""
    page = (ROOT / "docs/model-export.md").read_text("utf-8")
    example = textwrap.dedent(page[page.index("    import json, numpy") : page.index("## How exact it is")])
    monkeypatch.chdir(tmp_path)
    plant = str(traffic.zipped("left"))
    for application, words in (
        (flow.app, ["features", plant, "--site", "westermo", "--sensor", "left", "--out", "features.parquet"]),
        (app, ["export", "--onnx", "plant.onnx", "--origin", "westermo/left"]),
    ):
        assert CliRunner().invoke(application, words, catch_exceptions=False).exit_code == 0
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102
    wanted = ours(registry.load(), names["rows"], "westermo/left")
    assert len(names["score"]) > 8_000
    assert np.quantile(np.abs(names["score"] - wanted.score), 1 - FEW) < 1e-4
    assert (names["suspect"] != wanted.suspect).mean() <= FEW
