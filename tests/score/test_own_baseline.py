from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.serving import registry
from models.serving.model import finish
from pipeline.contracts.baseline import SHOWN, Evidence, Phase, shown
from pipeline.contracts.promotions import PromotionLedger
from pipeline.score.model_cache import ModelCache
from pipeline.score.scoring import score_batches
from schemas.model_manifest import FITTED
from tests.examples import examples
from tests.score.small_model import features, small_model

ROWS = 900
MODEL = small_model(calibrated=("north",))
COLUMNS = ("phase", "evidence", "strange_p")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ModelCache:
    folder = tmp_path_factory.mktemp("registry")
    registry.save(MODEL, folder)
    return ModelCache(MODEL.id, folder, "cpu")


def judged(batch: pa.RecordBatch, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """The batch with columns of a baseline; None is null."""
    for name, values in columns.items():
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, batch.schema.field(at), pa.array(values, batch.schema.field(at).type))
    return batch


def drawn(rows: int = ROWS, seed: int = 0) -> dict[str, Any]:
    """Columns of a baseline, any phase with any evidence; some rows without."""
    source = np.random.default_rng(seed)
    without = source.random(rows) < 0.2
    values = {
        "phase": source.integers(0, 5, rows),
        "evidence": source.integers(0, 1024, rows) * source.integers(0, 2, rows),
        "strange_p": source.choice(np.array([1e-4, 0.02, 1.0], np.float32), rows),
    }
    return {
        name: [None if w else v for v, w in zip(column.tolist(), without, strict=True)]
        for name, column in values.items()
    }


def scored(batch: pa.RecordBatch, cache: ModelCache) -> pa.RecordBatch:
    [rows] = score_batches([batch], PromotionLedger(1), cache)
    return rows


