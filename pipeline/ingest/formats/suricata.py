"""Suricata EVE flow events as flows (Suricata: doc/userguide/output/eve/eve-json-format, event type flow).

Events of type netflow are one direction of a flow each. A sensor that writes both types counts everything twice: of a
file with flow events they are left out before they come here, and intake leaves them out.
Events of types modbus and dnp3 stand in the same stream: `suricata_ics` reads them.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.raw import SURICATA_ICS_EVENTS
from pipeline.ingest.draft import Draft, Mask
from pipeline.ingest.formats import suricata_ics
from pipeline.ingest.formats.protocols import (
    IP4_ETHER_TYPE,
    IP6_ETHER_TYPE,
    TCP,
    WITH_PORTS,
    derive_conn_states,
    ip_protocols,
    qualities,
)
from pipeline.ingest.scan.addresses import IP6, MAC
from pipeline.ingest.scan.cells import TRUE, Cells, Ints
from pipeline.ingest.scan.scalars import OK

NETFLOW = "netflow"
# Suricata writes a flow when it times out, an hour after its last packet by default.
_MAX_APART_US = 86_400_000_000
# Paths of keys; a list of MACs gives its first.
PATHS: dict[str, tuple[tuple[str, ...], ...]] = {
    "event_type": (("event_type",),),
    "flow_id": (("flow_id",),),
    "src_ip": (("src_ip",),),
    "src_port": (("src_port",),),
    "dest_ip": (("dest_ip",),),
    "dest_port": (("dest_port",),),
    "proto": (("proto",),),
    "app_proto": (("app_proto",),),
    "community_id": (("community_id",),),
    "vlan": (("vlan", "[0]"),),
    "icmp_type": (("icmp_type",),),
    "icmp_code": (("icmp_code",),),
    "flow.start": (("flow", "start"), ("netflow", "start")),
    "flow.end": (("flow", "end"), ("netflow", "end")),
    "flow.pkts_toserver": (("flow", "pkts_toserver"), ("netflow", "pkts")),
    "flow.pkts_toclient": (("flow", "pkts_toclient"),),
    "flow.bytes_toserver": (("flow", "bytes_toserver"), ("netflow", "bytes")),
    "flow.bytes_toclient": (("flow", "bytes_toclient"),),
    "tcp.tcp_flags": (("tcp", "tcp_flags"),),
    "tcp.tcp_flags_ts": (("tcp", "tcp_flags_ts"),),
    "tcp.tcp_flags_tc": (("tcp", "tcp_flags_tc"),),
    "tcp.ts_gap": (("tcp", "ts_gap"),),
    "tcp.tc_gap": (("tcp", "tc_gap"),),
    "ether.src_mac": (("ether", "src_mac"), ("ether", "src_macs", "[0]")),
    "ether.dest_mac": (("ether", "dest_mac"), ("ether", "dest_macs", "[0]")),
    **suricata_ics.PATHS,
}
COLUMNS = tuple(PATHS)


def json_paths() -> dict[tuple[str, ...], int]:
    """Where each column stands in a record."""
    return {path: column for column, paths in enumerate(PATHS.values()) for path in paths}


def normalise(cells: Cells) -> Draft:
    """Rows of EVE records; records of another event type are rejected as `not_a_flow`."""
    draft = Draft(cells, COLUMNS)
    events = draft.text("event_type", "event_type")
    ics = pc.is_in(events, pa.array(SURICATA_ICS_EVENTS)).to_numpy(zero_copy_only=False)
    if not ics.any():
        return _flows(draft, events)
    if ics.all():
        return suricata_ics.normalise(cells, COLUMNS, events)
    others = Draft(cells.of(~ics), COLUMNS)
    flows = _flows(others, others.text("event_type", "event_type"))
    flows.columns["record_kind"] = pa.repeat("end", flows.count)
    flows.columns.setdefault("is_biflow", pa.repeat(True, flows.count))
    operations = suricata_ics.normalise(cells.of(ics), COLUMNS, events.filter(pa.array(ics)))
    operations.columns.setdefault("is_biflow", pa.repeat(True, operations.count))
    return Draft.joined(cells, COLUMNS, ((~ics, flows), (ics, operations)))


def _flows(draft: Draft, events: pa.StringArray) -> Draft:
    """Flows of flow and netflow events; `events` are the types of all of them."""
    cells = draft.cells
    is_flow = pc.equal(events, "flow").fill_null(False).to_numpy(zero_copy_only=False)
    one_way = pc.equal(events, NETFLOW).fill_null(False).to_numpy(zero_copy_only=False)
    draft.reject(~is_flow & ~one_way, "not_a_flow", "event_type", "event_type")
    if one_way.any():
        draft.put("is_biflow", ~one_way)
        _take_flags_of_its_side(draft, one_way)
    start, _ = draft.time_us("flow.start", "start_ts_us")
    end, _ = draft.time_us("flow.end", "end_ts_us")
    draft.times(start, end, "flow.start", "flow.end")

    families = draft.address("src_ip", "src_addr"), draft.address("dest_ip", "dst_addr")
    non_ip = (families[0] == MAC) | (families[1] == MAC)
    six = (families[0] == IP6) | (families[1] == IP6)
    protocol, named = ip_protocols(pc.utf8_lower(draft.text("proto", "ip_proto")))
    draft.reject(~named & ~non_ip, "protocol", "ip_proto", "proto")
    is_ip = named & ~non_ip
    draft.put("ether_type", np.select([non_ip, six], [0, IP6_ETHER_TYPE], IP4_ETHER_TYPE))
    draft.put("ip_proto", protocol, is_ip)

    src_port, src_given = draft.whole("src_port", "src_port", "port_range")
    dst_port, dst_given = draft.whole("dest_port", "dst_port", "port_range")
    with_ports = np.isin(protocol, WITH_PORTS) & is_ip
    draft.put("src_port", src_port, src_given & with_ports)
    draft.put("dst_port", dst_port, dst_given & with_ports)
    for field in ("icmp_type", "icmp_code"):
        draft.put(field, *draft.whole(field, field, "icmp_range"))
    counted = {}
    for side, name in (("fwd", "toserver"), ("rev", "toclient")):
        octets, counted[side] = draft.whole(f"flow.bytes_{name}", f"{side}_bytes")
        draft.put(f"{side}_bytes", octets)
    fwd_packets, _ = draft.whole("flow.pkts_toserver", "fwd_pkts")
    rev_packets, rev_counted = draft.whole("flow.pkts_toclient", "rev_pkts")
    draft.put("fwd_pkts", fwd_packets)
    draft.put("rev_pkts", rev_packets)
    draft.mac("ether.src_mac", "src_mac")
    draft.mac("ether.dest_mac", "dst_mac")
    draft.put("vlan_id", *draft.whole("vlan", "vlan_id", "vlan_range"))
    _texts(draft)

    tcp = is_ip & (protocol == TCP)
    fwd, fwd_known = draft.flag_byte("tcp.tcp_flags_ts", "fwd_tcp_flags")
    rev, rev_known = draft.flag_byte("tcp.tcp_flags_tc", "rev_tcp_flags")
    draft.put("fwd_tcp_flags", fwd, tcp & fwd_known)
    draft.put("rev_tcp_flags", rev, tcp & rev_known)
    draft.columns["conn_state"] = derive_conn_states(
        np.where(is_ip, protocol, 0), fwd.astype(np.int64), rev.astype(np.int64), rev_packets > 0, fwd_known
    )
    gaps = [cells.kinds[draft.column[name]] == TRUE for name in ("tcp.ts_gap", "tcp.tc_gap")]
    draft.columns["quality"] = qualities(
        clock=_wrong_clock(draft, end),
        gap=gaps[0] | gaps[1],
        no_bytes=~counted["fwd"] & ~counted["rev"],
        no_flags=tcp & ~(fwd_known & (rev_known | one_way)),
        no_ports=with_ports & ~(src_given & dst_given),
        no_rev=~rev_counted,
        non_ip=non_ip,
        one_way=one_way,
    )
    return draft


def _wrong_clock(draft: Draft, end_us: Ints) -> Mask:
    """Which flows did not end when they can have been written."""
    written_us, statuses = draft.times_of("timestamp")
    wrong: Mask = (statuses == OK) & (np.abs(written_us - end_us) > _MAX_APART_US)
    return wrong


def _texts(draft: Draft) -> None:
    """Set protocol, Community ID and the flow's name."""
    for name, field in (("app_proto", "app_proto"), ("community_id", "community_id"), ("flow_id", "sensor_uid")):
        draft.columns[field] = draft.text(name, field)


def _take_flags_of_its_side(draft: Draft, rows: Mask) -> None:
    """A netflow event has the flags of its own direction where a flow event has those of both together."""
    both, ours, theirs = (draft.column[f"tcp.tcp_flags{side}"] for side in ("", "_ts", "_tc"))
    for part in (draft.cells.starts, draft.cells.ends, draft.cells.kinds):
        part[ours, rows] = part[both, rows]
        part[theirs, rows] = 0
