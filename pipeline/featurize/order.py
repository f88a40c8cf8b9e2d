"""Event-time order: which flows are late, which may go on, and in what order windows see them.

A sensor's watermark is the latest end time seen minus the lateness. A flow is late if its end lies before the
watermark as it stood when the flow came. The others wait until the watermark has passed their end, and go on sorted
by (end time, record id, raw position): so their order over all batches is the same however the log is cut into
batches. A late flow is evaluated after exactly those flows the watermark had released when it came, for the same
reason.

At most MOST_WAITING flows of a sensor wait. One more, and the watermark rises just past the earliest of them, flow by
flow in raw order: it goes on, and what comes still earlier is late.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.compiled import compiled

NO_WATERMARK = -(1 << 62)
MOST_WAITING = 131_072

Ints = npt.NDArray[np.int64]


class Order(NamedTuple):
    """Indices into the waiting flows followed by the new ones."""

    released: Ints  # on-time flows whose turn has come, in event-time order
    late: Ints  # late flows, in raw order
    late_by_us: Ints  # of each late flow, > 0
    late_after: Ints  # of each late flow: how many of `released` are evaluated before it
    waiting: Ints  # the rest, in event-time order
    latest_us: int  # latest end time seen (later, where flows were hurried), or NO_WATERMARK
    hurried: int  # how many of `released` went before their time, for want of room


def event_order(flows: pa.RecordBatch) -> Ints:
    """Indices that sort by end_ts_us, record_id, then raw position."""
    names = ("raw_index", "raw_offset", "raw_partition", "record_id", "end_ts_us")
    return np.lexsort([flows.column(name).to_numpy() for name in names])


def sort_out(
    flows: pa.RecordBatch,
    waiting: int,
    latest_us: int,
    lateness_us: int,
    ended: bool,
    most_waiting: int = MOST_WAITING,
) -> Order:
    """Sort out a batch whose first `waiting` rows came earlier and wait, the rest just came, in raw order.

    latest_us: latest end time seen before this batch, or NO_WATERMARK; ended: nothing more will come, release
    everything.
    """
    end = flows.column("end_ts_us").to_numpy()
    new, hurried = end[waiting:], 0
    latest = np.maximum.accumulate(np.concatenate(([latest_us], new)))
    if len(end) > most_waiting:
        hurried = _with_little_room(end, waiting, lateness_us, most_waiting, end.copy(), latest)
    watermark = np.where(latest[:-1] > NO_WATERMARK, latest[:-1] - lateness_us, NO_WATERMARK)
    is_late = new < watermark
    latest_us = int(latest[-1])
    passed = latest_us - lateness_us if latest_us > NO_WATERMARK else NO_WATERMARK
    order = event_order(flows)
    on_time = np.ones(len(end), bool)
    on_time[waiting:] = ~is_late
    order = order[on_time[order]]
    turn = len(order) if ended else int(np.searchsorted(end[order], passed, "left"))
    released = order[:turn]
    return Order(
        released=released,
        late=waiting + np.flatnonzero(is_late),
        late_by_us=(watermark - new)[is_late],
        late_after=np.searchsorted(end[released], watermark[is_late], "left"),
        waiting=order[turn:],
        latest_us=latest_us,
        hurried=int(hurried),
    )


@compiled
def _push(heap: Ints, size: int, value: int) -> None:
    place = size
    while place > 0 and heap[(place - 1) // 2] > value:
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = value


@compiled
def _pop(heap: Ints, size: int) -> None:
    value, place = heap[size - 1], 0
    while 2 * place + 1 < size - 1:
        child = 2 * place + 1
        if child + 1 < size - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@compiled
def _with_little_room(end: Ints, waiting: int, lateness_us: int, most_waiting: int, heap: Ints, latest: Ints) -> int:
    """Rewrite latest[1:] to what it is when at most `most_waiting` flows may wait; returns how many could not.

    heap (n,): a copy of `end`, whose first `waiting` values are in order, so a heap as they stand.
    """
    size, hurried = waiting, 0
    for row in range(len(end) - waiting):
        came, now = end[waiting + row], latest[row]
        if now == NO_WATERMARK or came >= now - lateness_us:
            _push(heap, size, came)
            size += 1
        now = max(now, came)
        while size > 0 and heap[0] < now - lateness_us:
            _pop(heap, size)
            size -= 1
        while size > most_waiting:
            now = max(now, heap[0] + 1 + lateness_us)
            while size > 0 and heap[0] < now - lateness_us:
                _pop(heap, size)
                size -= 1
                hurried += 1
        latest[row + 1] = now
    return hurried
