"""The features a flow has by itself, without any window."""

import numpy as np
import numpy.typing as npt

from pipeline.featurize.addresses import BROADCAST, MULTICAST, UNSPECIFIED
from pipeline.featurize.rows import (
    ETHERTYPE_ARP,
    ICMP,
    ICMP6,
    IGMP,
    RERROR,
    SERROR,
    TCP,
    UDP,
    Floats,
    Rows,
)

ICS_PORTS = np.array(
    # S7, Modbus, Red Lion, Foundation Fieldbus, MQTT, Fox, PCWorx, EtherNet/IP, IEC 104, OPC UA, MELSEC, HART-IP,
    # OMRON, GE SRTP, DNP3, ProConOS, PROFINET, EtherCAT, BACnet, Siemens Spectrum, FL-net
    [
        *(102, 502, 789, 1089, 1090, 1091, 1883, 1911, 1962, 2222, 2404, 4840, 4843, 5006, 5007, 5094, 8883, 9600),
        *(18245, 18246, 19999, 20000, 20547, 34962, 34963, 34964, 34980, 44818, 47808, 50020, 55000, 55003),
    ],
    np.int64,
)
SHORTEST_US = 1_000.0
"""Floor of the duration in rates: a flow of one packet lasts 0 us, and its rate says nothing."""


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def flow_features(r: Rows) -> npt.NDArray[np.float32]:
    """(n, len(FLOW) + len(TCP)) float32, columns in the order of feature_set.FLOW and TCP."""
    packets = r.fwd_pkts + r.rev_pkts
    size = r.fwd_bytes + r.rev_bytes
    syn, rst, fin, psh = r.fwd_syn + r.rev_syn, r.fwd_rst + r.rev_rst, r.fwd_fin + r.rev_fin, r.fwd_psh + r.rev_psh
    grouped = r.dst_kind != 0
    columns = (
        r.duration_us,
        packets,
        size,
        packets * 1e6 / np.maximum(r.duration_us, SHORTEST_US),
        _ratio(r.fwd_bytes, r.fwd_pkts),
        _ratio(r.rev_bytes, r.rev_pkts),
        _ratio(np.abs(r.fwd_pkts - r.rev_pkts), packets),
        _ratio(np.abs(r.fwd_bytes - r.rev_bytes), size),
        ~grouped & ((r.fwd_pkts == 0) | (r.rev_pkts == 0)),
        np.nan_to_num(np.fmax(r.fwd_iat_us, r.rev_iat_us)),
        np.nan_to_num(np.fmin(r.fwd_iat_us, r.rev_iat_us)),
        r.mac_count,
        r.dst_kind == BROADCAST,
        r.dst_kind == MULTICAST,
        np.where(r.dst_kind == BROADCAST, r.duration_us, 0.0),
        r.src_kind == UNSPECIFIED,
        r.protocol == TCP,
        r.protocol == UDP,
        (r.protocol == ICMP) | (r.protocol == ICMP6),
        r.protocol == IGMP,
        r.protocol == 0x10000 + ETHERTYPE_ARP,
        (r.protocol >= 0x10000) & (r.protocol != 0x10000 + ETHERTYPE_ARP),
        r.dst_port >= 0,
        (r.dst_port >= 0) & (r.dst_port < 1024),
        np.isin(r.dst_port, ICS_PORTS),
        syn,
        rst,
        fin,
        _ratio(syn, packets),
        _ratio(rst, packets),
        _ratio(psh, packets),
        _ratio(np.abs(r.fwd_syn - r.rev_syn), syn),
        r.errors & SERROR != 0,
        r.errors & RERROR != 0,
    )
    matrix = np.empty((len(packets), len(columns)), np.float32)
    for place, column in enumerate(columns):
        matrix[:, place] = column
    return matrix
