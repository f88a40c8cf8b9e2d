"""The registry: a folder with one folder a model, named by the model's content hash.

    <registry>/<id>/manifest.json        canonical JSON
    <registry>/<id>/weights.safetensors  its SHA-256 is in the manifest
    <registry>/<id>/CARD.md              what the manifest says, in plain words; never read

Nothing here is ever changed after it was written. Signatures are not part of this version: who can write to the
registry can put a model there, so keep it writable to those who may.
"""

import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from models.errors import RefusedModel
from models.files import sync_file, sync_folder, write_atomic
from models.igan.config import IganConfig
from models.serving import weights
from models.serving.card import card
from models.serving.card_text import NAME as CARD
from models.serving.card_text import markdown
from models.serving.model import Model, expected_shapes
from schemas import model_manifest as manifest

ID = re.compile(r"igan-[0-9a-f]{12}")
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
SHIPPED = Path(__file__).parents[1] / "shipped"


def load(path_or_id: str | Path = "", registry: Path | None = None) -> Model:
    """A model by folder, by id in `registry`, or (empty) the shipped one; RefusedModel unless every check holds."""
    try:
        folder = locate(path_or_id, registry)
        file = folder / MANIFEST
        document = manifest.parse(_bytes(file, manifest.MAX_MANIFEST_BYTES), str(file))
        content = _bytes(folder / WEIGHTS, weights.MAX_WEIGHTS_BYTES)
    except manifest.RefusedManifest as error:
        raise RefusedModel(str(error)) from error
    except OSError as error:
        raise RefusedModel(
            f"model {str(path_or_id)[:200]}: cannot be read: {error.strerror}; look at the path"
        ) from error
    got, expected = manifest.sha256(content), document["weights_sha256"]
    if got != expected:
        raise RefusedModel(
            f"{folder / WEIGHTS}: got SHA-256 {got[:12]}, expected {expected[:12]} as the manifest says; "
            "fetch the model again"
        )
    try:
        config = IganConfig.from_document(document["config"])
    except (ValueError, TypeError) as error:
        raise RefusedModel(f"{file}: {error}; the model is of another version of Forebay") from error
    shapes = _bounded_shapes(document, config, file)
    return Model(document, weights.decode(content, shapes, str(folder / WEIGHTS)))


def locate(path_or_id: str | Path, registry: Path | None = None) -> Path:
    """The folder of a model; RefusedModel where there is none."""
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
        raise RefusedModel(f"model {path_or_id}: no {MANIFEST} in {folder}; known: {known or 'none'}")
    return folder


def within(registry: Path, uri: str) -> Path:
    """The folder a promotion's relative `uri` names; RefusedModel where it leads out of the registry."""
    parts = PurePosixPath(uri).parts
    if len(parts) != 1 or not ID.fullmatch(parts[0]):
        raise RefusedModel(f"model uri {uri!r}: expected a model's id, relative to the registry; refuse the promotion")
    folder = registry / parts[0]
    if folder.is_symlink() or folder.resolve().parent != registry.resolve():
        raise RefusedModel(f"model uri {uri!r}: leads out of the registry {registry}; refuse the promotion")
    _no_links(folder)
    return folder


def save(model: Model, registry: Path) -> Path:
    """Put a model into the registry, whole or not at all, and on the disk when this returns.

    A model that is there already is left as it is if every check on it holds; else its files are written again. So a
    promotion that is written afterwards names a model that a power cut cannot take.
    """
    folder = registry / model.id
    if folder.is_dir():
        _no_links(folder)
        if not _is_whole(folder, model):
            write(model, folder)  # the id is the content's: readers find a mixture of equal files
    else:
        _create(model, folder)
    sync_folder(registry)
    return folder


def _is_whole(folder: Path, model: Model) -> bool:
    """Whether the folder holds this model; if so its bytes are on the disk when this returns."""
    try:
        whole = load(folder).sha256 == model.sha256
    except RefusedModel:
        return False
    if whole:
        # Whoever wrote it may not have waited for the disk.
        for path in (folder / WEIGHTS, folder / MANIFEST):
            sync_file(path)
        sync_folder(folder)
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


def write(model: Model, folder: Path) -> None:
    """Write a model's two files, and its card, into a folder: each whole, and on the disk when this returns."""
    write_atomic(folder / WEIGHTS, weights.encode(model.weights))
    write_atomic(folder / MANIFEST, manifest.canonical(model.document) + b"\n")
    write_atomic(folder / CARD, markdown(card(model)).encode())


def list_models(registry: Path) -> list[str]:
    """Ids of the models in a registry, in alphabetical order."""
    if not registry.is_dir():
        return []
    return sorted(folder.name for folder in registry.iterdir() if ID.fullmatch(folder.name) and folder.is_dir())


def verify(path_or_id: str | Path, registry: Path | None = None) -> dict[str, object]:
    """Load a model with every check and say what was checked."""
    model = load(path_or_id, registry)
    return {
        "model": model.id,
        "sha256": model.sha256,
        "weights_sha256": model.document["weights_sha256"],
        "tensors": len(model.weights),
        "parameters": sum(int(value.size) for value in model.weights.values()),
        "feature_set": model.document["feature_set"],
        "feature_hash": model.document["feature_hash"],
    }


def _no_links(folder: Path) -> None:
    """RefusedModel where a model in a registry is a link: what is there is to be files of the registry's own."""
    for path in (folder, folder / MANIFEST, folder / WEIGHTS):
        if path.is_symlink():
            raise RefusedModel(f"{path}: is a link, which may lead out of the registry; put the file itself there")


def _bytes(file: Path, most: int) -> bytes:
    """A file's bytes; RefusedModel where it is none, or longer than `most`."""
    if not file.is_file():
        raise RefusedModel(f"{file}: no such file; expected one of the model's files there")
    with file.open("rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise RefusedModel(f"{file}: got {file.stat().st_size} bytes, expected at most {most}")
    return content


def _bounded_shapes(document: dict[str, Any], config: IganConfig, file: Path) -> weights.Shapes:
    """Shapes of the network, refused before they are built where the manifest asks for an enormous one."""
    features = len(document["features"])
    sizes = (features, *config.hidden, config.latent, len(config.classes))
    if len(config.hidden) != 2 or not all(0 < size <= 1024 for size in sizes) or not 0 < config.benign < sizes[-1]:
        raise RefusedModel(f"{file}: got a network of sizes {sizes}, expected 1 to 1024 each")
    return expected_shapes(features, config, document["calibration"])
