"""The KDD windows' arrays: empty, grown, and filled again from a saved queue."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled
from pipeline.featurize.windows import kdd
from pipeline.featurize.windows.bounded_tables import ADDITIONS, TIME_TABLES, Bounds, grow_tables, limits
from pipeline.featurize.windows.kdd import DST, END_US, ERRORS, LENGTH, SERVICE, CountWindow, TimeWindow, push
from pipeline.featurize.windows.tables import crowded, new_table


def new_time_window(entries: int = 32) -> TimeWindow:
    """An empty 2 s window, for a few entries at first."""
    rows = entries + 1
    return TimeWindow(
        queue=np.zeros((entries, 4), np.int64),
        counted=np.zeros((entries, 3), np.int32),
        queued=np.zeros(3, np.int64),
        dsts=new_table(entries),
        dst_counts=np.zeros((rows, 4), np.int64),
        services=new_table(entries),
        service_counts=np.zeros((rows, 4), np.int64),
        pairs=new_table(entries),
        pair_counts=np.zeros(rows, np.int64),
    )


def new_count_window(entries: int = 32, guarded_bound: int = 0) -> CountWindow:
    """An empty window of the newest flows, for a few destinations at first."""
    rows = entries + 1
    return CountWindow(
        dsts=new_table(entries, guarded_bound),
        service=np.zeros((rows, kdd.RING), np.uint64),
        src_port=np.zeros((rows, kdd.RING), np.int32),
        flags=np.zeros((rows, kdd.RING), np.uint8),
        ring=np.zeros((rows, 5), np.int32),
        all_dst=np.zeros(kdd.RING, np.uint64),
        all_service=np.zeros(kdd.RING, np.uint64),
        all_flags=np.zeros(kdd.RING, np.uint8),
        all_ring=np.zeros(2, np.int32),
    )


@compiled
def short_of_time(time: TimeWindow, most: npt.NDArray[np.int64], queue: int) -> bool:
    """Whether the 2 s window must grow before the next flow; most: of its tables, queue: of its flows."""
    return (
        crowded(time.dsts, ADDITIONS, most[0])
        or crowded(time.services, ADDITIONS, most[1])
        or crowded(time.pairs, ADDITIONS, most[2])
        or (time.queued[LENGTH] == len(time.queue) and len(time.queue) < queue)
    )


@compiled
def _push_all(
    time: TimeWindow, queue: npt.NDArray[np.int64], most: npt.NDArray[np.int64], longest: int, first: int
) -> int:
    for row in range(first, len(queue)):
        if short_of_time(time, most, longest):
            return row
        push(time, queue[row, END_US], np.uint64(queue[row, DST]), np.uint64(queue[row, SERVICE]), queue[row, ERRORS])
    return len(queue)


class _Alone(NamedTuple):
    time: TimeWindow


def refilled(queue: npt.NDArray[np.int64], bounds: Bounds) -> TimeWindow:
    """A 2 s window with these flows (k, 4) in its queue."""
    alone, most, done = _Alone(new_time_window()), limits(TIME_TABLES, bounds), 0
    while (done := _push_all(alone.time, queue, most, int(most[-1]), done)) < len(queue):
        alone = grow_tables(alone, TIME_TABLES, bounds)
    return alone.time
