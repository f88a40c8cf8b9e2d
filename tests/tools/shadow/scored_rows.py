"""Rows as two models scored them, made up: few sensors, classes and p-values, so that much coincides."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.contracts.uids import RAW_POSITION
from pipeline.tools.shadow.counts import HOUR_US
from pipeline.tools.shadow.examples import PLACE, SAID
from schemas.fields import arrow_schema

COMPARED = (*RAW_POSITION, *PLACE, *SAID)
"""Columns of schema `scored` that counts and examples look at."""

CLASSES = ("normal", "unknown", "portscan")
P_VALUES = np.array([1e-30, 1e-4, 2e-4, 0.01, 0.5, 1.0], np.float32)


def pair(rows: int, seed: int = 0, alike: float = 0.5) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Rows as the model in use scored them, and as the candidate did: of a share of them exactly alike."""
    source = np.random.default_rng(seed)
    place: dict[str, Any] = {
        "raw_partition": source.integers(0, 2, rows),
        "raw_offset": source.permutation(rows),
        "raw_index": source.integers(0, 3, rows),
        "site": source.choice(["north", "south"], rows),
        "sensor": source.choice(["tap", "core"], rows),
        "start_ts_us": np.arange(rows),
        "end_ts_us": source.integers(-2, 5, rows) * HOUR_US + source.integers(0, HOUR_US, rows),
        "src_addr": [f"10.0.0.{each}" for each in source.integers(1, 9, rows)],
        "dst_addr": ["10.0.0.9"] * rows,
    }
    in_use = _said(source, rows, source.choice(["igan-a", "igan-b"], rows))
    candidate = _said(source, rows, np.full(rows, "igan-c"))
    same = source.random(rows) < alike
    for name in candidate:
        if name != "model":
            candidate[name] = np.where(same, in_use[name], candidate[name])
    return _batch(rows, {**place, **in_use}), _batch(rows, {**place, **candidate})


def _said(source: np.random.Generator, rows: int, model: Any) -> dict[str, Any]:
    name = source.choice(CLASSES, rows)
    return {
        "score": source.integers(0, 4, rows).astype(np.float32) / 3,
        "p_value": source.choice(P_VALUES, rows),
        "suspect": source.random(rows) < 0.3,
        "class": name,
        "nearest_class": np.where(name == "unknown", source.choice(["portscan", "mitm"], rows), np.array(None)),
        "model": model,
    }


def _batch(rows: int, given: dict[str, Any]) -> pa.RecordBatch:
    schema = pa.schema([arrow_schema("scored").field(name) for name in COMPARED])
    columns = [pa.array(given.get(field.name, [None if field.nullable else 0] * rows), field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
