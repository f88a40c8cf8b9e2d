"""Event-time order: which flows are late, which may go on, and in what order windows see them.

A sensor's watermark is the latest end time seen minus the lateness. A flow is late if its end lies before the
watermark as it stood when the flow came. The others wait until the watermark has passed their end, and go on sorted
by (end time, record id, raw position): so their order over all batches is the same however the log is cut into
batches. A late flow is evaluated after exactly those flows the watermark had released when it came, for the same
reason. Where records wait to be put together (stitch.py), what ends after the first of them waits as well.

At most MOST_WAITING flows of a sensor wait. One more, and the watermark rises just past the earliest of them, flow by
flow in raw order: it goes on, and what comes still earlier is late.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.compiled import compiled
from pipeline.featurize.ordering import pairing
from pipeline.featurize.ordering.buffer import Keys

NO_WATERMARK = -(1 << 62)
MOST_WAITING = 131_072

Ints = npt.NDArray[np.int64]
_NONE = np.zeros(0, np.int64)


class Order(NamedTuple):
    """Indices into the waiting flows followed by the new ones."""

    released: Ints  # on-time flows whose turn has come, in event-time order; of several records the lowest raw position
    late: Ints  # late flows, in raw order
    late_by_us: Ints  # of each late flow, > 0
    late_after: Ints  # of each late flow: how many of `released` are evaluated before it
    waiting: Ints  # the rest, in event-time order
    latest_us: int  # latest end time seen (later, where flows were hurried), or NO_WATERMARK
    hurried: int  # how many of `released` went before their time, for want of room
    joining: Ints  # records that go on within a flow of `released`, by that flow, then event time
    into: Ints  # of each of these: which of `released`


def in_event_order(keys: Keys) -> Ints:
    """Indices that sort flows by end, record id, then raw position; only where ends are equal more is looked at."""
    order = np.argsort(keys.end_us, kind="stable")
    end = keys.end_us[order]
    same = np.flatnonzero(end[1:] == end[:-1])
    if len(same):
        tied = np.union1d(same, same + 1)
        rows = order[tied]
        order[tied] = rows[np.lexsort(keys.at(rows))]
    return order


def sort_out(
    keys: Keys,
    waiting: int,
    latest_us: int,
    lateness_us: int,
    ended: bool,
    most_waiting: int = MOST_WAITING,
    window_us: int = 0,
    records: Callable[[Ints], pa.RecordBatch] | None = None,
) -> Order:
    """Sort out flows of which the first `waiting` came earlier and wait, in event-time order, and the rest just came,
    in raw order.

    keys: what the flows are ordered by; latest_us: latest end time seen before the new ones, or NO_WATERMARK; ended:
    nothing more will come, release everything; window_us: within which records are put together, 0: none are;
    records: the columns stitch.COLUMNS of the flows at some places, asked only where records are put together.
    """
    end = keys.end_us
    new, hurried = end[waiting:], 0
    latest = np.maximum.accumulate(np.concatenate(([latest_us], new)))
    if len(end) > most_waiting:
        hurried = _with_little_room(end, waiting, lateness_us, most_waiting, end.copy(), latest)
    watermark = np.where(latest[:-1] > NO_WATERMARK, latest[:-1] - lateness_us, NO_WATERMARK)
    is_late = new < watermark
    latest_us = int(latest[-1])
    passed = latest_us - lateness_us if latest_us > NO_WATERMARK else NO_WATERMARK
    order = in_event_order(keys)
    on_time = np.ones(len(end), bool)
    on_time[waiting:] = ~is_late
    order = order[on_time[order]]
    turn = len(order) if ended else int(np.searchsorted(end[order], passed, "left"))
    released, left, bounds = order[:turn], order[turn:], watermark[is_late]
    final_us, joining, into = end[released], _NONE, _NONE
    settled = records(released) if window_us and records is not None else None
    kinds = pairing.kinds_of(settled) if settled is not None else None
    if settled is not None and kinds is not None and kinds.any():
        whole = _flows_of(keys, released, settled, kinds, window_us, None if ended else passed, bounds)
        released, final_us, joining, into, bounds = whole
        gone = np.zeros(len(end), bool)
        gone[released], gone[joining] = True, True
        left = order[~gone[order]]
    return Order(
        released=released,
        late=waiting + np.flatnonzero(is_late),
        late_by_us=(watermark - new)[is_late],
        late_after=np.searchsorted(final_us, bounds, "left"),
        waiting=left,
        latest_us=latest_us,
        hurried=int(hurried),
        joining=joining,
        into=into,
    )


def _flows_of(
    keys: Keys,
    settled: Ints,
    records: pa.RecordBatch,
    kinds: pairing.Kinds,
    window_us: int,
    passed: int | None,
    bounds: Ints,
) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """What of the settled records (in event-time order) may go on, as flows.

    Returns `released` and their end times, `joining` and `into`; and up to which end time flows had gone on when the
    watermark stood at each of `bounds`.
    """
    end = keys.end_us[settled]
    first, decided_us = pairing.group(records, kinds, window_us)
    leaders = np.flatnonzero(first == np.arange(len(first)))
    last = leaders.copy()
    np.maximum.at(last, np.searchsorted(leaders, first), np.arange(len(first)))  # who ends last, of each flow
    candidates = leaders[kinds[leaders] != pairing.WHOLE]
    watermarks = bounds if passed is None else np.append(bounds, passed)
    until = np.empty(len(watermarks), np.int64)
    pairing.held_back(candidates, end, decided_us, watermarks.astype(np.int64), until)
    going = np.ones(len(leaders), bool) if passed is None else end[last] < until[-1]
    # A flow of several records is named by the lowest raw position among them.
    of = np.searchsorted(leaders, first)
    by_flow = np.lexsort((keys.raw_index[settled], keys.raw_offset[settled], of))
    lowest = by_flow[np.searchsorted(of[by_flow], np.arange(len(leaders)))]
    named = keys.at(settled[lowest[going]])
    order = np.lexsort(named._replace(end_us=end[last[going]]))
    chosen = np.flatnonzero(going)[order]
    place = np.full(len(leaders), -1)
    place[chosen] = np.arange(len(chosen))
    rest = np.flatnonzero((place[of] >= 0) & (lowest[of] != np.arange(len(of))))
    rest = rest[np.argsort(place[of[rest]], kind="stable")]
    return settled[lowest[chosen]], end[last[chosen]], settled[rest], place[of[rest]], until[: len(bounds)]


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
