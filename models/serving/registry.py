"""The registry: a folder, or a storage that is handed in, with one folder a model, named by its content hash.

    <registry>/<id>/manifest.json        canonical JSON
    <registry>/<id>/weights.safetensors  its SHA-256 is in the manifest
    <registry>/<id>/CARD.md              what the manifest says, in plain words; never read

Nothing here is ever changed after it was written. Signatures are not part of this version: who can write to the
registry can put a model there, so keep it writable to those who may.
"""

import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any, overload

from models.errors import EarlierModel, RefusedModel
from models.files import sync_file, sync_folder, write_atomic
from models.igan.config import VIEWS, IganConfig
from models.serving import weights
from models.serving.card import card
from models.serving.card_text import NAME as CARD
from models.serving.card_text import markdown
from models.serving.model import Model, expected_shapes
from models.serving.stored_model import MANIFEST, WEIGHTS, ModelStorage, StoredModel
from schemas import model_manifest as manifest

__all__ = [
    "MANIFEST",
    "SHIPPED",
    "WEIGHTS",
    "Location",
    "Registry",
    "list_models",
    "load",
    "locate",
    "save",
    "verify",
    "within",
    "write",
]

ID = re.compile(r"igan-[0-9a-f]{12}")
SHIPPED = Path(__file__).parents[1] / "shipped"

Registry = Path | ModelStorage
Location = Path | StoredModel
"""The location of a model: its folder, or its name in a storage."""


def load(path_or_id: str | Path = "", registry: Registry | None = None) -> Model:
    """A model by folder, by id in `registry`, or (empty) the shipped one; RefusedModel unless every check holds.

    EarlierModel where an earlier version of Forebay made it.
    """
    try:
        return _load(locate(path_or_id, registry))
    except manifest.EarlierManifest as error:
        raise EarlierModel(str(error)) from error
    except manifest.RefusedManifest as error:
        raise RefusedModel(str(error)) from error
    except OSError as error:
        raise RefusedModel(
            f"model {str(path_or_id)[:200]}: cannot be read: {error.strerror}; look at the path"
        ) from error


def _load(location: Location) -> Model:
    file = f"{location}/{MANIFEST}"
    document = manifest.parse(_bytes(location, MANIFEST, manifest.MAX_MANIFEST_BYTES), file)
    content = _bytes(location, WEIGHTS, weights.MAX_WEIGHTS_BYTES)
    got, expected = manifest.sha256(content), document["weights_sha256"]
    if got != expected:
        raise RefusedModel(
            f"{location}/{WEIGHTS}: got SHA-256 {got[:12]}, expected {expected[:12]} as the manifest says; "
            "fetch the model again"
        )
    try:
        config = IganConfig.from_document(document["config"])
    except (ValueError, TypeError) as error:
        raise RefusedModel(f"{file}: {error}; the model is of another version of Forebay") from error
    shapes = _bounded_shapes(document, config, file)
    return Model(document, weights.decode(content, shapes, f"{location}/{WEIGHTS}"))


def locate(path_or_id: str | Path, registry: Registry | None = None) -> Location:
    """The location of a model; RefusedModel where there is none."""
    if not isinstance(registry, Path | None):
        if not ID.fullmatch(str(path_or_id)):
            return locate(path_or_id)
        stored = StoredModel(registry, str(path_or_id))
        if stored.exists:
            return stored
        if (SHIPPED / MANIFEST).is_file() and load(SHIPPED).id == str(path_or_id):
            return SHIPPED
        known = ", ".join(list_models(registry))
        raise RefusedModel(
            f"model {path_or_id}: no {MANIFEST} in {stored}; known: {known or 'none'}; `forebay model list` shows them"
        )
    if str(path_or_id) == "":
        folder = SHIPPED
    elif ID.fullmatch(str(path_or_id)):
        folder = (registry or SHIPPED.parent) / str(path_or_id)
        _no_links(folder)
        if not folder.is_dir() and (SHIPPED / MANIFEST).is_file() and load(SHIPPED).id == str(path_or_id):
            folder = SHIPPED
    else:
        folder = Path(path_or_id)
    if folder.is_file():
        raise RefusedModel(
            f"model {path_or_id}: got a file, expected a folder with {MANIFEST} and {WEIGHTS}; "
            "no other format is read, and pickle (.pt, .pth, .pkl, .joblib) never"
        )
    if not (folder / MANIFEST).is_file():
        known = ", ".join(list_models(registry)) if registry is not None else "the shipped one"
        raise RefusedModel(
            f"model {path_or_id}: no {MANIFEST} in {folder}; known: {known or 'none'}; `forebay model list` shows them"
        )
    return folder


