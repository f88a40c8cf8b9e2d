"""Stage 4 on a real broker: suspects in, alerts out; killed, it sends what a reference run sends."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import TopicPartition

from pipeline.alert.grouping import load_grouping
from pipeline.alert.ocsf import encode
from pipeline.alert.partition import PartitionState, advance_partition
from pipeline.contracts.envelope import ScoredFacts, SensorWatermark
from pipeline.runtime.kafka import clients
from pipeline.runtime.state import pointers
from pipeline.runtime.wire.messages import read, write
from pipeline.settings import Settings
from tests.alert.suspects import SECOND, START_US, scored
from tests.commands import forebay as command
from tests.contracts.facts import at, scored_facts
from tests.integration.chains import settings_for, worker
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration
STAGE = "pipeline.tools.cli alert run"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
MESSAGES = 120


@dataclass(frozen=True)
class Read:
    """One alerts message."""

    key: bytes
    value: bytes
    headers: dict[str, bytes]


def suspects(partition: int, first: int = 0, last: int = MESSAGES) -> list[bytes]:
    """Suspects messages of one partition: a second each, with a burst of a few now and then, closed at the end."""
    sensor = ("left", "bottom")[partition]
    values = []
    for seq in range(first, last):
        bursting = seq % 60 < 8
        rows = [
            {
                "at": seq + n / 10,
                "sensor": sensor,
                "raw_partition": partition,
                "raw_offset": seq,
                "raw_index": n,
                "src_addr": f"198.18.134.{seq // 60}",
                "class": ("mitm", "portscan")[partition],
            }
            for n in range(3 if bursting else 0)
        ]
        facts = scored_facts(
            seq=seq,
            raw_partition=partition,
            watermarks=(SensorWatermark("plant", sensor, START_US + (seq + 1) * SECOND),),
            ended=(("plant", sensor),) if seq == MESSAGES - 1 else (),
        )
        values.append(write(scored(rows), facts))
    return values


def send(settings: Settings, values: dict[int, list[bytes]]) -> None:
    producer = clients.transactional_producer(settings, "test")
    producer.begin_transaction()
    for partition, messages in values.items():
        for value in messages:
            producer.produce(
                settings.topics.suspects,
                value=value,
                partition=partition,
                headers=[("traceparent", TRACEPARENT.encode())],
            )
    producer.commit_transaction()


def reference(partition: int) -> dict[tuple[str, int], bytes]:
    """What the pure functions make of the same messages, by (uid, revision)."""
    state, grouping = PartitionState.empty(), load_grouping()
    revisions: dict[tuple[str, int], bytes] = {}
    for value in suspects(partition):
        rows, facts = read(value, ScoredFacts, at("suspects", partition))
        state, events, _, _ = advance_partition(state, rows, facts, grouping, lambda _model: None)
        revisions |= {(event["finding_info"]["uid"], event["metadata"]["sequence"]): encode(event) for event in events}
    return revisions


def alerts(settings: Settings, enough: int, timeout_s: float = PATIENCE_S) -> dict[int, list[Read]]:
    """What is in `alerts`, per partition, once there are `enough` closed incidents."""
    by_partition: dict[int, list[Read]] = {0: [], 1: []}
    reader = clients.reader(settings, "test")
    reader.assign([TopicPartition(settings.topics.alerts, partition, 0) for partition in by_partition])
    deadline = time.monotonic() + timeout_s
    closed: set[str] = set()
    while len(closed) < enough:
        assert time.monotonic() < deadline, f"{len(closed)} of {enough} closed incidents"
        for message in reader.consume(500, 0.2):
            value = clients.raise_for(message).value() or b""
            read = Read(message.key() or b"", value, clients.headers_of(message))
            by_partition[message.partition() or 0].append(read)
            event = orjson.loads(value)
            if event["activity_id"] == 3:
                closed.add(event["finding_info"]["uid"])
    reader.close()
    return by_partition


def by_revision(read: list[Read]) -> dict[tuple[str, int], bytes]:
    """One value per (uid, revision); a message sent again must be the same bytes."""
    revisions: dict[tuple[str, int], bytes] = {}
    for alert in read:
        name = (alert.key.decode(), int(alert.headers["revision"]))
        assert revisions.setdefault(name, alert.value) == alert.value
    return revisions


def forebay(settings: Settings, *arguments: str, expect: int = 0) -> tuple[list[dict[str, Any]], str]:
    """Run the command; its stdout as JSON documents, and its stderr."""
    environment = {**os.environ, "FOREBAY_BOOTSTRAP": settings.bootstrap, "FOREBAY_TOPIC_PREFIX": settings.topic_prefix}
    done = command(*arguments, environment=environment)
    assert done.code == expect, done.stderr
    return [orjson.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_killed_twice_it_sends_what_a_reference_run_sends(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path)
    expected = {partition: reference(partition) for partition in (0, 1)}
    send(settings, {p: suspects(p, 0, 64) for p in expected})
    with worker(settings, STAGE) as process:
        alerts(settings, enough=2)
        process.kill()
    with worker(settings, STAGE) as process:
        send(settings, {p: suspects(p, 64, MESSAGES - 1) for p in expected})
        alerts(settings, enough=2)
        time.sleep(0.5)
        process.kill()
    send(settings, {p: suspects(p, MESSAGES - 1, MESSAGES) for p in expected})
    with worker(settings, STAGE):
        emitted = alerts(settings, enough=4)
    for partition, messages in expected.items():
        assert by_revision(emitted[partition]) == messages
        assert all(TRACE_ID.encode() in alert.headers["traceparent"] for alert in emitted[partition])

    documents, _ = forebay(settings, "alert", "tail", "--from-start", "--no-follow", "--events")
    assert len(documents) == documents[-1]["alerts"] + 1
    assert len({event["finding_info"]["uid"] for event in documents[:-1]}) == 4
    paged, _ = forebay(settings, "alert", "tail", "--from-start", "--no-follow", "--events", "--pages")
    assert {event["unmapped"]["disposition"] for event in paged[:-1]} == {"page"}
    changes, _ = forebay(settings, "alert", "tail", "--from-start", "--no-follow", "--json")
    _, text = forebay(settings, "alert", "tail", "--from-start", "--no-follow")
    assert len(text.splitlines()) == len(changes) - 1 and "198.18.134.0" in text
    [listed], _ = forebay(settings, "alert", "list", "--all", "--json")
    assert listed["total"] == len(listed["incidents"]) == changes[-1]["incidents"]
    [counted], text = forebay(
        settings, "alert", "list", "--sensor", "bottom", "--state", "ended", "--since", "2023-01-01"
    )
    assert counted["incidents"] == counted["counts"]["page"] and f"{counted['incidents']} incident" in text
    table = tmp_path / "incidents.csv"
    forebay(settings, "alert", "export", "--format", "csv", "--out", str(table))
    assert len(table.read_text().splitlines()) == listed["total"] + 1
    [brief], text = forebay(settings, "alert", "show", documents[0]["finding_info"]["uid"][:10])
    assert "Who with whom" in text and "finding_info" not in brief
    uid = brief["uid"]  # of the alerts that are one incident, the first: what was repeated after a kill may come later
    [whole], _ = forebay(settings, "alert", "show", uid[:10], "--json")
    [shown] = [event for event in whole["alerts"] if event["finding_info"]["uid"] == uid]
    assert shown["activity_id"] == 3 and whole["incident"]["uid"] == brief["uid"]
    judge = ("alert", "verdict", uid, "--verdict", "fp", "--by", "Kim", "--note", "maintenance")
    _, text = forebay(settings, *judge, expect=2)
    assert "settles incident" in text and "expected --yes" in text
    [record], _ = forebay(settings, *judge, "--yes", "--json")
    reader = clients.reader(settings, "test")
    reader.assign([TopicPartition(settings.topics.feedback, 0, 0)])
    [message] = reader.consume(1, PATIENCE_S)
    reader.close()
    assert message.key() == uid.encode()
    assert record.pop("commands") == []  # what is no attack commands no sensor
    sent = orjson.loads(message.value() or b"")
    assert sent == {name: record[name] for name in sent}
    assert (sent["verdict_id"], sent["by"]) == (1, "Kim")
    assert sent["alerts"][0]["members"] == shown["unmapped"]["members"]
    _, text = forebay(settings, "alert", "show", "feedfacefeed", expect=2)
    assert "got 0 incidents" in text


def test_a_missing_message_stops_it_with_its_position_unmoved(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path / "state")
    values = suspects(0, 0, 6)
    del values[3]
    send(settings, {0: values})
    log = tmp_path / "log"
    with worker(settings, STAGE, log=log) as process:
        assert process.wait(PATIENCE_S) == 1
    assert b"got seq 4, expected 3" in log.read_bytes()
    newest = pointers.read(settings, settings.topics.alert_state, [0])[0]
    assert not newest or newest[0].position <= 3
