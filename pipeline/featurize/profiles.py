"""What is usual for an endpoint, a pair of endpoints and a hardware address at one sensor, in bounded tables.

Sums are damped: they lose half their weight every half-life of event time, so nothing grows with the length of a capture. Means are
running means over up to the last 32 values or so (weight 1/n, at least 1/32). "New" counts only after the sensor has been watched for a
minute, and in proportion before: a worker that starts with empty tables would otherwise find everything new.
A late flow is compared with the profiles as they stand and leaves them as they were.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.featurize.tables import Table, find, mixed, use

HALF_LIFE_US = 30_000_000.0  # of an endpoint's sums
FLIP_HALF_LIFE_US = 60_000_000.0  # of changes of identity
PAIR_HALF_LIFE_US = 300_000_000.0  # of a pair's flow count
QUIET_CAP_US = 300_000_000.0
WARM_US = 60_000_000.0
MEMORY = 32.0
HOST_FEATURES, PAIR_FEATURES, IDENTITY_FEATURES = 8, 10, 4

# Columns of an endpoint's sums.
H_LAST, H_FLOWS, H_SYN, H_RST, H_PKTS, H_UNANSWERED, H_NEW = range(7)
HOST_VALUES = 7
# Columns of a pair's profile.
P_LAST, P_FLOWS, P_SEEN, P_PKTS, P_SIZE, P_DURATION, P_IAT, P_GAP, P_FWD_TTL, P_REV_TTL, P_FWD_WINDOW, P_REV_WINDOW = range(12)
PAIR_VALUES = 12
# Columns of an address's and of a hardware address's record.
I_LAST, I_FLIPS = range(2)
IDENTITY_VALUES = 2


class Profiles(NamedTuple):
    """Tables and the values beside them, one row an entry; `clock` is the first and the last event time seen (us)."""

    hosts: Table
    host: npt.NDArray[np.float64]  # (entries, 7)
    pairs: Table
    pair: npt.NDArray[np.float64]  # (entries, 12)
    addresses: Table  # network address -> the MAC it was last seen with
    address: npt.NDArray[np.float64]  # (entries, 2)
    address_mac: npt.NDArray[np.uint64]
    devices: Table  # MAC -> the network address it last sent from
    device: npt.NDArray[np.float64]
    device_address: npt.NDArray[np.uint64]
    clock: npt.NDArray[np.int64]  # (2,), -1 before the first flow


@njit(cache=True)
def _decay(elapsed_us: float, half_life_us: float) -> float:
    return math.exp(-0.6931471805599453 * max(elapsed_us, 0.0) / half_life_us)


@njit(cache=True)
def warmth(p: Profiles, end_us: int) -> float:
    """0 when the sensor's first flow has just been seen, 1 from a minute after it."""
    if p.clock[0] < 0:
        return 0.0
    return min(max((end_us - p.clock[0]) / WARM_US, 0.0), 1.0)


@njit(cache=True)
def pair_features(
    p: Profiles,
    key: np.uint64,
    end_us: float,
    now: npt.NDArray[np.float64],
    late: bool,
    warm: float,
    out: npt.NDArray[np.float64],
) -> float:
    """Write ten features of the pair into out; `now` (9,) is this flow's P_PKTS..P_REV_WINDOW, P_GAP unused; returns 1 if the pair is new."""
    entry = find(p.pairs, key)
    new = entry < 0
    watched = min(max(end_us - p.clock[0], 0.0), QUIET_CAP_US) if p.clock[0] >= 0 else 0.0
    quiet = watched
    flows = 0.0
    out[:] = 0.0
    if not new:
        was = p.pair[entry]
        gap = max(end_us - was[P_LAST], 0.0)
        quiet = min(gap, QUIET_CAP_US)
        flows = was[P_FLOWS] * _decay(gap, PAIR_HALF_LIFE_US)
        settled = min(was[P_SEEN] / 8.0, 1.0)  # the first few flows say little about what is usual
        out[3] = settled * abs(now[0] - was[P_PKTS])
        out[4] = settled * abs(now[1] - was[P_SIZE])
        out[5] = settled * abs(now[2] - was[P_DURATION])
        if not (math.isnan(now[3]) or math.isnan(was[P_IAT])):
            out[6] = settled * abs(now[3] - was[P_IAT])
        out[7] = settled * abs(math.log1p(gap) - was[P_GAP])
        for side in range(2):
            ttl, mean = now[5 + side], was[P_FWD_TTL + side]
            if not (math.isnan(ttl) or math.isnan(mean)):
                out[8] = max(out[8], settled * abs(ttl - mean))
            window, mean = now[7 + side], was[P_FWD_WINDOW + side]
            if not (math.isnan(window) or math.isnan(mean)):
                out[9] = max(out[9], settled * abs(window - mean))
    out[0] = warm if new else 0.0
    out[1] = quiet
    out[2] = flows
    if not late:
        _learn_pair(p, key, end_us, now)
    return 1.0 if new else 0.0


