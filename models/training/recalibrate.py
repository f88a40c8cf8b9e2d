"""A model made ready for another site: its own quiet traffic decides what is unusual there."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.errors import RefusedModel
from models.igan.calibrate import LEAST_ROWS, calibrate_across
from models.igan.forward import Forward
from models.rows import Floats, Ints
from models.serving.model import POOLED, Model, finish, view_shapes, view_tensors
from schemas.model_manifest import ORIGIN


def recalibrate(
    model: Model,
    origin: str,
    quiet: Floats,
    end_ts_us: Ints,
    alert_level: float | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Model:
    """A new version of the model with a calibration of its own for `origin` (`site` or `site/sensor`).

    The network stays as it is; the view, the odds and the table of p-values come from the quiet rows. RefusedModel
    where there are too few of them, or the name is not one.
    """
    if not ORIGIN.fullmatch(origin) or origin == POOLED:
        raise RefusedModel(f"origin {origin!r}: expected SITE or SITE/SENSOR in letters, digits, '.', '_' and '-'")
    if len(quiet) < LEAST_ROWS:
        raise RefusedModel(f"quiet stretch: got {len(quiet)} flows, expected at least {LEAST_ROWS}; give a longer one")
    if not np.isfinite(quiet).all():
        raise RefusedModel("quiet stretch: got features that are no finite numbers; featurize the file again")
    config = replace(model.config, alert_level=alert_level or model.document["alert_level"])
    made = calibrate_across(Forward(model.arrays()), quiet, end_ts_us, model.document["usual_margin"], config)
    entry = {**made.document(), "quiet": dict(provenance or {})}
    document = {key: value for key, value in model.document.items() if key not in ("id", "weights_sha256")}
    document |= {"parent": model.id, "calibration": {**model.document["calibration"], origin: entry}}
    return finish(document, {**model.weights, **view_tensors(origin, made)})


def without(model: Model, origin: str) -> Model:
    """A new version of the model that knows nothing of `origin`, one of those it is calibrated for."""
    document = {key: value for key, value in model.document.items() if key not in ("id", "weights_sha256")}
    calibration = {key: entry for key, entry in model.document["calibration"].items() if key != origin}
    dropped = {f"{name}.{origin}" for name in view_shapes(len(model.features), model.config)}
    retained = {name: value for name, value in model.weights.items() if name not in dropped}
    return finish(document | {"parent": model.id, "calibration": calibration}, retained)
