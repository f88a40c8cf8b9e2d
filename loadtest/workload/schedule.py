"""When each record is due: event time runs so many times as fast as the clock, whatever the system does."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadtest.conn_json import Ints
from loadtest.workload.scenario import BURST, Outage


@dataclass(frozen=True, slots=True)
class Schedule:
    """Intended send times of a run, in microseconds of the clock, a function of event time and sensor.

    start_us: when the run starts. event_start_us: the event time that is due then. speed: seconds of event time a
    second. duration_us: of the run. cut_off: for how many sensors, from the first on, the outage holds.
    """

    start_us: int
    event_start_us: int
    speed: float
    duration_us: int
    outage: Outage | None = None
    cut_off: int = 0

    @property
    def event_span_us(self) -> int:
        """How much event time passes."""
        return round(self.duration_us * self.speed)

    @property
    def _outage_us(self) -> tuple[int, int]:
        """When the outage starts and ends; (0, 0) where there is none."""
        if self.outage is None:
            return 0, 0
        bounds = (self.outage.start, self.outage.end)
        return tuple(self.start_us + round(share * self.duration_us) for share in bounds)  # type: ignore[return-value]

    def due_us(self, event_us: Ints, sensor: int | Ints) -> Ints:
        """(n,) when records of an event time are due; `sensor` is one for all or one a record."""
        due = self.start_us + ((event_us - self.event_start_us) / self.speed).astype(np.int64)
        if self.outage is None or self.outage.then != BURST:
            return due
        start, end = self._outage_us
        return np.where(self._inside(due, start, end) & self._is_cut_off(sensor), end, due)

    def never(self, event_us: Ints, sensor: int | Ints) -> npt.NDArray[np.bool_]:
        """(n,) whether records are lost in an outage after which nothing is sent later."""
        if self.outage is None or self.outage.then == BURST:
            return np.zeros(len(event_us), np.bool_)
        due = self.start_us + ((event_us - self.event_start_us) / self.speed).astype(np.int64)
        return self._inside(due, *self._outage_us) & self._is_cut_off(sensor)

    def event_at(self, clock_us: int) -> int:
        """The event time that is due at a point of the clock, outages left aside."""
        return self.event_start_us + round((clock_us - self.start_us) * self.speed)

    def _inside(self, due: Ints, start: int, end: int) -> npt.NDArray[np.bool_]:
        return (due >= start) & (due < end)

    def _is_cut_off(self, sensor: int | Ints) -> npt.NDArray[np.bool_]:
        return np.asarray(sensor) < self.cut_off


def schedule_of(
    start_us: int, duration_us: int, speed: float, outage: Outage | None = None, sensors: int = 1
) -> Schedule:
    """The schedule of a run whose last record happens now when it is sent; no record is from the future."""
    ahead_us = round(max(0.0, speed - 1) * duration_us)
    cut_off = max(1, round(outage.sensors * sensors)) if outage is not None else 0
    return Schedule(start_us, start_us - ahead_us, speed, duration_us, outage, cut_off)
