"""Which rows come too late, decided by the log's order alone, and which lateness would take them."""

import math

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

TAKEN_SHARE = 0.99
"""What a proposed lateness takes; the rest may be a record in a thousand that a sensor held back for an hour."""
MUCH = 0.01
"""The share of late ones from which on something should be done; the alarm for late flows rings as well."""
LONGEST_US = 900_000_000
"""Zeek's longest inactivity timeout is five minutes by default: what comes later than this waits for none."""
STEP_US = 10_000_000
"""Proposals are rounded up: the next hundred records need a little more."""


def behind_us(end_ts_us: Ints) -> Ints:
    """How long before the latest end seen earlier each row of one sensor ends, in raw order; 0 where it is later."""
    behind = np.zeros(len(end_ts_us), np.int64)
    behind[1:] = np.maximum(np.maximum.accumulate(end_ts_us)[:-1] - end_ts_us[1:], 0)
    return behind


def late_rows(end_ts_us: Ints, lateness_us: int) -> npt.NDArray[np.bool_]:
    """Rows of one sensor, in raw order, that end more than `lateness_us` before the latest end seen earlier."""
    return behind_us(end_ts_us) > lateness_us


def within_us(behind: Ints, share: float = TAKEN_SHARE) -> int:
    """The least lateness with which at least `share` of rows that are so far behind (us) are on time; 0 of no rows."""
    if not len(behind):
        return 0
    last = min(max(math.ceil(share * len(behind)), 1), len(behind)) - 1
    return int(np.partition(behind, last)[last])


def proposed_us(behind: Ints, share: float = TAKEN_SHARE) -> int:
    """A lateness to set, with which at least `share` of rows is on time: `within_us`, rounded up to ten seconds."""
    return -(-within_us(behind, share) // STEP_US) * STEP_US
