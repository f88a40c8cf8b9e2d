"""KDD'99's features 23-41 in three named modes (reference: window-features, section 3), 19 columns in KDD's order.

online     c included; 2 s and the ring of 255 per destination, as kdd.py describes them; rates are not rounded.
extractor  as AI-IDS/kdd99_feature_extractor (438dba0) computes them: c excluded; the time window holds what stood in
           it after the flow before c, because the extractor evicts only after computing; the count window is the last
           100 flows of all; complements instead of distinct services and hosts; no cap. Services are KDD's names.
nsl        c included; 2 s as in `online`; the count window is c and the 254 flows before it when the whole file is
           sorted by destination and, within one, by time. That order is an assumption: the data obey a cap of 255 over
           an order in which a destination's flows stand side by side (dst_host_count = 255 goes with
           dst_host_srv_diff_host_rate = 0), which names neither the order of hosts nor that within one.

Extractor and NSL round rates to two decimals, as printf does. A late flow reads the windows as they stand.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled
from pipeline.featurize.windows.bounded_tables import ADDITIONS, COUNT_TABLES, TIME_TABLES, Bounds, grow_tables, limits
from pipeline.featurize.windows.kdd import (
    DISTINCT,
    FLOWS,
    RERRORS,
    SERRORS,
    CountWindow,
    TimeWindow,
    count_features,
    pair_key,
    push,
    time_features,
)
from pipeline.featurize.windows.kdd_rows import KddRows
from pipeline.featurize.windows.kdd_state import new_count_window, new_time_window, short_of_time
from pipeline.featurize.windows.tables import crowded, find

KDD_FEATURES = 19
LAST = 100
NSL_WINDOW = 255
_TIME = 9
_NEXT, _FILLED = 0, 1

Matrix = npt.NDArray[np.float32]
Order = npt.NDArray[np.int64]
Late = npt.NDArray[np.bool_]


class OnlineWindows(NamedTuple):
    """State of the online mode."""

    time: TimeWindow
    newest: CountWindow


class LastFlows(NamedTuple):
    """The extractor's count window: the last 100 flows of the sensor, in a ring."""

    dst: npt.NDArray[np.uint64]  # (100,)
    service: npt.NDArray[np.uint64]
    src_port: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]  # SERROR | RERROR
    ring: npt.NDArray[np.int32]  # (2,): NEXT slot to write, FILLED slots


class ExtractorWindows(NamedTuple):
    """State of the extractor mode."""

    time: TimeWindow
    last: LastFlows


class NslWindows(NamedTuple):
    """State of the NSL mode: its count window is a whole file's, and saved nowhere."""

    time: TimeWindow


class NslCodes(NamedTuple):
    """A file's flows, each field an array of n: codes 0, 1, ... of what is counted."""

    dst: Order
    service: Order
    pair: Order  # of destination and service
    port_pair: Order  # of destination and source port
    has_port: Late
    errors: npt.NDArray[np.uint8]


ONLINE_TABLES = TIME_TABLES + COUNT_TABLES
EXTRACTOR_TABLES = TIME_TABLES
NSL_TABLES = TIME_TABLES


def new_online() -> OnlineWindows:
    """Empty windows of the online mode."""
    return OnlineWindows(new_time_window(), new_count_window())


def new_extractor() -> ExtractorWindows:
    """Empty windows of the extractor mode."""
    last = LastFlows(
        np.zeros(LAST, np.uint64),
        np.zeros(LAST, np.uint64),
        np.zeros(LAST, np.int32),
        np.zeros(LAST, np.uint8),
        np.zeros(2, np.int32),
    )
    return ExtractorWindows(new_time_window(), last)


def new_nsl() -> NslWindows:
    """Empty windows of the NSL mode."""
    return NslWindows(new_time_window())


@compiled
def _in_kdd_order(count: npt.NDArray[np.float64], out: Matrix) -> None:
    """Features 32-41 from what `count_features` writes."""
    out[0], out[1], out[2], out[3], out[4] = count[0], count[1], count[6], count[7], count[9]
    out[5], out[6], out[7], out[8], out[9] = count[8], count[2], count[3], count[4], count[5]


@compiled
def _online(
    w: OnlineWindows,
    r: KddRows,
    order: Order,
    late: Late,
    most: npt.NDArray[np.int64],
    first: int,
    scratch: npt.NDArray[np.float64],
    out: Matrix,
) -> int:
    time, newest = w.time, w.newest
    for k in range(first, len(order)):
        if short_of_time(time, most, most[4]) or crowded(newest.dsts, ADDITIONS, most[3]):
            return k
        i, behind = order[k], late[k]
        time_features(time, r.end_us[i], r.dst[i], r.service[i], r.errors[i], behind, scratch)
        for feature in range(_TIME):
            out[i, feature] = scratch[feature]
        count_features(newest, r.dst[i], r.service[i], r.src_port[i], r.errors[i], behind, scratch)
        _in_kdd_order(scratch, out[i, _TIME:])
    return len(order)


