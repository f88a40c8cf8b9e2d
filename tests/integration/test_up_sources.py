"""`forebay up --sources`: intake runs beside the stages, and what another tool writes becomes flows."""

import json
import time
from pathlib import Path

import pytest
import yaml
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its types do not say that it exports it

from pipeline.runtime.kafka import clients
from pipeline.settings import load_settings
from tests.integration.test_up import Box, box, named  # noqa: F401 - fixtures

pytestmark = [pytest.mark.integration, pytest.mark.nightly]

RECORDS = 40


def test_intake_runs_where_sources_are_named(named: Box, kafka: str, prefix: str, tmp_path: Path) -> None:  # noqa: F811
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix)
    topic = f"{prefix}zeek-other"
    admin = clients.admin(settings)  # referenced until the answer is here
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    file = tmp_path / "sources.yaml"
    file.write_text(yaml.safe_dump({"sources": [{"topic": topic, "site": "plant", "sensor": "edge"}]}))

    code, document, said = named.run("up", "--detach", "--sources", str(file))
    assert code == 0 and "intake" in document["workers"], said
    _, status, _ = named.run("status", "--json")
    assert [each["state"] for each in status["workers"] if each["name"] == "intake"] == ["ready"], status

    producer = clients.producer(settings, "test")
    for number in range(RECORDS):
        record = {"ts": time.time() - 60 + number / 100, "uid": f"C{number}", "id.orig_h": "192.0.2.7", "proto": "tcp"}
        record |= {"id.orig_p": 50_820, "id.resp_h": "198.51.100.9", "id.resp_p": 502, "conn_state": "SF"}
        producer.produce(topic, json.dumps(record).encode(), partition=number % 2)
    assert producer.flush(30) == 0

    def behind() -> int:
        _, listed, _ = named.run("source", "list", "--sources", str(file), "--json")
        return int(listed["sources"][0]["topics"][0]["behind"])

    named.wait_until("intake read all", lambda: behind() == 0)
    code, checked, said = named.run("source", "check", "--topic", topic, "--json")
    assert (code, checked["flows"]) == (0, RECORDS), said
