"""Zeek conn records, JSON or TSV, as flows (Zeek: base/protocols/conn/main.zeek)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.raw import ZEEK_ICS_LOGS
from pipeline.ingest.compiled import compiled
from pipeline.ingest.draft import Draft
from pipeline.ingest.formats.marks import OTHER_ZEEK_LOGS
from pipeline.ingest.formats.protocols import (
    ACK,
    CONN_STATES,
    FIN,
    ICMP,
    ICMP6,
    IP4_ETHER_TYPE,
    IP6_ETHER_TYPE,
    MAX_PACKET_BYTES,
    RST,
    SYN,
    TCP,
    WITH_PORTS,
    ip_protocols,
    qualities,
)
from pipeline.ingest.scan.addresses import IP6, MAC
from pipeline.ingest.scan.cells import BARE, STRING, Bytes, Cells, Ints, Kinds

ID = ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")
COLUMNS = (
    "ts",
    "uid",
    *ID,
    "proto",
    "service",
    "duration",
    "orig_bytes",
    "resp_bytes",
    "conn_state",
    "missed_bytes",
    "history",
    "orig_pkts",
    "resp_pkts",
    "orig_l2_addr",
    "resp_l2_addr",
    "vlan",
    "community_id",
    "ip_proto",
    "_path",
    "orig_ip_bytes",
    "resp_ip_bytes",
)
_OTHER_LOGS = pa.array([*OTHER_ZEEK_LOGS, *ZEEK_ICS_LOGS])
# A TSV header without these is not a conn log's.
REQUIRED = ("ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto")


def json_paths(columns: Sequence[str] = COLUMNS, log: str = "conn") -> dict[tuple[str, ...], int]:
    """Where each column may stand in a JSON record: flat, nested under `id`, or in zeek-kafka's wrapper."""
    paths: dict[tuple[str, ...], int] = {}
    for column, name in enumerate(columns):
        for wrapper in ((), (log,)):
            paths[(*wrapper, name)] = column
            if name in ID:
                paths[(*wrapper, "id", name.removeprefix("id."))] = column
    return paths


@compiled
def _history_flags(
    text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, fwd: npt.NDArray[np.uint8], rev: npt.NDArray[np.uint8]
) -> None:
    """OR of the flags each side's letters stand for: capitals are the originator's."""
    for row in range(len(starts)):
        fwd[row], rev[row] = 0, 0
        if kinds[row] != BARE and kinds[row] != STRING:
            continue
        for offset in range(starts[row], ends[row]):
            letter = text[offset]
            lower = letter | 32
            flags = 0
            if lower == 115:  # s: SYN
                flags = SYN
            elif lower == 104:  # h: SYN and ACK
                flags = SYN | ACK
            elif lower == 97 or lower == 100:  # a: ACK alone; d: payload, which TCP acknowledges with
                flags = ACK
            elif lower == 102:  # f: FIN
                flags = FIN | ACK
            elif lower == 114:  # r: RST
                flags = RST
            if letter == lower:
                rev[row] |= flags
            else:
                fwd[row] |= flags


