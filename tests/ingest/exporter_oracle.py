"""Decoders of flow exporters' JSON a record at a time, in plain Python, and the Community ID by hashlib."""

import base64
import hashlib
import ipaddress
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.ingest.formats.protocols import ETHER_TYPES
from tests.ingest.oracle import (
    Rejected,
    address,
    check_times,
    macs,
    measure,
    no_serial_date,
    protocol,
    quality,
    required_us,
    state,
    text,
    time_or_none,
    whole,
)

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}
COUNTERPARTS = {8: 0, 13: 14, 15: 16, 10: 9, 17: 18}
COUNTERPARTS6 = {128: 129, 130: 131, 133: 134, 135: 136, 139: 140, 144: 145}


def void(value: Any) -> bool:
    """Whether a value says "not reported": nothing in it but zeros and punctuation, or the epoch."""
    if not isinstance(value, str) or json.dumps(value)[1:-1] != value:
        return False
    epoch = re.match(r"1970-01.01", value, re.DOTALL)
    rest = value[10:] if epoch and len(value) > 10 else value
    return not re.search(r"[1-9A-SU-Ya-su-y]", rest)


def present(record: dict[str, Any], *keys: str) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None and record[key] != ""), None)


def first_non_void(record: dict[str, Any], *keys: str) -> Any:
    there = [record[key] for key in keys if record.get(key) is not None and record[key] != ""]
    return next((value for value in there if not void(value)), there[0] if there else None)


def non_void_or_null(record: dict[str, Any], *keys: str) -> Any:
    value = first_non_void(record, *keys)
    return None if void(value) else value


def tcp_flags(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, list):
        if not all(isinstance(name, str) and name and json.dumps(name)[1:-1] == name for name in value):
            raise Rejected("flags_range")
        if any(type(name) is not str or name[0].upper() not in FLAGS or not name[0].isascii() for name in value):
            raise Rejected("flags_range")
        return sum({FLAGS[name[0].upper()] for name in value})
    if not isinstance(value, str):
        raise Rejected("flags_range")
    if re.fullmatch(r"0[xX].+", value, re.DOTALL):
        number = int(value, 16) if re.fullmatch(r"0[xX][0-9a-fA-F]+", value) else 1 << 16
    elif re.fullmatch(r"\d+", value, re.ASCII):
        number = int(value)
    elif type(value) is str and re.fullmatch(r"[.FSRPAUECfsrpauec]{1,8}", value):
        return sum({FLAGS[letter.upper()] for letter in value if letter != "."})
    else:
        number = 1 << 16
    if number >= 1 << 16:
        raise Rejected("flags_range")
    return number & 255


def community_id(flow: dict[str, Any]) -> str | None:
    number = flow.get("ip_proto")
    if number is None:
        return None
    src, dst = (ipaddress.ip_address(flow[end]) for end in ("src_addr", "dst_addr"))
    ports = (flow.get("src_port"), flow.get("dst_port"))
    ordered = True
    if number in (1, 58):
        kind, code = flow.get("icmp_type"), flow.get("icmp_code")
        table = COUNTERPARTS if number == 1 else COUNTERPARTS6
        both = {**table, **{answer: request for request, answer in table.items()}}
        ordered = kind in both
        ports = (kind, both[kind] if ordered and kind is not None and code is not None else code)
    if src.version != dst.version or (number in (1, 58, 6, 17, 132) and None in ports):
        return None
    if number not in (1, 58, 6, 17, 132):
        ports = (0, 0)
    ends = [(src.packed, ports[0] or 0), (dst.packed, ports[1] or 0)]
    if ordered:
        ends.sort()
    (near, port), (far, counterport) = ends
    data = bytes(2) + near + far + bytes([number, 0])
    if number in (1, 58, 6, 17, 132):
        data += port.to_bytes(2, "big") + counterport.to_bytes(2, "big")
    return "1:" + base64.b64encode(hashlib.sha1(data).digest()).decode()  # noqa: S324 (the specification's hash)