@compiled
def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@compiled
def _extractor(
    w: ExtractorWindows,
    r: KddRows,
    order: Order,
    late: Late,
    most: npt.NDArray[np.int64],
    first: int,
    out: npt.NDArray[np.float64],
) -> int:
    time, last = w.time, w.last
    for k in range(first, len(order)):
        if short_of_time(time, most, most[3]):
            return k
        i = order[k]
        dst, service, src_port, errors = r.dst[i], r.service[i], r.src_port[i], r.errors[i]
        d, v, pair = find(time.dsts, dst), find(time.services, service), find(time.pairs, pair_key(dst, service))
        n = time.dst_counts[d, FLOWS] if d else 0
        m = time.service_counts[v, FLOWS] if v else 0
        both = time.pair_counts[pair] if pair else 0
        row = out[k]
        row[0], row[1] = n, m
        row[2] = _share(time.dst_counts[d, SERRORS], n)
        row[3] = _share(time.service_counts[v, SERRORS], m)
        row[4] = _share(time.dst_counts[d, RERRORS], n)
        row[5] = _share(time.service_counts[v, RERRORS], m)
        row[6] = _share(both, n)
        row[7] = 1.0 - row[6] if n else 0.0
        row[8] = _share(m - both, m)
        _of_last(last, dst, service, src_port, row[_TIME:])
        if not late[k]:
            push(time, r.end_us[i], dst, service, errors)
            slot = last.ring[_NEXT]
            last.dst[slot], last.service[slot] = dst, service
            last.src_port[slot], last.flags[slot] = src_port, errors
            last.ring[_NEXT] = slot + 1 if slot + 1 < LAST else 0
            last.ring[_FILLED] = min(last.ring[_FILLED] + 1, LAST)
    return len(order)


@compiled
def _of_last(last: LastFlows, dst: np.uint64, service: np.uint64, src_port: int, row: npt.NDArray[np.float64]) -> None:
    """Features 32-41 over the flows that stand in the ring."""
    n, m, both, same_port = 0, 0, 0, 0
    d_serrors, v_serrors, d_rerrors, v_rerrors = 0, 0, 0, 0
    for slot in range(last.ring[_FILLED]):
        in_d, in_v = int(last.dst[slot] == dst), int(last.service[slot] == service)
        serror, rerror = int(last.flags[slot]) & 1, (int(last.flags[slot]) >> 1) & 1
        n, m, both = n + in_d, m + in_v, both + in_d * in_v
        d_serrors, d_rerrors = d_serrors + in_d * serror, d_rerrors + in_d * rerror
        v_serrors, v_rerrors = v_serrors + in_v * serror, v_rerrors + in_v * rerror
        same_port += in_v * int(last.src_port[slot] == src_port)
    row[0], row[1] = n, m
    row[2] = _share(both, n)
    row[3] = 1.0 - row[2] if n else 0.0
    row[4] = same_port / (m + 1) if src_port >= 0 else 0.0
    row[5] = _share(m - both, m)
    row[6], row[7] = _share(d_serrors, n), _share(v_serrors, m)
    row[8], row[9] = _share(d_rerrors, n), _share(v_rerrors, m)


@compiled
def _nsl_time(
    time: TimeWindow,
    r: KddRows,
    order: Order,
    late: Late,
    most: npt.NDArray[np.int64],
    first: int,
    out: npt.NDArray[np.float64],
) -> int:
    for k in range(first, len(order)):
        if short_of_time(time, most, most[3]):
            return k
        i = order[k]
        time_features(time, r.end_us[i], r.dst[i], r.service[i], r.errors[i], late[k], out[i])
    return len(order)


