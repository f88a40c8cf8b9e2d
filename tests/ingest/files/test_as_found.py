"""Kinds of damage, wrapping and mistaken identity, for every format that they can meet: what is read, or is said."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import BadData
from pipeline.ingest.files.offline_rows import Decoded, decode_file
from pipeline.ingest.files.reading import read_source
from tests.ingest.csv_records import ARGUS, CICFLOWMETER, NFDUMP_LONG
from tests.ingest.files.as_found import FORMATS, TABLES, json_lines, table, text_of, zeek_log
from tests.ingest.records import EVE, ICSFLOW, SENT_US, ZEEK


def decoded(folder: Path, content: str | bytes) -> Decoded:
    path = folder / "x.log"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return decode_file(path, ingest_ts_us=SENT_US, max_future_us=0)


def refused(folder: Path, content: str | bytes) -> str:
    """Why a file of which no flow comes is refused, read or not."""
    with pytest.raises(BadData) as why:
        decoded(folder, content).require_flows()
    assert why.value.exit_code == 64
    return str(why.value)


@pytest.fixture(params=FORMATS)
def text(request: pytest.FixtureRequest) -> str:
    """A file of two records of each format."""
    kind, record = FORMATS[request.param]
    return text_of(kind, record, record)


DIFFERENT = {
    "argus": dict(reversed(ARGUS.items())),
    "cicflowmeter": FORMATS["cicflowmeter 3"][1],
    "cicflowmeter 3": FORMATS["cicflowmeter"][1],
    "nfdump 1.6": FORMATS["nfdump 1.7.5"][1],
    "nfdump 1.7.5": FORMATS["nfdump 1.6"][1],
    "icsflow": dict(reversed(ICSFLOW.items())),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_tables_of_any_separator_and_with_a_second_header(name: str, separator: str, tmp_path: Path) -> None:
    record = TABLES[name][1]
    expected = decoded(tmp_path, table(record)).flows.to_pylist()[0]
    result = decoded(tmp_path, "sep=;\n" + table(record, separator=separator) + table(DIFFERENT[name], separator="\t"))
    assert flows(result) == (2, 0) and "2 different headers" in " ".join(result.notes)
    for flow in result.flows.to_pylist():
        same = ("duration_us", "fwd_bytes", "rev_bytes", "fwd_pkts", "src_addr", "dst_port")
        assert [flow[field] for field in same] == [expected[field] for field in same]


def test_decimal_commas_of_a_spreadsheet(tmp_path: Path) -> None:
    row = {**ARGUS, "StartTime": "1700000000,25", "Dur": "2,5", "sTtl": "64,0"}
    (flow,) = decoded(tmp_path, table(row, separator=";")).flows.to_pylist()
    assert (flow["start_ts_us"], flow["duration_us"]) == (1_700_000_000_250_000, 2_500_000)


@pytest.mark.parametrize("name", TABLES)
def test_a_second_header_of_another_table_is_said_once(name: str, tmp_path: Path) -> None:
    kind, record = TABLES[name]
    other = next(other for of, other in TABLES.values() if of != kind)
    assert "line 3: got the header of" in refused(tmp_path, table(record) + table(other))
    lacking = {field: value for field, value in record.items() if field.strip() not in _NEEDED}
    assert "line 3: got a first line without" in refused(tmp_path, table(record) + table(lacking))


_NEEDED = ("Dur", "Tot Fwd Pkts", "Total Backward Packets", "ibyt", "bytes", "sPackets", "Tot Bwd Pkts")


def test_summaries_of_nfdump_between_tables(tmp_path: Path) -> None:
    summary = "Summary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n1,430,5,1,1,1\n"
    people = "Summary: total flows: 1, total bytes: 430\nTime window: 2023-11-14 22:13:20 - 22:14:20\n"
    people += "Total flows processed: 1, Blocks skipped: 0, Bytes read: 400\nSys: 0.01s flows/second: 1.0 Wall: 0.01s\n"
    for below in (summary, people):
        assert flows(decoded(tmp_path, (table(NFDUMP_LONG) + below) * 2)) == (2, 0)


@pytest.mark.parametrize(
    ("date", "day"),
    [
        ("14/11/2023 10:13:20 PM", 14),
        ("11/14/2023 10:13:20 PM", 14),
        ("14-11-2023 22:13:20", 14),
        ("14.11.2023 22:13:20", 14),
        ("11/14/23 22:13", 14),
        ("2023-11-14 22:13:20", 14),
        ("3/11/23 22:13", 3),
    ],
)
def test_dates_of_cicflowmeter_and_of_spreadsheets(date: str, day: int, tmp_path: Path) -> None:
    (flow,) = decoded(tmp_path, table({**CICFLOWMETER, "Timestamp": date})).flows.to_pylist()
    assert datetime.fromtimestamp(flow["start_ts_us"] // 1_000_000, UTC).replace(second=0) == datetime(
        2023, 11, day, 22, 13, tzinfo=UTC
    )


def flows(result: Decoded) -> tuple[int, int]:
    return result.flows.num_rows, result.rejects.num_rows


TEXTS: dict[str, Callable[[str], bytes]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR alone": lambda text: text.replace("\n", "\r").encode(),
    "zeros before": lambda text: bytes(4096) + text.encode(),
    "end mark of DOS": lambda text: text.encode() + b"\x1a",
    "no last line end": lambda text: text.rstrip("\n").encode(),
    "blank lines": lambda text: ("\n \r\n" + text + "\n\n").encode(),
    "cut inside a character": lambda text: text.encode("utf-16") + b"\n",
    **{name: partial(str.encode, encoding=name) for name in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")},
    **{name: partial(str.encode, encoding=name) for name in ("utf-32", "utf-32-le", "utf-32-be")},
}


@pytest.mark.parametrize("change", TEXTS)
def test_text_as_other_systems_write_it(change: str, text: str, tmp_path: Path) -> None:
    assert flows(decoded(tmp_path, TEXTS[change](text))) == (2, 0)


def test_files_one_after_another(text: str, tmp_path: Path) -> None:
    for between in (b"", b"\xef\xbb\xbf", bytes(512)):
        result = decoded(tmp_path, between + text.encode() + between + text.encode())
        assert flows(result) == (4, 0), between
    assert "zeros are left out" in result.notes[0]


def tarred(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


ARCHIVES: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
    "zip": lambda data: zipped("a/conn.log", data),
    "tar": lambda data: tarred("./conn.log", data),
    "tar.gz": lambda data: gzip.compress(tarred("logs/conn.log", data)),
    "tar.zst": lambda data: pa.compress(tarred("conn.log", data), "zstd", asbytes=True),
}


@pytest.mark.parametrize("archive", ARCHIVES)
def test_an_archive_of_one_file_is_read(archive: str, text: str, tmp_path: Path) -> None:
    assert flows(decoded(tmp_path, ARCHIVES[archive](text.encode()))) == (2, 0)


@pytest.mark.parametrize("archive", ["gzip", "bzip2", "xz", "zstd", "tar.gz", "tar"])
def test_a_truncated_archive_is_read_as_far_as_it_goes(archive: str, tmp_path: Path) -> None:
    log = json_lines(*({**ZEEK, "uid": f"C{n * 7919 % 100_003}", "orig_bytes": n * 37 % 101} for n in range(9_000)))
    packed = ARCHIVES[archive](log.encode())
    result = decoded(tmp_path, packed[: len(packed) * 3 // 4])
    assert 0 < result.flows.num_rows < 9_000 and not result.rejects.num_rows
    assert f"its first {result.flows.num_rows:,} lines are read, the others are lost" in result.notes[0]


@pytest.mark.parametrize("archive", ["gzip", "bzip2", "xz", "zip"])
def test_a_damaged_archive_gives_no_flows_of_its_garbage(archive: str, tmp_path: Path) -> None:
    log = json_lines(*({**ZEEK, "uid": f"C{n * 7919 % 100_003}"} for n in range(9_000)))
    packed = bytearray(ARCHIVES[archive](log.encode()))
    packed[len(packed) // 2] ^= 0x55
    packed[len(packed) // 2 + 1] ^= 0x55
    assert "copy it again" in refused(tmp_path, bytes(packed))


def test_archives_of_several_files_and_of_none(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("conn.log", "x")
        archive.writestr("dns.log", "x")
    assert "zip of 2 files" in refused(tmp_path, out.getvalue())
    assert "tar archive of 0 files" in refused(tmp_path, tarred(".DS_Store", b""))
    locked = bytearray(zipped("conn.log", b"x"))
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    assert "encrypted" in refused(tmp_path, bytes(locked))


# What a file begins with, and words of the sentence.
NO_TEXT = {
    b"\x0a\x0d\x0d\x0a\x1c\0\0\0": "packet capture",
    b"snoop\0\0\0\0\0\0\2": "packet capture",
    b"\x0c\xa5\2\0": "nfdump -r FILE -o json",
    b"\xde\xad\xbe\xef\1\x0c": "SiLK",
    b"\x83\x10\x00\x20\xe5\x71\x2d\xcb": "Argus's own binary file; ra -n -u",
    b"\0\5\0\2" + bytes(40): "packets of NetFlow",
    b"\0\x0a\0\x64" + bytes(40): "packets of NetFlow",
    b"ElfFile\0": "Windows event log",
    b"PAR1": "Parquet",
    b"Obj\1": "Avro",
    b"SQLite format 3\0": "SQLite",
    b"%PDF-1.7\n1 0 obj {\n}": "PDF",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "Office",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x9d\x90": "compress",
    b"<!doctype html>\n{": "HTML",
    b"\n <HTML>": "HTML",
    b"<?xml version='1.0'?>\n<pdml>": "packet capture",
    b"version https://git-lfs\n": "git lfs pull",
}


@pytest.mark.parametrize("beginning", NO_TEXT)
def test_what_holds_no_records_is_named(beginning: bytes, tmp_path: Path) -> None:
    for pack in (bytes, gzip.compress):
        said = refused(tmp_path, pack(beginning + bytes(200)))
        assert NO_TEXT[beginning] in said and "suricata-eve+json" not in said


S = json.dumps(ZEEK)
WRAPPERS: dict[str, Any] = {
    "Filebeat": {"@timestamp": "x", "log": {"file": {"path": "/x"}}, "message": S},
    "Fluent Bit": {"date": 1.0, "log": S + "\n"},
    "Docker": {"log": S + "\n", "stream": "stdout"},
    "journald": {"MESSAGE": S, "_PID": "1"},
    "parsed by Logstash": {"@timestamp": "x", "message": ZEEK},
    "parsed by Fluent Bit": {"date": 1.0, "log": ZEEK},
    "parsed EVE": {"log": EVE},
    "Filebeat's ndjson": {"@timestamp": "x", "json": ZEEK},
    "ECS with the original": {"ecs": {"version": "8"}, "event": {"original": S}, "source": {"ip": "1.1.1.1"}},
    "Splunk's collector": {"event": ZEEK, "sourcetype": "zeek"},
    "with a time of its own": {"ts": 1.0, "msg": S},
    "Kafka Connect": {"schema": {}, "payload": ZEEK},
    "kcat -J": {"topic": "zeek", "payload": S},
    "an export of Elasticsearch": {"_index": "x", "_source": ZEEK},
    "Docker of Filebeat": {"message": json.dumps({"log": S + "\n", "stream": "stdout"})},
    "syslog with data": '<165>1 2023-11-14T22:13:20Z h zeek 1 - [x y="{z}"] ' + S,
    "containerd": "2023-11-14T22:13:20Z stdout F " + S,
    "grep": "conn.log:" + S,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_records_are_found_in_wrappers(wrapper: str, tmp_path: Path) -> None:
    assert flows(decoded(tmp_path, json_lines(WRAPPERS[wrapper], WRAPPERS[wrapper]))) == (2, 0)


ENDS = {"source": {"ip": "192.0.2.1"}, "destination": {"ip": "192.0.2.2"}}
OTHER_RECORDS: dict[str, tuple[Any, str]] = {
    "ECS": ({"ecs": {"version": "8"}, "event": {"dataset": "zeek.connection"}, **ENDS}, "Elastic Common Schema"),
    "ECS, flat": ({"ecs.version": "8", "event.dataset": "x", "source.ip": "192.0.2.1"}, "Elastic Common Schema"),
    "Packetbeat": ({"type": "flow", "event": {"dataset": "flow"}, **ENDS}, "Elastic Common Schema"),
    "Logstash's codec": ({"netflow": {"version": 9, "ipv4_src_addr": "192.0.2.1"}}, "Logstash's"),
    "GoFlow2's protobuf": ({"timeFlowStartNs": "1700000000000000000", "srcAddr": "wAACBw=="}, "-format json"),
    "ElastiFlow": ({"flow.client.ip.addr": "192.0.2.1"}, "ElastiFlow"),
    "nProbe": ({"IPV4_SRC_ADDR": "192.0.2.1", "IN_BYTES": 3}, "nProbe"),
    "joy": ({"sa": "192.0.2.1", "da": "192.0.2.2", "pr": 6, "time_start": 1.0}, "joy"),
    "super_mediator": ({"flows": {"sourceIPv4Address": "192.0.2.1"}}, "YAF"),
    "AWS": ({"interface_id": "eni-1", "srcaddr": "192.0.2.1"}, "cloud's flow log"),
    "Azure": ({"records": [{"category": "NetworkSecurityGroupFlowEvent"}]}, "cloud's flow log"),
    "GCP": ({"jsonPayload": {"connection": {"src_ip": "192.0.2.1"}}}, "cloud's flow log"),
    "tshark": ([{"_index": "packets", "_source": {"layers": {}}}], "tshark"),
    "GoFlow2 1, small letters": ({"time_flow_start": 1, "src_addr": "192.0.2.1", "sampler_address": "x"}, "2.x"),
    "Zeek, renamed": ({"ts": 1.0, "id_orig_h": "192.0.2.1", "id_resp_h": "192.0.2.2"}, "renamed"),
    "Zeek without ts": ({"@timestamp": "x", "id.orig_h": "192.0.2.1", "id.resp_h": "192.0.2.2"}, "renamed"),
    "pmacct's marks": ({"event_type": "purge_init", "writer_id": "1"}, "pmacct writes around its records"),
    "statistics of EVE": ({"timestamp": "x", "event_type": "stats"}, "switch on type flow"),
    "conn_long": ({**ZEEK, "_path": "conn_long"}, "interim counts"),
    "lines of Zeek in a wrapper": ({"message": "\t".join(map(str, ZEEK.values()))}, "jq -r .message"),
}


@pytest.mark.parametrize("tool", OTHER_RECORDS)
def test_other_tools_records_are_named(tool: str, tmp_path: Path) -> None:
    record, words = OTHER_RECORDS[tool]
    said = refused(tmp_path, json_lines(record))
    assert words in said and "suricata-eve+json" not in said


OTHER_TEXTS = {
    "Date first seen          Duration Proto      Src IP Addr:Port\n": "nfdump -r FILE -o json",
    "   StartTime    Flgs  Proto   SrcAddr  Sport   Dir   DstAddr  Dport  TotPkts  TotBytes State\n": "ra -n -u",
    "            sIP|            dIP|sPort|dPort|pro|\n": "rwcut",
    "version account-id interface-id srcaddr dstaddr\n2 123456789010 eni-1 192.0.2.1 192.0.2.2\n": "cloud's",
    "%dir\tflowInd\tflowStat\ttimeFirst\ttimeLast\n": "Tranalyzer",
    "srcip,sport,dstip,dsport,proto,state,dur,sbytes\n": "UNSW-NB15",
    "IPV4_SRC_ADDR,L4_SRC_PORT,IPV4_DST_ADDR,IN_BYTES\n": "nProbe",
    '"Address A","Port A","Address B","Port B","Packets"\n': "conversations",
    "1700000000.250000\tCXWWCq4tRWduyB9st6\t192.0.2.7\t50820\t198.51.100.9\t502\ttcp\n": "without its header",
    "#Software: Microsoft Windows Firewall\n#Fields: date time\n": "Windows",
    "11/14/2023-22:13:20.123456  [**] [1:1:1] x [**]\n": "switch on type flow",
    "22:13:20.123456 IP 192.0.2.7.1 > 192.0.2.8.2: Flags [S]\n": "tcpdump",
    "CEF:0|x|y|1|2|3|4|src=192.0.2.1\n": "CEF",
    str(ZEEK) + "\n": "Python prints",
    zeek_log(ZEEK).replace("\t", "    "): "blanks of its tabs",
}


@pytest.mark.parametrize("content", OTHER_TEXTS)
def test_other_tools_texts_are_named(content: str, tmp_path: Path) -> None:
    said = refused(tmp_path, content)
    assert OTHER_TEXTS[content] in said and "suricata-eve+json" not in said


def test_a_file_without_a_record_says_so(tmp_path: Path) -> None:
    headers = [table(record).split("\n")[0] for _, record in TABLES.values()]
    for content in ("", "\n \n", "[]", "[\n]\n", "\0" * 512, *headers):
        assert "got no flow, expected some: it " in refused(tmp_path, content)


@pytest.mark.parametrize("path", ["", "bacnet_discovery"])
def test_siblings_of_read_logs_are_no_operations(path: str, tmp_path: Path) -> None:
    ends = {"ts": 1.7e9, "uid": "C1", "id.orig_h": "192.0.2.7", "id.resp_h": "192.0.2.8"}
    named = {"_path": path} if path else {}
    for own in (
        {"pdu_service": "who-is", "range": "1-2"},
        {"pdu_service": "i-am", "vendor": "x"},
        {"register": 3, "old_val": 1, "new_val": 2},
        {"szl_id": 1, "rosctr_code": 7},
        {"mei_type": "x", "func": "READ"},
    ):
        assert "no operations; send" in refused(tmp_path, json_lines({**ends, **own, **named}))


def test_folders_in_a_folder_are_said_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "2023-11-14").mkdir()
    with pytest.raises(BadData, match=r"folder of 0 files, .* and 1 folders, .*name one of the folders"):
        read_source(tmp_path)
    (tmp_path / "a.pcap").write_bytes(b"\xd4\xc3\xb2\xa1")
    with pytest.raises(BadData, match=r"folder of 1 files, .*the first: .*packet capture"):
        read_source(tmp_path)
    (tmp_path / "conn.log").write_text(json_lines(ZEEK))
    source = read_source(tmp_path)
    assert len(source) == 1 and "2023-11-14: got a folder in the folder; name it" in source.unread[0]


@pytest.mark.parametrize("name", FORMATS)
def test_much_text_before_the_records(name: str, tmp_path: Path) -> None:
    kind, record = FORMATS[name]
    result = decoded(tmp_path, "INFO[0000] x\n" * 300 + text_of(kind, record, record))
    assert result.flows.num_rows == 2 and result.rejects.num_rows in (0, 300)


@pytest.mark.parametrize("form", [json_lines, zeek_log])
@pytest.mark.parametrize("lasting", [True, False])
def test_interim_records_are_the_last_ones_counts(form: Callable[..., str], lasting: bool, tmp_path: Path) -> None:
    counts = ((10, 300), (20, 600), (5, 150))
    records = [{**ZEEK, "duration": 9.0 * lasting * n or "-", "orig_pkts": n, "orig_bytes": 9 * n} for n, _ in counts]
    if form is json_lines and not lasting:
        records = [{name: value for name, value in each.items() if name != "duration"} for each in records]
    (flow,) = decoded(tmp_path, form(*records)).flows.to_pylist()
    assert (flow["fwd_pkts"], flow["fwd_bytes"]) == (20, 180)
    assert decoded(tmp_path, form(records[0], records[0])).flows.num_rows == 2


def test_splits_of_an_active_timeout_add_up(tmp_path: Path) -> None:
    for name in ("nfdump+json", "pmacct+json", "goflow2+json", "ipfixcol2+json", "nfdump 1.6", "argus"):
        kind, record = FORMATS[name]
        assert decoded(tmp_path, text_of(kind, record, record, record)).flows.num_rows == 3
