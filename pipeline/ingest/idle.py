"""Which sensors are idle: a decision by the wall clock, made here once and written into the log."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.contracts.lateness import NEVER_US, takes_over
from pipeline.ingest.messages import Messages

# Beyond it the sensor that has been idle longest is forgotten: its last flows wait until it sends again. Several times
# as many as the sensors that a worker's partitions may have (`max_sensors`).
MAX_SENSORS = 65_536


class IdleSensor(NamedTuple):
    """A sensor that is due for a tick, and the `raw` partition it writes to."""

    partition: int
    site: str
    sensor: str


class _Stated(NamedTuple):
    """The lateness that a sensor's messages state, and when by our clock they last did."""

    us: int
    at_us: int


_NONE = _Stated(0, NEVER_US)


class IdleDetector:
    """When each sensor last sent records, longest ago first; one that has had its tick, or has ended, is forgotten.

    A sensor whose messages state a lateness is waited for at least so long: what is late by less may still come.

    It is memory of a process: after a restart a sensor counts from when it sends again. What that costs is a wait, and
    where only those of a sensor's messages have come since that state less, a tick that is early by as much.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._last_sent_s: dict[IdleSensor, float] = {}
        self._stated: dict[IdleSensor, _Stated] = {}

    def observe(self, messages: Messages, now_s: float) -> None:
        """Note who sent records just now, by a clock that only goes forward; of a sensor the last message counts."""
        if not self._idle_s:
            return
        senders = messages.partition * np.int64(len(messages.sources)) + messages.source
        distinct, backwards = np.unique(senders[::-1], return_index=True)
        for sender in distinct[np.argsort(-backwards)].tolist():
            partition, number = divmod(sender, len(messages.sources))
            source = messages.sources[number]
            if not source.fault and not source.commands:
                sensor = IdleSensor(partition, source.site, source.sensor)
                self._last_sent_s.pop(sensor, None)
                if not source.marks:
                    self._last_sent_s[sensor] = now_s
                    self._note(sensor, source.lateness_us, round(now_s * 1e6))
                elif source.ends:
                    self._stated.pop(sensor, None)
        for kept in (self._last_sent_s, self._stated):
            while len(kept) > MAX_SENSORS:
                del kept[next(iter(kept))]

    def expired(self, now_s: float) -> list[IdleSensor]:
        """Sensors that have been idle long enough for a tick, by name."""
        return sorted(self._expired(now_s))

    def mark_ticked(self, sensors: Iterable[IdleSensor]) -> None:
        """Their ticks are in the log."""
        for sensor in sensors:
            self._last_sent_s.pop(sensor, None)

    def retain(self, partitions: set[int]) -> None:
        """Forget the sensors of partitions that are no longer ours."""
        self._last_sent_s = {
            sensor: sent_s for sensor, sent_s in self._last_sent_s.items() if sensor.partition in partitions
        }
        self._stated = {sensor: stated for sensor, stated in self._stated.items() if sensor.partition in partitions}

    def _note(self, sensor: IdleSensor, says_us: int | None, now_us: int) -> None:
        """Of several that a sensor's messages state the largest holds, as in featurize, but by our clock."""
        holds = self._stated.get(sensor, _NONE)
        if says_us is None and holds is _NONE:
            return
        if takes_over(says_us or 0, *holds, now_us):
            self._stated.pop(sensor, None)
            self._stated[sensor] = _Stated(says_us or 0, now_us)

    def _expired(self, now_s: float) -> Iterator[IdleSensor]:
        for sensor, sent_s in self._last_sent_s.items():
            if now_s - sent_s < self._idle_s:
                return
            if now_s - sent_s >= self._stated.get(sensor, _NONE).us / 1e6:
                yield sensor
