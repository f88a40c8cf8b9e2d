"""A killed training resumes where it was, and makes the same bytes as an uninterrupted one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import RefusedModel
from models.serving import weights
from models.serving.model import Model
from models.training.checkpoint import FOLDER, Checkpoint, Store, checkpoints
from models.training.stages import Stages
from models.training.train import key_of, train
from schemas import model_manifest as manifest
from tests.contract.tree import ROOT
from tests.models import tiny
from tests.models.training import killed


class Counting(Store):
    """A store that counts the stages that are trained."""

    written = 0

    def write(self, number: int, stage: str, checkpoint: Checkpoint) -> None:
        """Store a stage, and count it."""
        self.written += 1
        super().write(number, stage, checkpoint)


@pytest.fixture(scope="module")
def reference() -> Model:
    return train(killed.ROWS, tiny.FEATURES, killed.CONFIG)


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What killed trainings left, one folder per kill point."""
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run(
        [sys.executable, "-m", "tests.models.training.killed", str(folder)], check=True, cwd=ROOT, timeout=300
    )
    return folder


def same(model: Model, other: Model) -> bool:
    """Whether two models are the same files."""
    return manifest.canonical(model.document) == manifest.canonical(other.document) and (
        weights.encode(model.weights) == weights.encode(other.weights)
    )


EVERY_RUN = ("during 1", "amid 3", "after 1", "after 11")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kill_point",
    [pytest.param(each, marks=[] if each in EVERY_RUN else [pytest.mark.nightly]) for each in killed.KILL_POINTS],
)
def test_a_training_killed_anywhere_resumes_to_the_same_bytes(kill_point: str, remains: Path, reference: Model) -> None:
    kind, number = kill_point.split()
    store = Counting(remains / kill_point / killed.KEY, killed.KEY)
    assert store.stages() == (int(number) if kind == "after" else int(number) - 1)
    stored = store.stages()
    with store.alone():
        assert same(train(killed.ROWS, tiny.FEATURES, killed.CONFIG, stages=Stages(store=store)), reference)
    assert store.written == killed.STAGES - stored


@pytest.fixture
def stored_stages(remains: Path, tmp_path: Path) -> Path:
    """The stages of a training that was killed after the fifth, to be damaged."""
    return Path(shutil.copytree(remains / "after 5" / killed.KEY, tmp_path / killed.KEY))


def resumed(folder: Path) -> Model:
    return train(killed.ROWS, tiny.FEATURES, killed.CONFIG, stages=Stages(store=Store(folder, killed.KEY)))


def _swap(folder: Path) -> None:
    first, third = folder / "01.safetensors", folder / "03.safetensors"
    first.write_bytes(third.read_bytes())


def _other_stage(folder: Path) -> None:
    for ending in ("json", "safetensors"):
        shutil.copy(folder / f"03.{ending}", folder / f"01.{ending}")


def _link(folder: Path) -> None:
    (folder / "01.json").replace(folder / "elsewhere").with_name("01.json").symlink_to("elsewhere")


def _vouched(folder: Path, content: bytes) -> None:
    """Other tensors, which the small file vouches for."""
    (folder / "01.safetensors").write_bytes(content)
    document = json.loads((folder / "01.json").read_bytes())
    (folder / "01.json").write_bytes(manifest.canonical({**document, "sha256": manifest.sha256(content)}))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte flipped": lambda folder: _flip(folder / "02.safetensors"),
    "cut off": lambda folder: (folder / "02.safetensors").write_bytes(b"\0" * 64),
    "tensors missing": lambda folder: (folder / "02.safetensors").unlink(),
    "files swapped": _swap,
    "another stage": _other_stage,
    "no JSON": lambda folder: (folder / "01.json").write_bytes(b"{"),
    "no stage": lambda folder: (folder / "01.json").write_bytes(b"[]"),
    "a link": lambda folder: (
        (folder / "01.json").replace(folder / "elsewhere").with_name("01.json").symlink_to("elsewhere")
    ),
    "no safetensors": lambda folder: _vouched(folder, b"\x80\x04pickle"),
    "a header of exabytes": lambda folder: _vouched(folder, (2**60).to_bytes(8, "little") + b"{}"),
    "other tensors": lambda folder: _vouched(folder, weights.encode({"0.layers.0.weight": np.zeros((2, 2), "f4")})),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_stages_are_refused(name: str, stored_stages: Path) -> None:
    DAMAGE[name](stored_stages)
    with pytest.raises(RefusedModel, match=r"--resume|train anew"):
        resumed(stored_stages)


