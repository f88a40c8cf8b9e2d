"""Which sensors of a partition have been silent for too long, decided by the order of its flows alone.

A partition's event time is the latest end time of its flows so far, in raw order. A sensor expires when that has moved
on by more than SENSOR_RETENTION_US since the sensor's last flow. So it does not matter how the log was cut into
messages: where a sensor sends again in the same message in which it expired, `cuts` says before which row.

Five flows at hours 0, 1, 26, 27, 2 of sensors a, b, b, b, a:

    row   sensor  ends at  event time before it  of the sensor's last flow
    0     a         0 h    -                     -
    1     b         1 h     0 h                  -
    2     b        26 h     1 h                   1 h
    3     b        27 h    26 h                  26 h
    4     a         2 h    27 h                   0 h                        27 h - 0 h > 24 h: a starts anew, cut here

What is usual at a sensor, its baseline, is retained for longer: until BASELINE_RETENTION_US, of at most
MAX_IDLE_BASELINES sensors that do not send. Where such a sensor sends again the message is cut too, so that who makes
way is decided before.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.contracts.baseline import Phase
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.sensor_retention import BASELINE_RETENTION_US, SENSOR_RETENTION_US

MAX_IDLE_BASELINES = 256
"""A partition's, as many as sensors may send in it: 36 MB where plants are at work, 100 MB at the most."""

Ints = npt.NDArray[np.int64]


def cuts(
    newest_us: int,
    heard_us: Mapping[SensorName, int],
    rows_of: Mapping[SensorName, Ints],
    end_us: Ints,
    idle: Collection[SensorName] = (),
) -> list[int]:
    """Indices of the rows before which a sensor expired that the row is of, or that end its idleness, ascending.

    Parameters
    ----------
    newest_us
        The partition's event time before the first row.
    heard_us
        That event time at each sensor's last flow.
    rows_of
        Indices of each sensor's rows, ascending.
    end_us
        (n,) end times of the rows, in raw order.
    idle
        Sensors of which nothing but the baseline is left.
    """
    if not len(end_us):
        return []
    after_us = np.maximum(np.maximum.accumulate(end_us), newest_us)
    before_us = np.concatenate(([newest_us], after_us[:-1]))
    last_of = {name: heard_us[name] for name in rows_of if name in heard_us and name not in idle}
    before = {int(rows[0]) for name, rows in rows_of.items() if name in idle} - {0}
    if int(after_us[-1]) - min([int(after_us[0]), *last_of.values()]) <= SENSOR_RETENTION_US:
        return sorted(before)  # none, nearly always
    for name, rows in rows_of.items():
        last_us = np.concatenate(([last_of.get(name, int(before_us[rows[0]]))], after_us[rows[:-1]]))
        before.update(rows[before_us[rows] - last_us > SENSOR_RETENTION_US].tolist())
    return sorted(before)


def heard(
    newest_us: int, heard_us: Mapping[SensorName, int], rows_of: Mapping[SensorName, Ints], end_us: Ints
) -> tuple[int, dict[SensorName, int]]:
    """The partition's event time after the rows, and what it was at each sensor's last flow; arguments as in `cuts`."""
    if not len(end_us):
        return newest_us, dict(heard_us)
    after_us = np.maximum(np.maximum.accumulate(end_us), newest_us)
    return int(after_us[-1]), {**heard_us, **{name: int(after_us[rows[-1]]) for name, rows in rows_of.items()}}


def expired(newest_us: int, heard_us: Mapping[SensorName, int]) -> Sequence[SensorName]:
    """The sensors that have been silent for too long when the partition's event time is `newest_us`, by name."""
    return sorted(name for name, last_us in heard_us.items() if newest_us - last_us > SENSOR_RETENTION_US)


def retained(newest_us: int, heard_us: Mapping[SensorName, int], idle: Mapping[SensorName, Phase]) -> set[SensorName]:
    """The idle sensors whose baselines stay when the partition's event time is `newest_us`.

    Where there are too many, those that had not learnt yet make way, and then those that have been idle for longest.

    Parameters
    ----------
    heard_us
        The partition's event time at each sensor's last flow.
    idle
        The phase of each sensor of which nothing but the baseline is left.
    """
    young = [name for name in idle if newest_us - heard_us[name] <= BASELINE_RETENTION_US]
    young.sort(key=lambda name: (idle[name] == Phase.LEARNING, -heard_us[name], name))
    return set(young[:MAX_IDLE_BASELINES])
