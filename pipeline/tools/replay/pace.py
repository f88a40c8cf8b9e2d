"""Replays at a speed: when a step is due by event time; an archive's files cut so that sensors come side by side."""

import heapq
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.contracts.envelope import SensorWatermark
from pipeline.tools.replay.history import ArchivedStep, Step

Timed = tuple[int, int, ArchivedStep]
"""Number of a slice of event time, number of the sensor, what falls into it."""


class Pace:
    """When a step is due, by its latest flow, at so many times the speed at which it happened.

    What lies beyond `until_us` is due at once: it is read for what is open there, and nobody waits for it.
    """

    def __init__(self, speed: float, until_us: int | None = None) -> None:
        self._speed, self._until_us = speed, until_us
        self._first: tuple[float, int] | None = None

    def wait_s(self, step: Step) -> float:
        """Seconds until it is due, 0 where it is."""
        if not len(step.rows):
            return 0.0
        end_us = int(step.rows.column("end_ts_us").to_numpy().max())
        if self._until_us is not None:
            end_us = min(end_us, self._until_us)
        if self._first is None:
            self._first = time.monotonic(), end_us
        started_s, first_us = self._first
        return max(0.0, started_s + (end_us - first_us) / 1e6 / self._speed - time.monotonic())


def slice_us(speed: float) -> int:
    """How much event time is a second of a replay at a speed."""
    return max(1, round(speed * 1_000_000))


def side_by_side(sensors: Iterable[Iterator[ArchivedStep]], width_us: int, position: int) -> Iterator[ArchivedStep]:
    """Steps of an archive's sensors, each in slices of event time, all sensors' slices in order of time, numbered.

    Each sensor holds the rows of one file. Steps below `position` are left out; the numbers are the same every time.
    """
    streams = [_slices(steps, number, width_us) for number, steps in enumerate(sensors)]
    for number, (_, _, step) in enumerate(heapq.merge(*streams, key=lambda timed: timed[:2])):
        if number >= position:
            yield step._replace(position=number, facts=replace(step.facts, seq=number))


def _slices(steps: Iterator[ArchivedStep], sensor: int, width_us: int) -> Iterator[Timed]:
    at = -(2**62)
    for step in steps:
        for number, part in cut(step, width_us):
            # A step without rows, an end of source: at once after what came before it.
            at = number if number is not None else at
            yield at, sensor, part


def cut(step: ArchivedStep, width_us: int) -> Iterator[tuple[int | None, ArchivedStep]]:
    """A sensor's step in slices of event time: the number of each slice, and its part of the step, rows in their order.

    A row falls where the sensor's clock stood when it counted: a late one where the watermark it met did. A part ends
    with the watermark at its latest row; the last one with what the step ends with.
    """
    rows = step.rows
    if not len(rows):
        yield None, step
        return
    clock_us = rows.column("end_ts_us").to_numpy() + rows.column("late_by_us").to_numpy()
    numbers = clock_us // width_us
    order = np.argsort(numbers, kind="stable")
    ordered, slices, firsts = rows.take(pa.array(order)), *np.unique(numbers[order], return_index=True)
    site, sensor = rows.column("site")[0].as_py(), rows.column("sensor")[0].as_py()
    bounds = [*firsts.tolist(), len(rows)]
    for number, first, end in zip(slices.tolist(), bounds, bounds[1:], strict=False):
        facts = step.facts
        if end < len(rows):
            watermark = SensorWatermark(site, sensor, int(clock_us[order[first:end]].max()))
            facts = replace(facts, watermarks=(watermark,), ended=(), evicted=())
        yield number, step._replace(rows=ordered.slice(first, end - first), facts=facts)
