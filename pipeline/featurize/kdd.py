"""KDD'99's traffic features over event time, in NSL-KDD's reading of them (reference: window-features, section 3).

For flow c and window W (c included, as in NSL-KDD): D = flows of W to c's destination, V = flows of W with c's service (protocol
and destination port), n = |D|, m = |V|, s = distinct services in D, h = distinct destinations in V. S0-S3 and SH count as SYN errors;
REJ, RSTO, RSTR and RSTOS0 as rejections; only TCP flows can be in error. Rates are not rounded.

Time window: W = flows whose end lies in (end of c - 2 s, end of c], evicted before computing; counts are capped at 511.
Count window: W = c and the newest 254 flows before it to its destination, filled up to 255 with the sensor's newest flows to others.
A late flow sees the windows as they stand, itself included, and leaves them as they were.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.featurize.tables import Table, find, mixed, use

WINDOW_US = 2_000_000
COUNT_CAP = 511
RING = 254  # with the flow itself: 255
TIME_FEATURES, COUNT_FEATURES = 9, 10

FLOWS, SERRORS, RERRORS, DISTINCT = 0, 1, 2, 3
HEAD, LENGTH, OVERFLOWED = 0, 1, 2

_SERROR, _RERROR = np.uint8(1), np.uint8(2)


class TimeWindow(NamedTuple):
    """Queue of the flows of the last 2 s (a ring of q slots), and their counts by destination, service and both."""

    end_us: npt.NDArray[np.int64]  # (q,)
    dst: npt.NDArray[np.uint64]
    service: npt.NDArray[np.uint64]
    errors: npt.NDArray[np.uint8]
    queue: npt.NDArray[np.int64]  # HEAD, LENGTH, OVERFLOWED
    dsts: Table
    dst_counts: npt.NDArray[np.int64]  # (entries, 4): FLOWS, SERRORS, RERRORS, DISTINCT services
    services: Table
    service_counts: npt.NDArray[np.int64]  # likewise, DISTINCT destinations
    pairs: Table
    pair_counts: npt.NDArray[np.int64]  # (entries,)


class CountWindow(NamedTuple):
    """The newest flows of each destination, and of the sensor; slot 0 of `filled` is the next to write, 1 how many are there."""

    dsts: Table
    service: npt.NDArray[np.uint64]  # (entries, 254)
    src_port: npt.NDArray[np.int32]
    errors: npt.NDArray[np.uint8]
    filled: npt.NDArray[np.int32]  # (entries, 2)
    all_dst: npt.NDArray[np.uint64]  # (254,)
    all_service: npt.NDArray[np.uint64]
    all_errors: npt.NDArray[np.uint8]
    all_filled: npt.NDArray[np.int32]  # (2,)
    seen: npt.NDArray[np.uint64]  # scratch for counting distinct keys: (1024,) keys,
    seen_in: npt.NDArray[np.int64]  # the count each was last seen in, and in slot 1024 the number of counts made


@njit(cache=True)
def _pair_key(dst: np.uint64, service: np.uint64) -> np.uint64:
    return mixed(dst) ^ service


@njit(cache=True)
def _entry(table: Table, counts: npt.NDArray[np.int64], key: np.uint64) -> int:
    entry, fresh = use(table, key)
    if fresh:
        counts[entry] = 0
    return entry


@njit(cache=True)
def _count(w: TimeWindow, dst: np.uint64, service: np.uint64, errors: np.uint8, by: int) -> None:
    """Add a flow to the counts (by = 1) or take it out again (by = -1).

    Keys whose counts are back at 0 stay until their table is full; it has room for more keys than the queue has flows, so what is
    least recently used is then always one of these.
    """
    if by > 0:
        d = _entry(w.dsts, w.dst_counts, dst)
        v = _entry(w.services, w.service_counts, service)
        p = _entry(w.pairs, w.pair_counts, _pair_key(dst, service))
    else:
        d = find(w.dsts, dst)
        v = find(w.services, service)
        p = find(w.pairs, _pair_key(dst, service))
    s, r = by * np.int64(errors & _SERROR), by * np.int64((errors & _RERROR) >> 1)
    w.dst_counts[d, FLOWS] += by
    w.dst_counts[d, SERRORS] += s
    w.dst_counts[d, RERRORS] += r
    w.service_counts[v, FLOWS] += by
    w.service_counts[v, SERRORS] += s
    w.service_counts[v, RERRORS] += r
    before = w.pair_counts[p]
    w.pair_counts[p] = before + by
    if before == 0 or before + by == 0:
        w.dst_counts[d, DISTINCT] += by
        w.service_counts[v, DISTINCT] += by


@njit(cache=True)
def _drop_oldest(w: TimeWindow) -> None:
    head = w.queue[HEAD]
    _count(w, w.dst[head], w.service[head], w.errors[head], -1)
    w.queue[HEAD] = (head + 1) % len(w.end_us)
    w.queue[LENGTH] -= 1


@njit(cache=True)
def push(w: TimeWindow, end_us: int, dst: np.uint64, service: np.uint64, errors: np.uint8) -> None:
    """Evict what is older than the window, then take in a flow; a full queue loses its oldest, counted."""
    while w.queue[LENGTH] > 0 and w.end_us[w.queue[HEAD]] <= end_us - WINDOW_US:
        _drop_oldest(w)
    if w.queue[LENGTH] == len(w.end_us):
        _drop_oldest(w)
        w.queue[OVERFLOWED] += 1
    slot = (w.queue[HEAD] + w.queue[LENGTH]) % len(w.end_us)
    w.end_us[slot], w.dst[slot], w.service[slot], w.errors[slot] = end_us, dst, service, errors
    w.queue[LENGTH] += 1
    _count(w, dst, service, errors, 1)


@njit(cache=True)
def _rates(
    out: npt.NDArray[np.float64], n: int, m: int, both: int, s: int, h: int, dn: npt.NDArray[np.int64], vn: npt.NDArray[np.int64]
) -> None:
    """The nine features both windows share, from their counts; n, m >= 1 because the flow counts itself."""
    out[0], out[1] = min(n, COUNT_CAP), min(m, COUNT_CAP)
    out[2], out[3] = dn[SERRORS] / n, vn[SERRORS] / m
    out[4], out[5] = dn[RERRORS] / n, vn[RERRORS] / m
    out[6] = both / n
    out[7] = s / n if s > 1 else 0.0
    out[8] = h / m if h > 1 else 0.0


@njit(cache=True)
def time_features(
    w: TimeWindow, end_us: int, dst: np.uint64, service: np.uint64, errors: np.uint8, late: bool, out: npt.NDArray[np.float64]
) -> None:
    """Write the nine features of the 2 s window into out[0:9]; take the flow in unless it is late."""
    dn, vn = np.zeros(4, np.int64), np.zeros(4, np.int64)
    both = 0
    if not late:
        push(w, end_us, dst, service, errors)
    d, v, p = find(w.dsts, dst), find(w.services, service), find(w.pairs, _pair_key(dst, service))
    if d >= 0:
        dn[:] = w.dst_counts[d]
    if v >= 0:
        vn[:] = w.service_counts[v]
    if p >= 0:
        both = w.pair_counts[p]
    if late:
        for counts in (dn, vn):
            counts[FLOWS] += 1
            counts[SERRORS] += np.int64(errors & _SERROR)
            counts[RERRORS] += np.int64((errors & _RERROR) >> 1)
            counts[DISTINCT] += np.int64(both == 0)
        both += 1
    _rates(out, dn[FLOWS], vn[FLOWS], both, dn[DISTINCT], vn[DISTINCT], dn, vn)


@njit(cache=True)
def _first_time(w: CountWindow, key: np.uint64) -> int:
    """1 if the key was not yet seen in this count of distinct keys, else 0."""
    slot = np.int64(mixed(key)) & 1023
    while w.seen_in[slot] == w.seen_in[1024]:
        if w.seen[slot] == key:
            return 0
        slot = (slot + 1) & 1023
    w.seen[slot], w.seen_in[slot] = key, w.seen_in[1024]
    return 1


@njit(cache=True)
def count_features(
    w: CountWindow, dst: np.uint64, service: np.uint64, src_port: int, errors: np.uint8, late: bool, out: npt.NDArray[np.float64]
) -> None:
    """Write the ten features of the 255-flow window into out[0:10]; take the flow in unless it is late."""
    dn, vn = np.zeros(3, np.int64), np.zeros(3, np.int64)
    serror, rerror = np.int64(errors & _SERROR), np.int64((errors & _RERROR) >> 1)
    n, m, both, same_port = 1, 1, 1, np.int64(src_port >= 0)
    dn[SERRORS] = vn[SERRORS] = serror
    dn[RERRORS] = vn[RERRORS] = rerror
    w.seen_in[1024] += 1
    s = _first_time(w, service)
    d = find(w.dsts, dst)
    if d >= 0:
        for place in range(w.filled[d, 1]):
            serror, rerror = np.int64(w.errors[d, place] & _SERROR), np.int64((w.errors[d, place] & _RERROR) >> 1)
            n += 1
            dn[SERRORS] += serror
            dn[RERRORS] += rerror
            same_port += np.int64(src_port >= 0 and w.src_port[d, place] == src_port)
            s += _first_time(w, w.service[d, place])
            if w.service[d, place] == service:
                both += 1
                m += 1
                vn[SERRORS] += serror
                vn[RERRORS] += rerror
    w.seen_in[1024] += 1
    h = _first_time(w, dst)
    room = RING + 1 - n
    newest, length = w.all_filled[0], w.all_filled[1]
    for back in range(1, length + 1):
        if room == 0:
            break
        place = (newest - back) % RING
        if w.all_dst[place] == dst:
            continue
        room -= 1
        if w.all_service[place] == service:
            m += 1
            vn[SERRORS] += np.int64(w.all_errors[place] & _SERROR)
            vn[RERRORS] += np.int64((w.all_errors[place] & _RERROR) >> 1)
            h += _first_time(w, w.all_dst[place])
    _rates(out, n, m, both, s, h, dn, vn)
    out[9] = same_port / n
    if not late:
        _keep(w, dst, service, src_port, errors)


@njit(cache=True)
def _keep(w: CountWindow, dst: np.uint64, service: np.uint64, src_port: int, errors: np.uint8) -> None:
    d, fresh = use(w.dsts, dst)
    if fresh:
        w.filled[d] = 0
    place = w.filled[d, 0]
    w.service[d, place], w.src_port[d, place], w.errors[d, place] = service, src_port, errors
    w.filled[d, 0] = (place + 1) % RING
    w.filled[d, 1] = min(w.filled[d, 1] + 1, RING)
    place = w.all_filled[0]
    w.all_dst[place], w.all_service[place], w.all_errors[place] = dst, service, errors
    w.all_filled[0] = (place + 1) % RING
    w.all_filled[1] = min(w.all_filled[1] + 1, RING)
