"""Exporters' sequence numbers: where collectors have them, and that odd ones cost nothing but themselves."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.contracts.raw import GOFLOW2_JSON, IPFIXCOL2_JSON, NFDUMP_JSON, PMACCT_JSON
from pipeline.ingest.formats.export_numbers import COLUMNS
from tests.ingest.exporter_records import GOFLOW2, IPFIXCOL2, NFDUMP, PMACCT
from tests.ingest.files.test_files import decoded
from tests.ingest.records import decode, flow_of

RECORDS = {GOFLOW2_JSON: GOFLOW2, PMACCT_JSON: PMACCT, IPFIXCOL2_JSON: IPFIXCOL2}
KEYS = {
    GOFLOW2_JSON: ("sequence_num", "observation_domain_id", "sampler_address"),
    PMACCT_JSON: ("export_proto_seqno", "export_proto_sysid", "peer_ip_src"),
    IPFIXCOL2_JSON: ("ipfix:seqNumber", "ipfix:odid", "ipfix:srcAddr"),
}
SAMPLE = Path(__file__).parent / "samples" / "goflow2" / "netflow-ipfix.json"


def numbering(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in COLUMNS)


@pytest.mark.parametrize("content_type", RECORDS)
def test_every_collector_that_has_numbers(content_type: str) -> None:
    protocol = "ipfix" if content_type == IPFIXCOL2_JSON else "netflow9"
    assert numbering(flow_of(RECORDS[content_type], content_type)) == (protocol, "192.0.2.1", 512, 7)


def test_a_collector_that_has_none() -> None:
    assert numbering(flow_of(NFDUMP, NFDUMP_JSON)) == (None, None, None, None)


@pytest.mark.parametrize(
    ("content_type", "changes", "wanted"),
    [
        (GOFLOW2_JSON, {"type": "NETFLOW_V5", "observation_domain_id": 0}, ("netflow5", "192.0.2.1", 0, 7)),
        (GOFLOW2_JSON, {"type": "IPFIX", "sampler_address": "2001:DB8::1"}, ("ipfix", "2001:db8::1", 512, 7)),
        (GOFLOW2_JSON, {"type": "SFLOW_5", "sequence_num": 0}, ("sflow", "192.0.2.1", 512, 0)),
        (GOFLOW2_JSON, {"type": "FLOWUNKNOWN"}, (None, "192.0.2.1", 512, 7)),
        (PMACCT_JSON, {"export_proto_version": 10}, ("ipfix", "192.0.2.1", 512, 7)),
        (PMACCT_JSON, {"export_proto_version": 0}, (None, "192.0.2.1", 512, 7)),
        # Earlier versions of the plugin write texts.
        (IPFIXCOL2_JSON, {"ipfix:seqNumber": "8", "ipfix:odid": "1"}, ("ipfix", "192.0.2.1", 1, 8)),
    ],
)
def test_forms(content_type: str, changes: dict[str, Any], wanted: tuple[Any, ...]) -> None:
    assert numbering(flow_of({**RECORDS[content_type], **changes}, content_type)) == wanted


ODD_NUMBERS = [-1, 2**32, 2**80, 1e300, 7.5, "seven", "", "0x7", None, True, [7], {"a": 7}, "7\u0000", "9" * 2000]


@pytest.mark.parametrize("odd", ODD_NUMBERS, ids=lambda odd: repr(odd)[:12])
@pytest.mark.parametrize("content_type", RECORDS)
def test_an_odd_number_is_none_and_costs_nothing_else(content_type: str, odd: Any) -> None:
    plain = flow_of(RECORDS[content_type], content_type)
    row = flow_of({**RECORDS[content_type], **dict.fromkeys(KEYS[content_type], odd)}, content_type)
    assert numbering(row)[1:] == (None, None, None)
    same = set(plain) - {*COLUMNS, "record_id"}
    assert {name: row[name] for name in same} == {name: plain[name] for name in same}


@pytest.mark.parametrize("content_type", RECORDS)
def test_a_record_without_a_number_is_the_flow_it_was(content_type: str) -> None:
    record = {key: value for key, value in RECORDS[content_type].items() if key not in KEYS[content_type]}
    row, plain = flow_of(record, content_type), flow_of(RECORDS[content_type], content_type)
    assert numbering(row)[1:] == (None, None, None)
    assert all(row[name] == plain[name] for name in set(row) - {*COLUMNS, "record_id"})


def test_a_reject_says_its_number_where_it_can_be_read() -> None:
    lines = [json.dumps({**GOFLOW2, "src_port": -1}).encode(), b"{", json.dumps({**GOFLOW2, "dst_port": 1e9}).encode()]
    rejects = decode(lines, GOFLOW2_JSON).rejects.to_pylist()
    assert [numbering(row) for row in rejects] == [
        ("netflow9", "192.0.2.1", 512, 7),
        (None, None, None, None),
        ("netflow9", "192.0.2.1", 512, 7),
    ]
    (mine,) = (
        decode([json.dumps({**IPFIXCOL2, "@type": "ipfix.optionsEntry"}).encode()], IPFIXCOL2_JSON)
        .rejects["export_sequence"]
        .to_pylist()
    )
    assert mine == 7, "data records of options count in IPFIX"


def test_of_a_source_without_numbers_rejects_have_none() -> None:
    rejects = decode([b"{}"], NFDUMP_JSON).rejects
    assert all(rejects.column(name).null_count == 1 for name in COLUMNS)


def test_records_of_the_real_tool() -> None:
    rows = decoded(SAMPLE)
    numbered = pa.concat_tables(
        [pa.Table.from_batches([batch]).select([*COLUMNS]) for batch in (rows.flows, rows.rejects)]
    )
    wanted = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    assert numbered.num_rows == len(wanted) and numbered["export_sequence"].null_count == 0
    names = {"NETFLOW_V5": "netflow5", "NETFLOW_V9": "netflow9", "IPFIX": "ipfix"}
    keys = ("sampler_address", "observation_domain_id", "sequence_num")
    assert sorted(map(numbering, numbered.to_pylist())) == sorted(
        (names[record["type"]], *(record[key] for key in keys)) for record in wanted
    )
