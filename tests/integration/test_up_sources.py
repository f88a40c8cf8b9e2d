"""`forebay up --sources`: intake and a follower run beside the stages: what other tools write becomes flows."""

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


def conn(number: int) -> bytes:
    record = {"ts": time.time() - 60 + number / 100, "uid": f"C{number}", "id.orig_h": "192.0.2.7", "proto": "tcp"}
    record |= {"id.orig_p": 50_820, "id.resp_h": "198.51.100.9", "id.resp_p": 502, "conn_state": "SF"}
    return json.dumps(record).encode()


def test_intake_and_a_follower_run_where_sources_are_named(
    named: Box,  # noqa: F811
    kafka: str,
    prefix: str,
    tmp_path: Path,
) -> None:
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix)
    topic = f"{prefix}zeek-other"
    admin = clients.admin(settings)  # referenced until the answer is here
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    log, file = tmp_path / "conn.log", tmp_path / "sources.yaml"
    log.write_bytes(b"".join(conn(number) + b"\n" for number in range(RECORDS)))
    sources = [
        {"topic": topic, "site": "plant", "sensor": "edge"},
        {"file": str(log), "site": "plant", "sensor": "gate"},
    ]
    file.write_text(yaml.safe_dump({"sources": sources}))

    code, document, said = named.run("up", "--detach", "--sources", str(file))
    assert code == 0 and {"intake", "follow"} <= set(document["workers"]), said
    _, status, _ = named.run("status", "--json")
    states = {each["name"]: each["state"] for each in status["workers"]}
    assert (states["intake"], states["follow"]) == ("ready", "ready"), status

    producer = clients.producer(settings, "test")
    for number in range(RECORDS):
        producer.produce(topic, conn(number), partition=number % 2)
    assert producer.flush(30) == 0
    with log.open("ab") as more:
        more.write(conn(RECORDS) + b"\n" + json.dumps(json.loads(conn(0)) | {"ts": "yesterday"}).encode() + b"\n")

    def listed() -> tuple[int, int, int, int, int]:
        _, listed, _ = named.run("source", "list", "--sources", str(file), "--json")
        of_topic, of_file = listed["sources"]
        [followed] = of_file["files"] or [{"behind_bytes": -1, "records": 0}]
        behind = int(of_topic["behind"]), int(followed["behind_bytes"])
        return *behind, int(followed["records"]), int(of_topic["rejects"]), int(of_file["rejects"])

    named.wait_until("intake, the follower and ingest read all", lambda: listed() == (0, 0, RECORDS + 2, 0, 1))
    named.kill("follow")
    assert listed() == (0, 0, RECORDS + 2, 0, 1)
    code, checked, said = named.run("source", "check", "--topic", topic, "--json")
    assert (code, checked["flows"]) == (0, RECORDS), said
