"""Rejects on a real Kafka: seen in the topic at once, in the log in one line a kind, and nothing is left behind."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, load_settings
from tests.commands import forebay
from tests.ingest.records import ZEEK
from tests.integration.ingest_stage import ROOT, environment
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.fixture
def stage(kafka: str, prefix: str) -> Settings:
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix, partitions=2)
    topics.create(settings)
    return settings


def start(settings: Settings, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline.tools.cli", *words]
    return subprocess.Popen(
        command, env=environment(settings), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rejects(settings: Settings, *words: str) -> list[dict[str, Any]]:
    done = forebay("rejects", *words, "--json", environment=environment(settings))
    assert done.code == 0, done.stderr
    return [json.loads(each) for each in done.stdout.splitlines()]


def stopped(process: "subprocess.Popen[str]") -> tuple[str, str]:
    process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """What a process writes to stderr, up to the line with `text`."""
    assert process.stderr is not None
    lines = ""
    while text not in lines:
        line = process.stderr.readline()
        assert line, lines
        lines += line
    return lines


def test_rejects_are_listed_followed_and_logged(stage: Settings) -> None:
    producer = clients.producer(stage, "foreign")

    def send(payload: bytes, sensor: bytes, partition: int) -> None:
        headers: list[tuple[str, str | bytes | None]] = [("content-type", b"zeek-conn+json")]
        headers += [("site", b"dam"), ("sensor", sensor)]
        producer.produce(stage.topics.raw, payload, headers=headers, partition=partition)

    assert rejects(stage, "list") == [
        {"rejects": 0, "others": 0, "groups": [], "reasons": {}, "last": [], "unreadable": 0}
    ]
    good = json.dumps(ZEEK).encode()
    for number in range(5):
        send(b"\n".join([good, b"broken %d" % number]), b"gate", 0)
    send(json.dumps({**ZEEK, "id.orig_p": 70_000}).encode(), b"weir", 1)
    assert producer.flush(30) == 0
    producer.produce(stage.topics.rejects, b"not of ingest", partition=1)
    assert producer.flush(30) == 0
    ingest, started_s = start(stage, "ingest", "run"), time.monotonic()
    follower = start(stage, "rejects", "tail", "--sensor", "weir", "--from-start")
    try:
        deadline = time.monotonic() + PATIENCE_S
        while (document := rejects(stage, "list", "--since", "1h", "--limit", "2")[0])["rejects"] < 6:
            assert time.monotonic() < deadline, document
            time.sleep(0.2)
        heard = read_until(follower, "dam/weir")  # who follows may still start when the list is whole
    finally:
        out, _ = stopped(follower)
        _, log = stopped(ingest)
    assert [(each["sensor"], each["reason"], each["count"]) for each in document["groups"]] == [
        ("gate", "not_json", 5),
        ("weir", "port_range", 1),
    ]
    assert document["unreadable"] == 1 and len(document["last"]) == 2
    assert document["reasons"]["not_json"]["remedy"]
    assert rejects(stage, "list", "--sensor", "gate")[0]["rejects"] == 5
    assert rejects(stage, "list", "--since", "2100-01-01")[0]["rejects"] == 0
    *records, counts = rejects(stage, "tail", "--from-start", "--no-follow")
    assert sorted(each["record"] for each in records)[:5] == [f"broken {number}" for number in range(5)]
    assert counts == {"rejects": 6, "unreadable": 1}
    assert " dam/weir port_range: raw[1]@0/0: " in heard
    assert json.loads(out.splitlines()[-1]) == {"rejects": 1, "unreadable": 1}

    lines = [json.loads(each) for each in log.splitlines() if "records rejected" in each]
    assert {(each["level"], each["site"], each["sensor"], each["reason"]) for each in lines} == {
        ("warning", "dam", "gate", "not_json"),
        ("warning", "dam", "weir", "port_range"),
    }
    logged = Counter[str]()
    for each in lines:
        logged[each["sensor"]] += each["rejects"]
    assert logged["weir"] == 1 and logged["gate"] in range(1, 6)  # the rest of five within the minute comes later
    minutes = 1 + (time.monotonic() - started_s) // 60
    assert 2 <= len(lines) <= 1 + minutes and all("expected" in each["first"] for each in lines)
    admin = clients.admin(stage)  # referenced until the answer is here
    groups = [group.group_id for group in admin.list_consumer_groups().result(30).valid or []]
    assert not [group for group in groups if group.startswith(f"{stage.topic_prefix}rejects")]
