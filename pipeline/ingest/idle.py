"""Which sensors are idle: a decision by the wall clock, made here once and written into the log."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.ingest.messages import Messages

# Beyond it the sensor that has been idle longest is forgotten: its last flows wait until it sends again. Several times
# as many as the sensors that a worker's partitions may have (`max_sensors`).
MAX_SENSORS = 65_536


class IdleSensor(NamedTuple):
    """A sensor that is due for a tick, and the `raw` partition it writes to."""

    partition: int
    site: str
    sensor: str


class IdleDetector:
    """When each sensor last sent records, longest ago first; one that has had its tick, or has ended, is forgotten.

    A sensor whose messages state a lateness is waited for at least so long: what is late by less may still come.

    It is memory of a process: after a restart a sensor counts from when it sends again. What that costs is a wait.

    Parameters
    ----------
    lateness_us : which lateness the messages of a sensor state; 0: none
    """

    def __init__(self, idle_s: float, lateness_us: Callable[[IdleSensor], int]) -> None:
        self._idle_s = idle_s
        self._lateness_us = lateness_us
        self._last_sent_s: dict[IdleSensor, float] = {}

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
        while len(self._last_sent_s) > MAX_SENSORS:
            del self._last_sent_s[next(iter(self._last_sent_s))]

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

    def _expired(self, now_s: float) -> Iterator[IdleSensor]:
        for sensor, sent_s in self._last_sent_s.items():
            if now_s - sent_s < self._idle_s:
                return
            if now_s - sent_s >= self._lateness_us(sensor) / 1e6:
                yield sensor
