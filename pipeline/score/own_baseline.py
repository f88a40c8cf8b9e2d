"""What a sensor's own baseline says of rows: which are shown, and how rare they are at their sensor."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.baseline import Phase, shown
from pipeline.runtime.wire.batches import filled

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
SMALLEST_P = np.float32(1e-30)
"""Featurize gives no p-value of 0; its logarithm would be infinite."""


class OwnBaseline(NamedTuple):
    """Of n rows, (n,) each.

    known: whether a baseline judged the row; rows from before, and those of feature sets without one, have none.
    anchored: whether it was fixed then.
    shown: whether what is new about it makes it a suspect. p_value: float32, share of the sensor's flows, while it
    settled, that were at least so strange; 1 of rows without a baseline.
    """

    known: Mask
    anchored: Mask
    shown: Mask
    p_value: Floats


def own_baseline(batches: Sequence[pa.RecordBatch]) -> OwnBaseline:
    """What the columns of batches of schema `features` say, rows in order."""
    phase = np.concatenate([filled(batch, "phase", 0) for batch in batches])
    evidence = np.concatenate([filled(batch, "evidence", 0) for batch in batches])
    known = np.concatenate([batch.column("phase").is_valid().to_numpy(zero_copy_only=False) for batch in batches])
    p_value = np.concatenate([filled(batch, "strange_p", 1.0) for batch in batches])
    return OwnBaseline(known, phase == Phase.ANCHORED, shown(phase, evidence), np.maximum(p_value, SMALLEST_P))
