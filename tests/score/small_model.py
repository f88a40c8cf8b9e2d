"""A small real model, made in a moment: a random network with real calibration, and features rows for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from models.igan.calibrate import calibrate
from models.igan.config import IganConfig
from models.igan.forward import Forward
from models.igan.knots import Knots
from models.igan.known_classes import KnownClasses
from models.igan.network import IganNetwork
from models.igan.preprocess import Preprocess
from models.serving.model import POOLED, Model, finish, tensors_of
from pipeline.contracts.envelope import FeaturesFacts
from pipeline.runtime.wire.batches import matrix_column
from schemas import model_manifest as manifest
from schemas.fields import arrow_schema
from tests.contracts.facts import features_facts

WIDTH = 12
FEATURE_SET = "small"
FEATURE_HASH = "5a11" * 16


def small_model(
    seed: int = 0,
    feature_hash: str = FEATURE_HASH,
    width: int = WIDTH,
    config: IganConfig | None = None,
    calibrated: Sequence[str] = (),
    feature_set: str = FEATURE_SET,
) -> Model:
    """A model of 12 features (or `width`) whose weights depend on the seed.

    calibrated: origins with a calibration of their own; theirs is the pooled one.
    """
    torch.manual_seed(seed)
    source = np.random.default_rng(seed)
    config = config or IganConfig(width=32, latent=16, top=8, bins=8, alert_level=0.05)
    quiet = source.exponential(1.0, (600, width)).astype(np.float32)
    preprocess = Preprocess.fit(quiet, (True,) * width, config.clip)
    network = IganNetwork(preprocess, Knots.fit(preprocess(torch.from_numpy(quiet)).numpy(), config.bins), config)
    network.freeze()
    origin = calibrate(Forward(network.arrays()), quiet[:300], quiet[300:], np.arange(300), config)
    origins = {key: origin for key in (POOLED, *calibrated)}
    classes = len(config.classes)
    nowhere = np.zeros(classes + 1, np.int64)
    known = KnownClasses(
        np.zeros((0, width), np.float32), nowhere, np.zeros(classes, np.float32), np.ones(classes, np.float32)
    )
    flat = [0.0] * width
    document: dict[str, Any] = {
        "version": manifest.VERSION,
        "parent": None,
        "feature_set": feature_set,
        "feature_hash": feature_hash,
        "features": [
            {"name": f"f{n}", "label": f"feature {n}", "unit": "", "group": "g", "log": True} for n in range(width)
        ],
        "classes": list(config.classes),
        "alert_level": config.alert_level,
        "usual_margin": 0.0,
        "temperature": 1.0,
        "calibration": {key: each.document() for key, each in origins.items()},
        "known": known.document(config.classes),
        "baseline": {"q01": flat, "q50": flat, "q99": flat},
        "metrics": {},
        "data": [],
        "training": {},
        "config": config.document(),
    }
    return finish(document, tensors_of(network.tensors(), origins, known))


def features(
    rows: int,
    partition: int = 0,
    first_offset: int = 0,
    seed: int = 0,
    end_ts_us: Sequence[int] | None = None,
    width: int = WIDTH,
    scale: float = 2.0,
) -> pa.RecordBatch:
    """Rows of schema `features` at consecutive raw positions, one a raw message, event time 1 ms apart by default.

    With a scale of 1 they are like what the model was calibrated on; the larger it is, the more suspects.
    """
    source = np.random.default_rng([seed, partition, first_offset])
    offsets = np.arange(first_offset, first_offset + rows)
    given: dict[str, Any] = {
        "raw_partition": np.full(rows, partition, np.int32),
        "raw_offset": offsets.astype(np.int64),
        "raw_index": np.zeros(rows, np.int32),
        "record_id": source.integers(0, 2**63, rows).astype(np.uint64),
        "site": np.where(offsets % 3 == 0, "north", "south"),
        "sensor": ["tap"] * rows,
        "end_ts_us": np.array(end_ts_us, np.int64) if end_ts_us is not None else 1_000_000 + 1000 * offsets,
        "features": matrix_column(source.exponential(scale, (rows, width)).astype(np.float32)),
    }
    schema = arrow_schema("features", width)
    return pa.RecordBatch.from_arrays([_column(field, given.get(field.name), rows) for field in schema], schema=schema)


def _column(field: pa.Field, values: Any, rows: int) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if values is not None:
        return pa.array(values, field.type)
    if field.nullable:
        return pa.nulls(rows, field.type)
    plain = "" if pa.types.is_string(field.type) else 0
    return pa.array([plain] * rows).cast(field.type)


def facts(
    seq: int, partition: int, batch: pa.RecordBatch, feature_hash: str = FEATURE_HASH, feature_set: str = FEATURE_SET
) -> FeaturesFacts:
    """The facts of a features message."""
    return features_facts(
        seq=seq,
        raw_partition=partition,
        flows_offset=seq,
        feature_set=feature_set,
        feature_hash=feature_hash,
        through=(seq, 0),
        first=(seq, 0),
        records=batch.num_rows,
    )
