"""Records of industrial protocols' logs: a plain good one of each, and odd ones."""

from typing import Any

from hypothesis import strategies as st

from tests.ingest.records import ADDRESSES, ODD, TIMES, odd_records

BASE: dict[str, Any] = {
    "ts": 1678440574.078823,
    "uid": "CHhAvVGS1DHFjwGM9",
    "id.orig_h": "192.168.1.6",
    "id.orig_p": 37699,
    "id.resp_h": "192.168.1.20",
    "id.resp_p": 502,
}
OWN_FIELDS: dict[str, dict[str, Any]] = {
    "modbus": {"unit": 1, "func": "READ_COILS", "pdu_type": "REQ", "exception": "-"},
    "modbus_detailed": {
        "unit": 1,
        "func": "WRITE_MULTIPLE_REGISTERS",
        "request_response": "-",
        "address": 600,
        "quantity": 10,
        "exception_code": "-",
    },
    "modbus_mask_write_register": {"unit": 4, "address": 10},
    "modbus_read_write_multiple_registers": {
        "unit": 6,
        "write_start_address": 2,
        "write_registers": "170,187,204",
        "read_start_address": 1,
        "read_quantity": 4,
    },
    "dnp3": {"fc_request": "READ", "fc_reply": "RESPONSE", "iin": 4096},
    "dnp3_control": {"function_code": "OPERATE", "index_number": 8, "status_code": "-"},
    "dnp3_objects": {"object_type": "Binary Output Status", "object_count": 34, "range_low": 0, "range_high": 33},
    "s7comm": {
        "rosctr_code": 7,
        "function_code": "0x44",
        "subfunction_code": "0x01",
        "error_class": "No error",
        "error_code": "0x00",
    },
    "s7comm_plus": {"opcode": "0x31", "function_code": "0x04f2"},
    "enip": {"is_orig": "T", "enip_command_code": "0x70", "enip_status": "Success"},
    "cip": {
        "direction": "request",
        "cip_service_code": "0x4d",
        "cip_status_code": "-",
        "cip_status": "-",
        "class_id": "0x6b",
    },
    "opcua_binary": {
        "msg_type": "MSG",
        "req_identifier": 673,
        "res_identifier": 676,
        "identifier": "-",
        "error": "-",
    },
    "bacnet": {"pdu_type": "CONFIRMED_REQUEST", "pdu_service": "write_property"},
}
RECORDS: dict[str, dict[str, Any]] = {
    log: {**BASE, **{name: value for name, value in cells.items() if value != "-"}} for log, cells in OWN_FIELDS.items()
}
EVE_MODBUS: dict[str, Any] = {
    "timestamp": "2021-06-06T15:57:37.272281+0200",
    "flow_id": 2232403389523415,
    "event_type": "modbus",
    "src_ip": "192.168.1.6",
    "src_port": 37699,
    "dest_ip": "192.168.1.20",
    "dest_port": 502,
    "proto": "TCP",
    "modbus": {
        "id": 1,
        "request": {
            "transaction_id": 1,
            "protocol_id": 0,
            "unit_id": 3,
            "function_raw": 23,
            "function_code": "RdWrMultRegs",
            "access_type": "READ | WRITE | MULTIPLE | HOLDING",
            "category": "PUBLIC_ASSIGNED",
            "error_flags": "NONE",
            "read": {"address": 1, "quantity": 4},
            "write": {"address": 20, "quantity": 2, "data": "\\u0000\\u0001"},
        },
        "response": {
            "transaction_id": 1,
            "unit_id": 3,
            "function_raw": 151,
            "exception": {"raw": 2, "code": "IllegalDataAddr"},
        },
    },
}
EVE_DNP3: dict[str, Any] = {
    **{name: EVE_MODBUS[name] for name in ("timestamp", "flow_id", "src_ip", "src_port", "dest_ip", "proto")},
    "event_type": "dnp3",
    "dest_port": 20000,
    "dnp3": {
        "type": "response",
        "src": 10,
        "dst": 1,
        "application": {
            "control": {"fir": True, "fin": True, "con": False, "uns": True, "sequence": 2},
            "function_code": 130,
            "objects": [
                {"group": 1, "variation": 2, "range_code": 0, "start": 3, "stop": 9, "count": 7},
                {"group": 60, "variation": 2, "range_code": 6, "start": 0, "stop": 0, "count": 0},
                {
                    "group": 12,
                    "variation": 1,
                    "range_code": 8,
                    "start": 0,
                    "stop": 0,
                    "count": 1,
                    "points": [{"prefix": 2, "index": 2, "status": 'a "index": 1'}],
                },
            ],
            "complete": True,
        },
        "iin": {"indicators": ["device_restart", "parameter_error"]},
    },
}

WORDS = st.sampled_from(
    [
        *("READ_COILS", "READ_COILS_EXCEPTION", "unknown-171", "unknown-999", "unknown-1", "RESP", "REQ", "response"),
        *("READ", "OPERATE", "SELECT", "UNSOLICITED_RESPONSE", "RESPONSE", "Success", "No Select", "Partial Transfer"),
        *("0x00", "0x06", "0x4e", "0x84", "0xf0", "0xFFFF", "0x1g", "0x", "0x1FFFFFFFFF", "7", "1", "03", "F", "T"),
        *("confirmed_request", "ERROR_PDU", "time_synchronization", "_MODU", "No error", "Access error"),
    ]
)
SMALL = st.integers(0, 300) | st.integers(65_530, 65_540)
VALUES = st.one_of(WORDS, SMALL, SMALL.map(hex), ODD)


def odd(log: str) -> st.SearchStrategy[dict[str, Any]]:
    """Records of one log with some fields replaced or taken out."""
    own_fields = {name: VALUES for name in OWN_FIELDS[log]}
    fields = {**{name: ODD for name in BASE}, "ts": TIMES, "id.orig_h": ADDRESSES, "id.resp_h": ADDRESSES, **own_fields}
    return odd_records(RECORDS[log], {**fields, "_path": st.sampled_from([log, "dns"])})


def odd_inside(document: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The document with some values at any depth replaced or taken out; lists stay as they are."""
    fields = {
        name: odd_inside(value) if isinstance(value, dict) else st.just(value) if isinstance(value, list) else VALUES
        for name, value in document.items()
    }
    return odd_records(document, fields)
