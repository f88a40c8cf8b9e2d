"""Decoders of Argus, CICFlowMeter and nfdump CSV a record at a time, in plain Python. Absent cells are None."""

import re
from typing import Any

from pipeline.ingest.formats.argus_words import NAMELESS, PROTOCOLS, SERVICES, STATES
from pipeline.ingest.formats.protocols import CONN_STATES, ETHER_TYPES
from tests.ingest.exporter_oracle import flow_of, reader
from tests.ingest.oracle import (
    Rejected,
    address,
    check_times,
    macs,
    measure,
    no_serial_date,
    protocol,
    quality,
    state,
    text,
    time_us,
    whole,
)

Record = dict[str, str | None]
ASKED, OPENED, ENDED, RESET = range(1, 5)
BITS = {letter: 1 << number for number, letter in enumerate("FSRPAUEC")}


def required_times(start: str | None, duration: str | None, power: int, day_first: bool) -> dict[str, Any]:
    begin = time_us(start, day_first=day_first)
    if begin is None:
        raise Rejected("time_missing")
    lasted = time_us(duration, power)
    if begin is not None and lasted is not None:
        no_serial_date(start, begin)
    if lasted is None:
        raise Rejected("time_missing")
    flow: dict[str, Any] = {"start_ts_us": begin, "end_ts_us": begin + lasted, "duration_us": lasted}
    check_times(flow)
    return flow


def no_number(cell: str | None) -> bool:
    return bool(cell and re.match(r"[+-]?[iInN][aAnN]", cell) and len(re.sub(r"^[+-]", "", cell).encode()) >= 3)


def of_totals(opened: bool, ended: bool, reset: bool, fwd: int, rev: int) -> str:
    if not opened:
        return "OTH"
    if not rev:
        return "RSTOS0" if reset else "SH" if ended else "S0"
    if reset:
        return "REJ" if fwd <= 1 and rev <= 1 else "RSTO"
    return "SF" if ended else "S1"


def port(cell: str | None) -> int | None:
    if cell is None:
        return None
    if cell.lower() in SERVICES:
        return SERVICES[cell.lower()]
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", cell):
        number = int(cell, 16)
    elif re.fullmatch(r"\d+", cell, re.ASCII):
        number = int(cell)
    else:
        raise Rejected("port_range")
    if number > 65_535:
        raise Rejected("port_range")
    return number


def sides(record: Record, what: str) -> tuple[int | None, int | None, int | None]:
    total, fwd, rev = (whole(record.get(f"{side}{what}")) for side in ("Tot", "Src", "Dst"))
    if total is not None and (fwd is None) != (rev is None):
        reported = fwd if rev is None else rev
        assert reported is not None
        if reported > total:
            raise Rejected("count_range")
        fwd, rev = (fwd, total - reported) if rev is None else (total - reported, rev)
    return fwd, rev, total


def argus_packets(record: Record, fwd_bytes: int, rev_bytes: int) -> tuple[int, int, bool]:
    fwd, rev, total = sides(record, "Pkts")
    if fwd is not None and rev is not None:
        return fwd, rev, False
    if total is None:
        raise Rejected("missing")
    if not fwd_bytes or not rev_bytes:
        return (0, total, False) if rev_bytes else (total, 0, False)
    share = round(total * (fwd_bytes / (float(fwd_bytes) + float(rev_bytes))))
    share = min(max(share, min(total, 1)), max(total, 2) - 1)
    return share, total - min(share, total), total > 2


def said(word: str) -> int:
    if word in STATES:
        return STATES[word]
    if not re.fullmatch(r"s?S?E?f?F?R?", word):
        return 0
    return RESET if "R" in word else ENDED if "f" in word.lower() else ASKED if word == "s" else OPENED


def argus_icmp(sides: list[tuple[int | None, str]]) -> tuple[int | None, int | None]:
    """Type and code, which Argus writes instead of ports: two short numbers, or both in one long one."""
    (first, first_cell), (second, second_cell) = sides
    if first is None:
        return None, None
    if len(first_cell) > 4:
        return first & 255, first >> 8
    return first & 255, second & 255 if second is not None and len(second_cell) <= 4 else None