def numbering(read: Callable[..., Any], protocol: str | None = None) -> dict[str, Any]:
    """How the exporter numbered the record; what is odd is null, and rejects nothing."""

    def or_none(decoder: Callable[[], Any]) -> Any:
        try:
            return decoder()
        except Rejected:
            return None

    names = {"netflow_v5": "netflow5", "netflow_v9": "netflow9", "ipfix": "ipfix", "sflow_5": "sflow"}
    names |= {"2": "sflow", "4": "sflow", "5": "netflow5", "9": "netflow9", "10": "ipfix"}
    addr = or_none(lambda: address(read("exporter_addr")))
    return {
        "export_protocol": protocol or names.get((or_none(lambda: text(read("export_protocol"))) or "").lower()),
        "exporter_addr": addr[0] if addr and addr[1] != "mac" else None,
        "export_domain": or_none(lambda: whole(read("domain"), 2**32 - 1)),
        "export_sequence": or_none(lambda: whole(read("sequence"), 2**32 - 1)),
    }


def icmp_of(read: Callable[..., Any], dst_port: int | None, zero_is_no_icmp: bool) -> list[int | None]:
    """Type and code: as two cells, as one number, or in place of the destination port."""
    types = [whole(read(f"icmp_{part}"), 255, "icmp_range") for part in ("type", "code")]
    both = whole(read("icmp"), 65_535, "port_range")
    if zero_is_no_icmp and not any(types):
        types = [None, None]
    if types[0] is None:
        if both is not None and (both or not zero_is_no_icmp):
            return [both >> 8, both & 255]
        if dst_port:
            return [dst_port, 0] if dst_port < 256 else [dst_port >> 8, dst_port & 255]
    return types


def flow_of(
    read: Callable[..., Any],
    kinds: Sequence[str],
    power: int,
    zero_is_no_icmp: bool,
    by_duration: bool = False,
    unpadded: bool = False,
) -> dict[str, Any]:
    """A flow; `read` says what the record has under each of the names of exporter.WANTED."""
    kind = text(read("kind"))
    if kinds and kind is not None and kind.lower() not in kinds:
        raise Rejected("not_a_flow")
    start = required_us(read("start"), power, unpadded)
    end = start + required_us(read("duration")) if by_duration else required_us(read("end"), power, unpadded)
    if by_duration:
        no_serial_date(read("start"), start)
    received = time_or_none(read("received"), 6 if kinds == ("ipfix.entry",) else power, unpadded)
    flow: dict[str, Any] = {"start_ts_us": start, "end_ts_us": end, "duration_us": end - start}
    check_times(flow)
    flow["src_addr"], source = address(present({"a": read("src_ip"), "b": read("src_mac")}, "a", "b"))
    flow["dst_addr"], target = address(present({"a": read("dst_ip"), "b": read("dst_mac")}, "a", "b"))
    non_ip, six = "mac" in (source, target), "6" in (source, target)
    ether = (text(read("ether")) or "").lower()
    hexadecimal = re.fullmatch(r"(0x)?[0-9a-f]{3,4}", ether)
    of_mac = ETHER_TYPES.get(ether, int(ether, 16) if hexadecimal else 0)
    flow["ether_type"] = of_mac if non_ip else 0x86DD if six else 0x0800
    name = text(read("proto"))
    proto = protocol(name)
    if (
        proto is None
        and not non_ip
        and (name or "").lower() not in ("unknown", "unassigned", "experimental", "reserved")
    ):
        raise Rejected("protocol")
    proto = None if non_ip else 58 if six and proto == 1 else proto
    flow["ip_proto"] = proto
    ports = [whole(read(f"{side}_port"), 65_535, "port_range") for side in ("src", "dst")]
    with_ports = proto in (6, 17, 33, 132, 136)
    some = bool(ports[0] or ports[1])
    flow["src_port"], flow["dst_port"] = ports if with_ports and some else (None, None)
    types = icmp_of(read, ports[1], zero_is_no_icmp)
    flow["icmp_type"], flow["icmp_code"] = types if proto in (1, 58) else (None, None)
    octets, packets = ([whole(read(f"{side}_{what}")) for side in ("fwd", "rev")] for what in ("bytes", "pkts"))
    flow["fwd_bytes"], flow["rev_bytes"] = (value or 0 for value in octets)
    flow["fwd_pkts"], flow["rev_pkts"] = (value or 0 for value in packets)
    flow["is_biflow"] = both_ways = bool(flow["rev_bytes"] or flow["rev_pkts"])
    nowhere = {flow["src_addr"], flow["dst_addr"]} <= {"0.0.0.0", "::"}  # noqa: S104 (compared with)
    if nowhere and not both_ways and not flow["fwd_bytes"] and not flow["fwd_pkts"]:
        raise Rejected("not_a_flow")
    flags = [tcp_flags(read(name)) or None for name in ("flags", "rev_flags")]
    flow["fwd_tcp_flags"], flow["rev_tcp_flags"] = flags if proto == 6 else (None, None)
    flow["conn_state"] = state(proto, flags[0], flags[1], int(both_ways))
    flow["src_mac"], flow["dst_mac"] = (macs(read(f"{side}_mac"))[0] for side in ("src", "dst"))
    flow["vlan_id"] = whole(read("vlan"), 4095, "vlan_range")
    flow["app_proto"], flow["sensor_uid"] = text(read("app")), text(read("uid"))
    flow["fwd_ttl_mean"] = measure(read("ttl"), 1, 255)
    flow["sampling_rate"] = whole(read("sampling"), 2**32 - 1)
    flow["quality"] = quality(
        clock=received is not None and not -300_000_000 <= received - end <= 7_200_000_000,
        no_bytes=octets[0] is None or (octets[0] == 0 and flow["fwd_pkts"]),
        no_flags=proto == 6 and (flags[0] is None or (both_ways and flags[1] is None)),
        no_ports=with_ports and (None in ports or not some),
        no_rev=not both_ways,
        non_ip=non_ip,
        one_way=not both_ways,
        sampled=(flow["sampling_rate"] or 0) > 1 or (whole(read("sampled"), 2**32 - 1) or 0) > 0,
    )
    return flow


