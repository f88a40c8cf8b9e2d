"""Collectors of NetFlow and IPFIX: against the plain decoders, on records of the real tools, in their odd forms."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.raw import DELIMITED, GOFLOW2_JSON, IPFIXCOL2_JSON, NFDUMP_JSON, PMACCT_JSON
from pipeline.ingest.files.guess import guess
from pipeline.ingest.files.shift import shifted
from pipeline.ingest.formats import exporter, nfdump_csv
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.scan.json_array import split_objects
from schemas.sources import source_of
from tests.examples import examples
from tests.ingest import exporter_oracle, oracle
from tests.ingest.exporter_records import GOFLOW2, IPFIXCOL2, NFDUMP, PMACCT
from tests.ingest.files.one_source import read_records
from tests.ingest.files.test_files import decoded, written
from tests.ingest.records import (
    ADDRESSES,
    NUMBERS,
    ODD,
    TIMES,
    Oracle,
    decode,
    flow_of,
    odd_records,
    reasons,
)
from tests.ingest.test_against_oracle import agree
from tests.real_records import FOLDER, needs

SAMPLES = Path(__file__).parent / "samples"
ANY = "0.0.0.0"  # noqa: S104 (an address in records, not one to bind to)
RECORDS: dict[str, tuple[dict[str, Any], Oracle]] = {
    GOFLOW2_JSON: (GOFLOW2, exporter_oracle.goflow2),
    PMACCT_JSON: (PMACCT, exporter_oracle.pmacct),
    NFDUMP_JSON: (NFDUMP, exporter_oracle.nfdump),
    IPFIXCOL2_JSON: (IPFIXCOL2, exporter_oracle.ipfixcol2),
}
MORE = {
    GOFLOW2_JSON: ("icmp_type", "dst_vlan"),
    PMACCT_JSON: ("timestamp_min", "timestamp_max", "timestamp_arrival", "vlan_in", "class"),
    NFDUMP_JSON: ("src6_addr", "dst6_addr", "out_bytes", "icmp_type", "icmp_code", "out_dst_mac"),
    IPFIXCOL2_JSON: (
        "iana:icmpTypeCodeIPv4",
        "iana:icmpTypeIPv6",
        "iana:icmpCodeIPv6",
        "iana:sourceIPv6Address",
        "iana:flowEndSeconds",
        "iana:octetTotalCount",
        "iana:ipTTL",
        "iana:ethernetType",
    ),
}
FLAGS = st.one_of(
    st.sampled_from(
        ["...AP.SF", ".AP.S.", "......", "0x1b", "0xg", "0x10000", "27", "65535", "65536", "CEUAPRSFF", "X"]
    ),
    st.lists(st.sampled_from(["ACK", "SYN", "FIN", "x", "", "é", 'a"b']), max_size=3),
    NUMBERS,
)
MACS = st.sampled_from(["00:00:00:00:00:00", "b8:27:eb:6d:4f:4b", "B8-27-EB-6D-4F-4B", "", "b8:27"])
PROTOCOLS = st.sampled_from(["ICMP", "IPv6-ICMP", "udp", "HOPOPT", "unknown", "Mobility Header", "17", 1, 58, 132, 256])
VOIDS = st.sampled_from(
    ["0000-00-00 00:00:00.000000", "1970-01-01T00:00:00.000", "0", 0, "0.000", "1970-01-02T00:00:00"]
)


def field_of(name: str) -> st.SearchStrategy[Any]:
    """Odd values that fit a key's name."""
    lower = name.lower()
    if "time" in lower or "flowstart" in lower or "flowend" in lower or name in ("first", "last"):
        scaled = st.decimals(0, 1_800_003_700, places=6).map(lambda seconds: int(seconds * 1_000_000_000))
        return st.one_of(TIMES, VOIDS, scaled, scaled.map(lambda ns: ns // 1_000_000))
    if "mac" in lower:
        return MACS
    if "addr" in lower or name in ("ip_src", "ip_dst"):
        return st.one_of(ADDRESSES, st.sampled_from([ANY, "::", "", None]))
    if "flags" in lower or "controlbits" in lower:
        return FLAGS
    if "version" in lower:
        return st.one_of(ODD, st.sampled_from([2, 4, 5, 9, "9", 10, 10.0, "5 "]))
    if "seq" in lower or "domain" in lower or "sysid" in lower or "odid" in lower:
        return st.one_of(ODD, st.sampled_from([0, 2**32 - 1, 2**32, -1, "7", "0x7", 7.5, True, [7]]))
    if "proto" in lower:
        return PROTOCOLS
    if name in ("type", "@type", "event_type"):
        return st.sampled_from(["FLOW", "EVENT", "purge_init", "ipfix.template", "SFLOW_5", "ipfix.entry"])
    if "etype" in lower or "ethernet" in lower:
        return st.sampled_from(["806", "0x88cc", "ARP", "IPv4", "fe", "86dd", "12345", 2054])
    return st.one_of(ODD, st.sampled_from([0, 1, 8, 34304, 255, 65535]))


def odd(content_type: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    record = RECORDS[content_type][0]
    fields = {name: field_of(name) for name in (*record, *MORE[content_type])}
    mixed = st.lists(odd_records(record, fields), min_size=2, max_size=2).map(
        lambda pair: {key: pair[len(key) % 2].get(key) for key in pair[0] | pair[1] if key in pair[len(key) % 2]}
    )
    return st.lists(st.one_of(odd_records(record, fields), mixed), min_size=1, max_size=10)


@pytest.mark.slow
@pytest.mark.parametrize("content_type", RECORDS)
@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_against_the_plain_decoders(content_type: str, data: st.DataObject) -> None:
    records = data.draw(odd(content_type))
    lines = [json.dumps(record).encode() for record in records]
    agree([oracle.parse_json(line) for line in lines], decode(lines, content_type), RECORDS[content_type][1])


@pytest.mark.parametrize("content_type", RECORDS)
def test_the_same_flow_from_every_collector(content_type: str) -> None:
    row = flow_of(RECORDS[content_type][0], content_type)
    wanted = {
        "duration_us": 61_696_000 if content_type in (NFDUMP_JSON, IPFIXCOL2_JSON) else 61_695_999,
        "end_ts_us": 1_677_577_620_736_000,
        "src_addr": "198.51.100.7",
        "dst_port": 502,
        "ip_proto": 6,
        "src_mac": "00:0c:29:70:86:09",
        "dst_mac": None,
        "vlan_id": 14,
        "fwd_bytes": 640,
        "fwd_pkts": 10,
        "rev_pkts": 0,
        "fwd_tcp_flags": 27,
        "rev_tcp_flags": None,
        "is_biflow": False,
        "record_kind": "end",
        "sampling_rate": None,
        "quality": "no_rev,one_way",
        "byte_semantics": "ip",
        "source_type": content_type.removesuffix("+json"),
    }
    assert {name: row[name] for name in wanted} == wanted
    assert row["community_id"] == exporter_oracle.community_id(row)


@pytest.mark.parametrize(
    ("content_type", "changes", "wanted"),
    [
        (GOFLOW2_JSON, {"sampling_rate": 1000}, {"sampling_rate": 1000, "quality": "no_rev,one_way,sampled"}),
        (GOFLOW2_JSON, {"sampling_rate": 1}, {"sampling_rate": 1, "quality": "no_rev,one_way"}),
        (GOFLOW2_JSON, {"type": "SFLOW_5"}, {"byte_semantics": "frame"}),
        (GOFLOW2_JSON, {"time_flow_end_ns": 0}, {"duration_us": 0}),
        (GOFLOW2_JSON, {"tcp_flags": 0}, {"fwd_tcp_flags": None, "quality": "no_flags,no_rev,one_way"}),
        (GOFLOW2_JSON, {"src_port": 0, "dst_port": 0}, {"src_port": None, "quality": "no_ports,no_rev,one_way"}),
        (GOFLOW2_JSON, {"src_port": 0}, {"src_port": 0, "dst_port": 502}),
        (GOFLOW2_JSON, {"proto": "ICMP", "src_port": 0, "dst_port": 2048}, {"icmp_type": 8, "icmp_code": 0}),
        (GOFLOW2_JSON, {"proto": "ICMP", "dst_port": 771}, {"icmp_type": 3, "icmp_code": 3, "dst_port": None}),
        (GOFLOW2_JSON, {"proto": "ICMP", "icmp_type": 3, "icmp_code": 1}, {"icmp_type": 3, "icmp_code": 1}),
        (GOFLOW2_JSON, {"proto": "ICMP", "dst_port": 0}, {"icmp_type": None, "community_id": None}),
        (GOFLOW2_JSON, {"proto": "unknown"}, {"ip_proto": None, "conn_state": "OTH"}),
        (
            GOFLOW2_JSON,
            {"src_addr": "", "dst_addr": "", "dst_mac": "b8:27:eb:6d:4f:4b", "etype": "ARP"},
            {"src_addr": "00:0c:29:70:86:09", "ether_type": 0x0806, "ip_proto": None},
        ),
        (GOFLOW2_JSON, {"src_addr": ANY}, {"src_addr": ANY}),
        (PMACCT_JSON, {"tcp_flags": ["ACK", "SYN"]}, {"fwd_tcp_flags": 18}),
        (PMACCT_JSON, {"tcp_flags": []}, {"fwd_tcp_flags": None}),
        (PMACCT_JSON, {"timestamp_end": "0000-00-00 00:00:00.000000"}, {"duration_us": 0}),
        (PMACCT_JSON, {"timestamp_start": "1677577599.000000"}, {"start_ts_us": 1_677_577_599_000_000}),
        (PMACCT_JSON, {"ip_proto": "ipv6-icmp", "port_dst": 136}, {"icmp_type": 136, "icmp_code": 0}),
        (PMACCT_JSON, {"ip_src": "fe80::1", "ip_dst": "ff02::1"}, {"ether_type": 0x86DD}),
        (NFDUMP_JSON, {"tcp_flags": "......S."}, {"fwd_tcp_flags": 2, "conn_state": "S0"}),
        (
            NFDUMP_JSON,
            {"out_packets": 3, "out_bytes": 200},
            {"is_biflow": True, "rev_bytes": 200, "quality": "no_flags"},
        ),
        (NFDUMP_JSON, {"sampled": 1}, {"quality": "no_rev,one_way,sampled", "sampling_rate": None}),
        (NFDUMP_JSON, {"src6_addr": "::198.51.100.7"}, {"src_addr": "198.51.100.7"}),
        (IPFIXCOL2_JSON, {"iana:flowStartMilliseconds": 1677577559040}, {"duration_us": 61_696_000}),
        (IPFIXCOL2_JSON, {"iana:protocolIdentifier": 6, "iana:tcpControlBits": 27}, {"fwd_tcp_flags": 27}),
        (
            IPFIXCOL2_JSON,
            {
                "iana@reverse:packetDeltaCount@reverse": 9,
                "iana@reverse:octetDeltaCount@reverse": 500,
                "iana@reverse:tcpControlBits@reverse": ".AP.SF",
            },
            {"is_biflow": True, "rev_pkts": 9, "rev_tcp_flags": 27, "conn_state": "SF", "quality": ""},
        ),
    ],
)
def test_odd_forms(content_type: str, changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    row = flow_of({**RECORDS[content_type][0], **changes}, content_type)
    assert {name: row[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("content_type", "changes", "reason"),
    [
        (GOFLOW2_JSON, {"time_flow_start_ns": 0, "time_flow_end_ns": 0}, "time_missing"),
        (GOFLOW2_JSON, {"src_addr": "", "src_mac": "00:00:00:00:00:00"}, "address"),
        (
            GOFLOW2_JSON,
            {"src_addr": ANY, "dst_addr": ANY, "packets": 0, "bytes": 0, "proto": "HOPOPT"},
            "not_a_flow",
        ),
        (GOFLOW2_JSON, {"sampling_rate": 2**32}, "count_range"),
        (PMACCT_JSON, {"event_type": "purge_close"}, "not_a_flow"),
        (PMACCT_JSON, {"tcp_flags": ["ACK", 2]}, "flags_range"),
        (PMACCT_JSON, {"tcp_flags": "65536"}, "flags_range"),
        (NFDUMP_JSON, {"type": "EVENT"}, "not_a_flow"),
        (NFDUMP_JSON, {"first": "1970-01-01T00:00:00.000", "last": "1970-01-01T00:00:00.000"}, "time_missing"),
        (NFDUMP_JSON, {"tcp_flags": "...AP.S?"}, "flags_range"),
        (IPFIXCOL2_JSON, {"@type": "ipfix.template"}, "not_a_flow"),
        (IPFIXCOL2_JSON, {"iana:sourceIPv4Address": ["1.2.3.4", "1.2.3.5"]}, "address"),
    ],
)
def test_rejects(content_type: str, changes: dict[str, Any], reason: str) -> None:
    assert reasons(decode([json.dumps({**RECORDS[content_type][0], **changes}).encode()], content_type)) == [reason]


def test_ipfixcol2_by_numbers() -> None:
    numbers = {"octetDeltaCount": 1, "packetDeltaCount": 2, "protocolIdentifier": 4, "sourceIPv4Address": 8}
    numbers |= {"destinationIPv4Address": 12, "flowStartMilliseconds": 152, "flowEndMilliseconds": 153}
    numbers |= {"sourceTransportPort": 7, "destinationTransportPort": 11}
    record = {f"en0:id{number}": IPFIXCOL2[f"iana:{name}"] for name, number in numbers.items()}
    row = flow_of({**record, "en29305:id2": 4}, IPFIXCOL2_JSON)
    assert (row["fwd_pkts"], row["rev_pkts"], row["dst_port"], row["src_addr"]) == (10, 4, 502, "198.51.100.7")


@pytest.mark.parametrize("content_type", RECORDS)
def test_plain_origins_are_keys_that_are_read(content_type: str) -> None:
    known = {".".join(path) for path in FORMATS[content_type].paths or {}}
    plain = [
        origin.source for origin in source_of(content_type).origins if not origin.source.startswith(("=", "derived"))
    ]
    assert set(plain) <= known


def test_every_wanted_name_is_in_some_layout() -> None:
    named = {column for kind in RECORDS for column in FORMATS[kind].columns}
    assert set(exporter.WANTED) <= named | set(nfdump_csv.LAYOUT.columns)


@pytest.mark.slow
@pytest.mark.parametrize("content_type", RECORDS)
def test_files_are_recognised_and_read(content_type: str, tmp_path: Path) -> None:
    record = RECORDS[content_type][0]
    whole = [json.dumps(record), json.dumps([record, record], indent=1), json.dumps([record]) + json.dumps([record])]
    for count, content in zip((1, 2, 2), whole, strict=True):
        assert guess(content.encode()) == content_type
        result = decoded(written(tmp_path, content))
        assert (result.records, result.flows.num_rows) == (count, count), result.rejects.to_pylist()
    source = read_records(written(tmp_path, whole[0]))
    moved = shifted(source, 1_500_000)
    assert (moved.end_times_us() - source.end_times_us()).tolist() == [1_500_000]
    assert json.loads(moved.records[0]).keys() == record.keys() - {"mpls_label"}  # named like a label


def test_arrays_are_cut_into_objects() -> None:
    text = b'[\n{\n\t"a" : "}[{\\"",\n "b":[{"c":1}]\n},\n{"a":2} , junk\n{"a":'
    assert split_objects(text) == [b'{  "a" : "}[{\\"",  "b":[{"c":1}] }', b'{"a":2}', b"junk", b'{"a":']
    assert split_objects(b" [ ] ") == []


@given(st.text(alphabet='{}[]",:\\ \n1a', max_size=40))
def test_cutting_loses_nothing(text: str) -> None:
    records = split_objects(text.encode())
    assert not any(b"\n" in record or not record.strip() for record in records)
    between = set(" \n\t\r,[]")
    assert sum(map(len, records)) <= len(text)
    joined = "".join(record.decode() for record in records)
    assert [letter for letter in text if letter not in between] == [
        letter for letter in joined if letter not in between
    ]


@pytest.mark.parametrize(
    ("name", "content_type", "counts"),
    [
        ("goflow2", GOFLOW2_JSON, {"address": 2, "negative_duration": 1}),
        ("nfdump", NFDUMP_JSON, {"negative_duration": 2, "not_a_flow": 7, "time_missing": 23}),
        ("pmacct", PMACCT_JSON, {}),
    ],
)
def test_records_of_the_real_tools(name: str, content_type: str, counts: dict[str, int]) -> None:
    path = SAMPLES / name / "netflow-ipfix.json"
    result = decoded(path)
    assert result.content_type == content_type
    counted: dict[str, int] = {}
    for reason in result.rejects["reason"].to_pylist():
        counted[reason] = counted.get(reason, 0) + 1
    assert counted == counts
    rows = result.flows.to_pylist()
    assert len(rows) > 40 and not any(row["is_biflow"] for row in rows if content_type != NFDUMP_JSON)
    assert {6, 17} <= {row["ip_proto"] for row in rows}
    for row in rows:
        assert row["community_id"] == exporter_oracle.community_id(row)


@needs("formats", "real records of pmacct and nfdump are decoded without rejects")
def test_real_files() -> None:
    folder = FOLDER / "formats"
    files = [*folder.glob("netflow-ipfix/pmacct/*/output-flow-*.json"), *folder.glob("nfdump/**/*.json")]
    assert len(files) > 12
    for path in files:
        result = decoded(path)
        assert result.content_type == (NFDUMP_JSON if path.suffixes[0] == ".nfdump" else PMACCT_JSON)
        # Where pmacct does not aggregate by time, a record has none.
        assert set(result.rejects["reason"].to_pylist()) <= {"time_missing"}, path
        assert result.records == result.flows.num_rows + result.rejects.num_rows > 0


def test_no_collector_is_delimited() -> None:
    assert not set(RECORDS) & set(DELIMITED)
