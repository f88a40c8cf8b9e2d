"""The tiny network on rows of a made-up plant with the real feature set's width, and the same as samples."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from models.rows import FeatureSet, Rows
from pipeline.contracts.envelope import ScoredFacts, SensorWatermark
from pipeline.runtime.wire.batches import matrix_column
from pipeline.tools.offline.training_rows import feature_set
from schemas.fields import arrow_schema
from tests.contracts.facts import scored_facts
from tests.models import tiny

SECOND = 1_000_000
START_US = 1_700_000_000 * SECOND
FEATURES: FeatureSet = feature_set()
WIDTH = len(FEATURES.features)
CONFIG = replace(tiny.CONFIG, gan_steps=0, block_us=60 * SECOND, embargo_us=1 * SECOND)
ATTACK = "portscan"


def matrix_and_label(rows: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows like traffic of a plant, every eighth one an attack: (rows, F) float32 and (rows,) labels."""
    source = np.random.default_rng(seed)
    attack = np.arange(rows) % 8 == 0
    values = source.gamma(2.0, 1.0, (rows, WIDTH)).astype(np.float32)
    values[attack, :6] += 30
    return values, np.where(attack, ATTACK, "normal")


def plant_rows(rows: int = 1600, seed: int = 1, config_seconds: int = 600) -> Rows:
    """Labelled rows of the sensor plant/left over ten minutes."""
    values, label = matrix_and_label(rows, seed)
    end_ts_us = START_US + np.arange(rows, dtype=np.int64) * (config_seconds * SECOND // rows)
    return tiny.labelled(values, label, np.full(rows, "left"), end_ts_us)


def samples(
    rows: int,
    seed: int,
    first_us: int = START_US + 3600 * SECOND,
    seconds: float = 600,
    schema_name: str = "scored",
    **given: Any,
) -> pa.RecordBatch:
    """Rows of a schema at raw positions (0, 1000 + n, 0), source records n; labels as `matrix_and_label` has them."""
    values, _ = matrix_and_label(rows, seed)
    end_ts_us = first_us + np.arange(rows, dtype=np.int64) * round(seconds * SECOND / rows)
    known: dict[str, Any] = {
        "features": matrix_column(values),
        "site": ["plant"] * rows,
        "sensor": ["left"] * rows,
        "start_ts_us": end_ts_us - 1000,
        "end_ts_us": end_ts_us,
        "raw_offset": np.arange(1000, 1000 + rows),
        "source_record": np.arange(rows),
        **given,
    }
    schema = arrow_schema(schema_name, WIDTH)
    columns = []
    for field in schema:
        column = known.get(field.name, [None if field.nullable else _plain(field.type)] * rows)
        columns.append(column if isinstance(column, pa.Array) else pa.array(column, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def facts(seq: int, partition: int, batch: pa.RecordBatch) -> ScoredFacts:
    """The facts a message with these rows carries."""
    last_us = batch.column("end_ts_us")[-1].as_py() if batch.num_rows else None
    return scored_facts(
        seq=seq,
        raw_partition=partition,
        flows_offset=seq,
        feature_set=FEATURES.name,
        feature_hash=FEATURES.hash,
        through=(seq, 0),
        first=(seq, 0),
        records=batch.num_rows,
        watermarks=() if last_us is None else (SensorWatermark("plant", "left", last_us - 2 * SECOND),),
    )


def _plain(kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        return ""
    return False if pa.types.is_boolean(kind) else 0
