"""Why a record is rejected: stable short codes, counted by telemetry and searched for in `rejects`.

The table's order is fixed: compiled code and the arrays of one decode call name a reason by its index.
"""

from pipeline.contracts.lateness import EXPECTED_LATENESS
from pipeline.contracts.raw import KNOWN_TYPES, MAX_RECORD_BYTES
from schemas.time_zones import EXPECTED_ZONE

REASONS: dict[str, str] = {
    "": "",
    # The message
    "content_type": f"one of {KNOWN_TYPES}",
    "origin": "headers site and sensor, each 1..128 bytes of text without control characters",
    # The record's form
    "not_json": "one JSON object a line",
    "not_utf8": "UTF-8",
    "too_deep": "JSON nested at most 32 deep",
    "duplicate_key": "every key once",
    "columns": "the fields that header `columns` names, with those the format cannot do without",
    "too_big": f"at most {MAX_RECORD_BYTES} bytes",
    "not_a_flow": "a record of a flow: of that type, with addresses or packets",
    # Its values
    "time_missing": "the time of its first and last packet",
    "time": "seconds since the epoch or an ISO 8601 date and time",
    "time_range": "a time from 1970 to 9999",
    "negative_duration": "an end that is not before the start",
    "duration_range": "at most one year",
    "future": "an end at most max_future_us after the message was sent",
    "address": "an IPv4, IPv6 or MAC address",
    "mac": "MAC addresses, separated by /",
    "protocol": "an IP protocol's name or number",
    "port_range": "0..65535",
    "icmp_range": "0..255",
    "vlan_range": "0..4095",
    "flags_range": "TCP flags: 00 to ff, a number, letters or names, as the format has them",
    "conn_state": "one of Zeek's 13 connection states",
    "count": "a whole number",
    "count_range": "0..1152921504606846976",
    "measure": "a number",
    "measure_range": "a number within the field's range",
    "text": "text of at most 1024 bytes without control characters",
    "missing": "a value: the format always has one",
    "function": "a function that the protocol has, by name or number",
    "other_log": "a record of the log that the content-type names",
    # Its sensor, and what came later; last, since compiled code knows reasons by their index
    "too_many_sensors": "at most max_sensors sensors in a partition that sent something within a day of its event time",
    "time_zone": f"header time-zone, if any: {EXPECTED_ZONE}",
    "lateness": f"header lateness-us, if any: {EXPECTED_LATENESS}",
}

CODES: tuple[str, ...] = tuple(REASONS)
INDEX: dict[str, int] = {code: index for index, code in enumerate(CODES)}

# For compiled code, which cannot look them up.
NOT_JSON = 3
NOT_UTF8 = 4
TOO_DEEP = 5
DUPLICATE_KEY = 6
COLUMNS = 7
TOO_BIG = 8
