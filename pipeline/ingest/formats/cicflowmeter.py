"""Rows of CICFlowMeter's CSV, with the headings of its first and of its fourth version, as flows.

ahlashkari/CICFlowMeter: FlowFeature.java, BasicFlow.java. Its features are known to be wrong in places
(docs/sources.md): only what identifies and counts a flow is read.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats.cell_repair import without_no_numbers
from pipeline.ingest.formats.protocols import (
    ACK,
    FIN,
    ICMP,
    ICMP6,
    IP4_ETHER_TYPE,
    IP6_ETHER_TYPE,
    PSH,
    RST,
    SYN,
    TCP,
    URG,
    WITH_PORTS,
    derive_conn_states,
    qualities,
)
from pipeline.ingest.formats.tcp_totals import states_of_totals
from pipeline.ingest.scan.addresses import IP6, MAC
from pipeline.ingest.scan.cells import Cells
from pipeline.ingest.scan.scalars import DAY_FIRST, MICROSECONDS

_FLAGS = {"FIN": FIN, "SYN": SYN, "RST": RST, "PSH": PSH, "ACK": ACK, "URG": URG, "CWE": 128, "ECE": 64}
# The heading of each column that is read: version 4's short one, and the long ones of version 3 and of later builds.
_HEADINGS: dict[str, tuple[str, ...]] = {
    "Src IP": ("source ip",),
    "Src Port": ("source port",),
    "Dst IP": ("destination ip",),
    "Dst Port": ("destination port",),
    "Protocol": (),
    "Timestamp": (),
    "Flow Duration": (),
    "Tot Fwd Pkts": ("total fwd packets", "total fwd packet"),
    "Tot Bwd Pkts": ("total backward packets", "total bwd packets"),
    "TotLen Fwd Pkts": ("total length of fwd packets", "total length of fwd packet"),
    "TotLen Bwd Pkts": ("total length of bwd packets", "total length of bwd packet"),
    "Fwd IAT Mean": (),
    "Bwd IAT Mean": (),
    **{f"{flag} Flag Cnt": (f"{flag.lower()} flag count",) for flag in _FLAGS},
}
_HEADINGS["CWE Flag Cnt"] += ("cwr flag count", "cwr flag cnt")
SPELLINGS = {name.lower(): name for name in _HEADINGS} | {
    spelling: name for name, spellings in _HEADINGS.items() for spelling in spellings
}
COLUMNS = tuple(_HEADINGS)
# A header without these is not CICFlowMeter's, or one whose flows cannot be distinguished.
REQUIRED = COLUMNS[: COLUMNS.index("Fwd IAT Mean")]


def normalise(cells: Cells) -> Draft:
    """Flows of CICFlowMeter's rows: times as day/month/year without a zone, read as UTC; payload bytes.

    It reports which flags were seen, not of which side; where only one side sent packets they are that side's.
    Protocol 0 is what it writes for all that it does not know: null. Times between packets below 0, NaN and Infinity
    are null.
    """
    index_of = {name: index for index, name in enumerate(COLUMNS)}
    without_no_numbers(cells, [index_of["Fwd IAT Mean"], index_of["Bwd IAT Mean"]], negative=True)
    draft = Draft(cells, COLUMNS)
    start, _ = draft.time_us("Timestamp", "start_ts_us", power=DAY_FIRST)
    duration, _ = draft.time_us("Flow Duration", "duration_us", power=MICROSECONDS)
    draft.no_serial_dates("Timestamp", "start_ts_us", start)
    draft.times(start, start + duration, "Timestamp", "Flow Duration")
    families = draft.address("Src IP", "src_addr"), draft.address("Dst IP", "dst_addr")
    for family, field, column in zip(families, ("src_addr", "dst_addr"), ("Src IP", "Dst IP"), strict=True):
        draft.reject(family == MAC, "address", field, column, "an IPv4 or IPv6 address")
    six = (families[0] == IP6) | (families[1] == IP6)
    draft.put("ether_type", np.where(six, IP6_ETHER_TYPE, IP4_ETHER_TYPE))
    number, _ = draft.code("Protocol", "ip_proto", 255, "protocol")
    draft.reject(~draft.has("Protocol"), "protocol", "ip_proto", "Protocol")
    protocol = np.where(six & (number == ICMP), ICMP6, number)
    known = protocol > 0
    draft.put("ip_proto", protocol, known)

    with_ports = np.isin(protocol, WITH_PORTS)
    src_port, src_given = draft.whole("Src Port", "src_port", "port_range")
    dst_port, dst_given = draft.whole("Dst Port", "dst_port", "port_range")
    reported = with_ports & ((src_port > 0) | (dst_port > 0))
    draft.put("src_port", src_port, src_given & reported)
    draft.put("dst_port", dst_port, dst_given & reported)

    packets = {}
    for side, name in (("fwd", "Fwd"), ("rev", "Bwd")):
        counts, counted = draft.whole(f"Tot {name} Pkts", f"{side}_pkts")
        draft.reject(~counted, "missing", f"{side}_pkts", f"Tot {name} Pkts")
        octets, summed = draft.whole(f"TotLen {name} Pkts", f"{side}_bytes")
        draft.reject(~summed, "missing", f"{side}_bytes", f"TotLen {name} Pkts")
        draft.put(f"{side}_pkts", counts)
        draft.put(f"{side}_bytes", octets)
        draft.put(f"{side}_payload_bytes", octets)
        draft.put(f"{side}_iat_mean_us", *draft.measure(f"{name} IAT Mean", f"{side}_iat_mean_us"))
        packets[side] = counts

    bits, some = np.zeros(draft.count, np.int64), np.zeros(draft.count, np.bool_)
    for flag, bit in _FLAGS.items():
        seen, counted_flag = draft.whole(f"{flag} Flag Cnt", "fwd_syn_pkts")
        bits |= np.where(counted_flag & (seen > 0), bit, 0)
        some |= counted_flag
    tcp = protocol == TCP
    alone = tcp & some & (packets["rev"] == 0)
    draft.put("fwd_tcp_flags", bits, alone)
    totals = states_of_totals(bits & SYN > 0, bits & FIN > 0, bits & RST > 0, packets["fwd"], packets["rev"])
    # No side's flags are known here: what is not TCP has a state all the same.
    others = derive_conn_states(np.where(known, protocol, 0), bits, bits, alone, np.zeros(draft.count, np.bool_))
    draft.columns["conn_state"] = pc.if_else(pa.array(tcp & some), totals, others)
    draft.columns["quality"] = qualities(
        no_flags=tcp & ~alone, no_ports=with_ports & ~(src_given & dst_given & reported)
    )
    return draft
