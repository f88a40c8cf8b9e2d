"""`forebay source` on a real Kafka: what lies there is said, and nothing is left behind."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its types do not say that it exports it

from pipeline.runtime.kafka import clients
from pipeline.settings import load_settings
from tests.commands import forebay

pytestmark = pytest.mark.integration


def source(*words: str, code: int = 0) -> dict[str, Any]:
    run = forebay("source", *words, "--json")
    assert run.code == code, run.stderr
    document: dict[str, Any] = json.loads(run.stdout.splitlines()[-1] if code == 0 else run.stdout.splitlines()[0])
    return document


def test_a_topic_is_checked_and_listed_without_a_trace(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix)
    topic = f"{prefix}zeek-other"
    admin = clients.admin(settings)  # referenced until the answer is here
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    producer = clients.producer(settings, "test")
    sent_ms = int(time.time() * 1000) + 300_000  # of the last minute still when a busy machine asks for the rate
    for number in range(50):
        record = {
            "ts": 1_700_000_000 + number,
            "uid": f"C{number}",
            "id.orig_h": "192.0.2.7",
            "id.orig_p": 5,
            "proto": "tcp",
        }
        record |= {"id.resp_h": "198.51.100.9", "id.resp_p": 502, "conn_state": "SF", "host": {"name": "edge-1"}}
        producer.produce(topic, json.dumps(record).encode(), partition=number % 2, timestamp=sent_ms)
    assert producer.flush(30) == 0
    at = ("--bootstrap", kafka, "--prefix", prefix)

    made = source("check", "--topic", topic, "--records", "20", "--site", "north", *at)
    assert (made["messages"], made["flows"], made["formats"]) == (20, 20, {"zeek-conn+json": 20})
    assert made["origins"] == [{"site": "north", "sensor": "edge-1", "records": 20}]
    document = yaml.safe_load(made["yaml"])
    assert document["sources"][0]["sensor"] == {"field": "host.name", "else": "edge-1"}

    document["sources"].append({"topic": f"{prefix}nothing", "site": "a", "sensor": "b"})
    file = tmp_path / "sources.yaml"
    file.write_text(yaml.safe_dump(document))
    zeek, nothing = source("list", "--sources", str(file), *at)["sources"]
    assert zeek["topics"][0]["partitions"] == [{"partition": each, "committed": -1, "behind": 25} for each in (0, 1)]
    assert zeek["topics"][0]["last_record_us"] > 1_700_000_000_000_000
    assert (zeek["rate_per_s"], zeek["behind"], zeek["rejects"]) == (round(50 / 60, 3), 50, None)
    assert (nothing["exists"], nothing["topics"], nothing["rate_per_s"]) == (False, [], 0)

    source("check", "--topic", f"{prefix}nothing", *at, code=1)
    groups = admin.list_consumer_groups().result(30).valid
    assert not [group.group_id for group in groups if group.group_id.startswith(prefix)]
