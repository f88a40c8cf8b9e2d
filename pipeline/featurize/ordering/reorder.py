"""Event-time order: which flows are late, which are released, and in what order windows see them.

A sensor's watermark is the latest end time seen minus the lateness. A flow is late if its end lies before the
watermark as it stood when the flow came. The others wait until the watermark has passed their end, and are released
sorted by (end time, record id, raw position): so their order over all batches is the same however the log is cut into
batches. A late flow is evaluated after exactly those flows the watermark had released when it came, for the same
reason. Where records wait to be merged (pairing.py), what ends after the first of them waits as well.

At most MAX_WAITING flows of a sensor wait. One more, and the watermark rises just past the earliest of them, flow by
flow in raw order: it is released early, and what comes still earlier is late.
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
MAX_WAITING = 131_072
"""Flows of one sensor: bounds its memory, whatever lateness is asked for."""

Ints = npt.NDArray[np.int64]
_NONE = np.zeros(0, np.int64)


class Order(NamedTuple):
    """Indices into the waiting flows followed by the new ones."""

    released: Ints  # on-time flows to emit, in event-time order; of several records the lowest raw position
    late: Ints  # late flows, in raw order
    late_by_us: Ints  # of each late flow, > 0
    late_after: Ints  # of each late flow: how many of `released` are evaluated before it
    waiting: Ints  # the rest, in event-time order
    latest_us: int  # latest end time seen (later, where flows were released early), or NO_WATERMARK
    released_early: int  # how many of `released` the watermark had not passed: too many waited
    joining: Ints  # records merged into a flow of `released`, by that flow, then event time
    into: Ints  # of each of these: which of `released`


def in_event_order(keys: Keys) -> Ints:
    """Indices that sort flows by end, record id, then raw position; only equal ends need the other keys."""
    order = np.argsort(keys.end_us, kind="stable")
    end = keys.end_us[order]
    same = np.flatnonzero(end[1:] == end[:-1])
    if len(same):
        tied = np.union1d(same, same + 1)
        rows = order[tied]
        order[tied] = rows[np.lexsort(keys.at(rows))]
    return order


def reorder(
    keys: Keys,
    waiting: int,
    latest_us: int,
    lateness_us: int,
    ended: bool,
    max_waiting: int = MAX_WAITING,
    window_us: int = 0,
    records: Callable[[Ints], pa.RecordBatch] | None = None,
) -> Order:
    """Put flows into event-time order, and decide which are released, which are late, and which wait.

    The first `waiting` flows came earlier and wait, in event-time order; the rest are new, in raw order. Five flows,
    one that waits and four new ones, lateness 2 s, latest end time so far 10 s:

        index       0     1     2     3     4
        end         9 s  14 s   7 s  11 s  13 s
        watermark   -     8 s  12 s  12 s  12 s    when the flow came: latest end before it, minus 2 s
                 waits   new  late  late   new     late: its end lies before that watermark

        released [0]        the watermark, 12 s at last, has passed its end
        waiting  [4, 1]     13 s, 14 s
        late     [2, 3]     late_by 5 s and 1 s; both evaluated after 1 of `released` (late_after [1, 1])

    Parameters
    ----------
    keys
        What the flows are ordered by.
    latest_us
        Latest end time seen before the new flows, or NO_WATERMARK.
    ended
        Nothing more will come: release everything.
    max_waiting
        How many flows may wait.
    window_us
        Within which records of one flow are merged; 0: none are.
    records
        Gives the columns `pairing.COLUMNS` of the flows at some indices; called only where records are merged.
    """
    end = keys.end_us
    new, released_early = end[waiting:], 0
    latest = np.maximum.accumulate(np.concatenate(([latest_us], new)))
    if len(end) > max_waiting:
        released_early = _release_early(end, waiting, lateness_us, max_waiting, end.copy(), latest)
    watermark = np.where(latest[:-1] > NO_WATERMARK, latest[:-1] - lateness_us, NO_WATERMARK)
    is_late = new < watermark
    latest_us = int(latest[-1])
    passed = latest_us - lateness_us if latest_us > NO_WATERMARK else NO_WATERMARK
    order = in_event_order(keys)
    on_time = np.ones(len(end), bool)
    on_time[waiting:] = ~is_late
    order = order[on_time[order]]
    due = len(order) if ended else int(np.searchsorted(end[order], passed, "left"))
    released, left, bounds = order[:due], order[due:], watermark[is_late]
    final_us, joining, into = end[released], _NONE, _NONE
    settled = records(released) if window_us and records is not None else None
    kinds = pairing.kinds_of(settled) if settled is not None else None
    if settled is not None and kinds is not None and kinds.any():
        merged = _merged(keys, released, settled, kinds, window_us, None if ended else passed, bounds)
        released, final_us, joining, into, bounds = merged
        leaving = np.zeros(len(end), bool)
        leaving[released], leaving[joining] = True, True
        left = order[~leaving[order]]
    return Order(
        released=released,
        late=waiting + np.flatnonzero(is_late),
        late_by_us=(watermark - new)[is_late],
        late_after=np.searchsorted(final_us, bounds, "left"),
        waiting=left,
        latest_us=latest_us,
        released_early=int(released_early),
        joining=joining,
        into=into,
    )


class _Merged(NamedTuple):
    """Records as the flows that are released.

    released, end_us: the record that names each flow, and when the flow ended; joining, into: the other records, and
    which of `released` each is part of; released_until_us: of each of the bounds asked for, up to which end time flows
    had been released when the watermark stood there.
    """

    released: Ints
    end_us: Ints
    joining: Ints
    into: Ints
    released_until_us: Ints


def _merged(
    keys: Keys,
    settled: Ints,
    records: pa.RecordBatch,
    kinds: pairing.Kinds,
    window_us: int,
    passed: int | None,
    bounds: Ints,
) -> _Merged:
    """The flows that the settled records (in event-time order, the watermark has passed them) make and that may leave.

    Four halves a, b (its answer), c, d (its answer), where d has not come yet, and a whole flow e after c:

        settled    a  b  c  e
        first      0  0  2  3      index of the first record of the same flow
        leaders    a     c  e      a leader's flow leaves when the last of its records may
        released   a               joining b into it; c waits for d, and e for c, which ends before it
    """
    end = keys.end_us[settled]
    first, decided_us = pairing.group(records, kinds, window_us)
    leaders = np.flatnonzero(first == np.arange(len(first)))
    last = leaders.copy()  # of each flow, the record that ends last
    np.maximum.at(last, np.searchsorted(leaders, first), np.arange(len(first)))
    candidates = leaders[kinds[leaders] != pairing.WHOLE]
    watermarks = bounds if passed is None else np.append(bounds, passed)
    until = np.empty(len(watermarks), np.int64)
    pairing.release_bounds(candidates, end, decided_us, watermarks.astype(np.int64), until)
    leaves = np.ones(len(leaders), bool) if passed is None else end[last] < until[-1]
    # A flow of several records is named by the lowest raw position among them.
    of = np.searchsorted(leaders, first)
    by_flow = np.lexsort((keys.raw_index[settled], keys.raw_offset[settled], of))
    lowest = by_flow[np.searchsorted(of[by_flow], np.arange(len(leaders)))]
    named = keys.at(settled[lowest[leaves]])
    order = np.lexsort(named._replace(end_us=end[last[leaves]]))
    chosen = np.flatnonzero(leaves)[order]
    rank = np.full(len(leaders), -1)  # of each flow, its index among those released
    rank[chosen] = np.arange(len(chosen))
    others = np.flatnonzero((rank[of] >= 0) & (lowest[of] != np.arange(len(of))))
    others = others[np.argsort(rank[of[others]], kind="stable")]
    return _Merged(settled[lowest[chosen]], end[last[chosen]], settled[others], rank[of[others]], until[: len(bounds)])


@compiled
def _push(heap: Ints, size: int, value: int) -> None:
    node = size
    while node > 0 and heap[(node - 1) // 2] > value:
        heap[node] = heap[(node - 1) // 2]
        node = (node - 1) // 2
    heap[node] = value


@compiled
def _pop(heap: Ints, size: int) -> None:
    value, node = heap[size - 1], 0
    while 2 * node + 1 < size - 1:
        child = 2 * node + 1
        if child + 1 < size - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[node] = heap[child]
        node = child
    heap[node] = value


@compiled
def _release_early(end: Ints, waiting: int, lateness_us: int, max_waiting: int, heap: Ints, latest: Ints) -> int:
    """Rewrite latest[1:] to what it is when at most `max_waiting` flows may wait; returns how many are released early.

    heap (n,): a copy of `end`, whose first `waiting` values are in order, so a heap as they stand.
    """
    size, released_early = waiting, 0
    for row in range(len(end) - waiting):
        came, now = end[waiting + row], latest[row]
        if now == NO_WATERMARK or came >= now - lateness_us:
            _push(heap, size, came)
            size += 1
        now = max(now, came)
        while size > 0 and heap[0] < now - lateness_us:
            _pop(heap, size)
            size -= 1
        while size > max_waiting:
            now = max(now, heap[0] + 1 + lateness_us)
            while size > 0 and heap[0] < now - lateness_us:
                _pop(heap, size)
                size -= 1
                released_early += 1
        latest[row + 1] = now
    return released_early
