"""Each record is judged by itself, whatever stands before or after it."""

from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.formats.marks import (
    ECS,
    GOFLOW2_V1,
    INSIDE_PATHS,
    IPFIXCOL1,
    KINDS,
    OTHER_LOG,
    OTHER_WRAPPERS,
    PATHS,
    WORDS,
    WRAPPED,
)
from pipeline.ingest.formats.own_marks import kind_of, records_in
from pipeline.ingest.intake.records import innermost, levels_of
from pipeline.ingest.recognise import PLAIN, MarkTable, Recognised, recognise
from pipeline.ingest.scan.lines import cut_lines

ENDS = '"ts":1700000000.25,"uid":"C1","id.orig_h":"192.0.2.7","id.resp_h":"198.51.100.9"'
NESTED = '"ts":1700000000.25,"uid":"C1","id":{"orig_h":"192.0.2.7","resp_h":"198.51.100.9"}'
RECORDS: list[tuple[str, str]] = [
    ("zeek-conn+json", f'{{{ENDS},"conn_state":"SF","history":"Sh"}}'),
    ("zeek-conn+json", f'{{{NESTED},"orig_bytes":1}}'),
    ("zeek-conn+json", f'{{"_path":"conn",{ENDS}}}'),
    ("zeek-conn+json", f'{{"_path":"conn-internal",{ENDS},"missed_bytes":0}}'),
    ("zeek-conn+json", f'{{"conn":{{{ENDS}}}}}'),
    (OTHER_LOG, f'{{"_path":"dns",{ENDS},"history":"not a conn log"}}'),
    (OTHER_LOG, f'{{"weird":{{{ENDS},"name":"bad_TCP_checksum"}}}}'),
    (OTHER_LOG, f'{{{ENDS},"query":"plc7.example"}}'),
    (OTHER_LOG, '{"ts":1.0,"uids":["C1"],"client_addr":"192.0.2.7"}'),
    ("zeek-modbus+json", f'{{{ENDS},"func":"READ_COILS"}}'),
    ("zeek-modbus_detailed+json", f'{{{ENDS},"func":"READ_COILS","modbus_detailed_link_id":"L","matched":true}}'),
    ("zeek-modbus_mask_write_register+json", f'{{{ENDS},"modbus_detailed_link_id":"L","and_mask":242}}'),
    (OTHER_LOG, f'{{{ENDS},"func":"ENCAP","modbus_detailed_link_id":"L","mei_type":"READ-DEVICE-IDENTIFICATION"}}'),
    (OTHER_LOG, f'{{"_path":"modbus_read_device_identification",{ENDS},"func":"ENCAP"}}'),
    ("zeek-bacnet+json", f'{{{ENDS},"pdu_type":"Confirmed-Request","pdu_service":"read_property"}}'),
    (OTHER_LOG, f'{{{ENDS},"pdu_service":"i_am","object_type":"device","instance_number":1}}'),
    ("zeek-s7comm+json", f'{{"s7comm":{{{ENDS},"rosctr_code":1}}}}'),
    ("suricata-eve+json", '{"timestamp":"2023-11-14T22:13:20.0+0000","event_type":"flow","flow":{}}'),
    ("suricata-eve+json", '{"timestamp":"2023-11-14T22:13:20.0+0000","event_type":"modbus"}'),
    (OTHER_LOG, '{"timestamp":"2023-11-14T22:13:20.0+0000","event_type":"alert","alert":{}}'),
    ("goflow2+json", '{"type":"NETFLOW_V9","time_flow_start_ns":1,"src_addr":"192.0.2.7"}'),
    ("goflow2+json", '{"sampler_address":"192.0.2.254","src_addr":"192.0.2.7","bytes":1}'),
    (GOFLOW2_V1, '{"Type":"NETFLOW_V9","TimeFlowStart":1,"SrcAddr":"192.0.2.7"}'),
    ("ipfixcol2+json", '{"@type":"ipfix.entry","iana:sourceIPv4Address":"192.0.2.7","iana:octetDeltaCount":1}'),
    (IPFIXCOL1, '{"@type":"ipfix.entry","sourceIPv4Address":"192.0.2.7","octetDeltaCount":1}'),
    ("nfdump+json", '{"type":"FLOW","first":"2023-11-14T22:13:20.0","in_packets":5}'),
    ("pmacct+json", '{"event_type":"purge","ip_src":"192.0.2.7","ip_dst":"198.51.100.9","packets":1,"bytes":1}'),
    (ECS, '{"@timestamp":"2023-11-14T22:13:20Z","ecs":{"version":"8"},"source":{"ip":"192.0.2.7"}}'),
    (WRAPPED, '{"@timestamp":"2023-11-14T22:13:20Z","ecs":{"version":"8"},"message":"{\\"ts\\":1}"}'),
    (WRAPPED, '{"log":"{\\"ts\\":1}","stream":"stdout"}'),
    ("", '{"log":{"file":{"path":"/var/log/x"}},"message":"started"}'),
    ("", '{"hello":1}'),
    ("", "INFO[0000] starting GoFlow2"),
    ("", '{"ts":1,'),
    ("", "[]"),
]


