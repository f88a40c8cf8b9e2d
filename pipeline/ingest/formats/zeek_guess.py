"""Which log of Zeek or icsnpp some bytes are, recognised by their first lines: by path, wrapper or columns."""

import orjson

_HEAD_BYTES, _LINES = 65_536, 50
# Columns of which one log alone has any. Zeek leaves unset ones out of JSON: a record need not have all.
_SIGNS: tuple[tuple[str, frozenset[str]], ...] = (
    ("modbus_read_write_multiple_registers", frozenset({"write_start_address", "read_start_address"})),
    ("modbus_mask_write_register", frozenset({"and_mask", "or_mask"})),
    ("modbus_detailed", frozenset({"request_values", "response_values", "modbus_detailed_link_id", "matched"})),
    ("dnp3", frozenset({"fc_request", "fc_reply"})),
    ("dnp3_control", frozenset({"index_number", "trip_control_code"})),
    ("dnp3_objects", frozenset({"object_type", "object_count"})),
    ("s7comm", frozenset({"rosctr_code"})),
    ("s7comm_plus", frozenset({"opcode_name"})),
    ("enip", frozenset({"enip_command_code"})),
    ("cip", frozenset({"cip_service_code"})),
    ("opcua_binary", frozenset({"req_identifier", "res_identifier", "sec_channel_id"})),
    ("bacnet", frozenset({"pdu_service"})),
)
_ID = frozenset({"ts", "uid", "id", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "_path"})
# modbus.log has no column of its own: it is recognised by having no other log's.
_MODBUS = _ID | {"tid", "unit", "func", "pdu_type", "exception"}


def log_of_head(head: bytes) -> tuple[str, str]:
    """The name of the log ("" where it is none) and its form, json or tsv."""
    names: set[str] = set()
    for line in head.removeprefix(b"\xef\xbb\xbf")[:_HEAD_BYTES].split(b"\n")[:_LINES]:
        line = line.strip()
        if line.startswith(b"#path") and len(line) > 6:
            return line[6:].decode("utf-8", "replace"), "tsv"
        record = _record(line)
        if "_path" in record:
            return str(record["_path"]), "json"
        if len(record) == 1 and isinstance(inner := next(iter(record.values())), dict) and "ts" in inner:
            return next(iter(record)), "json"
        names |= record.keys()
    if "func" in names and names <= _MODBUS:
        return "modbus", "json"
    logs = {log for log, signs in _SIGNS if signs & names}
    return (logs.pop() if len(logs) == 1 else ""), "json"


def _record(line: bytes) -> dict[str, object]:
    """One JSON record; empty where it is none."""
    try:
        record = orjson.loads(line) if line.startswith(b"{") else None
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}
