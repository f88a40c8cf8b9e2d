"""What is usual for an endpoint, a pair of endpoints and a hardware address at one sensor, in bounded tables.

Sums are damped: they lose half their weight every half-life of event time, so nothing grows with the length of a
capture. Means are running means over up to the last 32 values or so (weight 1/n, at least 1/32). "New" counts only
after the sensor has been watched for a minute, and in proportion before: a worker that starts with empty tables would
otherwise find everything new. A late flow is compared with the profiles as they stand and leaves them as they were.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled, mix64
from pipeline.featurize.windows.tables import Table, find, use

HALF_LIFE_US = 30_000_000.0  # of an endpoint's sums
FLIP_HALF_LIFE_US = 60_000_000.0  # of changes of identity
PAIR_HALF_LIFE_US = 300_000_000.0  # of a pair's flow count
QUIET_CAP_US = 300_000_000.0
WARM_US = 60_000_000.0
MEMORY = 32.0  # flows a running mean remembers
SETTLED = 8.0  # flows after which a mean counts in full
HOST_FEATURES, PAIR_FEATURES, IDENTITY_FEATURES = 8, 10, 4

H_LAST, H_FLOWS, H_SYN, H_RST, H_PKTS, H_UNANSWERED, H_NEW = range(7)
"""Columns of an endpoint's sums."""
P_LAST, P_FLOWS, P_SEEN, P_PKTS, P_SIZE, P_DURATION, P_IAT, P_GAP, P_FWD_TTL, P_REV_TTL, P_FWD_WINDOW, P_REV_WINDOW = (
    range(12)
)
"""Columns of a pair's profile; from P_PKTS on: running means."""
I_LAST, I_FLIPS = range(2)
"""Columns of what is known of an address or a hardware address."""
HOST_SUMS, PAIR_MEANS = 6, 9

Values = npt.NDArray[np.float64]


class Profiles(NamedTuple):
    """Tables and the values beside them, one row an entry (row 0 is no entry's)."""

    hosts: Table
    host: Values  # (entries + 1, 7)
    pairs: Table
    pair: Values  # (entries + 1, 12)
    addresses: Table  # network address -> the MAC it was last seen with
    address: Values  # (entries + 1, 2)
    address_mac: npt.NDArray[np.uint64]
    devices: Table  # MAC -> the network address it last sent from
    device: Values
    device_address: npt.NDArray[np.uint64]
    began_us: npt.NDArray[np.int64]  # (1,): end of the first flow, -1 before it


@compiled
def _decay(elapsed_us: float, half_life_us: float) -> float:
    return math.exp(-0.6931471805599453 * max(elapsed_us, 0.0) / half_life_us)


@compiled
def pair_key(src: np.uint64, dst: np.uint64, protocol: int) -> np.uint64:
    """One key for an ordered pair of endpoints and the protocol between them."""
    return mix64(src ^ np.uint64(protocol)) ^ (mix64(dst) << np.uint64(1))


@compiled
def pair_features(
    p: Profiles, key: np.uint64, end_us: float, now: Values, late: bool, watched_us: float, warm: float, out: Values
) -> bool:
    """Write ten features of the pair into out; True if it is new.

    now (9,): this flow's P_PKTS to P_REV_WINDOW, NaN where unknown, P_GAP unused; watched_us: how long the sensor has
    been watched.
    """
    out[:] = 0.0
    entry = find(p.pairs, key)
    if entry == 0:
        out[0], out[1] = warm, min(watched_us, QUIET_CAP_US)
        if not late:
            entry, _ = use(p.pairs, key)
            p.pair[entry, P_LAST], p.pair[entry, P_FLOWS], p.pair[entry, P_SEEN] = end_us, 1.0, 1.0
            for mean in range(PAIR_MEANS):
                p.pair[entry, P_PKTS + mean] = now[mean]
            p.pair[entry, P_GAP] = np.nan
        return True
    was = p.pair[entry]
    gap_us = max(end_us - was[P_LAST], 0.0)
    flows = was[P_FLOWS] * _decay(gap_us, PAIR_HALF_LIFE_US)
    settled = min(was[P_SEEN] / SETTLED, 1.0)  # the first few flows say little about what is usual
    weight = 1.0 / min(was[P_SEEN] + 1.0, MEMORY)
    out[1], out[2] = min(gap_us, QUIET_CAP_US), flows
    for mean in range(PAIR_MEANS):
        value = math.log1p(gap_us) if P_PKTS + mean == P_GAP else now[mean]
        usual = was[P_PKTS + mean]
        if math.isnan(value):
            continue
        if not math.isnan(usual):
            number = 3 + mean if mean < 5 else 8 + (mean - 5) // 2  # TTL and window: the end that changed more
            out[number] = max(out[number], settled * abs(value - usual))
        if not late:
            was[P_PKTS + mean] = value if math.isnan(usual) else usual + weight * (value - usual)
    if not late:
        use(p.pairs, key)
        was[P_LAST], was[P_FLOWS], was[P_SEEN] = end_us, flows + 1.0, min(was[P_SEEN] + 1.0, MEMORY)
    return False


@compiled
def host_features(
    p: Profiles, key: np.uint64, end_us: float, now: Values, late: bool, warm: float, sums: Values, out: Values
) -> None:
    """Raise eight features in out to those of this endpoint where they are larger; new endpoints add up.

    now (6,): what this flow adds, H_FLOWS to H_NEW; sums (6,): scratch.
    """
    entry = find(p.hosts, key)
    decayed = _decay(end_us - p.host[entry, H_LAST], HALF_LIFE_US) if entry else 0.0
    for number in range(HOST_SUMS):
        sums[number] = now[number] + (p.host[entry, H_FLOWS + number] * decayed if entry else 0.0)
    packets = max(sums[H_PKTS - 1], 1.0)
    out[0] = max(out[0], sums[H_FLOWS - 1])
    out[1] = max(out[1], sums[H_SYN - 1])
    out[2] = max(out[2], sums[H_RST - 1])
    out[3] = max(out[3], sums[H_UNANSWERED - 1] / sums[H_FLOWS - 1])
    out[4] = max(out[4], sums[H_NEW - 1])
    out[5] = max(out[5], sums[H_SYN - 1] / packets)
    out[6] = max(out[6], sums[H_RST - 1] / packets)
    out[7] += 0.0 if entry else warm
    if not late:
        entry, _ = use(p.hosts, key)
        p.host[entry, H_LAST] = end_us
        for number in range(HOST_SUMS):
            p.host[entry, H_FLOWS + number] = sums[number]


@compiled
def bound_to(
    table: Table,
    values: Values,
    others: npt.NDArray[np.uint64],
    key: np.uint64,
    other: np.uint64,
    end_us: float,
    late: bool,
    several: bool,
    out: Values,
) -> None:
    """What `key` was last bound to against `other`: raise out[0] to 1 if it changed, out[1] to the damped number of
    changes.
    """
    entry = find(table, key)
    changed, flips = 1.0 if several else 0.0, 0.0
    if entry:
        if others[entry] != other:
            changed = 1.0
        flips = values[entry, I_FLIPS] * _decay(end_us - values[entry, I_LAST], FLIP_HALF_LIFE_US)
    out[0], out[1] = max(out[0], changed), max(out[1], flips + changed)
    if not late:
        entry, _ = use(table, key)
        values[entry, I_LAST], values[entry, I_FLIPS] = end_us, flips + changed
        others[entry] = other
