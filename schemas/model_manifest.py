"""A model's manifest: everything about it that is not a weight, as canonical JSON whose hash names the model.

Read by the models and, where no torch is installed, by alert: both refuse the same manifests.
"""

import hashlib
import json
import math
import re
from collections.abc import Container, Mapping
from typing import Any

from schemas.validation import violation

MAX_MANIFEST_BYTES = 512 * 1024
MAX_DEPTH = 16
VERSION = 2
POOLED = "*"
"""The calibration of every origin without one of its own."""
FITTED = "usual flows"
"""Name of the quiet stretch of a calibration for which a sensor's own baseline, and no person, chose the flows."""
ORIGIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,63})?")


class RefusedManifest(ValueError):
    """Bytes that are no manifest of a model, or one that was changed after it was written."""


class EarlierManifest(RefusedManifest):
    """A manifest of an earlier version, which described another network."""


def canonical(document: dict[str, Any]) -> bytes:
    """Sorted keys, no spaces, no NaN: equal documents give equal bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def model_id(document: dict[str, Any]) -> str:
    """`igan-` and twelve hex digits of the manifest without its id."""
    content = canonical({key: value for key, value in document.items() if key != "id"})
    return f"igan-{hashlib.sha256(content).hexdigest()[:12]}"


def sha256(content: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(content).hexdigest()


def origin_of(calibrated: Container[str], origin: str) -> str:
    """The calibration for `site/sensor` or `site` among those there are: its own, else its site's, else the pooled."""
    if origin in calibrated:
        return origin
    site = origin.partition("/")[0]
    return site if site in calibrated else POOLED


def fitted_origins(document: Mapping[str, Any]) -> frozenset[str]:
    """The sensors whose calibrations were fitted to what their own baselines call usual."""
    entries = (document.get("calibration") or {}).items()
    return frozenset(key for key, entry in entries if entry.get("quiet", {}).get("name") == FITTED)


def parse(content: bytes, where: str) -> dict[str, Any]:
    """A manifest's bytes as a document that fits schemas/model_manifest.json and bears its own hash as its id.

    RefusedManifest where they are none, or more than MAX_MANIFEST_BYTES; EarlierManifest where an earlier version wrote
    it.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise RefusedManifest(f"{where}: got a manifest of {len(content)} bytes, expected at most {MAX_MANIFEST_BYTES}")
    try:
        document = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RefusedManifest(f"{where}: got no JSON ({error}), expected a model manifest") from error
    if _deeper(document, MAX_DEPTH):
        raise RefusedManifest(f"{where}: got JSON nested deeper than {MAX_DEPTH} levels; expected a model manifest")
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is int and 0 < version < VERSION:
        raise EarlierManifest(
            f"{where}: got a model of version {version}, expected version {VERSION}: IGAN-IDS has had another network "
            "since; train it again with `forebay model train`, or take the shipped model"
        )
    try:
        problem = violation(document, "model_manifest")
        expected = model_id(document) if problem is None else ""
    except (ValueError, RecursionError) as error:  # a lone surrogate, or deeper than the validator goes
        raise RefusedManifest(
            f"{where}: got text that cannot be hashed ({error}), expected a model manifest"
        ) from error
    if problem is not None:
        raise RefusedManifest(f"{where}: {problem}; expected a manifest of version {VERSION}")
    if document["id"] != expected:
        raise RefusedManifest(
            f"{where}: got id {document['id']}, expected {expected}: the manifest was changed after it was written; "
            "fetch the model again"
        )
    result: dict[str, Any] = document
    return result


def _deeper(document: object, levels: int) -> bool:
    """Whether there is anything below so many levels."""
    level = [document]
    for _ in range(levels):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value
