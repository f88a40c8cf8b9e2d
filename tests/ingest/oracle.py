"""Decoders a record at a time, in plain Python: what the compiled ones must agree with."""

import ipaddress
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from pipeline.contracts.raw import ZEEK_ICS_LOGS
from pipeline.ingest.formats.marks import OTHER_ZEEK_LOGS
from pipeline.ingest.formats.protocols import CONN_STATES, ETHER_TYPES, IP_PROTOCOLS

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
MOST = 1_152_921_504_606_846_976
YEAR_US = 31_536_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rejected(Exception):
    """A record that is no valid flow."""


class Num(str):
    """A JSON number as it was written."""


def parse_json(record: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(pairs)

    try:
        document = json.loads(
            record, parse_float=Num, parse_int=Num, parse_constant=_constant, object_pairs_hook=unique
        )
    except (ValueError, RecursionError) as error:
        raise Rejected("not_json") from error
    if not isinstance(document, dict):
        raise Rejected("not_json")
    return document


def _constant(_text: str) -> None:
    raise ValueError


def scalar(value: Any, reason: str) -> str | None:
    """A cell's text; None where absent. Truth values, lists and objects are malformed."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Rejected(reason)
    return str(value)


def number(value: Any, reason: str) -> Decimal | None:
    text = scalar(value, reason)
    if text is None:
        return None
    if not re.fullmatch(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        raise Rejected(reason)
    return Decimal(text)


def whole(value: Any, most: int = MOST, out_of_range: str = "count_range") -> int | None:
    read = number(value, "count")
    if read is None:
        return None
    if read == 0:
        return 0
    if read != read.to_integral_value():
        raise Rejected(out_of_range if read < 0 else "count")
    if not 0 <= read <= most:
        raise Rejected(out_of_range)
    return int(read)


def measure(value: Any, scale: int = 1, most: float = 3.4e38) -> float | None:
    read = number(value, "measure")
    if read is None:
        return None
    if not 0 <= read * scale <= Decimal(most):
        raise Rejected("measure_range")
    return float(read * scale)


def time_us(value: Any, power: int = 6, day_first: bool = False, unpadded: bool = False) -> int | None:
    """Microseconds; seconds beyond the year 9999 are milliseconds, or less."""
    if power == 6:
        for finer in (6, 3, 0):
            try:
                return _time_us(value, finer, day_first, unpadded)
            except Rejected as problem:
                if str(problem) != "time_range" or re.search("[T/: ]", str(value)):
                    raise
        power = -3
    return _time_us(value, power, day_first, unpadded)


def _time_us(value: Any, power: int, day_first: bool, unpadded: bool) -> int | None:
    text = scalar(value, "time")
    if text is None:
        return None
    try:
        read = number(text, "time")
    except Rejected:
        if unpadded:
            text = re.sub(r"(?<=:\d\d)([.,])(\d\d?)(?!\d)", lambda match: match[1] + match[2].zfill(3), text)
        return day_first_us(text) if day_first and re.match(r"\d\d?/", text) else iso_us(text)
    assert read is not None
    _, digits, exponent = read.as_tuple()
    assert isinstance(exponent, int)
    # The decoder reads 19 significant digits.
    cut = Decimal((0, digits[:19], 0)).scaleb(len(digits[19:]) + exponent)
    scaled = cut.scaleb(power)
    us = int(scaled.quantize(Decimal(1), ROUND_HALF_UP)) if scaled < 10**18 else 10**18
    if us > 253_402_300_799_999_999:
        raise Rejected("time_range")
    return -us if read < 0 else us


def time_or_none(value: Any, power: int = 6, unpadded: bool = False) -> int | None:
    """A time that a record may have; what is none is nothing."""
    try:
        return time_us(value, power, unpadded=unpadded)
    except Rejected:
        return None


def required_us(value: Any, power: int = 6, unpadded: bool = False) -> int:
    """A time the record must have. Fields are judged one after the other: the first thing wrong is the reason."""
    us = time_us(value, power, unpadded=unpadded)
    if us is None:
        raise Rejected("time_missing")
    return us


def no_serial_date(value: Any, us: int) -> None:
    """A spreadsheet's days since 1900 are no seconds."""
    if len(str(value)) < 19 and 32_874_000_000 <= us < 73_051_000_000:
        raise Rejected("time")
    if len(str(value)) < len("1.234567890E+09") and re.search(r".[eE]...$", str(value)):
        raise Rejected("time")


def iso_us(text: str) -> int:
    match = re.fullmatch(
        r"(\d{4}-\d\d-\d\d|\d{4}/\d\d/\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:[.,](\d+))?(Z|z|[+-]\d\d(?::?\d\d)?)?",
        text,
        re.ASCII,
    )
    if not match:
        raise Rejected("time")
    day, clock, second, fraction, zone = match.groups()
    day = day.replace("/", "-")
    try:
        moment = datetime.strptime(f"{day} {clock}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    except ValueError as error:
        if not day.startswith("0000"):
            raise Rejected("time") from error
        raise Rejected("time_range") from error
    if int(second) > 60:
        raise Rejected("time")
    us = int(
        Decimal("0." + (fraction or "0"))
        .quantize(Decimal("0.0000001"), ROUND_DOWN)
        .scaleb(6)
        .quantize(Decimal(1), ROUND_HALF_UP)
    )
    shift = timedelta(0)
    if zone and zone not in "Zz":
        hours, minutes = int(zone[1:3]), int(zone[3:].replace(":", "") or 0)
        if hours > 23 or minutes > 59:
            raise Rejected("time")
        shift = timedelta(hours=hours, minutes=minutes) * (1 if zone[0] == "+" else -1)
    delta = moment - EPOCH + timedelta(seconds=int(second)) - shift
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + us


def day_first_us(text: str) -> int:
    match = re.fullmatch(
        r"(\d\d?)/(\d\d?)/(\d{4}) (\d\d?):(\d\d)(?::(\d\d)((?:[.,]\d+)?))?(?: ([AaPp])[Mm])?", text, re.ASCII
    )
    if not match:
        raise Rejected("time")
    day, month, year, hour, minute, second, fraction, half = match.groups()
    if half and not 1 <= int(hour) <= 12:
        raise Rejected("time")
    hours = int(hour) % 12 + 12 * (half in "Pp") if half else int(hour)
    return iso_us(f"{year}-{int(month):02}-{int(day):02} {hours:02}:{minute}:{second or '00'}{fraction or ''}")


def text(value: Any) -> str | None:
    read = scalar(value, "text")
    if not read:
        return None
    if any(ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) <= 0xDFFF for letter in read):
        raise Rejected("text")
    return read


def address(value: Any) -> tuple[str, str]:
    """The normalised address, and its family."""
    read = scalar(value, "address") or ""
    if re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}|[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){5}", read):
        return read.lower().replace("-", ":"), "mac"
    try:
        parsed = ipaddress.ip_address(read)
    except ValueError as error:
        raise Rejected("address") from error
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id:
            raise Rejected("address")
        groups = ":".join(f"{int(parsed) >> 16 * (7 - group) & 0xFFFF:x}" for group in range(8))
        runs = sorted(re.finditer(r"(^|(?<=:))0(:0)+($|(?=:))", groups), key=lambda run: -len(run[0]))
        if runs:
            groups = groups[: runs[0].start()].rstrip(":") + "::" + groups[runs[0].end() :].lstrip(":")
        return groups, "6"
    return str(parsed), "4"


