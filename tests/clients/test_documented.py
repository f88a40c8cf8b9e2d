"""Documents as tools that are not tested here write them, by their documentation: the pages' sources take them."""

import json
from typing import Any

import pytest
import yaml

from pipeline.contracts.raw import ZEEK_JSON, SourceInfo
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.intake.convert import Converter
from pipeline.ingest.messages import Messages, RawMessage
from schemas.intake import TopicSource
from tests.clients.plant import EXAMPLES

CONN = {
    "ts": 1_700_000_000.25,
    "uid": "C1",
    "id.orig_h": "192.0.2.7",
    "id.orig_p": 50820,
    "id.resp_h": "198.51.100.9",
    "id.resp_p": 502,
    "proto": "tcp",
    "conn_state": "SF",
}
LINE = json.dumps(CONN)
PATH = "/opt/zeek/logs/current/conn.log"
DOCUMENTS: dict[str, dict[str, Any]] = {
    "vector": {
        "file": PATH,
        "host": "edge-1",
        "message": LINE,
        "source_type": "file",
        "timestamp": "2026-11-28T16:00:00.123456789Z",
    },
    "fluent-bit": {"@timestamp": 1_700_000_001.5, "log": LINE, "sensor": "edge-1"},
    "zeek-kafka": {"conn": CONN, "sensor": "edge-1"},
    # Filebeat 8; version 7 is tested with the real client.
    "filebeat": {
        "@timestamp": "2026-11-28T16:00:00.123Z",
        "@metadata": {"beat": "filebeat", "type": "_doc", "version": "8.16.0"},
        "log": {"offset": 0, "file": {"path": PATH, "device_id": "64769", "inode": "42", "fingerprint": "af"}},
        "message": LINE,
        "input": {"type": "filestream"},
        "host": {"name": "edge-1"},
        "agent": {"name": "edge-1", "type": "filebeat", "version": "8.16.0"},
        "ecs": {"version": "8.0.0"},
    },
}


@pytest.mark.parametrize("tool", DOCUMENTS)
def test_the_pages_sources_take_what_the_documentation_shows(tool: str) -> None:
    [entry] = yaml.safe_load((EXAMPLES / tool / "sources.yaml").read_text())["sources"]
    document = json.dumps(DOCUMENTS[tool]).encode()
    turned = json.dumps(dict(reversed(DOCUMENTS[tool].items()))).encode()  # the order of keys says nothing
    converted = Converter(TopicSource.model_validate(entry)).convert([document, turned], [])
    [pack] = converted.packs
    assert (pack.site, pack.sensor, pack.content_type) == ("my-plant", "edge-1", ZEEK_JSON) and converted.records == 2
    source = SourceInfo(pack.content_type, (), pack.site, pack.sensor)
    decoded = decode_messages(Messages.of([RawMessage(0, 0, 1_800_000_000_000_000, source, pack.value)]), 0)
    assert not decoded.rejects.num_rows
    flows = decoded.flows.select(["sensor_uid", "src_addr", "dst_port", "start_ts_us"]).to_pylist()
    assert [tuple(flow.values()) for flow in flows] == [("C1", "192.0.2.7", 502, 1_700_000_000_250_000)] * 2