def argus(record: Record) -> dict[str, Any]:
    record = {
        name: None if name in ("sTtl", "dTtl", "SIntPkt", "DIntPkt") and no_number(cell) else cell
        for name, cell in record.items()
    }
    arrow = text(record.get("Dir")) or ""
    backward = arrow.startswith("<") and ">" not in arrow
    if backward:
        src_names = ("SrcMac", "SrcAddr", "Sport", "sTtl", "SrcPkts", "SrcBytes", "SAppBytes", "SIntPkt")
        dst_names = ("DstMac", "DstAddr", "Dport", "dTtl", "DstPkts", "DstBytes", "DAppBytes", "DIntPkt")
        other = dict(zip(src_names + dst_names, dst_names + src_names, strict=True))
        record = {name: record.get(other.get(name, name)) for name in {*record, *other}}
    flow = required_times(record.get("StartTime"), record.get("Dur"), 6, False)
    flow["src_addr"], source = address(record.get("SrcAddr"))
    flow["dst_addr"], target = address(record.get("DstAddr"))
    name = (text(record.get("Proto")) or "").lower()
    if name == "man":
        raise Rejected("not_a_flow")
    proto = PROTOCOLS.get(name, protocol(name or None))
    non_ip = "mac" in (source, target) or (name in ETHER_TYPES and proto is None)
    if proto is None and not non_ip and name not in NAMELESS:
        raise Rejected("protocol")
    six = "6" in (source, target)
    proto = None if non_ip else 58 if six and proto == 1 else proto
    flow["ether_type"] = ETHER_TYPES.get(name, 0) if non_ip else 0x86DD if six else 0x0800
    flow["ip_proto"] = proto
    flow["src_mac"], flow["dst_mac"] = macs(record.get("SrcMac"))[0], macs(record.get("DstMac"))[0]
    with_ports, icmp = proto in (6, 17, 33, 132, 136), proto in (1, 58)
    ports = [port(record.get(side)) if with_ports or icmp else None for side in ("Sport", "Dport")]
    flow["src_port"], flow["dst_port"] = ports if with_ports else (None, None)
    sides_of_icmp = [(port, record.get(side) or "") for port, side in zip(ports, ("Sport", "Dport"), strict=True)]
    flow["icmp_type"], flow["icmp_code"] = argus_icmp(sides_of_icmp[:: -1 if backward else 1]) if icmp else (None, None)
    fwd_bytes, rev_bytes, _ = sides(record, "Bytes")
    if fwd_bytes is None or rev_bytes is None:
        raise Rejected("missing")
    flow["fwd_bytes"], flow["rev_bytes"] = fwd_bytes, rev_bytes
    flow["fwd_pkts"], flow["rev_pkts"], split = argus_packets(record, fwd_bytes, rev_bytes)
    for side, letter in (("fwd", "s"), ("rev", "d")):
        flow[f"{side}_payload_bytes"] = whole(record.get(f"{letter.upper()}AppBytes"))
        flow[f"{side}_ttl_mean"] = measure(record.get(f"{letter}Ttl"), 1, 255)
        flow[f"{side}_iat_mean_us"] = measure(record.get(f"{letter.upper()}IntPkt"), 1000)
    word = text(record.get("State")) or ""
    flags = re.fullmatch(r"([FSRPAUEC]*)_([FSRPAUEC]*)", word) if proto == 6 else None
    bits = [sum(BITS[letter] for letter in set(side)) for side in flags.groups()] if flags else [None, None]
    fwd, rev = bits[::-1] if backward else bits
    flow["fwd_tcp_flags"], flow["rev_tcp_flags"] = fwd, rev if flow["rev_pkts"] else None
    if proto != 6 or flags:
        flow["conn_state"] = state(proto, fwd, rev, flow["rev_pkts"])
    elif word in CONN_STATES:
        flow["conn_state"] = word
    else:
        heard = said(word) if word else 0
        opened = heard > 0 and "?" not in arrow and not (heard == ASKED and flow["rev_pkts"] > 0)
        flow["conn_state"] = of_totals(opened, heard == ENDED, heard == RESET, flow["fwd_pkts"], flow["rev_pkts"])
    flow["quality"] = quality(
        no_flags=proto == 6 and not flags, no_ports=with_ports and None in ports, non_ip=non_ip, pkts_split=split
    )
    return flow | {"byte_semantics": "frame", "is_biflow": True}