def macs(value: Any) -> tuple[str | None, int | None]:
    read = scalar(value, "mac")
    if read is None:
        return None, None
    normalised = []
    for mac in read.split("/"):
        if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}|[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){5}", mac):
            raise Rejected("mac")
        normalised.append(mac.lower().replace("-", ":"))
    return normalised[0], len(set(normalised))


def protocol(name: str | None) -> int | None:
    if name is None:
        return None
    if name.lower() in IP_PROTOCOLS:
        return IP_PROTOCOLS[name.lower()]
    return int(name) if re.fullmatch(r"0*\d{1,3}", name, re.ASCII) and int(name) <= 255 else None


def state(ip_proto: int | None, fwd: int | None, rev: int | None, rev_packets: int) -> str:
    if ip_proto in (17, 1, 58):
        return "SF"
    if ip_proto != 6 or fwd is None:
        return "OTH"
    rev = rev or 0
    if fwd & SYN and rev & SYN:
        if fwd & RST:
            return "RSTO"
        if rev & RST:
            return "RSTR"
        if fwd & FIN and rev & FIN:
            return "SF"
        return "S2" if fwd & FIN else "S3" if rev & FIN else "S1"
    if fwd & SYN:
        if rev & RST:
            return "REJ"
        if fwd & RST:
            return "RSTOS0"
        if fwd & FIN:
            return "SH"
        return "OTH" if rev_packets else "S0"
    return "OTH"


