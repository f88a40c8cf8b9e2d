"""Logs of industrial protocols a record at a time, in plain Python: what the compiled decoders must agree with."""

import re
from typing import Any

from pipeline.ingest.formats.functions import functions_of
from tests.ingest.oracle import Rejected, address, protocol, quality, scalar, text, time_us, whole

MOST = 2**32 - 1
ACCESS = {"ics_read_cnt": 1, "ics_write_cnt": 2, "ics_control_cnt": 4}
REFUSED_BITS = (0, 1, 2, 4)
REFUSED_WORDS = {"no_func_code_support", "object_unknown", "parameter_error", "already_executing"}


def code(value: Any, most: int, reason: str = "function") -> int | None:
    read = scalar(value, reason)
    if read is None:
        return None
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", read):
        number = int(read, 16)
    elif re.fullmatch(r"[0-9]+", read):
        number = int(read)
    else:
        raise Rejected(reason)
    if number > most:
        raise Rejected(reason)
    return number


def named(value: Any, proto: str, suffix: str = "") -> int | None:
    name = text(value)
    if name is None:
        return None
    name = name.removesuffix(suffix) if suffix else name
    known = functions_of(proto).names
    unknown = re.fullmatch(r"unknown-([0-9]{1,3})", name)
    number = known[name] if name in known else int(unknown[1]) if unknown else 999
    if (number > 255 and proto != "bacnet") or number == 999:
        raise Rejected("function")
    return number


def word(value: Any) -> str:
    return (text(value) or "").lower()


def identity(record: dict[str, Any], ends: tuple[str, ...], time: str, proto: int | None) -> dict[str, Any]:
    at = time_us(record.get(time))
    if at is None:
        raise Rejected("time_missing")
    if at < 0:
        raise Rejected("time_range")
    flow: dict[str, Any] = {"start_ts_us": at, "end_ts_us": at, "duration_us": 0}
    flow["src_addr"], source = address(record.get(ends[0]))
    flow["dst_addr"], target = address(record.get(ends[2]))
    non_ip, six = "mac" in (source, target), "6" in (source, target)
    flow["ip_proto"] = proto = None if non_ip else proto
    flow["ether_type"] = 0 if non_ip else 0x86DD if six else 0x0800
    ports = [whole(record.get(ends[end]), 65_535, "port_range") for end in (1, 3)]
    with_ports = proto in (6, 17, 33, 132, 136)
    flow["src_port"], flow["dst_port"] = ports if with_ports else (None, None)
    flow["sensor_uid"] = text(record.get(ends[4]))
    flow["quality"] = quality(no_bytes=True, no_flags=proto == 6, no_ports=with_ports and None in ports, non_ip=non_ip)
    flow["record_kind"], flow["is_biflow"], flow["conn_state"] = "ics", True, "OTH"
    flow |= dict.fromkeys(("fwd_bytes", "rev_bytes", "fwd_pkts", "rev_pkts"), 0)
    return flow


def says(flow: dict[str, Any], proto: str, codes: list[int | None], table: str = "") -> None:
    flow["ics_proto"] = flow["app_proto"] = proto
    asked = sorted(code for code in codes if code is not None)
    pairs = [[code, asked.count(code)] for code in sorted(set(asked))]
    flow["ics_functions"] = [number for pair in pairs for number in pair] or None
    access = functions_of(table or proto).access
    for name, bit in ACCESS.items():
        flow[name] = sum(1 for code in asked if access.get(code, 0) & bit)


def points(flow: dict[str, Any], *ranges: tuple[int | None, int | None]) -> None:
    firsts = [(first, number) for first, number in ranges if first is not None]
    flow["ics_addr_min"] = min((first for first, _ in firsts), default=None)
    flow["ics_addr_max"] = max((first + max(number or 1, 1) - 1 for first, number in firsts), default=None)
    quantities = [number for _, number in ranges if number is not None]
    flow["ics_quantity"] = sum(quantities) if quantities else None


ZEEK_ENDS = ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "uid")


def zeek(log: str, record: dict[str, Any]) -> dict[str, Any]:
    path = text(record.get("_path"))
    if path not in (None, log):
        raise Rejected("other_log")
    flow = identity(record, ZEEK_ENDS, "ts", 17 if log == "bacnet" else 6)
    JUDGES[log](record, flow)
    return flow


def unit(record: dict[str, Any], flow: dict[str, Any]) -> None:
    number = code(record.get("unit"), 255, "count_range")
    flow["ics_units"] = None if number is None else [number]