def reader(record: dict[str, Any], keys: dict[str, tuple[str, ...]]) -> Callable[[str], Any]:
    ways = dict.fromkeys(("start", "end", "src_mac", "dst_mac", "vlan", "ttl", "sampling", "sampled"), non_void_or_null)
    ways["exporter_addr"] = ways["received"] = non_void_or_null
    ways |= dict.fromkeys(("src_ip", "dst_ip", "icmp"), first_non_void)

    def read(name: str) -> Any:
        return ways.get(name, present)(record, *keys.get(name, ()))

    return read


def goflow2(record: dict[str, Any]) -> dict[str, Any]:
    start, end = "time_flow_start_ns", "time_flow_end_ns"
    keys: dict[str, tuple[str, ...]] = {
        **{name: (name,) for name in ("src_mac", "dst_mac", "proto", "src_port", "dst_port", "icmp_type", "icmp_code")},
        **{"start": (start, end), "end": (end, start), "src_ip": ("src_addr",), "dst_ip": ("dst_addr",)},
        **{"ether": ("etype",), "flags": ("tcp_flags",), "fwd_bytes": ("bytes",), "fwd_pkts": ("packets",)},
        **{"vlan": ("vlan_id", "src_vlan", "dst_vlan"), "ttl": ("ip_ttl",), "sampling": ("sampling_rate",)},
        **{"export_protocol": ("type",), "exporter_addr": ("sampler_address",)},
        **{"domain": ("observation_domain_id",), "sequence": ("sequence_num",), "received": ("time_received_ns",)},
    }
    flow = flow_of(reader(record, keys), (), -3, True) | numbering(reader(record, keys))
    return flow | {"byte_semantics": "frame" if (text(record.get("type")) or "").startswith("SFLOW") else "ip"}


