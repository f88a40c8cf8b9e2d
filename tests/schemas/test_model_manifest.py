from pathlib import Path
from typing import Any

import orjson
import pytest

from models.errors import EarlierModel, RefusedModel
from models.serving import registry
from pipeline.alert.manifests import Manifests, shipped_folder
from pipeline.errors import RefusedState
from schemas.model_manifest import MAX_MANIFEST_BYTES, canonical, model_id


def shipped() -> dict[str, Any]:
    folder = shipped_folder()
    assert folder is not None
    document: dict[str, Any] = orjson.loads((folder / "manifest.json").read_bytes())
    return document


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        orjson.dumps(shipped() | {"version": 3}),
        orjson.dumps(shipped() | {"metrics": {"changed": 1}}),
        canonical(shipped()).replace(b'"version":2', b'"version":NaN'),
        canonical(shipped()) + b" " * MAX_MANIFEST_BYTES,
    ],
    ids=["empty", "no object", "another version", "changed after it was written", "not a number", "too large"],
)
def test_models_and_alert_refuse_the_same_manifests(content: bytes, tmp_path: Path) -> None:
    name = "igan-0123456789ab"
    (tmp_path / name).mkdir()
    (tmp_path / name / "manifest.json").write_bytes(content)
    with pytest.raises(RefusedModel) as by_models:
        registry.load(name, tmp_path)
    with pytest.raises(RefusedState) as by_alert:
        Manifests(tmp_path).baseline_of(name)
    assert "manifest" in str(by_models.value) and "manifest" in str(by_alert.value)


def test_alert_goes_on_with_flows_that_a_model_of_an_earlier_version_scored(tmp_path: Path) -> None:
    name = "igan-0123456789ab"
    (tmp_path / name).mkdir()
    (tmp_path / name / "manifest.json").write_bytes(orjson.dumps(shipped() | {"version": 1}))
    with pytest.raises(EarlierModel, match="version 1, expected version 2"):
        registry.load(name, tmp_path)
    manifests = Manifests(tmp_path)
    assert manifests.baseline_of(name) is None
    assert manifests.alert_level_of(name, "plant", "sensor") is None


def test_a_manifest_in_the_folder_of_another_model_is_not_its_own(tmp_path: Path) -> None:
    document = shipped() | {"metrics": {}}
    document["id"] = model_id(document)
    (tmp_path / "igan-0123456789ab").mkdir()
    (tmp_path / "igan-0123456789ab" / "manifest.json").write_bytes(canonical(document))
    assert Manifests(tmp_path).baseline_of("igan-0123456789ab") is None
