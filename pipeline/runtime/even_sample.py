"""A sample of rows that depends on their raw positions alone; score and retraining draw the same one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contracts.uids import RAW_POSITION
from pipeline.runtime.hashing import splitmix64

_SALT = np.uint64(0x5553_5541_4C52_4F57)
"""Another stream than the one by which score samples what is no suspect: else all of those would be drawn again."""


def evenly(position: Mapping[str, npt.NDArray[Any]], one_in: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """(n,) rows that are the one in `one_in` (n,), by hash; `position` has each column of RAW_POSITION (n,).

    What is one in 32 is also one in 2, 4, 8 and 16.
    """
    hashed = np.full(len(one_in), _SALT)
    for name in RAW_POSITION:
        hashed = splitmix64(hashed ^ position[name].astype(np.uint64))
    result: npt.NDArray[np.bool_] = hashed % one_in == 0
    return result
