"""The checkpoints of a running training: a folder with two files a stage, each written whole or not at all.

    <registry>/.training/<key>/01.safetensors  weights and generator states, as the stage left them
    <registry>/.training/<key>/01.json         the stage's name, the key, the SHA-256 of the first file

The key is a hash of everything the bits depend on, so that a checkpoint of another training is never used.
"""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models.errors import RefusedModel
from models.files import write_atomic
from schemas.model_manifest import canonical, sha256

VERSION = 1
FOLDER = ".training"
LOCK = "lock"
MAX_TENSOR_BYTES = 256 * 1024 * 1024
MAX_JSON_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stage's networks and generator states.

    Attributes
    ----------
    tensors : `<network>.<name>` and `random.<name>`
    trainable : the tensors that still need a gradient
    training : for each network, whether it was in training mode
    """

    tensors: dict[str, npt.NDArray[Any]]
    trainable: list[str]
    training: list[bool]


def training_key(facts: Mapping[str, Any], arrays: Iterable[npt.NDArray[Any]]) -> str:
    """Names a training by all its bits depend on: facts (configuration, data, CPU, torch), rows, and this very code."""
    digest = hashlib.sha256(canonical({**facts, "version": VERSION, "code": _code()}))
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


@contextmanager
def checkpoints(registry: Path, key: str, resume: bool) -> Iterator["Store"]:
    """The store of a training in a registry; its stages are removed at the end, and at the start unless it resumes.

    An exception leaves the stored stages on disk.
    """
    store = Store(registry / FOLDER / key, key)
    with store.alone():
        if not resume:
            store.forget()
        yield store
        store.end()


def _code() -> str:
    """SHA-256 of the sources a training runs through."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for part in ("training", "igan", "serving") for path in folder.glob(f"{part}/**/*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Store:
    """The stored stages of one training.

    Parameters
    ----------
    folder : where the stages are stored
    key : `training_key` of the training
    """

    def __init__(self, folder: Path, key: str) -> None:
        if folder.is_symlink():
            raise RefusedModel(f"{folder}: is a link; expected a folder of checkpoints, or none; remove it")
        self.folder = folder
        self._key = key

    def stages(self) -> int:
        """How many stages are stored."""
        return len(list(self.folder.glob("[0-9]*.json"))) if self.folder.is_dir() else 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the folder, until this process ends at the latest; RefusedModel at once where another process has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / LOCK).open("a+b")
        except OSError as error:
            raise RefusedModel(f"{self.folder}: cannot be written: {error}; name another --registry") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RefusedModel(
                    f"{self.folder}: the same training is under way in another process; wait for it, or end it"
                ) from error
            yield

    def forget(self) -> None:
        """Remove the stored stages, but not the lock."""
        for path in self.folder.glob("[0-9]*"):
            path.unlink()

    def end(self) -> None:
        """Remove the folder, and its parent if that is empty then."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()

    def write(self, number: int, stage: str, checkpoint: Checkpoint) -> None:
        """Store a stage. The small file is written last: without it the stage does not exist."""
        content = save({name: np.ascontiguousarray(checkpoint.tensors[name]) for name in sorted(checkpoint.tensors)})
        document = {
            "version": VERSION,
            "key": self._key,
            "stage": stage,
            "sha256": sha256(content),
            "trainable": checkpoint.trainable,
            "training": checkpoint.training,
        }
        self._replace(f"{number:02d}.safetensors", content)
        self._replace(f"{number:02d}.json", canonical(document) + b"\n")

    def read(self, number: int, stage: str) -> Checkpoint | None:
        """A stored stage, or None; RefusedModel where the files are damaged or of another stage."""
        path = self.folder / f"{number:02d}.json"
        if not path.is_file():
            return None
        document = self._document(path)
        if document["stage"] != stage:
            raise _refusal(path, f"got stage {document['stage']!r}, expected {stage!r}")
        content = _bytes(path.with_suffix(".safetensors"), MAX_TENSOR_BYTES)
        if sha256(content) != document["sha256"]:
            raise _refusal(path.with_suffix(".safetensors"), "got another SHA-256 than was written")
        try:
            return Checkpoint(load(content), document["trainable"], document["training"])
        except (SafetensorError, ValueError, KeyError) as error:
            raise _refusal(path.with_suffix(".safetensors"), f"got no safetensors ({error})") from error

    def _document(self, path: Path) -> dict[str, Any]:
        try:
            document = json.loads(_bytes(path, MAX_JSON_BYTES))
        except (ValueError, RecursionError) as error:
            raise _refusal(path, f"got no JSON ({error})") from error
        kinds = {"version": int, "key": str, "stage": str, "sha256": str, "trainable": list, "training": list}
        if not isinstance(document, dict) or {name: type(value) for name, value in document.items()} != kinds:
            raise _refusal(path, "got no stage of a training")
        if document["version"] != VERSION or document["key"] != self._key:
            raise _refusal(path, f"got a stage of training {str(document['key'])[:24]}, expected {self._key}")
        return document

    def _replace(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        write_atomic(self.folder / name, content)


def _bytes(path: Path, most: int) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise _refusal(path, "got no regular file")
    if path.stat().st_size > most:
        raise _refusal(path, f"got {path.stat().st_size} bytes, expected at most {most}")
    return path.read_bytes()


def _refusal(path: Path, problem: str) -> RefusedModel:
    return RefusedModel(f"{path}: {problem}; train without --resume, which starts from the first stage")
