"""All windows of one sensor, and the compiled loop that takes flows through them in order.

The loop is compiled on first use (some ten seconds) and its result is cached beside the sources.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled
from pipeline.featurize.flow_features import clipped
from pipeline.featurize.rows import Rows
from pipeline.featurize.windows.bounded_tables import (
    ADDITIONS,
    COUNT_TABLES,
    PROFILE_TABLES,
    TIME_TABLES,
    Bounds,
    grow_tables,
    limits,
)
from pipeline.featurize.windows.kdd import (
    COUNT_FEATURES,
    LENGTH,
    TIME_FEATURES,
    CountWindow,
    TimeWindow,
    count_features,
    time_features,
)
from pipeline.featurize.windows.kdd_state import new_count_window, new_time_window
from pipeline.featurize.windows.profiles import (
    HOST_FEATURES,
    HOST_SUMS,
    IDENTITY_FEATURES,
    PAIR_FEATURES,
    PAIR_MEANS,
    WARM_US,
    Profiles,
    bound_to,
    host_features,
    pair_features,
    pair_key,
)
from pipeline.featurize.windows.tables import crowded, new_table

WINDOW_FEATURES = TIME_FEATURES + COUNT_FEATURES + HOST_FEATURES + PAIR_FEATURES + IDENTITY_FEATURES
"""Columns the loop writes, in this order of groups; their names stand in feature_set.py."""

_HOST = TIME_FEATURES + COUNT_FEATURES
_PAIR = _HOST + HOST_FEATURES
_IDENTITY = _PAIR + PAIR_FEATURES
_NO_IP = 0x10000


class Windows(NamedTuple):
    """The window state of one sensor."""

    time: TimeWindow
    newest: CountWindow
    profiles: Profiles


TABLES = TIME_TABLES + COUNT_TABLES + PROFILE_TABLES


def new_profiles(entries: int = 32, guarded: Bounds | None = None) -> Profiles:
    """Empty profiles, for a few entries at first; tables are guarded where bounds are given."""
    rows = entries + 1
    hosts, pairs, identities = (guarded.hosts, guarded.pairs, guarded.identities) if guarded else (0, 0, 0)
    return Profiles(
        hosts=new_table(entries, hosts),
        host=np.zeros((rows, HOST_SUMS + 1)),
        pairs=new_table(entries, pairs),
        pair=np.zeros((rows, PAIR_MEANS + 3)),
        addresses=new_table(entries, identities),
        address=np.zeros((rows, 2)),
        address_mac=np.zeros(rows, np.uint64),
        devices=new_table(entries, identities),
        device=np.zeros((rows, 2)),
        device_address=np.zeros(rows, np.uint64),
        began_us=np.full(1, -1, np.int64),
    )


def new_windows(entries: int = 32) -> Windows:
    """Empty windows, for a few entries at first."""
    return Windows(new_time_window(entries), new_count_window(entries), new_profiles(entries))


@compiled
def _needs_growth(time: TimeWindow, newest: CountWindow, p: Profiles, most: npt.NDArray[np.int64]) -> bool:
    return (
        crowded(time.dsts, ADDITIONS, most[0])
        or crowded(time.services, ADDITIONS, most[1])
        or crowded(time.pairs, ADDITIONS, most[2])
        or crowded(newest.dsts, ADDITIONS, most[3])
        or crowded(p.hosts, ADDITIONS, most[4])
        or crowded(p.pairs, ADDITIONS, most[5])
        or crowded(p.addresses, ADDITIONS, most[6])
        or crowded(p.devices, ADDITIONS, most[7])
        or (time.queued[LENGTH] == len(time.queue) and len(time.queue) < most[8])
    )


@compiled
def _larger(first: float, second: float) -> float:
    """The larger of two means, either of which may be unknown (NaN)."""
    if np.isnan(first):
        return second
    return first if np.isnan(second) else max(first, second)


@compiled
def take_through(
    w: Windows,
    r: Rows,
    order: npt.NDArray[np.int64],
    late: npt.NDArray[np.bool_],
    most: npt.NDArray[np.int64],
    first: int,
    scratch: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
    matrix: npt.NDArray[np.float32],
) -> int:
    """Take the flows r[order[first:]] through the windows, one after the other, and write their features into
    matrix[order[first:]].

    Five flows of one sensor, lateness 2 s, of which the last two came late:

        row of r     0     1     2     3     4
        end         1 s   3 s   6 s   2 s   3 s

        order        0     1     3     4     2      a late flow stands behind those released when it came
        late        no    no   yes   yes    no

    Rows 3 and 4 read what rows 0 and 1 left in the windows and add nothing; so row 2 sees the same as if they had never
    come. Where a table is nearly full before row 3, the loop returns 2; the caller grows the tables and calls again
    with first=2.

    Parameters
    ----------
    order, late
        (k,) rows of r in the order of evaluation, and True where that flow only reads.
    most
        Bounds of the tables, then of the queue (`limits`).
    first
        Index into `order` of the first flow to take.
    scratch, out
        (3, 9) and (WINDOW_FEATURES,): memory to work in.
    matrix
        (n, at least WINDOW_FEATURES), written in place.

    Returns
    -------
    How many of `order` are done: k, or fewer where the tables must grow first (`grow_tables`).
    """
    time, newest, p = w.time, w.newest, w.profiles
    of_pair, of_host, sums = scratch[0], scratch[1], scratch[2]
    host, identity = out[_HOST:_PAIR], out[_IDENTITY:]
    of_pair[4] = np.nan
    for k in range(first, len(order)):
        if _needs_growth(time, newest, p, most):
            return k
        i, behind = order[k], late[k]
        end_us, src, dst = r.end_us[i], r.src[i], r.dst[i]
        now_us = float(end_us)
        if not behind and p.began_us[0] < 0:
            p.began_us[0] = end_us
        watched_us = max(float(end_us - p.began_us[0]), 0.0) if p.began_us[0] >= 0 else 0.0
        warm = min(watched_us / WARM_US, 1.0)
        time_features(time, end_us, dst, r.service[i], r.errors[i], behind, out[0:TIME_FEATURES])
        count_features(newest, dst, r.service[i], r.src_port[i], r.errors[i], behind, out[TIME_FEATURES:_HOST])
        packets = r.fwd_pkts[i] + r.rev_pkts[i]
        of_pair[0] = np.log1p(packets)
        of_pair[1] = np.log1p((r.fwd_bytes[i] + r.rev_bytes[i]) / max(packets, 1.0))
        of_pair[2] = np.log1p(r.duration_us[i])
        of_pair[3] = np.log1p(_larger(r.fwd_iat_us[i], r.rev_iat_us[i]))
        of_pair[5], of_pair[6] = r.fwd_ttl[i], r.rev_ttl[i]
        of_pair[7], of_pair[8] = np.log1p(r.fwd_window[i]), np.log1p(r.rev_window[i])
        key = pair_key(src, dst, r.protocol[i])
        new = pair_features(p, key, now_us, of_pair, behind, watched_us, warm, out[_PAIR:_IDENTITY])
        grouped = r.dst_kind[i] != 0
        of_host[0] = 1.0
        of_host[1] = r.fwd_syn[i] + r.rev_syn[i]
        of_host[2] = r.fwd_rst[i] + r.rev_rst[i]
        of_host[3] = packets
        of_host[4] = 1.0 if not grouped and (r.fwd_pkts[i] == 0.0 or r.rev_pkts[i] == 0.0) else 0.0
        of_host[5] = warm if new else 0.0
        host[:] = 0.0
        identity[:] = 0.0
        if r.src_kind[i] == 0:
            host_features(p, src, now_us, of_host, behind, warm, sums, host)
        if not grouped and dst != src:
            host_features(p, dst, now_us, of_host, behind, warm, sums, host)
        if r.protocol[i] < _NO_IP:
            several = r.mac_count[i] > 1.0
            if r.src_kind[i] == 0 and r.src_mac_known[i]:
                mac = r.src_mac[i]
                bound_to(p.addresses, p.address, p.address_mac, src, mac, now_us, behind, several, identity[0:2])
                bound_to(p.devices, p.device, p.device_address, mac, src, now_us, behind, False, identity[2:4])
            if not grouped and r.dst_mac_known[i]:
                mac = r.dst_mac[i]
                bound_to(p.addresses, p.address, p.address_mac, dst, mac, now_us, behind, several, identity[0:2])
        row = matrix[i]
        for column in range(WINDOW_FEATURES):
            row[column] = clipped(out[column])
    return len(order)


def advance_windows(
    windows: Windows,
    rows: Rows,
    order: npt.NDArray[np.int64],
    late: npt.NDArray[np.bool_],
    bounds: Bounds,
    matrix: npt.NDArray[np.float32],
) -> Windows:
    """Windows after the flows rows[order]; their features go into matrix[order, :WINDOW_FEATURES].

    late (len(order),): True where that flow only reads. The windows given are taken over.
    """
    scratch, out = np.zeros((3, PAIR_MEANS)), np.zeros(WINDOW_FEATURES)
    most, done = limits(TABLES, bounds), 0
    while (done := take_through(windows, rows, order, late, most, done, scratch, out, matrix)) < len(order):
        windows = grow_tables(windows, TABLES, bounds)
    return windows
