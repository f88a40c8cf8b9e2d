import os
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


def synced_names(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is made durable from here on, in order: temporary names are those at that moment."""
    synced: list[Path] = []
    fsync = os.fsync

    def recorded(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", recorded)
    return synced


def test_a_saved_model_is_on_the_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, folder = synced_names(monkeypatch), tmp_path / tiny.model().id
    replace = Path.replace

    def replaced(path: Path, target: Path) -> Path:
        synced.append(target)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replaced)
    registry.save(tiny.model(), tmp_path)
    kinds = [path.name if path in (folder, tmp_path) else path.suffix or path.name for path in synced]
    assert kinds[-2:] == [folder.name, tmp_path.name], "the folder's name last, and then the registry"
    assert len([path for path in synced[:-2] if path.name == folder.name]) == 3, "after each file its folder"
    for name in (registry.WEIGHTS, registry.MANIFEST):
        assert any(path.name == name for path in synced[:-2])
        assert any(name in path.name and path.name != name for path in synced[:-2])


def test_one_that_is_there_is_on_the_disk_too_before_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = registry.save(tiny.model(), tmp_path)
    synced = synced_names(monkeypatch)
    registry.save(tiny.model(), tmp_path)
    assert synced == [folder / registry.WEIGHTS, folder / registry.MANIFEST, folder, tmp_path]


@pytest.mark.parametrize("name", [registry.WEIGHTS, registry.MANIFEST])
@pytest.mark.parametrize("content", [b"", b"\0" * 4096, None], ids=["empty", "zeros", "gone"])
def test_one_that_a_power_cut_tore_is_written_again(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = registry.save(tiny.model(), tmp_path)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(RefusedModel):
        registry.load(tiny.model().id, tmp_path)
    assert registry.save(tiny.model(), tmp_path) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert registry.load(tiny.model().id, tmp_path).sha256 == tiny.model().sha256


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / tiny.model().id).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedModel, match="is a link"):
        registry.save(tiny.model(), tmp_path / "models")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_verify_says_what_it_checked(tmp_path: Path) -> None:
    registry.save(tiny.model(), tmp_path)
    facts = registry.verify(tiny.model().id, tmp_path)
    assert facts["model"] == tiny.model().id
    assert facts["tensors"] == len(tiny.model().weights)
    # Calibration and knots are among them: `show` and the card count parameters, what the network has learnt.
    assert facts["numbers"] == sum(value.size for value in tiny.model().weights.values())
    assert "parameters" not in facts


def test_a_model_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    registry.save(tiny.model(), tmp_path)
    with pytest.raises(RefusedModel, match=rf"igan-000000000000.*{tiny.model().id}"):
        registry.load("igan-000000000000", tmp_path)
    assert registry.list_models(tmp_path / "nowhere") == []