def operation(record: dict[str, Any], flow: dict[str, Any], response: bool, exception: str) -> None:
    name = text(record.get("func"))
    function = named(name, "modbus", "_EXCEPTION")
    refused = function is not None and (function >= 128 or (name or "").endswith("_EXCEPTION"))
    says(flow, "modbus", [] if function is None or response else [function % 128])
    flow["ics_exception_cnt"] = int(text(record.get(exception)) is not None or refused)
    unit(record, flow)


def modbus(record: dict[str, Any], flow: dict[str, Any]) -> None:
    operation(record, flow, word(record.get("pdu_type")) == "resp", "exception")


def modbus_detailed(record: dict[str, Any], flow: dict[str, Any]) -> None:
    response = word(record.get("request_response")) == "response"
    operation(record, flow, response, "exception_code")
    first = code(record.get("address"), 65_535, "count_range")
    number = code(record.get("quantity"), 65_535, "count_range")
    points(flow, (first, None if response else number if number is not None else None if first is None else 1))
    if response and first is not None:
        flow["ics_addr_max"] = first


def mask_write(record: dict[str, Any], flow: dict[str, Any]) -> None:
    unit(record, flow)
    points(flow, (code(record.get("address"), 65_535, "count_range"), None))


def read_write(record: dict[str, Any], flow: dict[str, Any]) -> None:
    unit(record, flow)
    read = code(record.get("read_start_address"), 65_535, "count_range")
    write = code(record.get("write_start_address"), 65_535, "count_range")
    number = code(record.get("read_quantity"), 65_535, "count_range")
    values = record.get("write_registers")
    written = (
        len(values) if isinstance(values, list) else len(values.split(",")) if isinstance(values, str) and values else 0
    )
    points(flow, (read, number), (write, None if write is None else written))


def dnp3(record: dict[str, Any], flow: dict[str, Any]) -> None:
    request, reply = named(record.get("fc_request"), "dnp3"), named(record.get("fc_reply"), "dnp3")
    says(flow, "dnp3", [request, None if reply == 129 and request is not None else reply])
    indications = code(record.get("iin"), 65_535, "count_range") or 0
    flow["ics_exception_cnt"] = int(any(indications >> bit & 1 for bit in REFUSED_BITS))


def dnp3_control(record: dict[str, Any], flow: dict[str, Any]) -> None:
    index = code(record.get("index_number"), MOST, "count_range")
    operated = word(record.get("function_code")) in ("operate", "direct_operate", "direct_operate_nr")
    points(flow, (index, 1 if operated and index is not None else None))
    flow["ics_exception_cnt"] = int(word(record.get("status_code")) not in ("", "success"))


def dnp3_objects(record: dict[str, Any], flow: dict[str, Any]) -> None:
    low, high, number = (
        code(record.get(name), MOST, "count_range") for name in ("range_low", "range_high", "object_count")
    )
    if low is not None and high is not None and low > high:
        raise Rejected("count_range")
    flow["ics_addr_min"], flow["ics_addr_max"], flow["ics_quantity"] = low, high, number


def s7comm(record: dict[str, Any], flow: dict[str, Any]) -> None:
    kind, function = (code(record.get(name), 255) for name in ("rosctr_code", "function_code"))
    try:
        sub = code(record.get("subfunction_code"), 255)
    except Rejected:
        if kind == 7:
            raise
        sub = None
    if function is not None and kind == 7:
        asked = function * 256 + (sub or 0) if function & 0xF0 == 0x40 else None
    else:
        asked = function if kind == 1 else None
    says(flow, "s7comm", [asked])
    bad = word(record.get("error_class")) not in ("", "no error", "0x00")
    flow["ics_exception_cnt"] = int((word(record.get("error_code")) not in ("", "0x00", "0")) or bad)


def s7comm_plus(record: dict[str, Any], flow: dict[str, Any]) -> None:
    opcode, function = code(record.get("opcode"), 255), code(record.get("function_code"), 65_535)
    says(flow, "s7comm", [function if opcode == 0x31 else None], "s7comm-plus")


def enip(record: dict[str, Any], flow: dict[str, Any]) -> None:
    command = code(record.get("enip_command_code"), 65_535)
    asked = command is not None and record.get("is_orig") not in (False, "F")
    says(flow, "enip", [0x10000 + (command or 0) if asked else None])
    flow["ics_exception_cnt"] = int(word(record.get("enip_status")) not in ("", "success"))


