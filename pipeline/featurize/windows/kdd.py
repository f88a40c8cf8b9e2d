"""KDD'99's traffic features over event time, in NSL-KDD's reading of them (reference: window-features, section 3).

For flow c and window W (c included, as in NSL-KDD): D = flows of W to c's destination, V = flows of W with c's
service (protocol and destination port), n = |D|, m = |V|, s = distinct services in D, h = distinct destinations in V.
S0-S3 and SH count as SYN errors; REJ, RSTO, RSTR and RSTOS0 as rejections; only TCP flows can be in error. Rates are
not rounded.

Time window: W = flows whose end lies in (end of c - 2 s, end of c], evicted before computing; counts are capped at 511.
Count window: W = c and the newest 254 flows before it to its destination, filled up to 255 with the sensor's newest
flows to others.
A late flow sees the windows as they stand, itself included, and leaves them as they were.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled, mix64
from pipeline.featurize.windows.tables import Table, find, use

WINDOW_US = 2_000_000
COUNT_CAP = 511
RING = 254  # with the flow itself: 255
TIME_FEATURES, COUNT_FEATURES = 9, 10

HEAD, LENGTH, OVERFLOWED = 0, 1, 2  # of the time window's queue
END_US, DST, SERVICE, ERRORS = 0, 1, 2, 3  # columns of the queue
FLOWS, SERRORS, RERRORS, DISTINCT = 0, 1, 2, 3  # columns of the time window's counts
NEXT, FILLED, SERRORS_IN, RERRORS_IN, SERVICES_IN = 0, 1, 2, 3, 4  # of a ring

_SUPERSEDED = 4  # beside SERROR and RERROR (featurize/rows.py) in `flags`

Values = npt.NDArray[np.float64]


class TimeWindow(NamedTuple):
    """Queue of the flows of the last 2 s, and their counts by destination, by service and by both."""

    queue: npt.NDArray[np.int64]  # (q, 4), a ring: END_US, DST, SERVICE, ERRORS
    counted: npt.NDArray[np.int32]  # (q, 3): the entries of the tables below each flow is counted in
    queued: npt.NDArray[np.int64]  # (3,): HEAD, LENGTH, OVERFLOWED
    dsts: Table
    dst_counts: npt.NDArray[np.int64]  # (entries + 1, 4): FLOWS, SERRORS, RERRORS, DISTINCT services
    services: Table
    service_counts: npt.NDArray[np.int64]  # (entries + 1, 4): likewise, DISTINCT destinations
    pairs: Table
    pair_counts: npt.NDArray[np.int64]  # (entries + 1,)


class CountWindow(NamedTuple):
    """The newest flows of each destination (rings of 254 slots, one a table entry), and of the sensor (one such ring).

    A flow is superseded once a newer one with the same service (in a destination's ring) or the same destination and
    service (in the sensor's) stands in its ring: so distinct ones are counted without a set.
    """

    dsts: Table
    service: npt.NDArray[np.uint64]  # (entries + 1, 254)
    src_port: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]  # SERROR | RERROR | SUPERSEDED
    ring: npt.NDArray[
        np.int32
    ]  # (entries + 1, 5): NEXT slot to write, FILLED slots; SERRORS, RERRORS, SERVICES in them
    all_dst: npt.NDArray[np.uint64]  # (254,)
    all_service: npt.NDArray[np.uint64]
    all_flags: npt.NDArray[np.uint8]
    all_ring: npt.NDArray[np.int32]  # (2,): NEXT, FILLED


@compiled
def _serror(flags: int) -> int:
    return int(flags) & 1


@compiled
def _rerror(flags: int) -> int:
    return (int(flags) >> 1) & 1


@compiled
def pair_key(dst: np.uint64, service: np.uint64) -> np.uint64:
    """One key for a destination and a service."""
    return mix64(dst) ^ service


@compiled
def _add(table: Table, counts: npt.NDArray[np.int64], key: np.uint64, errors: int) -> int:
    """Count a flow under a key.

    Keys whose counts are back at 0 stay until their table is full; it holds more keys than the queue has
    flows, so what is least recently used is then always one of these.
    """
    entry, fresh = use(table, key)
    if fresh:
        counts[entry] = 0
    counts[entry, FLOWS] += 1
    counts[entry, SERRORS] += _serror(errors)
    counts[entry, RERRORS] += _rerror(errors)
    return entry


@compiled
def _take_out(counts: npt.NDArray[np.int64], entry: int, errors: int, last_of_pair: bool) -> None:
    counts[entry, FLOWS] -= 1
    counts[entry, SERRORS] -= _serror(errors)
    counts[entry, RERRORS] -= _rerror(errors)
    counts[entry, DISTINCT] -= int(last_of_pair)


@compiled
def _drop_oldest(w: TimeWindow) -> None:
    head = w.queued[HEAD]
    errors, pair = w.queue[head, ERRORS], w.counted[head, 2]
    w.pair_counts[pair] -= 1
    last = w.pair_counts[pair] == 0
    _take_out(w.dst_counts, w.counted[head, 0], errors, last)
    _take_out(w.service_counts, w.counted[head, 1], errors, last)
    w.queued[HEAD] = head + 1 if head + 1 < len(w.queue) else 0
    w.queued[LENGTH] -= 1


@compiled
def push(w: TimeWindow, end_us: int, dst: np.uint64, service: np.uint64, errors: int) -> tuple[int, int, int]:
    """Evict what is older than the window, then take in a flow; a full queue loses its oldest, counted.

    Returns the flow's entries in `dsts`, `services` and `pairs`. A table never gives away the entry of a flow that is
    in the queue, so the queue keeps them.
    """
    while w.queued[LENGTH] > 0 and w.queue[w.queued[HEAD], END_US] <= end_us - WINDOW_US:
        _drop_oldest(w)
    if w.queued[LENGTH] == len(w.queue):
        _drop_oldest(w)
        w.queued[OVERFLOWED] += 1
    slot = (w.queued[HEAD] + w.queued[LENGTH]) % len(w.queue)
    w.queue[slot, END_US], w.queue[slot, DST] = end_us, np.int64(dst)
    w.queue[slot, SERVICE], w.queue[slot, ERRORS] = np.int64(service), errors
    w.queued[LENGTH] += 1
    d, v = _add(w.dsts, w.dst_counts, dst, errors), _add(w.services, w.service_counts, service, errors)
    pair, fresh = use(w.pairs, pair_key(dst, service))
    if fresh:
        w.pair_counts[pair] = 0
    if w.pair_counts[pair] == 0:
        w.dst_counts[d, DISTINCT] += 1
        w.service_counts[v, DISTINCT] += 1
    w.pair_counts[pair] += 1
    w.counted[slot, 0], w.counted[slot, 1], w.counted[slot, 2] = d, v, pair
    return d, v, pair


@compiled
def _counts(out: Values, n: int, m: int, both: int, s: int, h: int) -> None:
    """The features both windows make of n, m, |D and V|, s and h; n, m >= 1 because the flow counts itself."""
    out[0], out[1] = min(n, COUNT_CAP), min(m, COUNT_CAP)
    out[6] = both / n
    out[7] = s / n if s > 1 else 0.0
    out[8] = h / m if h > 1 else 0.0


@compiled
def time_features(
    w: TimeWindow, end_us: int, dst: np.uint64, service: np.uint64, errors: int, late: bool, out: Values
) -> None:
    """Write the nine features of the 2 s window into out[0:9]; take the flow in unless it is late."""
    if late:
        d, v, pair = find(w.dsts, dst), find(w.services, service), find(w.pairs, pair_key(dst, service))
    else:
        d, v, pair = push(w, end_us, dst, service, errors)
    both = w.pair_counts[pair] if pair else 0
    itself, serror, rerror = int(late), 0, 0
    if late:
        serror, rerror = _serror(errors), _rerror(errors)
    distinct = int(late and both == 0)
    n = itself + (w.dst_counts[d, FLOWS] if d else 0)
    m = itself + (w.service_counts[v, FLOWS] if v else 0)
    s = distinct + (w.dst_counts[d, DISTINCT] if d else 0)
    h = distinct + (w.service_counts[v, DISTINCT] if v else 0)
    _counts(out, n, m, itself + both, s, h)
    out[2] = (serror + (w.dst_counts[d, SERRORS] if d else 0)) / n
    out[3] = (serror + (w.service_counts[v, SERRORS] if v else 0)) / m
    out[4] = (rerror + (w.dst_counts[d, RERRORS] if d else 0)) / n
    out[5] = (rerror + (w.service_counts[v, RERRORS] if v else 0)) / m


@compiled
def count_features(
    w: CountWindow, dst: np.uint64, service: np.uint64, src_port: int, errors: int, late: bool, out: Values
) -> None:
    """Write the ten features of the 255-flow window into out[0:10]; take the flow in unless it is late."""
    serror, rerror = _serror(errors), _rerror(errors)
    d = find(w.dsts, dst)
    n, same_port = 1 + (w.ring[d, FILLED] if d else 0), int(src_port >= 0)
    known, serrors, rerrors = 0, 0, 0
    if d:
        known, serrors, rerrors = _same_service(w.service[d], w.flags[d], w.ring[d], service)
        if src_port >= 0:
            for slot in range(w.ring[d, FILLED]):
                same_port += int(w.src_port[d, slot] == src_port)
    others, m, of_others, syn, rejected, before = _in_all(w, dst, service)
    wanted = RING + 1 - n
    if others > wanted:  # the oldest of the others do not fit
        m, syn, rejected, of_others = _newest_others(
            w, dst, service, wanted, others - wanted, m, syn, rejected, of_others
        )
    m, h = m + 1 + known, of_others + 1
    serrors, rerrors = serrors + syn, rerrors + rejected
    s = int(known == 0) + (w.ring[d, SERVICES_IN] if d else 0)
    _counts(out, n, m, 1 + known, s, h)
    out[2] = (serror + (w.ring[d, SERRORS_IN] if d else 0)) / n
    out[3] = (serror + serrors) / m
    out[4] = (rerror + (w.ring[d, RERRORS_IN] if d else 0)) / n
    out[5] = (rerror + rerrors) / m
    out[9] = same_port / n
    if not late:
        _keep(w, dst, service, src_port, errors, before)


@compiled
def _in_all(w: CountWindow, dst: np.uint64, service: np.uint64) -> tuple[int, int, int, int, int, int]:
    """Of the sensor's ring: flows to other destinations; those of this service, the destinations, SYN errors and
    rejections in them; and 1 + the slot of the newest flow to this destination with this service, or 0.

    Every slot is read, without an early exit: so it is compiled to a few vector instructions a slot.
    """
    others = m = h = syn = rejected = before = np.int64(0)
    for slot in range(w.all_ring[FILLED]):
        other = np.int64(w.all_dst[slot] != dst)
        mine = np.int64(w.all_service[slot] == service)
        flags = np.int64(w.all_flags[slot])
        newest = 1 - (flags >> 2)
        v = other & mine
        others += other
        m += v
        h += v & newest
        syn += v & flags
        rejected += v & (flags >> 1)
        before = np.int64(max(before, (1 - other) * mine * newest * (slot + 1)))
    return int(others), int(m), int(h), int(syn), int(rejected), int(before)


@compiled
def _newest_others(
    w: CountWindow,
    dst: np.uint64,
    service: np.uint64,
    wanted: int,
    too_many: int,
    m: int,
    syn: int,
    rejected: int,
    h: int,
) -> tuple[int, int, int, int]:
    """The same sums over the newest `wanted` flows to other destinations only, walking the shorter way.

    A ring of seven, NEXT = 3, so oldest to newest are slots 3 4 5 6 0 1 2; to other destinations are five of them:

        slot      3  4  5  6  0  1  2
        other     x  -  x  x  -  x  x
        wanted=2  too_many=3: start from 0 and walk back from slot 2, adding two others (slots 2, 1)
        wanted=4  too_many=1: start from the sums over all five and walk on from slot 3, taking away one (slot 3)
    """
    if wanted <= too_many:
        m, syn, rejected, h = 0, 0, 0, 0
        slot, left, step, sign = w.all_ring[NEXT], wanted, -1, 1
    else:
        slot = w.all_ring[NEXT] - 1 if w.all_ring[FILLED] == RING else -1
        left, step, sign = too_many, 1, -1
    while left > 0:
        slot += step
        if slot < 0:
            slot = RING - 1
        elif slot == RING:
            slot = 0
        if w.all_dst[slot] != dst:
            if w.all_service[slot] == service:
                flags = w.all_flags[slot]
                m += sign
                syn += sign * _serror(flags)
                rejected += sign * _rerror(flags)
                h += sign * int((flags & _SUPERSEDED) == 0)
            left -= 1
    return m, syn, rejected, h


@compiled
def _same_service(
    services: npt.NDArray[np.uint64], flags: npt.NDArray[np.uint8], ring: npt.NDArray[np.int32], service: np.uint64
) -> tuple[int, int, int]:
    """Flows of a destination's ring with this service, their SYN errors and their rejections."""
    filled = int(ring[FILLED])
    if ring[SERVICES_IN] == 1:  # nearly always
        if services[0] != service:
            return 0, 0, 0
        return filled, int(ring[SERRORS_IN]), int(ring[RERRORS_IN])
    known, serrors, rerrors = 0, 0, 0
    for slot in range(filled):
        known += int(services[slot] == service)
    if known and ring[SERRORS_IN] + ring[RERRORS_IN] > 0:
        for slot in range(filled):
            if services[slot] == service:
                serrors += _serror(flags[slot])
                rerrors += _rerror(flags[slot])
    return known, serrors, rerrors


@compiled
def _keep(w: CountWindow, dst: np.uint64, service: np.uint64, src_port: int, errors: int, before: int) -> None:
    """Put a flow into its destination's ring and into the sensor's, over their oldest where they are full.

    before: 1 + the slot of the newest flow like it in the sensor's ring, or 0.
    """
    d, fresh = use(w.dsts, dst)
    ring, services, flags = w.ring[d], w.service[d], w.flags[d]
    if fresh:
        ring[:] = 0
    slot = ring[NEXT]
    if ring[FILLED] == RING:
        ring[SERRORS_IN] -= _serror(flags[slot])
        ring[RERRORS_IN] -= _rerror(flags[slot])
        ring[SERVICES_IN] -= int((flags[slot] & _SUPERSEDED) == 0)
        ring[FILLED] -= 1
    ring[SERVICES_IN] += 1
    back = slot
    for _ in range(ring[FILLED]):
        back = back - 1 if back > 0 else RING - 1
        if services[back] == service:
            flags[back] |= _SUPERSEDED
            ring[SERVICES_IN] -= 1
            break
    services[slot], w.src_port[d, slot], flags[slot] = service, src_port, errors
    ring[NEXT] = slot + 1 if slot + 1 < RING else 0
    ring[FILLED] += 1
    ring[SERRORS_IN] += _serror(errors)
    ring[RERRORS_IN] += _rerror(errors)
    slot = w.all_ring[NEXT]
    filled = min(w.all_ring[FILLED], RING - 1)
    if before:
        w.all_flags[before - 1] |= _SUPERSEDED
    w.all_dst[slot], w.all_service[slot], w.all_flags[slot] = dst, service, errors
    w.all_ring[NEXT] = slot + 1 if slot + 1 < RING else 0
    w.all_ring[FILLED] = filled + 1
