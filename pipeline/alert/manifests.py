"""Baselines of models, read from their manifests: JSON only, no weights, no torch."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.alert.explain import Baseline, read_baseline
from pipeline.errors import RefusedState
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.runtime.storage.storage import Storage
from schemas.model_manifest import MAX_MANIFEST_BYTES, POOLED, EarlierManifest, RefusedManifest, origin_of, parse

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def shipped_folder() -> Path | None:
    """The folder of the shipped model; found without importing the package it lies in, which may need torch."""
    spec = find_spec("models")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(folders[0]) / "shipped" if folders else None


class Manifests:
    """Baselines by model id: from the registry, else the shipped model's. A model found once stays as it was read."""

    def __init__(self, registry: StorageLike) -> None:
        self._registry = open_storage(registry, "models")
        self._known: dict[str, Baseline] = {}
        self._levels: dict[str, dict[str, float]] = {}

    def baseline_of(self, model: str) -> Baseline | None:
        """The baseline of a model, None where there is none of this version; RefusedState where it is damaged."""
        if model not in self._known:
            manifest = self._find(model)
            if manifest is None:
                return None
            self._known[model] = read_baseline(manifest)
        return self._known[model]

    def alert_level_of(self, model: str, site: str, sensor: str) -> float | None:
        """At or below which p-value a flow of that sensor is a suspect.

        None where no manifest says so: without a calibration of sensor or site its own baseline decides.
        """
        if model not in self._levels:
            calibration = (self._find(model) or {}).get("calibration")
            entries = calibration.items() if isinstance(calibration, dict) else ()
            self._levels[model] = {
                key: float(entry["alert_level"])
                for key, entry in entries
                if isinstance(entry, dict) and isinstance(entry.get("alert_level"), int | float)
            }
        levels = self._levels[model]
        key = origin_of(levels, f"{site}/{sensor}")
        return levels.get(key) if key != POOLED else None

    def _find(self, model: str) -> dict[str, Any] | None:
        if ID.fullmatch(model):
            manifest = _read(self._registry, f"{model}/manifest.json")
            if manifest is not None and manifest["id"] == model:
                return manifest
        shipped = shipped_folder()
        manifest = _read(open_storage(shipped, "models"), "manifest.json") if shipped is not None else None
        return manifest if manifest is not None and manifest.get("id") == model else None


def _read(storage: Storage, name: str) -> dict[str, Any] | None:
    try:
        size = storage.size(name)
        if size > MAX_MANIFEST_BYTES:
            raise RefusedState(f"{storage.url(name)}: got {size} bytes, expected at most {MAX_MANIFEST_BYTES}")
        return parse(storage.read(name), storage.url(name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except EarlierManifest:
        return None  # its flows are still on their way through an upgrade: alerts of them come without explanation
    except RefusedManifest as error:
        raise RefusedState(str(error)) from error
