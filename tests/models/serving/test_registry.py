from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.serving import registry
from tests.models import tiny


def test_a_saved_model_comes_back_whole(tmp_path: Path) -> None:
    model = tiny.model()
    folder = registry.save(model, tmp_path / "models")
    assert folder.name == model.id
    again = registry.load(model.id, tmp_path / "models")
    assert again.document == model.document and again.sha256 == model.sha256
    assert all(np.array_equal(again.weights[name], value) for name, value in model.weights.items())
    assert registry.load(folder).id == model.id
    assert registry.list_models(tmp_path / "models") == [model.id]


def test_saving_twice_changes_nothing(tmp_path: Path) -> None:
    folder = registry.save(tiny.model(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert registry.save(tiny.model(), tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [tiny.model().id]


def test_verify_says_what_it_checked(tmp_path: Path) -> None:
    registry.save(tiny.model(), tmp_path)
    facts = registry.verify(tiny.model().id, tmp_path)
    assert facts["model"] == tiny.model().id
    assert facts["tensors"] == len(tiny.model().weights)


def test_a_model_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    registry.save(tiny.model(), tmp_path)
    with pytest.raises(RefusedModel, match=rf"igan-000000000000.*{tiny.model().id}"):
        registry.load("igan-000000000000", tmp_path)
    assert registry.list_models(tmp_path / "nowhere") == []