def check_times(flow: dict[str, Any]) -> None:
    if flow["start_ts_us"] < 0:
        raise Rejected("time_range")
    if flow["duration_us"] < 0:
        raise Rejected("negative_duration")
    if flow["duration_us"] > YEAR_US:
        raise Rejected("duration_range")


def quality(**words: Any) -> str:
    return ",".join(sorted(word for word, missing in words.items() if missing))


def plausible(flow: dict[str, Any], source: str, semantics: str) -> dict[str, Any]:
    """The flow with what cannot be bounded, and with words for it."""
    if (flow.get("app_proto") or "").lower() in ("failed", "unknown", "none", "n/a", "undetermined"):
        flow["app_proto"] = None
    words = set(filter(None, flow["quality"].split(",")))
    if flow["start_ts_us"] < 631_152_000_000_000:
        words.add("clock")
    most = 65_561 if semantics == "frame" else 65_535
    for side in ("fwd", "rev"):
        octets, packets = flow.get(f"{side}_bytes", 0), flow.get(f"{side}_pkts", 0)
        counted = packets > 0 or source in ("suricata", "argus", "cicflowmeter", "icsflow")
        if counted and octets > packets * most:
            octets = flow[f"{side}_bytes"] = packets * most
            words.add("bytes_bounded")
        if (flow.get(f"{side}_payload_bytes") or 0) > octets:
            flow[f"{side}_payload_bytes"] = octets
            words.add("bytes_bounded")
    return flow | {"quality": ",".join(sorted(words))}


def zeek_counts(record: dict[str, Any], flow: dict[str, Any]) -> bool:
    """Put bytes and packets of both sides; whether bytes had to be bounded."""
    bounded = False
    missed = whole(record.get("missed_bytes")) or 0
    for side, prefix in (("fwd", "orig"), ("rev", "resp")):
        octets = whole(record.get(f"{prefix}_bytes"))
        try:
            most = whole(record.get(f"{prefix}_ip_bytes"))
        except Rejected:
            most = None
        packets = whole(record.get(f"{prefix}_pkts"))
        impossible = bool(missed) or bool(packets and (octets or 0) > packets * 65_535)
        if octets is not None and most is not None and octets > most and impossible:
            octets, bounded = most, True
        flow[f"{side}_payload_bytes"] = octets
        flow[f"{side}_bytes"] = flow[f"{side}_payload_bytes"] or 0
        flow[f"{side}_pkts"] = whole(record.get(f"{prefix}_pkts")) or 0
    return bounded


