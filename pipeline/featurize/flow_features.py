"""The features a flow has by itself, without any window."""

import numpy as np
import numpy.typing as npt

from pipeline.contracts.services import IS_INDUSTRIAL
from pipeline.featurize.addresses import BROADCAST, MULTICAST, UNSPECIFIED
from pipeline.featurize.compiled import compiled
from pipeline.featurize.rows import (
    ETHERTYPE_ARP,
    ICMP,
    ICMP6,
    IGMP,
    RERROR,
    SERROR,
    TCP,
    UDP,
    Rows,
)

_NO_IP = 0x10000
_ARP = _NO_IP + ETHERTYPE_ARP
SHORTEST_US = 1_000.0
"""Floor of the duration in rates: a flow of one packet lasts 0 us, and its rate says nothing."""


FLOW_FEATURES = 34
"""Columns written, in the order of feature_set.FLOW and TCP."""
LARGEST = 1e18
"""Features are clipped to [0, LARGEST]: finite as float32, whatever the sensor sent."""


@compiled
def _ratio(part: float, whole: float) -> float:
    """Part / whole, 0 where whole is 0."""
    return part / whole if whole > 0.0 else 0.0


@compiled
def _extremes(first: float, second: float) -> tuple[float, float]:
    """The larger and the smaller of two means, either of which may be unknown (NaN); 0 where both are."""
    if np.isnan(first):
        first = second
    if np.isnan(second):
        second = first
    if np.isnan(first):
        return 0.0, 0.0
    return max(first, second), min(first, second)


@compiled
def clipped(value: float) -> float:
    """The value within [0, LARGEST]."""
    if value < 0.0:
        return 0.0
    return LARGEST if value > LARGEST else value


@compiled
def _write(r: Rows, is_ics: npt.NDArray[np.bool_], matrix: npt.NDArray[np.float32]) -> None:
    for i in range(len(r.end_us)):
        out = matrix[i]
        fwd_pkts, rev_pkts, fwd_bytes, rev_bytes = r.fwd_pkts[i], r.rev_pkts[i], r.fwd_bytes[i], r.rev_bytes[i]
        packets, size, duration_us = fwd_pkts + rev_pkts, fwd_bytes + rev_bytes, r.duration_us[i]
        syn, rst = r.fwd_syn[i] + r.rev_syn[i], r.fwd_rst[i] + r.rev_rst[i]
        fin, psh = r.fwd_fin[i] + r.rev_fin[i], r.fwd_psh[i] + r.rev_psh[i]
        kind, protocol, port, errors = r.dst_kind[i], r.protocol[i], r.dst_port[i], r.errors[i]
        longest, shortest = _extremes(r.fwd_iat_us[i], r.rev_iat_us[i])
        out[0], out[1], out[2] = clipped(duration_us), clipped(packets), clipped(size)
        out[3] = clipped(packets * 1e6 / max(duration_us, SHORTEST_US))
        out[4], out[5] = clipped(_ratio(fwd_bytes, fwd_pkts)), clipped(_ratio(rev_bytes, rev_pkts))
        out[6], out[7] = _ratio(abs(fwd_pkts - rev_pkts), packets), _ratio(abs(fwd_bytes - rev_bytes), size)
        out[8] = kind == 0 and (fwd_pkts == 0.0 or rev_pkts == 0.0)
        out[9], out[10] = clipped(longest), clipped(shortest)
        out[11] = clipped(r.mac_count[i])
        out[12], out[13] = kind == BROADCAST, kind == MULTICAST
        out[14] = clipped(duration_us) if kind == BROADCAST else 0.0
        out[15] = r.src_kind[i] == UNSPECIFIED
        out[16], out[17] = protocol == TCP, protocol == UDP
        out[18], out[19] = protocol in (ICMP, ICMP6), protocol == IGMP
        out[20] = protocol == _ARP
        out[21] = protocol >= _NO_IP and protocol != _ARP
        out[22], out[23] = port >= 0, 0 <= port < 1024
        out[24] = port >= 0 and is_ics[port]
        out[25], out[26], out[27] = clipped(syn), clipped(rst), clipped(fin)
        out[28], out[29], out[30] = (
            clipped(_ratio(syn, packets)),
            clipped(_ratio(rst, packets)),
            clipped(_ratio(psh, packets)),
        )
        out[31] = _ratio(abs(r.fwd_syn[i] - r.rev_syn[i]), syn)
        out[32], out[33] = errors & SERROR != 0, errors & RERROR != 0


def flow_features(rows: Rows, matrix: npt.NDArray[np.float32]) -> None:
    """Write the features of n flows into matrix[:, :FLOW_FEATURES] (n, at least FLOW_FEATURES) float32."""
    _write(rows, IS_INDUSTRIAL, matrix)
