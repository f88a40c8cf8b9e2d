"""How many rows of each sensor are suspects: what shows that a model no longer fits one."""

import numpy as np
import pyarrow as pa

from pipeline.contracts.envelope import SensorName
from pipeline.runtime.wire.sensors import sensors_of


def suspects_by_sensor(scored: pa.RecordBatch) -> dict[SensorName, tuple[int, int]]:
    """Of each sensor in a scored batch: its rows that are suspects, and those that are not."""
    if scored.num_rows == 0:
        return {}
    sensors, number = sensors_of(scored)
    suspect = scored.column("suspect").to_numpy(zero_copy_only=False)
    suspects = np.bincount(number[suspect], minlength=len(sensors)).tolist()
    others = np.bincount(number[~suspect], minlength=len(sensors)).tolist()
    return dict(zip(sensors, zip(suspects, others, strict=True), strict=True))
