"""Event-time order: which flows are late, which are released, and in what order windows see them.

A sensor's watermark is the latest end time seen minus the lateness (clocks.py). A flow is late if its end lies before
the watermark as it stood when the flow came. The others wait until the watermark has passed their end, and are released
sorted by (end time, record id, raw position): so their order over all batches is the same however the log is cut into
batches. A late flow is evaluated after exactly those flows the watermark had released when it came, for the same
reason. Where records wait to be merged (pairing.py), what ends after the first of them waits as well.

At most MAX_WAITING flows of a sensor wait. One more, and the watermark rises just past the earliest of them, flow by
flow in raw order: it is released early, and what comes still earlier is late.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.compiled import compiled
from pipeline.featurize.ordering import pairing
from pipeline.featurize.ordering.buffer import Keys
from pipeline.featurize.ordering.clocks import PASSED, run_clocks

MAX_WAITING = 131_072
"""Flows of one sensor: bounds its memory, whatever lateness is asked for."""

Ints = npt.NDArray[np.int64]
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Sensors:
    """What the order of k sensors' flows depends on beside the flows, an array of k each.

    clocks (k, 5): before the new flows (clocks.py); flush: nothing more will come, or not for long, so everything is
    released; window_us: within which records of one flow are merged, 0: none are.
    """

    clocks: Ints
    flush: npt.NDArray[np.bool_]
    window_us: Ints

    @property
    def count(self) -> int:
        """How many sensors."""
        return len(self.clocks)


class Order(NamedTuple):
    """The order of k sensors' flows: indices into all that waited, sensor by sensor, and then all new ones, likewise.

    `*_bounds` (k + 1,): where each sensor's begin, and where they end.
    """

    released: Ints  # on-time flows to emit, in event-time order; of several records the lowest raw position
    released_bounds: Ints
    late: Ints  # late flows, in raw order
    late_bounds: Ints
    late_by_us: Ints  # of each late flow, > 0
    late_after: Ints  # of each late flow: how many of `released` of its sensor are evaluated before it
    waiting: Ints  # the rest, in event-time order
    waiting_bounds: Ints
    clocks: Ints  # (k, 5) after the new flows
    released_early: Ints  # (k,) how many of `released` the watermark had not passed: too many waited
    joining: Ints  # records merged into a flow of `released`, by that flow, then event time
    into: Ints  # of each of these: which of `released`


def in_event_order(keys: Keys, sensor: Ints) -> Ints:
    """Indices that sort flows by sensor, end, record id, then raw position; only equal ends need the other keys."""
    order = np.argsort(keys.end_us, kind="stable")
    if len(sensor) and (sensor != sensor[0]).any():
        order = order[np.argsort(sensor[order], kind="stable")]
    end, of = keys.end_us[order], sensor[order]
    same = np.flatnonzero((end[1:] == end[:-1]) & (of[1:] == of[:-1]))
    if len(same):
        tied = np.union1d(same, same + 1)
        rows = order[tied]
        order[tied] = rows[np.lexsort((*keys.at(rows), sensor[rows]))]
    return order


def reorder(
    keys: Keys,
    waited: Ints,
    new: Ints,
    stated: Ints,
    sensors: Sensors,
    max_waiting: int = MAX_WAITING,
    records: Callable[[Ints], pa.RecordBatch] | None = None,
) -> Order:
    """Put the flows of all sensors into event-time order at once; which are released, which are late, which wait.

    Five flows of one sensor, one that waits and four new ones, lateness 2 s, latest end time so far 10 s:

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
        What the flows are ordered by: of those that came earlier and wait, sensor by sensor in event-time order, then
        of the new ones, sensor by sensor in raw order.
    waited, new
        (k,) how many flows of each sensor waited, and how many are new.
    stated
        (n,) the lateness that each new flow's message states, or UNSTATED_US.
    max_waiting
        How many flows of a sensor may wait.
    records
        Gives the columns `pairing.COLUMNS` of the flows at some indices; called only where records are merged.
    """
    of = np.concatenate((np.repeat(np.arange(sensors.count), waited), np.repeat(np.arange(sensors.count), new)))
    first_new = int(waited.sum())
    came = _came_after(keys.end_us, waited, new, stated, sensors, max_waiting)
    is_late = keys.end_us[first_new:] < came.watermark_us
    late = _Late(first_new + np.flatnonzero(is_late), came.watermark_us[is_late])
    on_time = in_event_order(keys, of)
    if len(late.rows):
        on_time = _without(on_time, len(of), late.rows)
    merged, waiting = _released(keys, of, on_time, late, sensors, came.clocks[:, PASSED], records)
    return _sensor_by_sensor(keys.end_us, of, came, late, merged, waiting)


class _Late(NamedTuple):
    """The late flows, in raw order, and of each where its sensor's watermark stood when it came."""

    rows: Ints
    watermark_us: Ints


def _released(
    keys: Keys,
    of: Ints,
    on_time: Ints,
    late: _Late,
    sensors: Sensors,
    passed_us: Ints,
    records: Callable[[Ints], pa.RecordBatch] | None,
) -> "tuple[_Merged, Ints]":
    """Of flows in event-time order, sensor by sensor: those that leave, merged, and those that wait on."""
    is_due = sensors.flush[of[on_time]] | (keys.end_us[on_time] < passed_us[of[on_time]])
    due, waiting = on_time[is_due], on_time[~is_due]
    merged = _all_merged(keys, of, due, late, sensors, passed_us, records)
    if len(merged.released) < len(due):  # some are part of others, or wait for their part
        waiting = _without(on_time, len(of), merged.released, merged.joining)
    return merged, waiting


