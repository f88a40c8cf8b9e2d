"""The OT windows of one sensor, and the compiled loop that takes flows through them in order.

Held beside the windows of `forebay-ics-1` by the feature set `full`. All tables are guarded (tables.py): addresses
that come once do not push out those that come again.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled
from pipeline.featurize.windows.bounded_tables import ADDITIONS, Bounds, TableSpec, grow_tables, limits
from pipeline.featurize.windows.damped import DAMPED_FEATURES, DAMPED_VALUES, damped
from pipeline.featurize.windows.ics_use import (
    EDGE_SUMS,
    FUNCTION_WORDS,
    FWD_BYTES,
    FWD_PACKETS,
    ICS_FEATURES,
    UNIT_WORDS,
    ics_use,
    never_seen,
    range_growth,
)
from pipeline.featurize.windows.ot_rows import OtRows
from pipeline.featurize.windows.profiles import WARM_US, pair_key
from pipeline.featurize.windows.rhythm import GAPS, RHYTHM_FEATURES, rhythm
from pipeline.featurize.windows.sketches import BUCKETS, left_of, sketched
from pipeline.featurize.windows.tables import Table, crowded, find, new_table, use

SKETCH_FEATURES, SHARE_FEATURES, NEW_FEATURES = 8, 6, 3
OT_FEATURES = 4 * DAMPED_FEATURES + SKETCH_FEATURES + SHARE_FEATURES + RHYTHM_FEATURES + NEW_FEATURES + ICS_FEATURES
"""Columns the loop writes, in this order of groups; their names stand in ot_set.py."""
_SRC, _DST, _EDGE, _SERVICE, _SKETCH = (number * DAMPED_FEATURES for number in range(5))
_SHARE = _SKETCH + SKETCH_FEATURES
_RHYTHM = _SHARE + SHARE_FEATURES
_NEW = _RHYTHM + RHYTHM_FEATURES
_ICS = _NEW + NEW_FEATURES

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OtBounds(Bounds):
    """Most entries of the OT tables too."""

    ot_hosts: int = 4_096
    ot_edges: int = 16_384
    ot_services: int = 2_048
    ot_offers: int = 16_384


class Ot(NamedTuple):
    """Tables and the values beside them, one row an entry (row 0 is no entry's, and stays zeros)."""

    hosts: Table
    sent: Values  # (entries + 1, 41): damped, as a source
    received: Values  # as a destination
    sketches: Values  # (entries + 1, 4, 2, 32): peers and ports as a source, as a destination; weights, last use
    sums: Values  # (entries + 1, 4, 3)
    edges: Table  # source and destination
    edge: Values  # (entries + 1, 41)
    edge_sums: Values  # (entries + 1, 9)
    gaps: npt.NDArray[np.float32]  # (entries + 1, 32): a ring
    ordered: npt.NDArray[np.float32]  # the same, sorted
    rhythm: Values  # (entries + 1, 4)
    asked: npt.NDArray[np.uint64]  # (entries + 1, 8): bits of functions and units
    services: Table
    service: Values  # (entries + 1, 41)
    offers: Table  # destination and service


HOST_ARRAYS = ("sent", "received", "sketches", "sums")
EDGE_ARRAYS = ("edge", "edge_sums", "gaps", "ordered", "rhythm", "asked")
OT_TABLES = (
    TableSpec("ot", "hosts", "ot_hosts", HOST_ARRAYS),
    TableSpec("ot", "edges", "ot_edges", EDGE_ARRAYS),
    TableSpec("ot", "services", "ot_services", ("service",)),
    TableSpec("ot", "offers", "ot_offers", ()),
)


def new_ot(bounds: OtBounds, entries: int = 32) -> Ot:
    """Empty OT windows, for a few entries at first."""
    rows = entries + 1
    return Ot(
        hosts=new_table(entries, bounds.ot_hosts),
        sent=np.zeros((rows, DAMPED_VALUES)),
        received=np.zeros((rows, DAMPED_VALUES)),
        sketches=np.zeros((rows, 4, 2, BUCKETS)),
        sums=np.zeros((rows, 4, 3)),
        edges=new_table(entries, bounds.ot_edges),
        edge=np.zeros((rows, DAMPED_VALUES)),
        edge_sums=np.zeros((rows, EDGE_SUMS)),
        gaps=np.zeros((rows, GAPS), np.float32),
        ordered=np.zeros((rows, GAPS), np.float32),
        rhythm=np.zeros((rows, 4)),
        asked=np.zeros((rows, FUNCTION_WORDS + UNIT_WORDS), np.uint64),
        services=new_table(entries, bounds.ot_services),
        service=np.zeros((rows, DAMPED_VALUES)),
        offers=new_table(entries, bounds.ot_offers),
    )


@compiled
def _of_host(
    w: Ot,
    role: int,
    key: np.uint64,
    peer: np.uint64,
    service: np.uint64,
    now_us: float,
    size: float,
    packets: float,
    late: bool,
    decayed: Values,
    damped_out: npt.NDArray[np.float32],
    sketch_out: npt.NDArray[np.float32],
) -> None:
    """What one end has to do with; role 0: as a source, 2: as a destination."""
    if late:
        entry = find(w.hosts, key)
    else:
        entry, fresh = use(w.hosts, key)
        if fresh:
            w.sent[entry], w.received[entry], w.sums[entry] = 0.0, 0.0, 0.0
            w.sketches[entry] = 0.0
    values = w.sent[entry] if role == 0 else w.received[entry]
    elapsed_us = max(now_us - values[0], 0.0) if values[1] > 0.0 else 0.0
    then_us = max(now_us, values[0])
    for number in range(2):
        sketch = w.sketches[entry, role + number]
        thing = peer if number == 0 else service
        sums, out = w.sums[entry, role + number], sketch_out[2 * number : 2 * number + 2]
        sketched(sketch[0], sketch[1], sums, thing, then_us, elapsed_us, late, out)
    damped(values, now_us, size, packets, late, decayed, damped_out)


@compiled
def _of_edge(
    w: Ot, r: OtRows, i: int, key: np.uint64, warm: float, late: bool, decayed: Values, out: npt.NDArray[np.float32]
) -> None:
    """What is between two ends: damped statistics, shares, rhythm, and what is asked of devices."""
    now_us, size, packets = float(r.end_us[i]), r.bytes[i], r.packets[i]
    if late:
        entry = find(w.edges, key)
    else:
        entry, fresh = use(w.edges, key)
        if fresh:
            w.edge[entry], w.edge_sums[entry], w.rhythm[entry] = 0.0, 0.0, 0.0
            w.gaps[entry], w.ordered[entry] = 0.0, 0.0
            w.asked[entry] = 0
    values, e = w.edge[entry], w.edge_sums[entry]
    met = values[1] > 0.0
    gap_us = max(now_us - values[0], 0.0) if met else 0.0
    left = left_of(gap_us)
    rhythm(w.gaps[entry], w.ordered[entry], w.rhythm[entry], gap_us, met, late, out[_RHYTHM:_NEW])
    _shares(e, left, r.fwd_bytes[i], size, r.fwd_packets[i], packets, late, out[_SHARE:_RHYTHM])
    out[_NEW] = 0.0 if met else warm
    ics_use(e, left, r.reads[i], r.writes[i], r.control[i], r.exceptions[i], late, out[_ICS : _ICS + 6])
    asked = w.asked[entry]
    functions = never_seen(asked, r.functions, r.functions_start[i], r.functions_end[i], 2, late)
    units = never_seen(asked[FUNCTION_WORDS:], r.units, r.units_start[i], r.units_end[i], 1, late)
    out[_ICS + 6], out[_ICS + 7] = functions * warm, units * warm
    out[_ICS + 8] = range_growth(e, r.lowest[i], r.highest[i], late)
    out[_ICS + 9] = r.reads[i] + r.writes[i] + r.control[i]
    damped(values, now_us, size, packets, late, decayed, out[_EDGE:_SERVICE])


@compiled
def _shares(
    e: Values,
    left: float,
    fwd_bytes: float,
    size: float,
    fwd_packets: float,
    packets: float,
    late: bool,
    out: npt.NDArray[np.float32],
) -> None:
    """The originator's share of bytes and packets: the flow's own, the edge's of late, and how they differ."""
    for number in range(2):
        part, whole = (fwd_bytes, size) if number == 0 else (fwd_packets, packets)
        at = FWD_BYTES if number == 0 else FWD_PACKETS
        parts, wholes = e[at] * left, e[at + 1] * left
        share = min(part / whole, 1.0) if whole > 0.0 else 0.5
        usual = min(parts / wholes, 1.0) if wholes > 0.0 else share
        out[3 * number] = share
        out[3 * number + 1] = min((parts + part) / (wholes + whole), 1.0) if wholes + whole > 0.0 else 0.5
        out[3 * number + 2] = abs(share - usual) if whole > 0.0 else 0.0
        if not late:
            e[at], e[at + 1] = parts + part, wholes + whole


@compiled
def _take_through(
    w: Ot,
    began_us: int,
    r: OtRows,
    order: npt.NDArray[np.int64],
    late: npt.NDArray[np.bool_],
    most: npt.NDArray[np.int64],
    first: int,
    decayed: Values,
    matrix: npt.NDArray[np.float32],
) -> int:
    for k in range(first, len(order)):
        if (
            crowded(w.hosts, ADDITIONS, most[0])
            or crowded(w.edges, ADDITIONS, most[1])
            or crowded(w.services, ADDITIONS, most[2])
            or crowded(w.offers, ADDITIONS, most[3])
        ):
            return k
        i, behind = order[k], late[k]
        out = matrix[i]
        src, dst, service, now_us = r.src[i], r.dst[i], r.service[i], float(r.end_us[i])
        size, packets = r.bytes[i], r.packets[i]
        warm = min(max(now_us - began_us, 0.0) / WARM_US, 1.0) if began_us >= 0 else 0.0
        ends = out[_SKETCH:_SHARE]
        _of_host(w, 0, src, dst, service, now_us, size, packets, behind, decayed, out[_SRC:_DST], ends[:4])
        _of_host(w, 2, dst, src, service, now_us, size, packets, behind, decayed, out[_DST:_EDGE], ends[4:])
        _of_edge(w, r, i, pair_key(src, dst, 0), warm, behind, decayed, out)
        if behind:
            entry, fresh = find(w.services, service), False
            new_service = entry == 0
            new_offer = find(w.offers, pair_key(dst, service, 1)) == 0
        else:
            entry, fresh = use(w.services, service)
            new_service = fresh
            _, new_offer = use(w.offers, pair_key(dst, service, 1))
        if fresh:
            w.service[entry] = 0.0
        damped(w.service[entry], now_us, size, packets, behind, decayed, out[_SERVICE:_SKETCH])
        out[_NEW + 1], out[_NEW + 2] = new_service * warm, new_offer * warm
    return len(order)


class _Alone(NamedTuple):
    ot: Ot


def advance_ot(
    ot: Ot,
    began_us: int,
    rows: OtRows,
    order: npt.NDArray[np.int64],
    late: npt.NDArray[np.bool_],
    bounds: OtBounds,
    matrix: npt.NDArray[np.float32],
) -> Ot:
    """OT windows after the flows rows[order]; their features go into matrix (n, OT_FEATURES), a row a flow.

    began_us: end of the sensor's first flow on time, -1 before it; late (n,): True where that flow only reads. The
    windows are taken over.
    """
    most, done, decayed = limits(OT_TABLES, bounds), 0, np.zeros(5)
    while (done := _take_through(ot, began_us, rows, order, late, most, done, decayed, matrix)) < len(order):
        ot = grow_tables(_Alone(ot), OT_TABLES, bounds).ot
    return ot