def normalise(cells: Cells) -> Draft:
    """Flows of conn records; what the sensor left out because it was zero (duration, bytes) is zero."""
    draft = Draft(cells, COLUMNS)
    # Who renames the log (path_func) does not change its records: only names that other logs have are theirs.
    other = pc.is_in(draft.text("_path", "_path"), _OTHER_LOGS).to_numpy(zero_copy_only=False)
    draft.reject(other, "other_log", "_path", "_path", "a record of the log conn")
    start, _ = draft.time_us("ts", "start_ts_us")
    duration, _ = draft.time_us("duration", "duration_us", missing=False)
    draft.times(start, start + duration, "ts", "duration")

    source = draft.address("id.orig_h", "src_addr")
    target = draft.address("id.resp_h", "dst_addr")
    non_ip = (source == MAC) | (target == MAC)
    six = (source == IP6) | (target == IP6)
    protocol, is_ip = _protocols(draft, six, non_ip)
    draft.put("ether_type", np.select([non_ip, six], [0, IP6_ETHER_TYPE], IP4_ETHER_TYPE))
    draft.put("ip_proto", protocol, is_ip)

    icmp = np.isin(protocol, (ICMP, ICMP6)) & is_ip
    src_port, src_given = draft.whole("id.orig_p", "src_port", "port_range")
    dst_port, dst_given = draft.whole("id.resp_p", "dst_port", "port_range")
    with_ports = np.isin(protocol, WITH_PORTS) & is_ip
    # Of ICMP, Zeek's ports are type and code.
    draft.reject(icmp & src_given & (src_port > 255), "icmp_range", "icmp_type", "id.orig_p")
    draft.reject(icmp & dst_given & (dst_port > 255), "icmp_range", "icmp_code", "id.resp_p")
    draft.put("src_port", src_port, src_given & with_ports)
    draft.put("dst_port", dst_port, dst_given & with_ports)
    draft.put("icmp_type", np.where(icmp, src_port, 0), icmp & src_given)
    draft.put("icmp_code", np.where(icmp, dst_port, 0), icmp & dst_given)

    missed, missed_known = draft.whole("missed_bytes", "missed_bytes")
    bounded = np.zeros(draft.count, np.bool_)
    for side, name in (("fwd", "orig"), ("rev", "resp")):
        octets, counted = draft.whole(f"{name}_bytes", f"{side}_bytes")
        # Payload is counted by sequence numbers, which a peer may jump in; what came is in the packets' own lengths.
        most, known = draft.optional_whole(f"{name}_ip_bytes", f"{side}_bytes")
        packets, _ = draft.whole(f"{name}_pkts", f"{side}_pkts")
        impossible = (packets > 0) & (octets > packets * np.uint64(MAX_PACKET_BYTES))
        beyond = counted & known & (octets > most) & (impossible | (missed > 0))
        octets, bounded = np.where(beyond, most, octets), bounded | beyond
        draft.put(f"{side}_bytes", octets)
        draft.put(f"{side}_payload_bytes", octets, counted)
        draft.put(f"{side}_pkts", packets)
    draft.put("missed_bytes", missed, missed_known)
    draft.mac("orig_l2_addr", "src_mac")
    draft.mac("resp_l2_addr", "dst_mac")
    vlan, tagged = draft.whole("vlan", "vlan_id", "vlan_range")
    draft.put("vlan_id", vlan, tagged)
    for name, field in (("service", "app_proto"), ("community_id", "community_id"), ("uid", "sensor_uid")):
        draft.columns[field] = draft.text(name, field)
    _states(draft, is_ip & (protocol == TCP))
    draft.columns["quality"] = qualities(
        bytes_bounded=bounded,
        gap=missed_known & (missed > 0),
        no_bytes=~draft.has("orig_bytes") & ~draft.has("resp_bytes"),
        no_flags=is_ip & (protocol == TCP) & ~draft.has("history"),
        no_ports=with_ports & ~(src_given & dst_given),
        no_rev=~draft.has("resp_pkts"),
        non_ip=non_ip,
    )
    return draft


def _protocols(
    draft: Draft, six: npt.NDArray[np.bool_], non_ip: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """IP protocol numbers, and which rows have one: `ip_proto` (Zeek 7 and later), else `proto`."""
    names = pc.utf8_lower(draft.text("proto", "ip_proto"))
    numbers, named = ip_protocols(names)
    numbers = np.where(six & (numbers == ICMP), ICMP6, numbers)
    ip_proto, numbered = draft.whole("ip_proto", "ip_proto")
    unknown = pc.equal(names, "unknown_transport").fill_null(False).to_numpy(zero_copy_only=False)
    draft.reject(~named & ~numbered & ~unknown & ~non_ip, "protocol", "ip_proto", "proto")
    return np.where(numbered, ip_proto.astype(np.int64), numbers), (named | numbered) & ~non_ip


def _states(draft: Draft, tcp: npt.NDArray[np.bool_]) -> None:
    """Connection state, history, and the flags that the history's letters stand for."""
    states = draft.text("conn_state", "conn_state")
    known = pc.is_in(states, pa.array(CONN_STATES)).to_numpy(zero_copy_only=False)
    draft.reject(~known & states.is_valid().to_numpy(zero_copy_only=False), "conn_state", "conn_state", "conn_state")
    draft.columns["conn_state"] = states.fill_null("OTH")
    draft.columns["history"] = draft.text("history", "history")
    fwd, rev = np.empty(draft.count, np.uint8), np.empty(draft.count, np.uint8)
    column = draft.column["history"]
    cells = draft.cells
    _history_flags(cells.text, cells.starts[column], cells.ends[column], cells.kinds[column], fwd, rev)
    has_history = draft.has("history")
    draft.put("fwd_tcp_flags", fwd, tcp & has_history)
    draft.put("rev_tcp_flags", rev, tcp & has_history)
