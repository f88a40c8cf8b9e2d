"""Which sensors have fallen silent: a decision by the wall clock, made here once and written into the log."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.ingest.messages import Messages

MOST_SENSORS = 65_536  # beyond it the longest silent one is forgotten: its flows wait until it speaks again


class Silent(NamedTuple):
    """A sensor that is due for a tick, and the `raw` partition it writes to."""

    partition: int
    site: str
    sensor: str


class Silence:
    """When each sensor was last heard, oldest first; a sensor that has had its tick, or has ended, is forgotten.

    It is memory of a process: after a restart a sensor counts from when it is heard again. What that costs is a wait,
    never a result: flows go on later, in the same order.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._heard: dict[Silent, float] = {}

    def hear(self, messages: Messages, now_s: float) -> None:
        """Note who sent records just now, by a clock that only goes forward; of a sensor the last message counts."""
        if not self._idle_s:
            return
        senders = messages.partition * np.int64(len(messages.streams)) + messages.stream
        found, backwards = np.unique(senders[::-1], return_index=True)
        for sender in found[np.argsort(-backwards)].tolist():
            partition, number = divmod(sender, len(messages.streams))
            stream = messages.streams[number]
            if not stream.fault:
                name = Silent(partition, stream.site, stream.sensor)
                self._heard.pop(name, None)
                if not stream.marks:
                    self._heard[name] = now_s
        while len(self._heard) > MOST_SENSORS:
            del self._heard[next(iter(self._heard))]

    def due(self, now_s: float) -> list[Silent]:
        """Sensors that have been silent long enough, by name."""
        return sorted(self._overdue(now_s))

    def told(self, silent: Iterable[Silent]) -> None:
        """Their ticks are in the log."""
        for name in silent:
            self._heard.pop(name, None)

    def keep(self, partitions: set[int]) -> None:
        """Forget the sensors of partitions that are no longer ours."""
        self._heard = {name: heard for name, heard in self._heard.items() if name.partition in partitions}

    def _overdue(self, now_s: float) -> Iterator[Silent]:
        for name, heard_s in self._heard.items():
            if now_s - heard_s < self._idle_s:
                return
            yield name
