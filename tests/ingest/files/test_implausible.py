"""What cannot be true of a flow, in every format: counts, clocks, a spreadsheet's times, unknown protocols."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.raw import GOFLOW2_JSON, ICSFLOW_CSV
from tests.ingest.files.as_found import FORMATS, JSON_RECORDS, text_of
from tests.ingest.files.test_as_found import decoded, flows
from tests.ingest.records import EVE, ICSFLOW

Change = Callable[[dict[str, Any]], None]


def changed(name: str, change: Change) -> str:
    """A file of one record of a format, changed."""
    kind, record = FORMATS[name]
    changed_record = deepcopy(dict(record))
    change(changed_record)
    return text_of(kind, changed_record)


# Where each format has the packets and bytes of its first side.
COUNTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "zeek-conn+json": (("orig_pkts",), ("orig_bytes",)),
    "zeek-conn+tsv": (("orig_pkts",), ("orig_bytes",)),
    "suricata-eve+json": (("flow", "pkts_toserver"), ("flow", "bytes_toserver")),
    "goflow2+json": (("packets",), ("bytes",)),
    "pmacct+json": (("packets",), ("bytes",)),
    "nfdump+json": (("in_packets",), ("in_bytes",)),
    "ipfixcol2+json": (("iana:packetDeltaCount",), ("iana:octetDeltaCount",)),
    "argus": (("SrcPkts",), ("SrcBytes",)),
    "cicflowmeter": (("Tot Fwd Pkts",), ("TotLen Fwd Pkts",)),
    "cicflowmeter 3": ((" Total Fwd Packets",), ("Total Length of Fwd Packets",)),
    "nfdump 1.6": (("ipkt",), ("ibyt",)),
    "nfdump 1.7.5": (("packets",), ("bytes",)),
    "icsflow": (("sPackets",), ("sBytesSum",)),
}
ALWAYS_COUNT = ("suricata-eve+json", "argus", "cicflowmeter", "cicflowmeter 3", "icsflow")


def counting(name: str, packets: Any, octets: Any) -> Change:
    """The change that gives a record these counts."""

    def change(record: dict[str, Any]) -> None:
        for path, value in zip(COUNTS[name], (packets, octets), strict=True):
            inner = record
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
        if "orig_ip_bytes" in record:
            record["orig_ip_bytes"] = 4_000_000_000
        if "TotPkts" in record:
            record |= {"TotPkts": "", "TotBytes": "", "DstPkts": 4, "DstBytes": 300}

    return change


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_that_no_packets_can_have_are_bounded_in_every_format(name: str, tmp_path: Path) -> None:
    result = decoded(tmp_path, changed(name, counting(name, 56, 1_600_000_000)))
    (flow,) = result.flows.to_pylist()
    most = 65_561 if flow["byte_semantics"] == "frame" else 65_535
    assert flow["fwd_bytes"] == 56 * most and "bytes_bounded" in flow["quality"].split(",")
    assert any("bytes_bounded" in note for note in result.notes)
    (large,) = decoded(tmp_path, changed(name, counting(name, 56, 56 * 65_535))).flows.to_pylist()
    assert large["fwd_bytes"] == 56 * 65_535 and "bytes_bounded" not in large["quality"]


def test_what_packets_can_have_does_not_depend_on_a_rows_neighbours(tmp_path: Path) -> None:
    """sFlow counts frames, NetFlow octets of IP; ICSFlow octets of IP where there is IP."""
    record = {**JSON_RECORDS[GOFLOW2_JSON], "packets": 1, "bytes": 65_550}
    mixed = [{**record, "type": kind} for kind in ("SFLOW_5", "NETFLOW_V9")]
    assert counted(tmp_path, text_of(GOFLOW2_JSON, *mixed)) == {("frame", 65_550), ("ip", 65_535)}
    row = {**ICSFLOW, "sPackets": "1", "sBytesSum": "65550"}
    mixed = [row, {**row, "protocol": "ARP"}]
    assert counted(tmp_path, text_of(ICSFLOW_CSV, *mixed)) == {("frame", 65_550), ("ip", 65_535)}


def counted(folder: Path, content: str) -> set[tuple[str, int]]:
    return {(flow["byte_semantics"], flow["fwd_bytes"]) for flow in decoded(folder, content).flows.to_pylist()}


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_without_packets(name: str, tmp_path: Path) -> None:
    (flow,) = decoded(tmp_path, changed(name, counting(name, 0, 640))).flows.to_pylist()
    bounded = name in ALWAYS_COUNT
    assert (flow["fwd_bytes"], "bytes_bounded" in flow["quality"]) == ((0, True) if bounded else (640, False))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [-5, 640.5, 2**63, 2**64, "1.2 M", "0x280", "abc"])
def test_counts_that_are_none_are_rejects_in_every_format(name: str, count: Any, tmp_path: Path) -> None:
    result = decoded(tmp_path, changed(name, counting(name, 10, count)))
    assert flows(result) == (0, 1) and result.rejects["reason"][0].as_py() in ("count", "count_range")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", ["640.0", "6.4e2", "00640"])
def test_counts_as_other_programs_write_them(name: str, count: str, tmp_path: Path) -> None:
    (flow,) = decoded(tmp_path, changed(name, counting(name, 10, count))).flows.to_pylist()
    assert flow["fwd_bytes"] == 640


@pytest.mark.parametrize(("name", "field"), [("argus", "SAppBytes"), ("icsflow", "sPayloadSum")])
def test_payload_is_bounded_by_bytes(name: str, field: str, tmp_path: Path) -> None:
    (flow,) = decoded(tmp_path, changed(name, lambda record: record.update({field: "99999999"}))).flows.to_pylist()
    assert flow["fwd_payload_bytes"] == flow["fwd_bytes"] < 10_000 and flow["quality"].startswith("bytes_bounded")


# What makes a record's times those of 1970, and what says that it was sent or received much later.
BOOT: dict[str, dict[str, Any]] = {
    "zeek-conn+json": {"ts": 723.5},
    "zeek-conn+tsv": {"ts": 723.5},
    "suricata-eve+json": {"flow": {**EVE["flow"], "start": "1970-01-01T00:12:03Z", "end": "1970-01-01T00:12:04Z"}},
    "goflow2+json": {"time_flow_start_ns": 723 * 10**9, "time_flow_end_ns": 724 * 10**9},
    "pmacct+json": {"timestamp_start": "1970-01-01 00:12:03", "timestamp_end": "1970-01-01 00:12:04"},
    "nfdump+json": {"first": "1970-01-01T00:12:03", "last": "1970-01-01T00:12:04"},
    "ipfixcol2+json": {"iana:flowStartMilliseconds": 723_000, "iana:flowEndMilliseconds": 724_000},
    "argus": {"StartTime": "723.5"},
    "nfdump 1.6": {"ts": "1970-01-01 00:12:03"},
    "icsflow": {"start": "723.5", "end": "724.5"},
}
LATER: dict[str, dict[str, Any]] = {
    "suricata-eve+json": {"timestamp": "2021-06-26T15:57:37.272281+0200"},
    "goflow2+json": {"time_received_ns": 1679305620900000000},
    "pmacct+json": {"timestamp_arrival": "2023-03-20 09:47:01"},
    "nfdump+json": {"received": "2023-03-20T09:47:01.000"},
    "ipfixcol2+json": {"ipfix:exportTime": 1679305621},
    "nfdump 1.6": {"tr": "2023-12-04 22:13:23.100"},
    "nfdump 1.7.5": {"received": "2023-12-04 22:13:23.100"},
}


@pytest.mark.parametrize(
    ("name", "fields"), [*BOOT.items(), *LATER.items(), ("pmacct+json", {"timestamp_export": "2023-03-20 09:47:01"})]
)
def test_wrong_clocks_are_said_in_every_format(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    good = decoded(tmp_path, changed(name, lambda record: None))
    assert "clock" not in good.flows["quality"][0].as_py() and not good.notes
    result = decoded(tmp_path, changed(name, lambda record: record.update(fields)))
    (flow,) = result.flows.to_pylist()
    assert "clock" in flow["quality"].split(",") and any("set it by NTP" in note for note in result.notes)


TIME_COLUMNS = {
    **{"argus": "StartTime", "cicflowmeter": "Timestamp", "nfdump 1.6": "ts", "nfdump 1.7.5": "firstSeen"},
    "icsflow": "start",
}


@pytest.mark.parametrize("name", TIME_COLUMNS)
@pytest.mark.parametrize("time", ["45244.92593", "45244", "1.70E+09", "1.7E+09", "13:20.1"])
def test_times_that_a_spreadsheet_changed_are_rejects(name: str, time: str, tmp_path: Path) -> None:
    result = decoded(tmp_path, changed(name, lambda record: record.update({TIME_COLUMNS[name]: time})))
    assert flows(result) == (0, 1) and result.rejects["reason"][0].as_py() == "time"


@pytest.mark.parametrize("word", ["failed", "unknown", "Unknown", "n/a"])
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("suricata-eve+json", "app_proto"),
        ("pmacct+json", "class"),
        ("ipfixcol2+json", "iana:applicationName"),
        ("zeek-conn+json", "service"),
        ("zeek-conn+tsv", "service"),
    ],
)
def test_a_protocol_that_is_unknown_is_none(name: str, field: str, word: str, tmp_path: Path) -> None:
    (flow,) = decoded(tmp_path, changed(name, lambda record: record.update({field: word}))).flows.to_pylist()
    assert flow["app_proto"] is None
    (flow,) = decoded(tmp_path, changed(name, lambda record: record.update({field: "modbus"}))).flows.to_pylist()
    assert flow["app_proto"] == "modbus"
