"""Hostile logs of industrial protocols: a clear reject, every record accounted for, nothing raised, nothing endless."""

import json
import time
from typing import Any

import pytest

from pipeline.contracts.raw import SURICATA_JSON, source_info_of
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from tests.attacks.test_decoders import accounted
from tests.ingest.ics_records import EVE_DNP3, EVE_MODBUS, RECORDS
from tests.ingest.records import EVE, MAX_FUTURE_US, SENT_US, decode, reasons

MODBUS_LINE, DNP3_LINE, FLOW_LINE = (json.dumps(record).encode() for record in (EVE_MODBUS, EVE_DNP3, EVE))


@pytest.mark.parametrize("line", [MODBUS_LINE, DNP3_LINE])
def test_events_cut_and_broken_at_every_byte(line: bytes) -> None:
    cuts = [line[:offset] for offset in range(1, len(line))]
    decoded = decode([FLOW_LINE, *cuts, FLOW_LINE], SURICATA_JSON)
    accounted(decoded, len(cuts) + 2)
    assert set(reasons(decoded)) == {"not_json"} and decoded.flows["record_kind"].to_pylist() == ["end", "end"]
    odd = [
        line[:offset] + bytes([byte]) + line[offset + 1 :] for offset in range(len(line)) for byte in (0, 34, 93, 255)
    ]
    accounted(decode(odd, SURICATA_JSON), len(odd))


def modbus(side: str = "request", **changes: Any) -> bytes:
    said = {**EVE_MODBUS["modbus"], side: {**EVE_MODBUS["modbus"][side], **changes}}
    return json.dumps({**EVE_MODBUS, "modbus": said}).encode()


def dnp3(**changes: Any) -> bytes:
    return json.dumps({**EVE_DNP3, "dnp3": {**EVE_DNP3["dnp3"], **changes}}).encode()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (modbus(function_raw=256), "function"),
        (modbus(function_raw=-1), "function"),
        (modbus(function_raw="READ"), "function"),
        (modbus(function_raw=[1]), "function"),
        (modbus(unit_id=256), "count_range"),
        (modbus(read={"address": 65_536}), "count_range"),
        (modbus(write={"quantity": 1e30}), "count_range"),
        (modbus("response", function_raw=10**40), "function"),
        (json.dumps({**EVE_MODBUS, "timestamp": None}).encode(), "time_missing"),
        (json.dumps({**EVE_MODBUS, "timestamp": "2099-01-01T00:00:00Z"}).encode(), "future"),
        (json.dumps({**EVE_MODBUS, "proto": "warp"}).encode(), "protocol"),
        (json.dumps({**EVE_MODBUS, "src_ip": None}).encode(), "address"),
        (json.dumps({**EVE_MODBUS, "event_type": "alert"}).encode(), "not_a_flow"),
        (dnp3(src=65_536), "count_range"),
        (dnp3(application={"function_code": 256}), "function"),
    ],
)
def test_event_rejects(record: bytes, reason: str) -> None:
    decoded = decode([FLOW_LINE, MODBUS_LINE, record, DNP3_LINE, FLOW_LINE], SURICATA_JSON)
    accounted(decoded, 5)
    assert reasons(decoded) == [reason], decoded.rejects["detail"].to_pylist()
    assert decoded.rejects["raw_offset"].to_pylist() == [902]
    assert decoded.flows["record_kind"].to_pylist() == ["end", "ics", "ics", "end"]


def test_a_reject_among_mixed_events_says_what_was_got_and_what_was_expected() -> None:
    decoded = decode([FLOW_LINE, modbus(function_raw=300)], SURICATA_JSON)
    assert decoded.rejects["detail"].to_pylist() == ["raw[3]@901/0: ics_functions 300, expected a whole number 0..255"]


@pytest.mark.parametrize(
    "objects",
    [
        [{"start": 10**40, "stop": 10**41, "count": 10**42, "range_code": 0}],
        [{"start": 0, "stop": 4_294_967_295, "count": 4_294_967_295, "range_code": 0}] * 3,
        [{"start": -5, "stop": "7", "count": True, "range_code": None}],
        [{"count": 1.5, "points": [{"index": -1}, {"index": "3"}, {"index": {"index": 9}}]}],
        [[[[{"index": 3}]]]],
        ["start", 'a"start":3', "\\", "]"],
        {"start": 1, "stop": 2, "count": 2, "range_code": 0},
        5,
        None,
    ],
)
def test_odd_objects_are_no_points(objects: Any) -> None:
    line = dnp3(application={"function_code": 1, "objects": objects})
    decoded = decode([line], SURICATA_JSON)
    accounted(decoded, 1)
    (row,) = decoded.flows.to_pylist()
    low, high = row["ics_addr_min"], row["ics_addr_max"]
    assert (low is None) == (high is None) and (low is None or low <= high <= 4_294_967_295)


def test_a_long_list_of_objects_takes_no_longer_than_its_length() -> None:
    dnp3_object = {"start": 1, "stop": 2, "count": 2, "range_code": 0, "points": [{"index": 1}] * 50}
    decode([DNP3_LINE], SURICATA_JSON)
    for said in (
        {"application": {"objects": [dnp3_object] * 500}},
        {"iin": {"indicators": ["no_func_code_suppor"] * 30_000}},
        {"application": {"objects": ["\\\\" * 100_000]}},
    ):
        started = time.process_time()
        decoded = decode([dnp3(**said)], SURICATA_JSON)
        assert time.process_time() - started < 2.0 and decoded.flows.num_rows == 1
    assert decode([dnp3(application={"objects": [dnp3_object] * 500})], SURICATA_JSON).flows[
        "ics_quantity"
    ].to_pylist() == [1000]


def test_records_of_another_log_are_rejected_by_its_name() -> None:
    wrong = {**RECORDS["modbus"], "_path": "dns\x07"}, {**RECORDS["modbus"], "_path": "dns"}, {"dns": RECORDS["modbus"]}
    decoded = decode([json.dumps(record).encode() for record in wrong], "zeek-modbus+json")
    accounted(decoded, 3)
    assert reasons(decoded) == ["text", "other_log", "time_missing"]
    assert decoded.rejects["detail"].to_pylist()[1] == "raw[3]@901/0: _path dns, expected a record of the log modbus"


def test_logs_that_are_not_read_are_rejected_by_their_content_type() -> None:
    stream = source_info_of(b"zeek-cotp+tsv", b'["ts"]', b"plant", b"sensor")
    decoded = decode_messages(Messages.of([RawMessage(0, 0, SENT_US, stream, b"1\n2")]), MAX_FUTURE_US)
    accounted(decoded, 1)
    (detail,) = decoded.rejects["detail"].to_pylist()
    assert reasons(decoded) == ["content_type"] and "zeek-cotp+tsv" in detail and "modbus_detailed" in detail


@pytest.mark.parametrize("log", RECORDS)
def test_a_header_without_what_makes_it_this_log(log: str) -> None:
    decoded = decode([b"1\t2"], f"zeek-{log}+tsv", ["ts", "uid"])
    accounted(decoded, 1)
    assert reasons(decoded) == ["columns"] and "id.orig_h" in decoded.rejects["detail"].to_pylist()[0]
