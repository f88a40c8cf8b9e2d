"""Messages of other tools as messages of `raw`."""

import orjson
import pytest

from pipeline.contracts.raw import SourceInfo
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.intake.convert import Converter
from pipeline.ingest.intake.origins import Envelope
from pipeline.ingest.intake.pack import RawPack
from pipeline.ingest.messages import Messages, RawMessage
from schemas.intake import TopicSource

CONN = (
    b'{"ts":1700000000.25,"uid":"C1","id.orig_h":"192.0.2.7","id.orig_p":50820,"id.resp_h":"198.51.100.9",'
    b'"id.resp_p":502,"proto":"tcp","duration":2.5,"orig_bytes":500,"resp_bytes":300,"conn_state":"SF"}'
)
DNS = b'{"_path":"dns","ts":1700000000.25,"uid":"C2","query":"plc7.example"}'
EVE = (
    b'{"timestamp":"2023-11-14T22:13:22.75+0000","event_type":"flow","src_ip":"192.0.2.7","src_port":50820,'
    b'"dest_ip":"198.51.100.9","dest_port":502,"proto":"TCP","flow":{"pkts_toserver":5,"pkts_toclient":4,'
    b'"bytes_toserver":720,"bytes_toclient":480,"start":"2023-11-14T22:13:20.25+0000",'
    b'"end":"2023-11-14T22:13:22.75+0000"}}'
)


def convert(*payloads: bytes, envelopes: tuple[Envelope, ...] = (), **source: object) -> list[RawPack]:
    given = {"topic": "zeek", "site": "plant", "sensor": "edge", **source}
    return Converter(TopicSource.model_validate(given)).convert(list(payloads), envelopes).packs


def wrapped(record: bytes, key: str = "message", **more: object) -> bytes:
    return orjson.dumps({**more, key: record.decode()})


@pytest.mark.parametrize(
    "payload",
    [
        CONN,
        b" " + CONN + b"\r\n",
        b"[" + CONN + b"]",
        b'{"conn":' + CONN + b"}",
        wrapped(CONN, ecs={"version": "8.0.0"}, log={"file": {"path": "/opt/zeek/logs/current/conn.log"}}),
        wrapped(CONN + b"\n", "log", stream="stdout"),
        wrapped(CONN, "MESSAGE", _SYSTEMD_UNIT="zeek.service"),
        wrapped(wrapped(CONN), "log"),
        b"<13>Nov 14 22:13:20 edge zeek: " + CONN,
        b"2023-11-14T22:13:20.25Z stdout F " + CONN,
    ],
)
def test_wrappers_of_shippers_are_looked_through(payload: bytes) -> None:
    packs = convert(payload)
    assert [(pack.site, pack.sensor, pack.content_type, pack.records) for pack in packs] == [
        ("plant", "edge", "zeek-conn+json", 1)
    ]
    flows = decoded(packs)
    assert flows["end_ts_us"].to_pylist() == [1_700_000_002_750_000]


def decoded(packs: list[RawPack]):  # type: ignore[no-untyped-def]
    messages = [
        RawMessage(
            0, offset, 1_800_000_000_000_000, SourceInfo(pack.content_type, (), pack.site, pack.sensor), pack.value
        )
        for offset, pack in enumerate(packs)
    ]
    result = decode_messages(Messages.of(messages), 0)
    assert not result.rejects.num_rows
    return result.flows


def test_a_topic_may_mix_logs_and_a_sensors_records_keep_their_order() -> None:
    packs = convert(CONN, DNS, EVE, CONN + b"\n" + CONN)
    assert [(pack.content_type, pack.records) for pack in packs] == [
        ("zeek-conn+json", 1),
        ("suricata-eve+json", 1),
        ("zeek-conn+json", 2),
    ]


def test_what_no_format_knows_is_a_message_of_its_own() -> None:
    packs = convert(b"INFO[0000] starting GoFlow2\nnone {either}", CONN)
    assert [(pack.content_type, pack.value) for pack in packs] == [
        ("", b"INFO[0000] starting GoFlow2"),
        ("", b"none {either}"),
        ("zeek-conn+json", CONN),
    ]


def test_names_come_from_fields_of_the_record_or_of_its_wrapper() -> None:
    packs = convert(
        wrapped(CONN, host={"name": "plant-1"}),
        wrapped(CONN, host={"name": "bad\x07name"}),
        CONN,
        site={"field": "host.name", "else": "other"},
        sensor={"field": "proto"},
    )
    assert [(pack.site, pack.sensor, pack.records) for pack in packs] == [("plant-1", "tcp", 1), ("other", "tcp", 2)]


def test_names_come_from_headers_keys_and_topics() -> None:
    envelopes = (
        Envelope("plant-1-flows", b"edge-1", [("site", b"a"), ("site", b"b")]),
        Envelope("something", None, []),
    )
    packs = convert(CONN, CONN, envelopes=envelopes, site={"topic": "^(.+)-flows$", "else": "x"}, sensor={"key": True})
    assert [(pack.site, pack.sensor) for pack in packs] == [("plant-1", "edge-1"), ("x", "")]
    packs = convert(CONN, CONN, envelopes=envelopes, site={"header": "site", "else": "c"})
    assert [pack.site for pack in packs] == ["b", "c"]


def test_delimited_lines_are_of_the_columns_that_are_set() -> None:
    row = b"1700000000.25\tC1\t192.0.2.7\t50820\t198.51.100.9\t502\ttcp"
    columns = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto"]
    packs = convert(b"#path\tconn\n" + row, wrapped(row), format="zeek-conn+tsv", columns=columns)
    assert [(pack.content_type, pack.value, pack.columns) for pack in packs] == [
        ("zeek-conn+tsv", row + b"\n" + row, tuple(columns))
    ]
