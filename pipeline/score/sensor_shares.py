"""How many rows of each sensor are suspects, or nearly: what shows that a model no longer fits one."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.contracts.envelope import SensorName
from pipeline.runtime.wire.sensors import sensors_of

UNUSUAL_P = 0.1
"""Of rows like those that a model was calibrated on, one in ten has no greater p-value."""


class Counted(NamedTuple):
    """A sensor's rows: suspects, the others, and those of both whose p-value is at most UNUSUAL_P."""

    suspects: int
    others: int
    unusual: int


def rows_by_sensor(scored: pa.RecordBatch) -> dict[SensorName, Counted]:
    """The rows of each sensor in a scored batch, counted."""
    if scored.num_rows == 0:
        return {}
    sensors, number = sensors_of(scored)
    suspect = scored.column("suspect").to_numpy(zero_copy_only=False)
    unusual = scored.column("p_value").to_numpy(zero_copy_only=False) <= np.float32(UNUSUAL_P)
    counts = (np.bincount(number[rows], minlength=len(sensors)).tolist() for rows in (suspect, ~suspect, unusual))
    return {sensor: Counted(*each) for sensor, *each in zip(sensors, *counts, strict=True)}