def pmacct(record: dict[str, Any]) -> dict[str, Any]:
    starts, ends = ("timestamp_start", "timestamp_min", "timestamp_arrival"), ("timestamp_end", "timestamp_max")
    keys: dict[str, tuple[str, ...]] = {
        **{"kind": ("event_type",), "start": starts + ends, "end": ends + starts, "ether": ("etype",)},
        **{"src_mac": ("mac_src",), "dst_mac": ("mac_dst",), "src_ip": ("ip_src",), "dst_ip": ("ip_dst",)},
        **{"proto": ("ip_proto",), "src_port": ("port_src",), "dst_port": ("port_dst",), "flags": ("tcp_flags",)},
        **{"fwd_bytes": ("bytes",), "fwd_pkts": ("packets",), "vlan": ("vlan", "vlan_in", "vlan_out")},
        **{"sampling": ("sampling_rate",), "app": ("class",)},
        **{"export_protocol": ("export_proto_version",), "exporter_addr": ("peer_ip_src",)},
        **{"domain": ("export_proto_sysid",), "sequence": ("export_proto_seqno",)},
        **{"received": ("timestamp_arrival", "stamp_updated", "timestamp_export")},
    }
    flow = flow_of(reader(record, keys), ("purge", "log"), 6, False) | numbering(reader(record, keys))
    return flow | {"byte_semantics": "ip"}


def nfdump(record: dict[str, Any]) -> dict[str, Any]:
    keys: dict[str, tuple[str, ...]] = {
        **{name: (name,) for name in ("proto", "src_port", "dst_port", "icmp_type", "icmp_code", "sampled")},
        **{"kind": ("type",), "start": ("first", "last"), "end": ("last", "first"), "src_mac": ("in_src_mac",)},
        **{"dst_mac": ("in_dst_mac", "out_dst_mac"), "flags": ("tcp_flags",), "vlan": ("src_vlan", "dst_vlan")},
        **{"src_ip": ("src4_addr", "src6_addr"), "dst_ip": ("dst4_addr", "dst6_addr")},
        **{"fwd_bytes": ("in_bytes",), "rev_bytes": ("out_bytes",)},
        **{"fwd_pkts": ("in_packets",), "rev_pkts": ("out_packets",), "received": ("received",)},
    }
    flow = flow_of(reader(record, keys), ("flow",), 6, False, unpadded=True)
    return flow | dict.fromkeys(numbering(reader(record, {}))) | {"byte_semantics": "ip"}


def ipfixcol2(record: dict[str, Any]) -> dict[str, Any]:
    starts, ends = (
        tuple(f"iana:flow{side}{unit}" for unit in ("Milliseconds", "Microseconds", "Nanoseconds", "Seconds"))
        for side in ("Start", "End")
    )
    named = {
        **{"src_mac": ("sourceMacAddress",), "dst_mac": ("destinationMacAddress",), "ether": ("ethernetType",)},
        **{"src_ip": ("sourceIPv4Address", "sourceIPv6Address"), "proto": ("protocolIdentifier",)},
        **{"dst_ip": ("destinationIPv4Address", "destinationIPv6Address"), "flags": ("tcpControlBits",)},
        **{"src_port": ("sourceTransportPort",), "dst_port": ("destinationTransportPort",), "uid": ("flowId",)},
        **{"icmp": ("icmpTypeCodeIPv4", "icmpTypeCodeIPv6"), "icmp_type": ("icmpTypeIPv4", "icmpTypeIPv6")},
        **{"icmp_code": ("icmpCodeIPv4", "icmpCodeIPv6"), "fwd_bytes": ("octetDeltaCount", "octetTotalCount")},
        **{"fwd_pkts": ("packetDeltaCount", "packetTotalCount"), "vlan": ("vlanId", "dot1qVlanId")},
        **{"ttl": ("ipTTL",), "sampling": ("samplingInterval",), "app": ("applicationName",)},
    }
    reverse = {"rev_flags": "tcpControlBits", "rev_bytes": "octetDeltaCount", "rev_pkts": "packetDeltaCount"}
    keys = {
        **{"kind": ("@type",), "start": starts + ends, "end": ends + starts},
        **{name: tuple(f"iana:{key}" for key in some) for name, some in named.items()},
        **{name: (f"iana@reverse:{key}@reverse",) for name, key in reverse.items()},
        **{"exporter_addr": ("ipfix:srcAddr",), "domain": ("ipfix:odid",), "sequence": ("ipfix:seqNumber",)},
        **{"received": ("ipfix:exportTime",)},
    }
    flow = flow_of(reader(record, keys), ("ipfix.entry",), 3, False) | numbering(reader(record, keys), "ipfix")
    return flow | {"byte_semantics": "ip"}