def within(registry: Registry, uri: str) -> Location:
    """The location a promotion's relative `uri` names; RefusedModel where it leads out of the registry."""
    parts = PurePosixPath(uri).parts
    if len(parts) != 1 or not ID.fullmatch(parts[0]):
        raise RefusedModel(f"model uri {uri!r}: expected a model's id, relative to the registry; refuse the promotion")
    if not isinstance(registry, Path):
        return StoredModel(registry, parts[0])
    folder = registry / parts[0]
    if folder.is_symlink() or folder.resolve().parent != registry.resolve():
        raise RefusedModel(f"model uri {uri!r}: leads out of the registry {registry}; refuse the promotion")
    _no_links(folder)
    return folder


@overload
def save(model: Model, registry: Path) -> Path: ...
@overload
def save(model: Model, registry: Registry) -> Location: ...
def save(model: Model, registry: Registry) -> Location:
    """Put a model into the registry, whole or not at all, and durable when this returns.

    A model that is there already is left as it is if every check on it holds; else its files are written again. So a
    promotion that is written afterwards names a model that a power cut cannot take.
    """
    if not isinstance(registry, Path):
        stored = StoredModel(registry, model.id)
        if not (stored.exists and _is_whole(stored, model)):
            write(model, stored)
        return stored
    folder = registry / model.id
    if folder.is_dir():
        _no_links(folder)
        if not _is_whole(folder, model):
            write(model, folder)  # the id is the content's: readers find a mixture of equal files
    else:
        _create(model, folder)
    sync_folder(registry)
    return folder


def _is_whole(location: Location, model: Model) -> bool:
    """Whether this model lies there; if so its bytes are durable when this returns."""
    try:
        whole = _load(location).sha256 == model.sha256
    except (RefusedModel, manifest.RefusedManifest):
        return False
    if whole and isinstance(location, Path):
        # Whoever wrote it may not have waited for the disk.
        for path in (location / WEIGHTS, location / MANIFEST):
            sync_file(path)
        sync_folder(location)
    return whole


def _create(model: Model, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as temporary:
        made = Path(temporary) / model.id
        write(model, made)
        try:
            made.replace(folder)
        except OSError as error:  # another process was first; equal ids are equal content
            if not _is_whole(folder, model):
                raise RefusedModel(f"{folder}: could not be written: {error}") from error


def write(model: Model, location: Location) -> None:
    """Write a model's two files, and its card: each whole, and durable when this returns.

    The manifest comes last: a model whose manifest is there is whole.
    """
    for file, data in (
        (WEIGHTS, weights.encode(model.weights)),
        (CARD, markdown(card(model)).encode()),
        (MANIFEST, manifest.canonical(model.document) + b"\n"),
    ):
        if isinstance(location, Path):
            write_atomic(location / file, data)
        else:
            location.write(file, data)


def list_models(registry: Registry) -> list[str]:
    """Ids of the models in a registry, in alphabetical order."""
    if not isinstance(registry, Path):
        names = sorted(name for name in registry.folders("") if ID.fullmatch(name))
        return [name for name in names if StoredModel(registry, name).exists]
    if not registry.is_dir():
        return []
    return sorted(folder.name for folder in registry.iterdir() if ID.fullmatch(folder.name) and folder.is_dir())


def verify(path_or_id: str | Path, registry: Registry | None = None) -> dict[str, object]:
    """Load a model with every check, its network's too, and say what was checked."""
    model = load(path_or_id, registry)
    model.arrays()
    return {
        "model": model.id,
        "sha256": model.sha256,
        "weights_sha256": model.document["weights_sha256"],
        "tensors": len(model.weights),
        "numbers": sum(int(value.size) for value in model.weights.values()),
        "feature_set": model.document["feature_set"],
        "feature_hash": model.document["feature_hash"],
    }


def _no_links(folder: Path) -> None:
    """RefusedModel where a model in a registry is a link: what is there is to be files of the registry's own."""
    for path in (folder, folder / MANIFEST, folder / WEIGHTS):
        if path.is_symlink():
            raise RefusedModel(f"{path}: is a link, which may lead out of the registry; put the file itself there")


def _bytes(location: Location, name: str, most: int) -> bytes:
    """A file's bytes; RefusedModel where it is none, or longer than `most`."""
    if not isinstance(location, Path):
        return location.read(name, most)
    file = location / name
    if not file.is_file():
        raise RefusedModel(f"{file}: no such file; expected one of the model's files there")
    with file.open("rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise RefusedModel(f"{file}: got {file.stat().st_size} bytes, expected at most {most}")
    return content


def _bounded_shapes(document: dict[str, Any], config: IganConfig, file: str) -> weights.Shapes:
    """Shapes of the tensors, refused where the manifest asks for an enormous network."""
    features = len(document["features"])
    sizes = (features, config.width, config.latent, config.top, config.prototypes, len(config.classes))
    if not all(0 < size <= 1024 for size in sizes) or not 0 < config.benign < sizes[-1]:
        raise RefusedModel(f"{file}: got a network of sizes {sizes}, expected 1 to 1024 each")
    if config.view not in VIEWS:
        raise RefusedModel(f"{file}: got view {config.view!r}, expected {' or '.join(VIEWS)}")
    return expected_shapes(document, config)