def column(rows: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = rows.column(name).to_numpy(zero_copy_only=False)
    return values


def rows_and_plain(cache: ModelCache) -> tuple[dict[str, Any], pa.RecordBatch, pa.RecordBatch]:
    """Columns of a baseline, rows scored with them, and the same rows scored without."""
    columns = drawn()
    return columns, scored(judged(features(ROWS), columns), cache), scored(features(ROWS), cache)


def masks(columns: Mapping[str, Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Rows of a site with a calibration, rows with a baseline, rows that it shows."""
    calibrated = np.arange(ROWS) % 3 == 0  # site north
    has = np.array([phase is not None for phase in columns["phase"]])
    phase = np.array([phase or 0 for phase in columns["phase"]], np.uint8)
    evidence = np.array([bits or 0 for bits in columns["evidence"]], np.uint32)
    return calibrated, has, shown(phase, evidence) & has


def test_without_a_calibration_a_suspect_is_what_the_baseline_shows_and_nothing_else(cache: ModelCache) -> None:
    columns, rows, _ = rows_and_plain(cache)
    calibrated, has, is_shown = masks(columns)
    here = ~calibrated & has
    assert np.array_equal(column(rows, "suspect")[here], is_shown[here])
    p_value = np.array([1 if p is None else p for p in columns["strange_p"]], np.float32)
    assert np.array_equal(column(rows, "p_value")[here], p_value[here])
    assert np.array_equal(column(rows, "novelty")[here], -np.log10(p_value[here]))


def test_a_calibrations_suspects_stay_and_what_the_baseline_shows_joins_them(cache: ModelCache) -> None:
    columns, rows, plain = rows_and_plain(cache)
    calibrated, _, is_shown = masks(columns)
    assert np.array_equal(column(rows, "suspect")[calibrated], (column(plain, "suspect") | is_shown)[calibrated])
    assert (column(rows, "suspect") & ~column(plain, "suspect"))[calibrated].any()
    for name in ("p_value", "novelty", "score"):
        assert np.array_equal(column(rows, name)[calibrated], column(plain, name)[calibrated])


def test_rows_without_a_baseline_are_scored_as_ever(cache: ModelCache) -> None:
    columns, rows, plain = rows_and_plain(cache)
    without = pa.array(~masks(columns)[1])
    for name in ("suspect", "p_value", "novelty", "score", "class", "nearest_class", "model"):
        assert rows.column(name).filter(without).equals(plain.column(name).filter(without))


def test_while_a_sensor_learns_nothing_of_it_is_a_suspect(cache: ModelCache) -> None:
    columns = {
        "phase": [int(Phase.LEARNING)] * ROWS,
        "evidence": [int(SHOWN)] * ROWS,
        "strange_p": [1.0] * ROWS,
    }
    rows = scored(judged(features(ROWS), columns), cache)
    assert not column(rows, "suspect")[column(rows, "site") == "south"].any()
    assert set(column(rows, "class")[column(rows, "site") == "south"]) == {"normal"}


@pytest.mark.parametrize(("calibrated", "has_suspects"), [("north", True), ("north/tap", False)])
def test_a_new_sensor_is_judged_from_its_first_flow_where_its_site_is_calibrated(
    calibrated: str, has_suspects: bool, tmp_path: Path
) -> None:
    """A calibration of another sensor of the site is none of the site: then the new one learns like any other."""
    model = small_model(calibrated=(calibrated,))
    registry.save(model, tmp_path)
    of_site = ModelCache(model.id, tmp_path, "cpu")
    learning = {"phase": [int(Phase.LEARNING)] * ROWS, "evidence": [0] * ROWS, "strange_p": [1.0] * ROWS}
    plain = judged(features(ROWS), {"sensor": ["gate-9"] * ROWS})
    rows, without = scored(judged(plain, learning), of_site), scored(plain, of_site)
    north = column(rows, "site") == "north"
    assert column(rows, "suspect")[north].any() == has_suspects
    if has_suspects:
        assert np.array_equal(column(rows, "suspect")[north], column(without, "suspect")[north])


@pytest.mark.parametrize("evidence", [Evidence.NEW_HOST, Evidence.NEW_TALK, Evidence(0)])
def test_what_only_describes_a_row_makes_no_suspect(evidence: Evidence, cache: ModelCache) -> None:
    columns = {"phase": [int(Phase.ANCHORED)] * 3, "evidence": [int(evidence)] * 3, "strange_p": [1e-4] * 3}
    assert not column(scored(judged(features(3, first_offset=1), columns), cache), "suspect")[:2].any()


def test_a_suspect_by_its_baseline_has_a_name_only_where_the_class_is_known(cache: ModelCache) -> None:
    """The small model knows no class anywhere."""
    columns, rows, _ = rows_and_plain(cache)
    suspect, here = column(rows, "suspect"), ~masks(columns)[0] & masks(columns)[1]
    assert set(column(rows, "class")[here & suspect]) == {"unknown"}
    assert rows.column("nearest_class").filter(pa.array(here & suspect)).null_count == 0
    assert set(column(rows, "class")[here & ~suspect]) == {"normal"}


@pytest.mark.slow
@settings(max_examples=examples(15), deadline=None)
@given(cuts=st.sets(st.integers(1, ROWS - 1), max_size=6))
def test_how_rows_come_in_batches_does_not_change_a_bit(cache: ModelCache, cuts: set[int]) -> None:
    whole = judged(features(ROWS), drawn())
    edges = [0, *sorted(cuts), ROWS]
    parts = [whole.slice(first, last - first) for first, last in pairwise(edges)]
    in_one = pa.Table.from_batches([scored(whole, cache)])
    for divided in (score_batches(parts, PromotionLedger(1), cache), [scored(part, cache) for part in parts]):
        assert pa.Table.from_batches(divided).combine_chunks().equals(in_one)


def test_a_p_value_of_nothing_is_no_infinite_novelty(cache: ModelCache) -> None:
    columns = {"phase": [3] * 3, "evidence": [1] * 3, "strange_p": [0.0] * 3}
    rows = scored(judged(features(3, first_offset=1), columns), cache)
    assert np.isfinite(column(rows, "novelty")).all()


def test_a_fitted_calibration_counts_only_where_the_baseline_is_anchored(tmp_path: Path) -> None:
    document = deepcopy({key: value for key, value in MODEL.document.items() if key not in ("id", "weights_sha256")})
    document["calibration"]["north"]["quiet"] = {"name": FITTED}
    fitted = finish(document, MODEL.weights)
    assert fitted.fitted == {"north"}
    registry.save(fitted, tmp_path)
    cache = ModelCache(fitted.id, tmp_path, "cpu")
    columns, rows, plain = rows_and_plain(cache)
    north, has, is_shown = masks(columns)
    anchored = np.array([phase == Phase.ANCHORED for phase in columns["phase"]])
    by_model = column(plain, "suspect")
    assert (by_model & north & has & ~anchored & ~is_shown).any()
    expected = np.where(has & ~(north & anchored), is_shown, by_model | is_shown)
    assert np.array_equal(column(rows, "suspect")[north], expected[north])
