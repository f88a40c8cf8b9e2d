"""All windows of one sensor, and the compiled loop that takes flows through them in order."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.featurize import kdd, profiles
from pipeline.featurize.kdd import CountWindow, TimeWindow, count_features, time_features
from pipeline.featurize.profiles import Profiles, bound_to, host_features, pair_features, pair_key, warmth
from pipeline.featurize.rows import Rows
from pipeline.featurize.tables import Table, grow, new_table, room_for

WINDOW_FEATURES = (
    kdd.TIME_FEATURES
    + kdd.COUNT_FEATURES
    + profiles.HOST_FEATURES
    + profiles.PAIR_FEATURES
    + profiles.IDENTITY_FEATURES
)
"""Columns the loop writes, in this order of groups; their names stand in feature_set.py."""

_NO_IP = 0x10000


@dataclass(frozen=True, slots=True)
class Bounds:
    """Most entries each table may hold; the least recently used goes when it is full."""

    queue: int = 65_536
    ring_dsts: int = 1_024
    hosts: int = 8_192
    pairs: int = 32_768
    identities: int = 8_192


class Windows(NamedTuple):
    """The window state of one sensor."""

    time: TimeWindow
    count: CountWindow
    profiles: Profiles


def new_windows(entries: int = 64) -> Windows:
    """Empty windows, with room for a few entries; `make_room` grows them."""
    time = TimeWindow(
        end_us=np.zeros(entries, np.int64),
        dst=np.zeros(entries, np.uint64),
        service=np.zeros(entries, np.uint64),
        errors=np.zeros(entries, np.uint8),
        queue=np.zeros(3, np.int64),
        dsts=new_table(entries),
        dst_counts=np.zeros((entries, 4), np.int64),
        services=new_table(entries),
        service_counts=np.zeros((entries, 4), np.int64),
        pairs=new_table(entries),
        pair_counts=np.zeros(entries, np.int64),
    )
    count = CountWindow(
        dsts=new_table(entries),
        service=np.zeros((entries, kdd.RING), np.uint64),
        src_port=np.zeros((entries, kdd.RING), np.int32),
        errors=np.zeros((entries, kdd.RING), np.uint8),
        filled=np.zeros((entries, 2), np.int32),
        all_dst=np.zeros(kdd.RING, np.uint64),
        all_service=np.zeros(kdd.RING, np.uint64),
        all_errors=np.zeros(kdd.RING, np.uint8),
        all_filled=np.zeros(2, np.int32),
        seen=np.zeros(1024, np.uint64),
        seen_in=np.zeros(1025, np.int64),
    )
    usual = Profiles(
        hosts=new_table(entries),
        host=np.zeros((entries, profiles.HOST_VALUES)),
        pairs=new_table(entries),
        pair=np.zeros((entries, profiles.PAIR_VALUES)),
        addresses=new_table(entries),
        address=np.zeros((entries, profiles.IDENTITY_VALUES)),
        address_mac=np.zeros(entries, np.uint64),
        devices=new_table(entries),
        device=np.zeros((entries, profiles.IDENTITY_VALUES)),
        device_address=np.zeros(entries, np.uint64),
        clock=np.full(2, -1, np.int64),
    )
    return Windows(time, count, usual)


_TABLES: dict[str, tuple[tuple[str, str, int, tuple[str, ...]], ...]] = {
    # part: (table, which bound, keys a flow can add, the arrays beside it)
    "time": (
        ("dsts", "queue", 1, ("dst_counts",)),
        ("services", "queue", 1, ("service_counts",)),
        ("pairs", "queue", 1, ("pair_counts",)),
    ),
    "count": (("dsts", "ring_dsts", 1, ("service", "src_port", "errors", "filled")),),
    "profiles": (
        ("hosts", "hosts", 2, ("host",)),
        ("pairs", "pairs", 1, ("pair",)),
        ("addresses", "identities", 2, ("address", "address_mac")),
        ("devices", "identities", 1, ("device", "device_address")),
    ),
}


def make_room(windows: Windows, flows: int, bounds: Bounds) -> Windows:
    """The same windows with room for that many more flows, up to their bounds; arrays that had to grow are new."""
    parts = windows._asdict()
    for part, tables in _TABLES.items():
        fields = parts[part]._asdict()
        for name, bound_name, keys, beside in tables:
            bound = getattr(bounds, bound_name) + (2 if bound_name == "queue" else 0)
            table: Table = fields[name]
            entries = room_for(table, flows * keys, bound)
            if entries > len(table.key):
                fields[name] = grow(table, entries)
                for array in beside:
                    wider = np.zeros((entries, *fields[array].shape[1:]), fields[array].dtype)
                    wider[: len(fields[array])] = fields[array]
                    fields[array] = wider
        parts[part] = type(parts[part])(**fields)
    parts["time"] = _queue_room(parts["time"], flows, bounds.queue)
    return Windows(**parts)


def _queue_room(time: TimeWindow, flows: int, bound: int) -> TimeWindow:
    head, length, overflowed = (int(value) for value in time.queue)
    slots = min(bound, max(len(time.end_us), 1 << (length + flows - 1).bit_length() if length + flows > 1 else 1))
    if slots <= len(time.end_us):
        return time
    places = (head + np.arange(length)) % len(time.end_us)
    moved = {}
    for name in ("end_us", "dst", "service", "errors"):
        moved[name] = np.zeros(slots, getattr(time, name).dtype)
        moved[name][:length] = getattr(time, name)[places]
    return time._replace(queue=np.array([0, length, overflowed], np.int64), **moved)


@njit(cache=True)
def _known(high: float, low: float, missing: float) -> float:
    """The larger of two means of which either may be unknown (NaN)."""
    if np.isnan(high):
        return missing if np.isnan(low) else low
    return high if np.isnan(low) else max(high, low)


@njit(cache=True)
def advance(
    w: Windows, r: Rows, order: npt.NDArray[np.int64], late: npt.NDArray[np.bool_], out: npt.NDArray[np.float64]
) -> None:
    """Take the flows r[order] through the windows, one after the other, and write their features into the rows of `out`.

    order (k,) int64: rows of r in the order of evaluation; late (k,): True where that flow only reads; out (k, WINDOW_FEATURES).
    """
    p = w.profiles
    of_pair, of_host = np.zeros(9), np.zeros(6)
    ends = np.zeros(2, np.uint64)
    for k in range(len(order)):
        i = order[k]
        behind = late[k]
        end_us = r.end_us[i]
        if not behind and p.clock[0] < 0:
            p.clock[0] = end_us
        warm = warmth(p, end_us)
        column = 0
        time_features(w.time, end_us, r.dst[i], r.service[i], r.errors[i], behind, out[k, 0:9])
        column = 9
        count_features(w.count, r.dst[i], r.service[i], r.src_port[i], r.errors[i], behind, out[k, column : column + 10])
        column += 10
        packets = r.fwd_pkts[i] + r.rev_pkts[i]
        of_pair[0] = np.log1p(packets)
        of_pair[1] = np.log1p((r.fwd_bytes[i] + r.rev_bytes[i]) / max(packets, 1.0))
        of_pair[2] = np.log1p(r.duration_us[i])
        of_pair[3] = np.log1p(_known(r.fwd_iat_us[i], r.rev_iat_us[i], np.nan))
        of_pair[5], of_pair[6] = r.fwd_ttl[i], r.rev_ttl[i]
        of_pair[7], of_pair[8] = np.log1p(r.fwd_window[i]), np.log1p(r.rev_window[i])
        new_pair = pair_features(
            p,
            pair_key(r.src[i], r.dst[i], r.protocol[i]),
            float(end_us),
            of_pair,
            behind,
            warm,
            out[k, column + 8 : column + 18],
        )
        grouped = r.dst_kind[i] != 0
        of_host[0] = 1.0
        of_host[1] = r.fwd_syn[i] + r.rev_syn[i]
        of_host[2] = r.fwd_rst[i] + r.rev_rst[i]
        of_host[3] = packets
        of_host[4] = 1.0 if not grouped and (r.fwd_pkts[i] == 0.0 or r.rev_pkts[i] == 0.0) else 0.0
        of_host[5] = new_pair * warm
        known = 0
        if r.src_kind[i] == 0:
            ends[known] = r.src[i]
            known += 1
        if not grouped:
            ends[known] = r.dst[i]
            known += 1
        host_features(p, ends[:known], float(end_us), of_host, behind, warm, out[k, column : column + 8])
        column += 18
        identity = out[k, column : column + 4]
        identity[:] = 0.0
        if r.protocol[i] < _NO_IP:
            several = r.mac_count[i] > 1.0
            if r.src_kind[i] == 0 and r.src_mac_known[i]:
                bound_to(
                    p.addresses, p.address, p.address_mac, r.src[i], r.src_mac[i], float(end_us), behind, several, identity[0:2]
                )
                bound_to(
                    p.devices, p.device, p.device_address, r.src_mac[i], r.src[i], float(end_us), behind, False, identity[2:4]
                )
            if not grouped and r.dst_mac_known[i]:
                bound_to(
                    p.addresses, p.address, p.address_mac, r.dst[i], r.dst_mac[i], float(end_us), behind, several, identity[0:2]
                )
        if not behind:
            p.clock[1] = max(p.clock[1], end_us)