@compiled
def _nsl_count(
    sorted_rows: Order,
    r: NslCodes,
    of_dst: npt.NDArray[np.int64],
    of_service: npt.NDArray[np.int64],
    of_pair: npt.NDArray[np.int64],
    of_port: npt.NDArray[np.int64],
    out: npt.NDArray[np.float64],
) -> None:
    """Slide a window of 255 along the sorted rows; of_dst, of_service (codes, 4): FLOWS, SERRORS, RERRORS, DISTINCT."""
    for k in range(len(sorted_rows)):
        if k >= NSL_WINDOW:
            i = sorted_rows[k - NSL_WINDOW]
            of_pair[r.pair[i]] -= 1
            last_of_pair = int(of_pair[r.pair[i]] == 0)
            for counts in (of_dst[r.dst[i]], of_service[r.service[i]]):
                counts[FLOWS] -= 1
                counts[SERRORS] -= r.errors[i] & 1
                counts[RERRORS] -= (r.errors[i] >> 1) & 1
                counts[DISTINCT] -= last_of_pair
            of_port[r.port_pair[i]] -= 1
        i = sorted_rows[k]
        d, v = of_dst[r.dst[i]], of_service[r.service[i]]
        new = int(of_pair[r.pair[i]] == 0)
        of_pair[r.pair[i]] += 1
        for counts in (d, v):
            counts[FLOWS] += 1
            counts[SERRORS] += r.errors[i] & 1
            counts[RERRORS] += (r.errors[i] >> 1) & 1
            counts[DISTINCT] += new
        of_port[r.port_pair[i]] += 1
        n, m, row = d[FLOWS], v[FLOWS], out[i]
        row[0], row[1], row[2] = n, m, of_pair[r.pair[i]] / n
        row[3] = d[DISTINCT] / n if d[DISTINCT] > 1 else 0.0
        row[4] = of_port[r.port_pair[i]] / n if r.has_port[i] else 0.0
        row[5] = v[DISTINCT] / m if v[DISTINCT] > 1 else 0.0
        row[6], row[7] = d[SERRORS] / n, v[SERRORS] / m
        row[8], row[9] = d[RERRORS] / n, v[RERRORS] / m


def two_decimals(rates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rates in [0, 1] rounded to two decimals of their exact binary value, ties to even: what printf writes."""
    below = np.floor(rates * 100.0)
    # Whether 200 * rate exceeds 2 * below + 1 is decided exactly: Veltkamp's split makes both products exact.
    high = 134217729.0 * rates
    high = high - (high - rates)
    over = (high * 200.0 - (2.0 * below + 1.0)) + (rates - high) * 200.0
    up = (over > 0) | ((over == 0) & (below % 2 == 1))
    rounded: npt.NDArray[np.float64] = (below + up) / 100.0
    return rounded


def _put_rounded(out: npt.NDArray[np.float64], matrix: Matrix, rows: Order) -> None:
    """Write features into these rows of the matrix, counts whole and rates with two decimals."""
    counts = [0, 1, _TIME, _TIME + 1]
    rates = np.setdiff1d(np.arange(KDD_FEATURES), counts)
    out[:, rates] = two_decimals(out[:, rates])
    matrix[rows] = out


def online_features(
    windows: OnlineWindows, rows: KddRows, order: Order, late: Late, bounds: Bounds, matrix: Matrix
) -> OnlineWindows:
    """Windows after the flows rows[order], whose 19 features are written into matrix[order]."""
    most, done, scratch = limits(ONLINE_TABLES, bounds), 0, np.zeros(10)
    while (done := _online(windows, rows, order, late, most, done, scratch, matrix)) < len(order):
        windows = grow_tables(windows, ONLINE_TABLES, bounds)
    return windows


def extractor_features(
    windows: ExtractorWindows, rows: KddRows, order: Order, late: Late, bounds: Bounds, matrix: Matrix
) -> ExtractorWindows:
    """Windows after the flows rows[order], whose 19 features are written into matrix[order]."""
    out = np.empty((len(order), KDD_FEATURES))
    most, done = limits(EXTRACTOR_TABLES, bounds), 0
    while (done := _extractor(windows, rows, order, late, most, done, out)) < len(order):
        windows = grow_tables(windows, EXTRACTOR_TABLES, bounds)
    _put_rounded(out, matrix, order)
    return windows


def nsl_features(
    windows: NslWindows, rows: KddRows, order: Order, late: Late, bounds: Bounds, matrix: Matrix
) -> NslWindows:
    """Windows after the flows rows[order], a whole file's and all there are in `rows`; their 19 features are written
    into matrix.
    """
    out = np.empty((len(order), KDD_FEATURES))
    most, done = limits(NSL_TABLES, bounds), 0
    while (done := _nsl_time(windows.time, rows, order, late, most, done, out)) < len(order):
        windows = grow_tables(windows, NSL_TABLES, bounds)
    dst, service = _codes(rows.dst), _codes(rows.service)
    pair = _codes(dst * (len(order) + 1) + service)
    port_pair = _codes(dst * (1 << 17) + rows.src_port + 1)
    event_place = np.empty(len(order), np.int64)
    event_place[order] = np.arange(len(order))
    of_dst, of_service = np.zeros((2, len(order) + 1, 4), np.int64)
    of_pair, of_port = np.zeros((2, len(order) + 1), np.int64)
    codes = NslCodes(dst, service, pair, port_pair, rows.src_port >= 0, rows.errors)
    by_host = np.lexsort((event_place, rows.dst_rank))
    _nsl_count(by_host, codes, of_dst, of_service, of_pair, of_port, out[:, _TIME:])
    _put_rounded(out, matrix, np.arange(len(order)))
    return windows


def _codes(values: npt.NDArray[np.int64] | npt.NDArray[np.uint64]) -> Order:
    """(n,) codes 0, 1, ... of the distinct values."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
