"""Which rows come too late, decided by the log's order alone."""

import numpy as np
import numpy.typing as npt


def late_rows(end_ts_us: npt.NDArray[np.int64], lateness_us: int) -> npt.NDArray[np.bool_]:
    """Rows of one sensor, in raw order, that end more than `lateness_us` before the latest end seen earlier."""
    late = np.zeros(len(end_ts_us), np.bool_)
    late[1:] = end_ts_us[1:] < np.maximum.accumulate(end_ts_us)[:-1] - lateness_us
    return late
