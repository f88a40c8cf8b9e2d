"""Whole numbers of Arrow as int64, for reckoning with a number that stands for none."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def integers_of(values: pa.Array, missing: int) -> npt.NDArray[np.int64]:
    """Whole numbers as (rows,) int64, `missing` where null: it need not be a value of the array's type."""
    if values.null_count:
        values = values.cast(pa.int64()).fill_null(missing)
    numbers: npt.NDArray[np.int64] = values.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return numbers


def integers(batch: pa.RecordBatch, column: str, missing: int) -> npt.NDArray[np.int64]:
    """A column of whole numbers (`integers_of`)."""
    return integers_of(batch.column(column), missing)