def cip(record: dict[str, Any], flow: dict[str, Any]) -> None:
    service = code(record.get("cip_service_code"), 255)
    manager = word(record.get("class_id")) in ("0x06", "0x6", "6")
    response = word(record.get("direction")) == "response"
    asked = None if service is None or response else service & 127
    says(flow, "cip", [asked + 0x600 if asked is not None and manager and asked >= 0x4B else asked])
    by_code = word(record.get("cip_status_code")) not in ("", "0x00", "0x06")
    flow["ics_exception_cnt"] = int(
        (word(record.get("cip_status")) not in ("", "success", "partial transfer")) or by_code
    )


def opcua(record: dict[str, Any], flow: dict[str, Any]) -> None:
    request, response, message = (
        code(record.get(name), MOST) for name in ("req_identifier", "res_identifier", "identifier")
    )
    asked = message if message in functions_of("opcua").access else None
    says(flow, "opcua", [asked if request is None else request])
    error = code(record.get("error"), MOST, "count_range")
    flow["ics_exception_cnt"] = int(397 in (response, message) or error is not None)


def bacnet(record: dict[str, Any], flow: dict[str, Any]) -> None:
    kind, service = word(record.get("pdu_type")), text(record.get("pdu_service"))
    asked = named(service, "bacnet") if kind in ("confirmed_request", "unconfirmed_request") else None
    says(flow, "bacnet", [asked])
    flow["ics_exception_cnt"] = int(kind in ("error_pdu", "reject_pdu", "abort_pdu"))


JUDGES = {
    "modbus": modbus,
    "modbus_detailed": modbus_detailed,
    "modbus_mask_write_register": mask_write,
    "modbus_read_write_multiple_registers": read_write,
    "dnp3": dnp3,
    "dnp3_control": dnp3_control,
    "dnp3_objects": dnp3_objects,
    "s7comm": s7comm,
    "s7comm_plus": s7comm_plus,
    "enip": enip,
    "cip": cip,
    "opcua_binary": opcua,
    "bacnet": bacnet,
}


def inner(record: Any, *names: str) -> Any:
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def suricata(record: dict[str, Any]) -> dict[str, Any]:
    event = text(record.get("event_type"))
    proto = protocol(text(record.get("proto")))
    if proto is None:
        raise Rejected("protocol")
    flow = identity(record, ("src_ip", "src_port", "dest_ip", "dest_port", "flow_id"), "timestamp", proto)
    flow["community_id"] = text(record.get("community_id"))
    (eve_modbus if event == "modbus" else eve_dnp3)(record, flow)
    return flow


def eve_modbus(record: dict[str, Any], flow: dict[str, Any]) -> None:
    said = record.get("modbus")
    asked, answered = (code(inner(said, side, "function_raw"), 255) for side in ("request", "response"))
    function = asked if asked is not None else answered
    says(flow, "modbus", [None if function is None else function & 127])
    refused = isinstance(inner(said, "response", "exception"), dict) or (answered or 0) >= 128
    flow["ics_exception_cnt"] = int(refused)
    units = {code(inner(said, side, "unit_id"), 255, "count_range") for side in ("request", "response")} - {None}
    flow["ics_units"] = sorted(unit for unit in units if unit is not None) or None
    ranges = []
    for access in ("read", "write"):
        first, number = (
            code(inner(said, "request", access, name), 65_535, "count_range") for name in ("address", "quantity")
        )
        ranges.append((first, 1 if number is None and first is not None else number))
    points(flow, *ranges)


def eve_dnp3(record: dict[str, Any], flow: dict[str, Any]) -> None:
    said = record.get("dnp3")
    codes, units, indices, total = [], set(), [], 0
    refused = False
    for side in (said, inner(said, "request"), inner(said, "response")):
        function = code(inner(side, "application", "function_code"), 255)
        codes.append(None if function == 129 else function)
        units |= {code(inner(side, end), 65_535, "count_range") for end in ("src", "dst")}
        words = inner(side, "iin", "indicators")
        refused |= isinstance(words, list) and any(isinstance(item, str) and item in REFUSED_WORDS for item in words)
        objects = inner(side, "application", "objects")
        for item in objects if isinstance(objects, list) else []:
            start, stop, count, range_code = (
                int(item.get(name, -1)) for name in ("start", "stop", "count", "range_code")
            )
            total += max(count, 0)
            if count > 0 and 0 <= range_code <= 5 and 0 <= start <= stop:
                indices += [start, stop]
            indices += [int(point["index"]) for point in item.get("points", [])]
    says(flow, "dnp3", codes)
    flow["ics_units"] = sorted(item for item in units if item is not None) or None
    flow["ics_exception_cnt"] = int(refused)
    flow["ics_addr_min"], flow["ics_addr_max"] = min(indices, default=None), max(indices, default=None)
    flow["ics_quantity"] = total or None