def kinds(recognised: Recognised) -> list[str]:
    return [KINDS[number] for number in recognised.kind.tolist()]


@pytest.mark.parametrize(("kind", "record"), RECORDS)
def test_a_record_is_known_by_its_own_marks(kind: str, record: str) -> None:
    assert kinds(recognise(cut_lines([record.encode()]))) == [kind]


@given(st.lists(st.sampled_from(RECORDS), max_size=40))
def test_neighbours_change_nothing(mix: list[tuple[str, str]]) -> None:
    lines = cut_lines(["\n".join(record for _, record in mix).encode()])
    assert kinds(recognise(lines)) == [kind for kind, _ in mix]


def test_other_logs_are_counted_by_the_names_they_have() -> None:
    lines = cut_lines([record.encode() for _, record in RECORDS])
    assert recognise(lines).other_logs() == Counter(
        {"": 4, "weird": 1, "dns": 1, "alert": 1, "modbus_read_device_identification": 1}
    )


def test_fields_of_the_caller_are_scanned_too() -> None:
    table = MarkTable.of({"site": ("host", "name"), "sensor": ("sampler_address",)})
    recognised = recognise(cut_lines([b'{"host":{"name":"plant-1"},"sampler_address":"192.0.2.254"}']), table)
    texts = [recognised.cells.bytes_of(column, 0) for column in table.fields.values()]
    assert texts == [b"plant-1", b"192.0.2.254"]
    assert kinds(recognised) == [""]


@given(st.lists(st.binary(max_size=200) | st.sampled_from(RECORDS).map(lambda pair: pair[1].encode()), max_size=20))
def test_nothing_raises(payloads: list[bytes]) -> None:
    lines = cut_lines(payloads)
    recognised = recognise(lines)
    assert len(recognised.kind) == len(lines.starts)
    assert sum(recognised.other_logs().values()) == recognised.of_kind(OTHER_LOG).sum()


# Whatever keys, and values that decide something, come together: objects inside objects as deep as marks lie.
VALUES = st.one_of(
    st.none(),
    st.integers(0, 9),
    st.sampled_from(sorted({word for _, words in WORDS.values() for word in words})),
    st.sampled_from(["", "x", "{}", '{"ts":1}', "text {"]),
)
PARTS = sorted({part for path in (*PATHS, *OTHER_WRAPPERS, *INSIDE_PATHS) for part in path})
DOCUMENTS = st.dictionaries(
    st.sampled_from(PARTS),
    st.one_of(VALUES, st.dictionaries(st.sampled_from(PARTS), VALUES, max_size=3)),
    max_size=6,
)
TEXTS = st.one_of(DOCUMENTS.map(orjson.dumps), st.sampled_from([record.encode() for _, record in RECORDS]))


@given(DOCUMENTS)
def test_a_record_alone_is_what_it_is_among_many(document: dict[str, Any]) -> None:
    (among_many,) = kinds(recognise(cut_lines([orjson.dumps(document)])))
    assert kind_of(document) == among_many


@given(st.lists(st.one_of(TEXTS, st.lists(DOCUMENTS).map(orjson.dumps)), min_size=1, max_size=5))
def test_records_are_taken_out_of_wrappers_alike(records: list[bytes]) -> None:
    together = innermost(levels_of(records, PLAIN))
    text = together.text.tobytes()
    among_many = [
        (KINDS[kind], text[start:end])
        for kind, start, end in zip(together.kind, together.starts, together.ends, strict=True)
    ]
    alone = [each for record in records for each in records_in(record)]
    assert [kind for kind, _ in alone] == [kind for kind, _ in among_many]
    for (_, one), (_, other) in zip(alone, among_many, strict=True):
        assert one == other or orjson.loads(one) == orjson.loads(other)
