"""CSV of Argus, CICFlowMeter and nfdump: against the plain decoders, in their odd forms, on real files."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.raw import ARGUS_CSV, CICFLOWMETER_CSV, NFDUMP_CSV
from pipeline.errors import BadData
from pipeline.ingest.decode import Decoded
from pipeline.ingest.files.guess import guess
from pipeline.ingest.files.reading import read_source
from pipeline.ingest.files.shift import shifted
from pipeline.ingest.formats.registry import FORMATS
from schemas.sources import source_of
from tests.commands import forebay
from tests.examples import examples
from tests.ingest import csv_oracle
from tests.ingest.csv_records import (
    ARGUS,
    CICFLOWMETER,
    CICFLOWMETER_3,
    CICFLOWMETER_LATE,
    NFDUMP_LONG,
    NFDUMP_SHORT,
)
from tests.ingest.files.one_source import read_records
from tests.ingest.files.test_files import decoded, written
from tests.ingest.records import ADDRESSES, NUMBERS, TEXTS, TIMES, Oracle, decode, odd_records, reasons
from tests.ingest.test_against_oracle import agree

CASES: dict[str, tuple[str, dict[str, str], Oracle]] = {
    "argus": (ARGUS_CSV, ARGUS, csv_oracle.argus),
    "cicflowmeter": (CICFLOWMETER_CSV, CICFLOWMETER, csv_oracle.cicflowmeter),
    "nfdump long": (NFDUMP_CSV, NFDUMP_LONG, csv_oracle.nfdump_csv),
    "nfdump short": (NFDUMP_CSV, NFDUMP_SHORT, csv_oracle.nfdump_csv),
}
DAYS = st.one_of(
    st.datetimes().map(lambda moment: f"{moment:%d/%m/%Y %I:%M:%S %p}"),
    st.datetimes().map(lambda moment: f"{moment.day}/{moment.month}/{moment:%Y} {moment.hour}:{moment:%M}"),
    st.datetimes().map(lambda moment: f"{moment:%Y/%m/%d %H:%M:%S.%f}"),
    st.sampled_from(["31/02/2024 10:00:00", "05/13/2024 10:00:00 AM", "1/1/2024 13:00:00 PM", "1/1/1969 0:00", "1/1/"]),
)
COUNTS = st.one_of(NUMBERS.map(str), st.integers(0, 12).map(str))
PORTS = st.sampled_from(["0x0303", "0x0403", "0x03", "0x0008", "http", "ISO-TSAP", "nosuch", "0", "8.0", "3.13", "8."])
STATES = st.sampled_from(
    ["SPA_SRPA", "S_", "_SA", "S_RA", "FIN", "RST", "REQ", "INT", "ACC", "TIM", "CON", "CLO", "ECO", "URP"]
) | st.sampled_from(["s", "sSE", "sSEfF", "sR", "S0", "RSTR", "SPA_X", "fin", ""])
ARROWS = st.sampled_from(["->", "  <-", "<->", "<?>", " <|", "|>", "?>", "<?", "who", "a<-"])
PROTOCOLS = st.sampled_from(["tcp", "TCP", "udp", "ICMP", "icmp6", "ipv6-icmp", "1", "58", "6", "17", "132", "arp"])
MORE_PROTOCOLS = st.sampled_from(["man", "rtp", "unas", "lldp", "igmp", "0", "0x06", "256", "warp", "unknown"])
FLAGS = st.sampled_from(["...AP.SF", "........", "......S.", ".A....", "0x1b", "27", "X", "CEUAPRSFF"])
MACS = st.sampled_from(["00:00:00:00:00:00", "b8:27:eb:6d:4f:4b", "b8:27"])
MEASURES = st.sampled_from(["nan", "-nan", "Infinity", "-inf", "-1.0", "-0.0", "1e39", "0.5", "NaN", "ni", "inn"])


def field_of(name: str) -> st.SearchStrategy[str]:
    """Odd cells that fit a column's name."""
    lower = name.lower()
    if lower in ("starttime", "timestamp", "ts", "firstseen"):
        return st.one_of(TIMES.map(str), DAYS)
    if "addr" in lower or lower in ("src ip", "dst ip", "sa", "da"):
        return ADDRESSES
    if "mac" in lower or lower in ("ismc", "odmc"):
        return MACS
    special = {"dir": ARROWS, "state": STATES, "flg": FLAGS}
    if lower in special:
        return special[lower]
    if lower in ("proto", "protocol", "pr"):
        return st.one_of(PROTOCOLS, MORE_PROTOCOLS)
    if "port" in lower or lower in ("sp", "dp"):
        return st.one_of(PORTS, COUNTS)
    if "ttl" in lower or "int" in lower or "iat" in lower:
        return st.one_of(MEASURES, COUNTS)
    return st.one_of(COUNTS, TEXTS)


