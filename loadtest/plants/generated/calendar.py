"""Days, shifts and working hours of a plant, and the points in time at which its traffic comes."""

from dataclasses import dataclass

import numpy as np

from loadtest.plants.generated.chance import Chance, Ints

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WORKDAYS, WEEKEND, EVERY_DAY = range(5), range(5, 7), range(7)  # Monday is 0
SHIFTS = ((6, 14), (14, 22), (22, 30))
WORKING_HOURS = (8, 17)
_THURSDAY = 3  # 1970-01-01


@dataclass(frozen=True, slots=True)
class Calendar:
    """The time a plant is watched: from a midnight on, in the plant's local time, which is UTC."""

    start_us: int
    end_us: int

    @property
    def whole(self) -> Ints:
        """(1, 2) the window from start to end."""
        return np.array([[self.start_us, self.end_us]], np.int64)

    def daily(self, hours: tuple[float, float], weekdays: range = EVERY_DAY) -> Ints:
        """(k, 2) windows between two hours of the given weekdays, cut where the plant's time starts and ends.

        The second hour may be that of the next day: 22 to 30.
        """
        before = self.start_us // DAY_US - 1
        midnights = np.arange(before, self.end_us // DAY_US + 1)
        midnights = midnights[np.isin((midnights + _THURSDAY) % 7, list(weekdays))] * DAY_US
        windows = np.column_stack([midnights + round(hour * HOUR_US) for hour in hours])
        windows = np.clip(windows, self.start_us, self.end_us)
        return windows[windows[:, 0] < windows[:, 1]]

    def moments(self, hour: float, weekdays: range | tuple[int, ...]) -> list[int]:
        """An hour of the given weekdays, each time it comes."""
        first = self.start_us // DAY_US
        days = np.arange(first, self.end_us // DAY_US + 1)
        times = days[np.isin((days + _THURSDAY) % 7, list(weekdays))] * DAY_US + round(hour * HOUR_US)
        return [int(time) for time in times if self.start_us <= time < self.end_us]


def regular(chance: Chance, windows: Ints, period_us: int, jitter_us: int) -> Ints:
    """Points in time a period apart, as a timer makes them: what one comes too late, the next does not."""
    parts = []
    for start, end in windows.tolist():
        phase = chance.number(0, period_us - 1)
        times = np.arange(start + phase, end, period_us, dtype=np.int64)
        times += chance.below(jitter_us + 1, len(times))
        parts.append(times[times < end])
    return np.concatenate([np.zeros(0, np.int64), *parts])


def scattered(chance: Chance, windows: Ints, per_hour: float) -> Ints:
    """Points in time anywhere in the windows, so many an hour, in order of time."""
    lengths = windows[:, 1] - windows[:, 0]
    total = int(lengths.sum())
    count = int(total * per_hour / HOUR_US)
    if not count:
        return np.zeros(0, np.int64)
    offsets = np.sort(chance.below(total, count))
    ends = np.cumsum(lengths)
    window = np.searchsorted(ends, offsets, side="right")
    times: Ints = windows[window, 0] + offsets - (ends - lengths)[window]
    return times