def _sensor_by_sensor(end: Ints, of: Ints, came: "_Came", late: _Late, merged: "_Merged", waiting: Ints) -> Order:
    """The order, with where each sensor's flows begin, and how many of them are evaluated before each late one."""
    count = len(came.clocks)
    released_bounds, late_after = _bounds(of[merged.released], count), np.empty(len(late.rows), np.int64)
    _count_before(merged.end_us, released_bounds, of[late.rows], merged.released_until_us, late_after)
    return Order(
        released=merged.released,
        released_bounds=released_bounds,
        late=late.rows,
        late_bounds=_bounds(of[late.rows], count),
        late_by_us=late.watermark_us - end[late.rows],
        late_after=late_after,
        waiting=waiting,
        waiting_bounds=_bounds(of[waiting], count),
        clocks=came.clocks,
        released_early=came.released_early,
        joining=merged.joining,
        into=merged.into,
    )


def _without(order: Ints, flows: int, *gone: Ints) -> Ints:
    """The indices in `order`, which are below `flows`, that are none of these."""
    stays = np.ones(flows, bool)
    stays[np.concatenate(gone)] = False
    return order[stays[order]]


def _bounds(of: Ints, sensors: int) -> Ints:
    """(sensors + 1,) where each sensor's begin and end, of flows in the order of their sensors."""
    return np.searchsorted(of, np.arange(sensors + 1))


class _Came(NamedTuple):
    """Of each new flow its sensor's watermark when it came; of each sensor the clock after all of them, and how many
    flows must be released early.
    """

    watermark_us: Ints
    clocks: Ints
    released_early: Ints


def _came_after(end: Ints, waited: Ints, new: Ints, stated: Ints, sensors: Sensors, max_waiting: int) -> _Came:
    first_new, released_early = int(waited.sum()), np.zeros(sensors.count, np.int64)
    clocks, watermark_us = sensors.clocks.copy(), np.empty(len(end) - first_new, np.int64)
    bounds, waited_bounds = (np.concatenate(([0], np.cumsum(counts))) for counts in (new, waited))
    run_clocks(end[first_new:], stated, bounds, clocks, watermark_us)
    for sensor in np.flatnonzero(waited + new > max_waiting).tolist():
        ours = slice(bounds[sensor], bounds[sensor + 1])
        of_sensor = np.concatenate((end[waited_bounds[sensor] : waited_bounds[sensor + 1]], end[first_new:][ours]))
        watermark = np.append(watermark_us[ours], clocks[sensor, PASSED])
        released_early[sensor] = _release_early(
            of_sensor, int(waited[sensor]), max_waiting, of_sensor.copy(), watermark
        )
        watermark_us[ours], clocks[sensor, PASSED] = watermark[:-1], watermark[-1]
    return _Came(watermark_us, clocks, released_early)


@compiled
def _count_before(end: Ints, bounds: Ints, of: Ints, until: Ints, out: Ints) -> None:
    """Fill out (m,): how many flows of sensor of[i] end before until[i]; each sensor's ends are in order."""
    for late in range(len(of)):
        low, high = bounds[of[late]], bounds[of[late] + 1]
        first = low
        while low < high:
            middle = (low + high) // 2
            if end[middle] < until[late]:
                low = middle + 1
            else:
                high = middle
        out[late] = low - first


def _all_merged(
    keys: Keys,
    of: Ints,
    due: Ints,
    late: _Late,
    sensors: Sensors,
    passed: Ints,
    records: Callable[[Ints], pa.RecordBatch] | None,
) -> "_Merged":
    """The flows of which the watermark has passed all records, `due` of all sensors, and which may leave."""
    end_us = keys.end_us[due]
    whole = _Merged(due, end_us, _NONE, _NONE, late.watermark_us)
    merges = sensors.window_us[of[due]] > 0
    kinds = keys.kind[due]
    is_part = merges & (kinds != pairing.WHOLE)
    if records is None or not is_part.any():
        return whole
    has_parts, settled = np.unique(of[due][is_part]), records(due)
    bounds, late_bounds, parts = _bounds(of[due], sensors.count), _bounds(of[late.rows], sensors.count), []
    base = 0
    for sensor in range(sensors.count):
        ours = slice(int(bounds[sensor]), int(bounds[sensor + 1]))
        late_until = late.watermark_us[late_bounds[sensor] : late_bounds[sensor + 1]]
        part = _Merged(due[ours], end_us[ours], _NONE, _NONE, late_until)
        if sensor in has_parts:
            until = None if sensors.flush[sensor] else int(passed[sensor])
            rows = settled.slice(ours.start, ours.stop - ours.start)
            part = _merged(keys, due[ours], rows, kinds[ours], int(sensors.window_us[sensor]), until, late_until)
        parts.append(part._replace(into=part.into + base))
        base += len(part.released)
    return _Merged(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


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
def _release_early(end: Ints, waiting: int, max_waiting: int, heap: Ints, watermark: Ints) -> int:
    """Raise watermark[1:] to what it is when at most `max_waiting` flows may wait; returns how many are released early.

    watermark (new + 1,): when each new flow came, and after the last. heap (n,): a copy of `end`, whose first `waiting`
    values are in order, so a heap as they stand.
    """
    size, released_early, now = waiting, 0, watermark[0]
    for row in range(len(end) - waiting):
        came = end[waiting + row]
        if came >= now:
            _push(heap, size, came)
            size += 1
        now = max(now, watermark[row + 1])
        while size > 0 and heap[0] < now:
            _pop(heap, size)
            size -= 1
        while size > max_waiting:
            now = heap[0] + 1
            while size > 0 and heap[0] < now:
                _pop(heap, size)
                size -= 1
                released_early += 1
        watermark[row + 1] = now
    return released_early