def zeek(record: dict[str, Any]) -> dict[str, Any]:
    if text(record.get("_path")) in (*OTHER_ZEEK_LOGS, *ZEEK_ICS_LOGS):
        raise Rejected("other_log")
    start = required_us(record.get("ts"))
    duration = time_us(record.get("duration")) or 0
    flow: dict[str, Any] = {"start_ts_us": start, "end_ts_us": start + duration, "duration_us": duration}
    check_times(flow)
    flow["src_addr"], source = address(record.get("id.orig_h"))
    flow["dst_addr"], target = address(record.get("id.resp_h"))
    non_ip, six = "mac" in (source, target), "6" in (source, target)
    name = text(record.get("proto"))
    number_given = whole(record.get("ip_proto"), 255)
    proto = protocol(name)
    if proto == 1 and six:
        proto = 58
    if proto is None and number_given is None and not non_ip and (name or "").lower() != "unknown_transport":
        raise Rejected("protocol")
    proto = None if non_ip else number_given if number_given is not None else proto
    flow["ip_proto"] = proto
    flow["ether_type"] = 0 if non_ip else 0x86DD if six else 0x0800
    ports = [whole(record.get(f"id.{end}_p"), 65_535, "port_range") for end in ("orig", "resp")]
    icmp = proto in (1, 58)
    if icmp and any(port is not None and port > 255 for port in ports):
        raise Rejected("icmp_range")
    with_ports = proto in (6, 17, 33, 132, 136)
    flow["src_port"], flow["dst_port"] = ports if with_ports else (None, None)
    flow["icmp_type"], flow["icmp_code"] = ports if icmp else (None, None)
    bounded = zeek_counts(record, flow)
    flow["missed_bytes"] = whole(record.get("missed_bytes"))
    flow["src_mac"], _ = macs(record.get("orig_l2_addr"))
    flow["dst_mac"], _ = macs(record.get("resp_l2_addr"))
    flow["vlan_id"] = whole(record.get("vlan"), 4095, "vlan_range")
    for key, field in (("service", "app_proto"), ("community_id", "community_id"), ("uid", "sensor_uid")):
        flow[field] = text(record.get(key))
    flow["conn_state"] = text(record.get("conn_state")) or "OTH"
    if flow["conn_state"] not in CONN_STATES:
        raise Rejected("conn_state")
    flow["history"] = text(record.get("history"))
    letters = {"s": SYN, "h": SYN | ACK, "a": ACK, "d": ACK, "f": FIN | ACK, "r": RST}
    for side, chosen in (("fwd", str.isupper), ("rev", str.islower)):
        flags = 0
        for letter in flow["history"] or "":
            flags |= letters.get(letter.lower(), 0) if letter.isascii() and chosen(letter) else 0
        flow[f"{side}_tcp_flags"] = flags if proto == 6 and flow["history"] else None
    flow["quality"] = quality(
        bytes_bounded=bounded,
        gap=flow["missed_bytes"],
        no_bytes=flow["fwd_payload_bytes"] is None and flow["rev_payload_bytes"] is None,
        no_flags=proto == 6 and not flow["history"],
        no_ports=with_ports and None in ports,
        no_rev=record.get("resp_pkts") is None,
        non_ip=non_ip,
    )
    return flow


def suricata(record: dict[str, Any]) -> dict[str, Any]:
    if text(record.get("event_type")) != "flow":
        raise Rejected("not_a_flow")
    counters = record["flow"] if isinstance(record.get("flow"), dict) else {}
    tcp = record["tcp"] if isinstance(record.get("tcp"), dict) else {}
    start, end = required_us(counters.get("start")), required_us(counters.get("end"))
    flow: dict[str, Any] = {"start_ts_us": start, "end_ts_us": end, "duration_us": end - start}
    check_times(flow)
    flow["src_addr"], source = address(record.get("src_ip"))
    flow["dst_addr"], target = address(record.get("dest_ip"))
    non_ip, six = "mac" in (source, target), "6" in (source, target)
    proto = protocol(text(record.get("proto")))
    if proto is None and not non_ip:
        raise Rejected("protocol")
    flow["ip_proto"] = proto = None if non_ip else proto
    flow["ether_type"] = 0 if non_ip else 0x86DD if six else 0x0800
    ports = [whole(record.get(key), 65_535, "port_range") for key in ("src_port", "dest_port")]
    with_ports = proto in (6, 17, 33, 132, 136)
    flow["src_port"], flow["dst_port"] = ports if with_ports else (None, None)
    for key in ("icmp_type", "icmp_code"):
        flow[key] = whole(record.get(key), 255, "icmp_range")
    octets = [whole(counters.get(f"bytes_{end}")) for end in ("toserver", "toclient")]
    packets = [whole(counters.get(f"pkts_{end}")) for end in ("toserver", "toclient")]
    flow["fwd_bytes"], flow["rev_bytes"] = (value or 0 for value in octets)
    flow["fwd_pkts"], flow["rev_pkts"] = (value or 0 for value in packets)
    for key, field in (("app_proto", "app_proto"), ("community_id", "community_id"), ("flow_id", "sensor_uid")):
        flow[field] = text(record.get(key))
    flags = [hex_byte(tcp.get(key)) for key in ("tcp_flags_ts", "tcp_flags_tc")]
    flow["fwd_tcp_flags"], flow["rev_tcp_flags"] = flags if proto == 6 else (None, None)
    flow["conn_state"] = state(proto, flags[0], flags[1], flow["rev_pkts"])
    written = time_or_none(record.get("timestamp"))
    flow["quality"] = quality(
        clock=written is not None and abs(written - flow["end_ts_us"]) > 86_400_000_000,
        gap=tcp.get("ts_gap") is True or tcp.get("tc_gap") is True,
        no_bytes=octets == [None, None],
        no_flags=proto == 6 and None in flags,
        no_ports=with_ports and None in ports,
        no_rev=packets[1] is None,
        non_ip=non_ip,
    )
    return flow