def cicflowmeter(record: Record) -> dict[str, Any]:
    flow = required_times(record.get("Timestamp"), record.get("Flow Duration"), 0, True)
    flow["src_addr"], source = address(record.get("Src IP"))
    flow["dst_addr"], target = address(record.get("Dst IP"))
    if "mac" in (source, target):
        raise Rejected("address")
    six = "6" in (source, target)
    flow["ether_type"] = 0x86DD if six else 0x0800
    cell = record.get("Protocol") or ""
    if not re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", cell, re.ASCII):
        raise Rejected("protocol")
    number = int(cell, 16) if cell[1:2] in ("x", "X") else int(cell)
    if number > 255:
        raise Rejected("protocol")
    proto = (58 if six and number == 1 else number) or None
    flow["ip_proto"] = proto
    ports = [whole(record.get(f"{side} Port"), 65_535, "port_range") for side in ("Src", "Dst")]
    with_ports = proto in (6, 17, 33, 132, 136)
    some = bool(ports[0] or ports[1])
    flow["src_port"], flow["dst_port"] = ports if with_ports and some else (None, None)
    for side, name in (("fwd", "Fwd"), ("rev", "Bwd")):
        packets = whole(record.get(f"Tot {name} Pkts"))
        if packets is None:
            raise Rejected("missing")
        octets = whole(record.get(f"TotLen {name} Pkts"))
        if octets is None:
            raise Rejected("missing")
        flow[f"{side}_pkts"], flow[f"{side}_bytes"], flow[f"{side}_payload_bytes"] = packets, octets, octets
        mean = record.get(f"{name} IAT Mean")
        dropped = no_number(mean) or (mean or "").startswith("-")
        flow[f"{side}_iat_mean_us"] = None if dropped else measure(mean)
    order = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "CWE": 128, "ECE": 64}
    counts = {bit: whole(record.get(f"{flag} Flag Cnt"), 2**32 - 1) for flag, bit in order.items()}
    some_flags = any(count is not None for count in counts.values())
    bits = sum(bit for bit, count in counts.items() if count)
    alone = proto == 6 and some_flags and not flow["rev_pkts"]
    flow["fwd_tcp_flags"], flow["rev_tcp_flags"] = bits if alone else None, None
    if proto == 6 and some_flags:
        seen = bits & 2 > 0, bits & 1 > 0, bits & 4 > 0
        flow["conn_state"] = of_totals(*seen, flow["fwd_pkts"], flow["rev_pkts"])
    else:
        flow["conn_state"] = state(proto, None, None, flow["rev_pkts"])
    flow["quality"] = quality(no_flags=proto == 6 and not alone, no_ports=with_ports and (None in ports or not some))
    return flow | {"byte_semantics": "payload", "is_biflow": True}


def nfdump_csv(record: Record) -> dict[str, Any]:
    """A line of either header; the short one's names are made the long one's first."""
    names = {
        **{"firstSeen": "ts", "duration": "td", "proto": "pr", "srcAddr": "sa", "srcPort": "sp", "dstAddr": "da"},
        **{"dstPort": "dp", "packets": "ipkt", "bytes": "ibyt", "received": "tr"},
    }
    record = {names.get(name, name): cell for name, cell in record.items()}
    keys: dict[str, tuple[str, ...]] = {
        **{"start": ("ts",), "duration": ("td",), "src_mac": ("ismc",), "dst_mac": ("idmc", "odmc")},
        **{"src_ip": ("sa",), "dst_ip": ("da",), "proto": ("pr",), "src_port": ("sp",), "dst_port": ("dp",)},
        **{"flags": ("flg",), "fwd_bytes": ("ibyt",), "rev_bytes": ("obyt",), "fwd_pkts": ("ipkt",)},
        **{"rev_pkts": ("opkt",), "vlan": ("svln", "dvln"), "received": ("tr",)},
    }
    read = reader(record, keys)
    kind, dot, code = (record.get("dp") or "").partition(".")
    if dot and (record.get("pr") or "").lower() in ("icmp", "icmp6", "ipv6-icmp", "icmpv6", "1", "58"):
        hidden = {"icmp_type": kind, "icmp_code": code, "dst_port": None}
        return flow_of(lambda name: hidden[name] if name in hidden else read(name), (), 6, False, True, True) | {
            "byte_semantics": "ip"
        }
    return flow_of(read, (), 6, False, True, True) | {"byte_semantics": "ip"}