def odd(record: dict[str, str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    fields = {name: field_of(name) for name in (*record, *({"DstPkts", "DstBytes"} if "Sport" in record else ()))}
    plain = odd_records(record, fields)
    mixed = st.tuples(plain, plain).map(lambda pair: {**pair[0], **{key: pair[1][key] for key in list(pair[1])[::2]}})
    return st.lists(st.one_of(plain, mixed), min_size=1, max_size=10)


def line_of(cells: dict[str, str], columns: list[str]) -> bytes:
    return ",".join([cells.get(name, "") for name in columns[:-1]] + ["x"]).encode()


def csv_decode(record: dict[str, str], content_type: str) -> Decoded:
    return decode([",".join(record.values()).encode()], content_type, list(record))


def row_of(record: dict[str, str], content_type: str) -> dict[str, Any]:
    done = csv_decode(record, content_type)
    assert done.flows.num_rows == 1, done.rejects.to_pylist()
    row: dict[str, Any] = done.flows.to_pylist()[0]
    return row


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@given(data=st.data())
@settings(max_examples=examples(40), deadline=None)
def test_against_the_plain_decoders(case: str, data: st.DataObject) -> None:
    content_type, record, judge = CASES[case]
    records = data.draw(odd(record))
    columns = [*record, *(name for name in ("DstPkts", "DstBytes") if content_type == ARGUS_CSV), "last"]
    # What ends a cell or a line is removed; of nfdump also what is not ASCII, as bytes decide whether a cell is void.
    barred = r'[\n\r\t,"\ud800-\udfff]' if content_type != NFDUMP_CSV else r"[^ !#-+.-\[\]-~\-]"
    rows = [
        {name: re.sub(barred, "", str(cell)) for name, cell in cells.items() if cell is not None} for cells in records
    ]
    trimmed = [{name: cell.strip(" ") or None for name, cell in row.items()} for row in rows]
    agree(trimmed, decode([line_of(row, columns) for row in rows], content_type, columns), judge)


@pytest.mark.parametrize("case", CASES)
def test_good_lines(case: str) -> None:
    content_type, record, judge = CASES[case]
    row = row_of(record, content_type)
    wanted = judge({name: cell.strip() for name, cell in record.items()})
    assert {name: row[name] for name in wanted} == wanted
    assert (row["src_addr"], row["dst_addr"], row["dst_port"], row["fwd_pkts"]) == ("192.0.2.7", "198.51.100.9", 502, 5)
    assert row["duration_us"] == 2_500_000 and row["start_ts_us"] // 1_000_000 == 1_700_000_000
    assert row["source_type"] == content_type.removesuffix("+csv") and row["community_id"]
    assert row["is_biflow"] is (content_type != NFDUMP_CSV)
    assert "one_way" in row["quality"].split(",") or content_type != NFDUMP_CSV


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {"rev_pkts": 4, "rev_bytes": 300, "fwd_tcp_flags": 27, "conn_state": "SF", "rev_iat_mean_us": None}),
        ({}, {"fwd_iat_mean_us": 625_000.0, "byte_semantics": "frame", "fwd_payload_bytes": 170, "quality": ""}),
        ({"StartTime": "2023/11/14 22:13:20.123456"}, {"start_ts_us": 1_700_000_000_123_456}),
        ({"State": "FIN"}, {"conn_state": "SF", "fwd_tcp_flags": None, "quality": "no_flags"}),
        ({"State": "CON"}, {"conn_state": "S1"}),
        ({"State": "CON", "Dir": "  <?>"}, {"conn_state": "OTH"}),
        ({"State": "RST"}, {"conn_state": "RSTO"}),
        ({"State": "RST", "TotPkts": "2", "SrcPkts": "1"}, {"conn_state": "REJ"}),
        ({"State": "REQ", "TotPkts": "5", "TotBytes": "500"}, {"conn_state": "S0", "rev_pkts": 0}),
        ({"State": "sSEfF"}, {"conn_state": "SF"}),
        ({"State": "S_RA"}, {"conn_state": "REJ", "rev_tcp_flags": 20}),
        ({"SrcPkts": "", "TotPkts": "8"}, {"fwd_pkts": 5, "rev_pkts": 3, "quality": "pkts_split"}),
        ({"SrcPkts": "", "TotPkts": "2"}, {"fwd_pkts": 1, "rev_pkts": 1, "quality": ""}),
        (
            {"SrcPkts": "", "TotPkts": "7", "SrcBytes": "800", "DAppBytes": ""},
            {"fwd_pkts": 7, "rev_pkts": 0, "quality": ""},
        ),
        ({"Dir": "  <-"}, {"src_addr": "198.51.100.9", "src_port": 502, "fwd_pkts": 4, "rev_bytes": 500}),
        ({"Dport": "iso-tsap"}, {"dst_port": 102}),
        ({"Proto": "icmp", "Sport": "0x0403", "Dport": "0x38a8"}, {"icmp_type": 3, "icmp_code": 4, "dst_port": None}),
        ({"Proto": "icmp", "Sport": "0x03", "Dport": "0x03"}, {"icmp_type": 3, "icmp_code": 3}),
        ({"Proto": "icmp", "Sport": "0x0008", "Dport": "0x7208"}, {"icmp_type": 8, "icmp_code": 0}),
        ({"Proto": "arp", "Sport": "", "Dport": ""}, {"ether_type": 0x0806, "ip_proto": None, "quality": "non_ip"}),
        ({"Proto": "rtp"}, {"ip_proto": 17}),
        ({"Proto": "esp", "Sport": "", "Dport": "0x01234567"}, {"ip_proto": 50, "dst_port": None}),
    ],
)
def test_argus_forms(changes: dict[str, str], wanted: dict[str, Any]) -> None:
    row = row_of({**ARGUS, **changes}, ARGUS_CSV)
    assert {name: row[name] for name in wanted} == wanted