def hex_byte(value: Any) -> int | None:
    read = scalar(value, "flags_range")
    if read is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{1,2}", read):
        raise Rejected("flags_range")
    return int(read, 16)


def icsflow(record: dict[str, str | None]) -> dict[str, Any]:
    start, end = required_us(record.get("start")), required_us(record.get("end"))
    no_serial_date(record.get("start"), start)
    flow: dict[str, Any] = {"start_ts_us": start, "end_ts_us": end, "duration_us": end - start}
    check_times(flow)
    flow["src_addr"], source = address(record.get("sAddress"))
    flow["dst_addr"], target = address(record.get("rAddress"))
    name = text(record.get("protocol"))
    if name is None:
        raise Rejected("protocol")
    over_ip = re.fullmatch(r"ipv?([46])(?:-(.*))?", name.lower())
    proto = protocol(over_ip[2]) if over_ip else None
    if over_ip:
        if proto is None:
            raise Rejected("protocol")
        if "mac" in (source, target):
            raise Rejected("address")
        six = over_ip[1] == "6" or "6" in (source, target)
        proto = 58 if six and proto == 1 else proto
        flow["ether_type"] = 0x86DD if six else 0x0800
    else:
        flow["ether_type"] = ETHER_TYPES.get(name.lower(), 0)
    flow["ip_proto"] = proto
    flow["byte_semantics"] = "ip" if over_ip else "frame"
    rates = {"Ack": ACK, "Urg": URG, "Fin": FIN, "Psh": PSH, "Syn": SYN, "Rst": RST}
    for prefix, side, end_name in (("s", "fwd", "src"), ("r", "rev", "dst")):
        flow[f"{end_name}_mac"], flow[f"{end_name}_mac_count"] = macs(record.get(f"{prefix}MACs"))
        packets = whole(record.get(f"{prefix}Packets"))
        octets = None if packets is None else whole(record.get(f"{prefix}BytesSum"))
        if packets is None or octets is None:
            raise Rejected("missing")
        flow[f"{side}_pkts"], flow[f"{side}_bytes"] = packets, octets
        flow[f"{side}_payload_bytes"] = whole(record.get(f"{prefix}PayloadSum"))
        flow[f"{side}_iat_mean_us"] = measure(record.get(f"{prefix}InterPacketAvg"), 1_000_000)
        flow[f"{side}_ttl_mean"] = measure(record.get(f"{prefix}ttl"), 1, 255)
        flow[f"{side}_window_mean"] = measure(record.get(f"{prefix}WinTCP"))
        shares = {flag: measure(record.get(f"{prefix}{flag}Rate"), 1, 1) for flag in rates}
        known = [share for share in shares.values() if share is not None]
        flow[f"{side}_tcp_flags"] = sum(bit for flag, bit in rates.items() if shares[flag]) if known else None
        for flag in ("Syn", "Rst", "Fin", "Psh"):
            share = shares[flag]
            count = None if share is None else min(round(share * packets), 2**32 - 1)
            flow[f"{side}_{flag.lower()}_pkts"] = count
    flow["conn_state"] = state(proto, flow["fwd_tcp_flags"], flow["rev_tcp_flags"], flow["rev_pkts"])
    flow["quality"] = quality(
        no_flags=proto == 6 and flow["fwd_tcp_flags"] is None and flow["rev_tcp_flags"] is None,
        no_ports=proto in (6, 17, 33, 132, 136),
        non_ip=not over_ip,
    )
    return flow
