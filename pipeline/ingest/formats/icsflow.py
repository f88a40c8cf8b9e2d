"""Rows of ICSFlowGenerator's CSV, as the Westermo data set has them, as flows."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats.protocols import (
    ACK,
    ETHER_TYPES,
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
    ip_protocols,
    lookup,
    qualities,
)
from pipeline.ingest.scan.addresses import IP6, MAC
from pipeline.ingest.scan.cells import Cells

_RATES = {"Ack": ACK, "Urg": URG, "Fin": FIN, "Psh": PSH, "Syn": SYN, "Rst": RST}
_COUNTED = {"Syn": "syn", "Rst": "rst", "Fin": "fin", "Psh": "psh"}
_SIDES = (("s", "fwd"), ("r", "rev"))
_PER_SIDE = (
    "Address",
    "MACs",
    "Packets",
    "BytesSum",
    "PayloadSum",
    "InterPacketAvg",
    "ttl",
    "WinTCP",
    *(f"{flag}Rate" for flag in _RATES),
)
COLUMNS = ("protocol", "start", "end", *(f"{side}{name}" for side, _ in _SIDES for name in _PER_SIDE))
# A header without these is not ICSFlow's.
REQUIRED = ("sAddress", "rAddress", "protocol", "start", "end", "sPackets", "rPackets", "sBytesSum", "rBytesSum")


def normalise(cells: Cells) -> Draft:
    """Flows of ICSFlow rows.

    A row is what passed between two addresses within at most half a second, over any number of connections. Flag
    counts are its rates times its packets. Blank TCP columns say that a side sent no TCP: they stay null.
    """
    draft = Draft(cells, COLUMNS)
    start, _ = draft.time_us("start", "start_ts_us")
    end, _ = draft.time_us("end", "end_ts_us")
    draft.no_serial_dates("start", "start_ts_us", start)
    draft.times(start, end, "start", "end")
    families = draft.address("sAddress", "src_addr"), draft.address("rAddress", "dst_addr")
    has_mac = (families[0] == MAC) | (families[1] == MAC)
    has_six = (families[0] == IP6) | (families[1] == IP6)

    protocol, is_ip, ether_type = _protocols(draft, has_six)
    draft.reject(is_ip & has_mac, "address", "src_addr", "sAddress", "IP addresses, as the protocol is over IP")
    draft.put("ether_type", ether_type)
    draft.put("ip_proto", protocol, is_ip)
    tcp = is_ip & (protocol == TCP)

    flags, known, replied = {}, {}, np.zeros(draft.count, np.bool_)
    for prefix, side in _SIDES:
        field = "src" if side == "fwd" else "dst"
        draft.put(f"{field}_mac_count", *draft.mac(f"{prefix}MACs", f"{field}_mac"))
        packets, counted = draft.whole(f"{prefix}Packets", f"{side}_pkts")
        draft.reject(~counted, "missing", f"{side}_pkts", f"{prefix}Packets")
        octets, summed = draft.whole(f"{prefix}BytesSum", f"{side}_bytes")
        draft.reject(~summed, "missing", f"{side}_bytes", f"{prefix}BytesSum")
        draft.put(f"{side}_pkts", packets)
        draft.put(f"{side}_bytes", octets)
        draft.put(f"{side}_payload_bytes", *draft.whole(f"{prefix}PayloadSum", f"{side}_payload_bytes"))
        draft.put(f"{side}_iat_mean_us", *draft.measure(f"{prefix}InterPacketAvg", f"{side}_iat_mean_us", 1e6))
        draft.put(f"{side}_ttl_mean", *draft.measure(f"{prefix}ttl", f"{side}_ttl_mean"))
        draft.put(f"{side}_window_mean", *draft.measure(f"{prefix}WinTCP", f"{side}_window_mean"))
        flags[side], known[side] = _flags(draft, prefix, side, packets.astype(np.float64))
        replied = packets > 0  # the responder's, in the end
    draft.columns["conn_state"] = derive_conn_states(
        np.where(is_ip, protocol, 0), flags["fwd"], flags["rev"], replied, known["fwd"]
    )
    draft.columns["byte_semantics"] = pa.array(["ip", "frame"]).take(pa.array((~is_ip).astype(np.int8)))
    draft.columns["quality"] = qualities(
        no_flags=tcp & ~known["fwd"] & ~known["rev"], no_ports=is_ip & np.isin(protocol, WITH_PORTS), non_ip=~is_ip
    )
    return draft


def _flags(
    draft: Draft, prefix: str, side: str, packets: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """One side's flags and where they are known; sets the flag column and the counts of SYN, RST, FIN, PSH."""
    bits = np.zeros(draft.count, np.int64)
    any_known = np.zeros(draft.count, np.bool_)
    for name, bit in _RATES.items():
        rate, valid = draft.rate(f"{prefix}{name}Rate", f"{side}_tcp_flags")
        bits |= np.where(valid & (rate > 0), bit, 0)
        any_known |= valid
        if name in _COUNTED:
            counts = np.minimum(np.rint(rate * packets), 2**32 - 1)
            draft.put(f"{side}_{_COUNTED[name]}_pkts", np.where(valid, np.maximum(counts, 0), 0), valid)
    draft.put(f"{side}_tcp_flags", bits, any_known)
    return bits, any_known


def _protocols(
    draft: Draft, six: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[
    np.ndarray[tuple[int], np.dtype[np.int64]],
    np.ndarray[tuple[int], np.dtype[np.bool_]],
    np.ndarray[tuple[int], np.dtype[np.int64]],
]:
    """IP protocol, whether there is IP, and the EtherType: `IPV4-TCP`, `IPV6-58`, `ARP`, `0x8892`."""
    names = pc.utf8_lower(draft.text("protocol", "ip_proto"))
    parts = pc.extract_regex(names, r"^ipv?(?P<version>[46])(?:-(?P<name>.*))?$")
    is_ip = parts.is_valid().to_numpy(zero_copy_only=False)
    protocol, named = ip_protocols(pc.struct_field(parts, "name"))
    draft.reject(is_ip & ~named, "protocol", "ip_proto", "protocol")
    draft.reject(~draft.has("protocol"), "protocol", "ip_proto", "protocol")
    version_six = pc.equal(pc.struct_field(parts, "version"), "6").fill_null(False).to_numpy(zero_copy_only=False)
    protocol = np.where((version_six | six) & (protocol == ICMP), ICMP6, protocol)
    ether_type, known = lookup(names, ETHER_TYPES)
    ether_type = np.where(known, ether_type, 0)
    ether_type = np.where(is_ip, np.where(version_six | six, IP6_ETHER_TYPE, IP4_ETHER_TYPE), ether_type)
    return protocol, is_ip, ether_type