def test_argus_columns_by_their_other_names() -> None:
    other = {"StartTime": "stime", "SrcAddr": "saddr", "DstAddr": "daddr", "TotPkts": "pkts", "TotBytes": "bytes"}
    named = {other.get(name, name.lower()): cell for name, cell in ARGUS.items() if name not in ("SrcPkts", "SrcBytes")}
    named |= {"spkts": "5", "sbytes": "500"}
    usual, renamed = row_of(ARGUS, ARGUS_CSV), row_of(named, ARGUS_CSV)
    assert {key: usual[key] for key in usual.keys() - {"record_id"}} == {
        key: renamed[key] for key in renamed.keys() - {"record_id"}
    }


@pytest.mark.parametrize("names", [CICFLOWMETER_3, CICFLOWMETER_LATE])
def test_cicflowmeters_other_headings(names: dict[str, str]) -> None:
    assert guess(",".join(names).encode()) == CICFLOWMETER_CSV
    usual = row_of(CICFLOWMETER, CICFLOWMETER_CSV)
    renamed = row_of({heading: CICFLOWMETER[name] for heading, name in names.items()}, CICFLOWMETER_CSV)
    assert {key: usual[key] for key in usual.keys() - {"record_id"}} == {
        key: renamed[key] for key in renamed.keys() - {"record_id"}
    }


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {"conn_state": "SF", "quality": "no_flags", "rev_iat_mean_us": None, "byte_semantics": "payload"}),
        ({"Timestamp": "14/11/2023 22:13:20"}, {"start_ts_us": 1_700_000_000_000_000}),
        ({"Timestamp": "14/11/2023 12:00:00 AM"}, {"start_ts_us": 1_699_920_000_000_000}),
        ({"Timestamp": "14/11/2023 12:13"}, {"start_ts_us": 1_699_963_980_000_000}),
        ({"Timestamp": "2023-11-14 22:13:20.5"}, {"start_ts_us": 1_700_000_000_500_000}),
        ({"Timestamp": "3/7/2017 8:55"}, {"start_ts_us": 1_499_072_100_000_000}),
        ({"Flow Duration": "1.06352686E8"}, {"duration_us": 106_352_686}),
        (
            {"Tot Bwd Pkts": "0", "TotLen Bwd Pkts": "0", "FIN Flag Cnt": "0"},
            {"fwd_tcp_flags": 18, "conn_state": "S0", "quality": ""},
        ),
        ({"RST Flag Cnt": "1"}, {"conn_state": "RSTO"}),
        ({"SYN Flag Cnt": "0"}, {"conn_state": "OTH"}),
        ({"Fwd IAT Mean": "-5.0"}, {"fwd_iat_mean_us": None}),
        ({"Protocol": "0", "Src Port": "0", "Dst Port": "0"}, {"ip_proto": None, "src_port": None, "quality": ""}),
        ({"Src Port": "0", "Dst Port": "0"}, {"dst_port": None, "quality": "no_flags,no_ports"}),
        ({"Protocol": "17"}, {"conn_state": "SF", "quality": ""}),
    ],
)
def test_cicflowmeter_forms(changes: dict[str, str], wanted: dict[str, Any]) -> None:
    row = row_of({**CICFLOWMETER, **changes}, CICFLOWMETER_CSV)
    assert {name: row[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {"end_ts_us": 1_700_000_002_500_000, "vlan_id": 14, "src_mac": "00:0c:29:70:86:09", "dst_mac": None}),
        ({}, {"fwd_tcp_flags": 27, "quality": "no_rev,one_way", "conn_state": "SH", "byte_semantics": "ip"}),
        ({"opkt": "3", "obyt": "200"}, {"is_biflow": True, "rev_bytes": 200}),
        ({"pr": "ICMP", "sp": "0", "dp": "8.0"}, {"icmp_type": 8, "icmp_code": 0, "dst_port": None}),
        ({"pr": "ICMP6", "sa": "fe80::1", "sp": "0", "dp": "135.0"}, {"icmp_type": 135, "ip_proto": 58}),
        ({"flg": "........"}, {"fwd_tcp_flags": None, "quality": "no_flags,no_rev,one_way"}),
    ],
)
def test_nfdump_forms(changes: dict[str, str], wanted: dict[str, Any]) -> None:
    row = row_of({**NFDUMP_LONG, **changes}, NFDUMP_CSV)
    assert {name: row[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("case", "changes", "reason"),
    [
        ("argus", {"StartTime": "16:24:47.672448"}, "time"),
        ("argus", {"StartTime": "2019/04-04 16:24:47"}, "time"),
        ("argus", {"Dur": ""}, "time_missing"),
        ("argus", {"Dur": "-1"}, "negative_duration"),
        ("argus", {"Proto": "man"}, "not_a_flow"),
        ("argus", {"Proto": "warp"}, "protocol"),
        ("argus", {"SrcAddr": "plc7.example"}, "address"),
        ("argus", {"Dport": "nosuchservice"}, "port_range"),
        ("argus", {"Dport": "0x10000"}, "port_range"),
        ("argus", {"TotBytes": "400"}, "count_range"),
        ("argus", {"SrcBytes": ""}, "missing"),
        ("argus", {"SrcPkts": "", "TotPkts": ""}, "missing"),
        ("argus", {"State": "a\tb"}, "text"),
        ("cicflowmeter", {"Flow Duration": "-13"}, "negative_duration"),
        ("cicflowmeter", {"Timestamp": "05/13/2024 10:00:00"}, "time"),
        ("cicflowmeter", {"Timestamp": "13/05/2024 13:00:00 PM"}, "time"),
        ("cicflowmeter", {"Protocol": "TCP"}, "protocol"),
        ("cicflowmeter", {"Tot Fwd Pkts": "NaN"}, "count"),
        ("cicflowmeter", {"TotLen Fwd Pkts": ""}, "missing"),
        ("nfdump long", {"ts": "1970-01-01 00:00:00"}, "time_missing"),
        ("nfdump long", {"td": "00:00:02.500"}, "time"),
        ("nfdump long", {"dp": "8.0"}, ""),
        ("nfdump long", {"dp": "8.1"}, "count"),
        ("nfdump long", {"pr": "ICMP", "dp": "8."}, "count"),
        ("nfdump long", {"pr": "ICMP", "dp": "300.1"}, "icmp_range"),
        ("nfdump short", {"firstSeen": "0000-00-00 00:00:00.000"}, "time_missing"),
        ("nfdump short", {"packets": "1.2 M"}, "count"),
    ],
)
def test_rejects(case: str, changes: dict[str, str], reason: str) -> None:
    content_type, record, _ = CASES[case]
    done = csv_decode({**record, **changes}, content_type)
    assert reasons(done) == ([reason] if reason else []), done.rejects.to_pylist()
    for row in done.rejects.to_pylist():
        assert row["record"] and row["raw_offset"] == 900 and "expected" in row["detail"]


@pytest.mark.parametrize("case", CASES)
def test_a_line_and_many_in_a_message(case: str) -> None:
    content_type, record, _ = CASES[case]
    lines = [",".join(record.values()).encode()] * 5 + [b"Summary", b"a,b"]
    single, many = (decode(lines, content_type, list(record), pack=size) for size in (1, 7))
    position_fields = {"raw_offset", "raw_index", "detail"}
    for left, right in ((single.flows, many.flows), (single.rejects, many.rejects)):
        assert left.drop_columns(list(position_fields & set(left.column_names))).equals(
            right.drop_columns(list(position_fields & set(right.column_names)))
        )
    assert reasons(many) == ["columns", "columns"]


@pytest.mark.parametrize("case", CASES)
def test_files_are_recognised_read_and_moved(case: str, tmp_path: Path) -> None:
    content_type, record, _ = CASES[case]
    head, line = ",".join([*record, "Label"]), ",".join([*record.values(), "Botnet"])
    content = f"{head}\r\n{line}\r\n{line}\r\n"
    assert guess(content.encode()) == content_type
    path = written(tmp_path, content)
    result = decoded(path)
    assert (result.content_type, result.records, result.flows.num_rows) == (content_type, 2, 2)
    source = read_records(path)
    assert b"Botnet" not in source.records[0]
    moved = shifted(source, 86_400_000_000)
    assert (moved.end_times_us() - source.end_times_us()).tolist() == [86_400_000_000] * 2
    assert source.end_times_us().tolist() == result.flows["end_ts_us"].to_pylist()
    again = decode(moved.records, content_type, moved.columns)
    assert again.flows["start_ts_us"][0].as_py() - result.flows["start_ts_us"][0].as_py() == 86_400_000_000


def test_tabs_for_commas(tmp_path: Path) -> None:
    content = "\t".join([*ARGUS, "Label"]) + "\n" + "\t".join([*ARGUS.values(), ""]) + "\n"
    result = decoded(written(tmp_path, content))
    assert (result.content_type, result.flows.num_rows) == (ARGUS_CSV, 1)


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_nfdumps_summary_is_no_record(rows: int, tmp_path: Path) -> None:
    line = ",".join(NFDUMP_LONG.values())
    summary = "Summary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n1244,589079,12283,13921,36,47\n"
    path = written(tmp_path, ",".join(NFDUMP_LONG) + "\n" + f"{line}\n" * rows + summary)
    source = read_source(path)
    assert (len(source), source.skipped) == (rows, 3)
    assert decoded(path).flows.num_rows == rows


@pytest.mark.parametrize("case", CASES)
def test_headers_that_lack_something(case: str, tmp_path: Path) -> None:
    content_type, record, _ = CASES[case]
    line = ",".join(record.values())
    with pytest.raises(BadData, match="first line without"):
        read_records(written(tmp_path, f"{line}\n{line}\n"), content_type)
    needed = FORMATS[content_type].heading(tuple(record))
    for name, heading in zip(record, needed, strict=True):
        if heading in FORMATS[content_type].required:
            columns = [other if other != name else "gone" for other in record]
            done = decode([line.encode()], content_type, columns)
            assert reasons(done) == ["columns"] and "header columns without" in done.rejects["detail"][0].as_py()


def test_a_file_of_features_alone_says_what_lacks(tmp_path: Path) -> None:
    path = written(tmp_path, " Destination Port, Flow Duration, Total Fwd Packets\n80,1,2\n")
    with pytest.raises(BadData, match="Src IP"):
        read_records(path)


def test_columns_of_one_name(tmp_path: Path) -> None:
    names = [*CICFLOWMETER, "Fwd Header Length", "Fwd Header Length", "Timestamp"]
    cells = [*CICFLOWMETER.values(), "1", "2", "x"]
    source = read_records(written(tmp_path, ",".join(names) + "\n" + ",".join(cells) + "\n"))
    assert len(set(source.columns)) == len(source.columns) == len(names)
    assert decode(source.records, source.content_type, source.columns).flows.num_rows == 1


@pytest.mark.parametrize("content_type", [ARGUS_CSV, CICFLOWMETER_CSV, NFDUMP_CSV])
def test_plain_origins_are_columns_that_are_read(content_type: str) -> None:
    known = FORMATS[content_type].spellings
    plain = [
        origin.source for origin in source_of(content_type).origins if not origin.source.startswith(("=", "derived"))
    ]
    parts = {part.lower() for source in plain for part in source.removesuffix(" and others").split(" + ")}
    assert parts <= known.keys()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_flow_check_knows_them(case: str, tmp_path: Path) -> None:
    _, record, _ = CASES[case]
    path = written(tmp_path, ",".join(record) + "\n" + ",".join(record.values()) + "\n", "plant.csv")
    done = forebay("flow", "check", str(path))
    assert done.code == 0, done.stdout + done.stderr
