"""Samples of a sensor that no model knows, as its baseline judged them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from models.serving.model import Model
from models.training import train
from pipeline.contracts.baseline import Phase
from pipeline.retrain.labels import Labels
from pipeline.retrain.usual import SensorRows, sensor_rows
from tests.contracts.verdict_records import labelling, uid_of
from tests.retrain.small_training import ATTACK, CONFIG, FEATURES, SECOND, START_US, WIDTH, plant_rows, samples

SENSOR = ("new", "edge")
ORIGIN = "/".join(SENSOR)
ROWS = 6_000
HOUR_US = 3_600 * SECOND
HOURS = 4_800
"""One in 32 of 40 flows an hour: of the table's .2 % that may be suspects less than .4 are within an hour."""


def model() -> Model:
    """A model that knows plant/left, with the alert level of the shipped one."""
    return train.train(plant_rows(), FEATURES, replace(CONFIG, alert_level=0.002))


def usual_rows(
    rows: int = ROWS, seed: int = 3, odd_from: float = 1.0, hours: float = HOURS, **given: Any
) -> pa.RecordBatch:
    """Rows of an anchored sensor, usual and no suspects; odd_from: share from which on every twentieth is not.

    The first quarter was learnt, the second settled.
    """
    values = np.random.default_rng(seed).gamma(2.0, 1.0, (rows, WIDTH)).astype(np.float32)
    odd = np.arange(rows) >= odd_from * rows
    values[odd & (np.arange(rows) % 20 == 0), :6] += 40
    part = np.arange(rows) * 4 // rows
    known = {
        "site": [SENSOR[0]] * rows,
        "sensor": [SENSOR[1]] * rows,
        "class": ["normal"] * rows,
        "suspect": [False] * rows,
        "phase": np.array([Phase.LEARNING, Phase.SETTLING, Phase.ANCHORED, Phase.ANCHORED])[part],
        "evidence": [0] * rows,
        "strangeness": [0.2] * rows,
        "baseline": part + 1,
        "features": pa.FixedSizeListArray.from_arrays(
            pa.array(values.reshape(-1)), type=samples(1, 1).schema.field("features").type
        ),
        **given,
    }
    return samples(rows, seed, seconds=3_600 * hours, **known)


def of_table(batch: pa.RecordBatch, labels: Labels | None = None) -> SensorRows:
    """The rows that the sensor's last stretch has."""
    table = pa.Table.from_batches([batch])
    phase = batch.column("phase").to_numpy()
    return sensor_rows(table.filter(pa.array(phase >= Phase.SETTLING)), labels or Labels())


def attacks(rows: Iterable[int], by: str = "ann") -> Labels:
    """Verdicts that call these rows an attack."""
    labels = Labels()
    given = {"by": by, "class": ATTACK, "site": SENSOR[0], "sensor": SENSOR[1]}
    verdicts = [labelling(uid_of(int(row)), 2, [[0, 1000 + int(row), 0, None]], **given) for row in rows]
    labels.add_verdicts(verdicts, [ATTACK])
    return labels


BEGAN_US = START_US + HOUR_US + HOURS * HOUR_US // 4
"""About when the settling of `usual_rows` begins."""
