"""A model with a table of bytes: trained, stored and scored like any other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.igan.config import SMALL, IganConfig
from models.serving import registry, weights
from models.serving.card import card
from models.serving.card_text import SMALL as SMALL_WORDS
from models.serving.card_text import markdown
from models.serving.model import expected_shapes
from models.serving.score import Scorer
from models.training.recalibrate import recalibrate
from tests.models import tiny


def test_it_comes_back_whole_and_scores_the_same(tmp_path: Path) -> None:
    model = tiny.small_model()
    again = registry.load(registry.save(model, tmp_path))
    assert again.weights["lookup.table"].dtype == np.int8 == model.weights["lookup.table"].dtype
    assert all(np.array_equal(again.weights[name], value) for name, value in model.weights.items())
    rows = tiny.rows(seed=3)
    nothing = np.zeros(len(rows), np.int64)
    first, second = (Scorer(one, "cpu").score(rows.matrix, nothing, rows.origin) for one in (model, again))
    assert np.array_equal(first.score, second.score) and np.array_equal(first.class_index, second.class_index)
    assert first.suspect[np.isin(rows.label, ["mitm", "portscan"])].mean() > 0.9
    assert first.suspect[rows.label == "normal"].mean() < 0.05


def test_a_usual_models_manifest_does_not_name_its_table() -> None:
    assert "table" not in IganConfig().document() and tiny.small_model().document["config"]["table"] == "int8"
    assert IganConfig.from_document(tiny.small_model().document["config"]) == tiny.small_model().config
    with pytest.raises(ValueError, match=r"config table: got 'int4', expected float32 or int8"):
        IganConfig.from_document({**IganConfig().document(), "table": "int4"})


@pytest.mark.parametrize(("made", "said"), [(tiny.small_model, tiny.model), (tiny.model, tiny.small_model)])
def test_a_table_of_another_kind_than_the_manifest_says_is_refused(made, said) -> None:  # type: ignore[no-untyped-def]
    shapes = expected_shapes(said().document, said().config)
    tensors = {name: value for name, value in made().weights.items() if name in shapes}
    if weights.SCALE in shapes:
        tensors[weights.SCALE] = np.ones(shapes[weights.SCALE], np.float32)
    with pytest.raises(RefusedModel, match=r"lookup\.table: got .* expected (I8|F32)"):
        weights.decode(weights.encode(tensors), shapes, "weights")


def test_a_scale_that_is_no_number_is_refused() -> None:
    tensors = {
        **tiny.small_model().weights,
        weights.SCALE: np.full_like(tiny.small_model().weights[weights.SCALE], np.nan),
    }
    with pytest.raises(RefusedModel, match="finite"):
        weights.decode(
            weights.encode(tensors), expected_shapes(tiny.small_model().document, tiny.small_model().config), "weights"
        )


def test_on_the_plants_features_it_has_30_000_parameters_at_most() -> None:
    shipped = json.loads((registry.SHIPPED / registry.MANIFEST).read_bytes())
    config = replace(IganConfig(), **SMALL)
    # As many knots as bins allow, and the two ends that frequent values can leave outside.
    knots = {**shipped["knots"], "edges": shipped["knots"]["columns"] * (config.bins + 1)}
    shapes = expected_shapes({**shipped, "knots": knots}, config)
    learnt = [shape for name, shape in shapes.items() if name.split(".")[0] in ("lookup", "middle", "top", "last")]
    assert sum(int(np.prod(shape)) for shape in learnt) <= 30_000


def test_another_sites_calibration_leaves_the_table_as_it_is(tmp_path: Path) -> None:
    model, quiet = tiny.small_model(), tiny.rows(seed=9)
    folder = registry.save(recalibrate(model, "north/1", quiet.matrix, quiet.end_ts_us), tmp_path)
    again = registry.load(folder)
    assert np.array_equal(again.weights["lookup.table"], model.weights["lookup.table"])
    assert again.origin_of("north/1") == "north/1"


def test_its_card_says_so_and_how_it_is_made_again() -> None:
    config = replace(tiny.CONFIG, **SMALL).document()
    document = {**tiny.small_model().document, "config": config, "training": {"command": "forebay model train"}}
    facts = card(replace(tiny.small_model(), document=document))
    assert SMALL_WORDS in markdown(facts) and SMALL_WORDS not in markdown(card(tiny.model()))
    assert facts["reproduce"]["command"].startswith("forebay model train --small --seed")