@njit(cache=True)
def _learn_pair(p: Profiles, key: np.uint64, end_us: float, now: npt.NDArray[np.float64]) -> None:
    entry, fresh = use(p.pairs, key)
    row = p.pair[entry]
    if fresh:
        row[P_LAST], row[P_FLOWS], row[P_SEEN] = end_us, 1.0, 1.0
        row[P_PKTS : P_PKTS + 9] = now
        row[P_GAP] = 0.0
        return
    gap = max(end_us - row[P_LAST], 0.0)
    row[P_FLOWS] = row[P_FLOWS] * _decay(gap, PAIR_HALF_LIFE_US) + 1.0
    weight = 1.0 / min(row[P_SEEN] + 1.0, MEMORY)
    for place in range(9):
        value = math.log1p(gap) if P_PKTS + place == P_GAP else now[place]
        mean = row[P_PKTS + place]
        if P_PKTS + place == P_GAP and row[P_SEEN] == 1.0:
            row[P_GAP] = value
        elif math.isnan(mean):
            row[P_PKTS + place] = value
        elif not math.isnan(value):
            row[P_PKTS + place] = mean + weight * (value - mean)
    row[P_SEEN] = min(row[P_SEEN] + 1.0, MEMORY)
    row[P_LAST] = end_us


@njit(cache=True)
def host_features(
    p: Profiles,
    ends: npt.NDArray[np.uint64],
    end_us: float,
    now: npt.NDArray[np.float64],
    late: bool,
    warm: float,
    out: npt.NDArray[np.float64],
) -> None:
    """Write eight features into out: of each sum the busier end's, this flow (`now` (6,) = H_FLOWS..H_NEW) included.

    `ends` holds the keys of up to two endpoints; groups are not endpoints.
    """
    out[:] = 0.0
    sums = np.zeros(HOST_VALUES - 1, np.float64)
    for end in range(len(ends)):
        entry = find(p.hosts, ends[end])
        keep = _decay(end_us - p.host[entry, H_LAST], HALF_LIFE_US) if entry >= 0 else 0.0
        for place in range(HOST_VALUES - 1):
            sums[place] = now[place] + (p.host[entry, 1 + place] * keep if entry >= 0 else 0.0)
        packets = max(sums[H_PKTS - 1], 1.0)
        out[0] = max(out[0], sums[H_FLOWS - 1])
        out[1] = max(out[1], sums[H_SYN - 1])
        out[2] = max(out[2], sums[H_RST - 1])
        out[3] = max(out[3], sums[H_UNANSWERED - 1] / sums[H_FLOWS - 1])
        out[4] = max(out[4], sums[H_NEW - 1])
        out[5] = max(out[5], sums[H_SYN - 1] / packets)
        out[6] = max(out[6], sums[H_RST - 1] / packets)
        out[7] += warm if entry < 0 else 0.0
        if not late:
            entry, _ = use(p.hosts, ends[end])
            p.host[entry, H_LAST] = end_us
            p.host[entry, 1:] = sums


@njit(cache=True)
def bound_to(
    table: Table,
    values: npt.NDArray[np.float64],
    others: npt.NDArray[np.uint64],
    key: np.uint64,
    other: np.uint64,
    end_us: float,
    late: bool,
    several: bool,
    out: npt.NDArray[np.float64],
) -> None:
    """What `key` was last bound to against `other`: out[0] = 1 if it changed, out[1] = damped number of changes."""
    entry = find(table, key)
    changed, flips = 1.0 if several else 0.0, 0.0
    if entry >= 0:
        if others[entry] != other:
            changed = 1.0
        flips = values[entry, I_FLIPS] * _decay(end_us - values[entry, I_LAST], FLIP_HALF_LIFE_US)
    out[0], out[1] = max(out[0], changed), max(out[1], flips + changed)
    if not late:
        entry, _ = use(table, key)
        values[entry, I_LAST], values[entry, I_FLIPS] = end_us, flips + changed
        others[entry] = other


@njit(cache=True)
def pair_key(src: np.uint64, dst: np.uint64, protocol: int) -> np.uint64:
    """One key for an ordered pair of endpoints and the protocol between them."""
    return mixed(src ^ np.uint64(protocol)) ^ (mixed(dst) << np.uint64(1))