def test_stages_of_another_training_are_never_used(stored_stages: Path) -> None:
    rows = killed.ROWS
    key = key_of(rows, tiny.FEATURES, killed.CONFIG)
    assert key == killed.KEY
    others = {
        key_of(rows, tiny.FEATURES, replace(killed.CONFIG, seed=1)),
        key_of(rows, replace(tiny.FEATURES, hash="cd" * 32), killed.CONFIG),
        key_of(rows, tiny.FEATURES, killed.CONFIG, [{"name": "x", "sha256": "0" * 64}]),
        key_of(rows, tiny.FEATURES, killed.CONFIG, parent="igan-000000000000"),
        key_of(rows.take(np.arange(len(rows)) > 0), tiny.FEATURES, killed.CONFIG),
        key_of(replace(rows, label=rows.label[::-1]), tiny.FEATURES, killed.CONFIG),
    }
    assert len(others) == 6 and key not in others
    for other_key in others:
        with pytest.raises(RefusedModel, match="expected"):
            train(rows, tiny.FEATURES, killed.CONFIG, stages=Stages(store=Store(stored_stages, other_key)))


@pytest.mark.slow
def test_nothing_is_left_in_the_end_and_an_interruption_leaves_the_stored_stages(tmp_path: Path) -> None:
    def stopped(stage: str, _: float) -> None:
        if stage.startswith("without"):
            raise KeyboardInterrupt

    rows, shares = killed.ROWS, list[tuple[float, str]]()
    with pytest.raises(KeyboardInterrupt), checkpoints(tmp_path, killed.KEY, resume=False) as store:
        train(rows, tiny.FEATURES, killed.CONFIG, stages=Stages(stopped, store))
    assert Store(tmp_path / FOLDER / killed.KEY, killed.KEY).stages() == 7
    with checkpoints(tmp_path, killed.KEY, resume=True) as store:
        assert store.stages() == 7
        train(
            rows, tiny.FEATURES, killed.CONFIG, stages=Stages(lambda stage, share: shares.append((share, stage)), store)
        )
    assert list(tmp_path.iterdir()) == []
    assert shares == sorted(shares, key=lambda pair: pair[0])
    assert {"encoder", "gan", "network", "without plant/a: encoder", "calibration"} <= {stage for _, stage in shares}
    assert shares[3][0] > 0 and shares[-1][0] == pytest.approx(1.0)


def test_a_training_from_the_start_uses_nothing_of_an_earlier_one(stored_stages: Path, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    stored_stages.rename(tmp_path / FOLDER / killed.KEY)
    with checkpoints(tmp_path, killed.KEY, resume=False) as store:
        assert store.stages() == 0


def test_the_same_training_runs_once_at_a_time(tmp_path: Path) -> None:
    with (
        checkpoints(tmp_path, killed.KEY, resume=False),
        pytest.raises(RefusedModel, match="another process"),
        checkpoints(tmp_path, killed.KEY, resume=True),
    ):
        raise AssertionError


def test_a_folder_that_cannot_be_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RefusedModel, match="cannot be written"),
        checkpoints(tmp_path / "file", killed.KEY, resume=False),
    ):
        raise AssertionError
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(RefusedModel, match="is a link"):
        Store(tmp_path / "link", killed.KEY)
