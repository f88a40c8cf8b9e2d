from dataclasses import replace
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from pipeline.contracts.baseline import Phase
from pipeline.contracts.notices import STATUS
from pipeline.runtime.kafka import clients, topics
from pipeline.settings import load_settings
from pipeline.tools.cli.doctor import app
from tests.archive.plant import RawMessage, Record, wire
from tests.tools.sensors.test_histories import BEGAN_US, notice

pytestmark = pytest.mark.integration


def doctor(bootstrap: str, prefix: str, expect: int, stage: str | None = None) -> dict[str, Any]:
    options = ["--stage", stage] if stage else []
    done = CliRunner().invoke(app, ["--bootstrap", bootstrap, "--prefix", prefix, "--json", *options])
    assert done.exit_code == expect, done.output
    document: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return {**document, "rows": {each["check"]: each for each in document["checks"]}}


def test_without_kafka_it_fails_and_says_how_to_get_one(prefix: str) -> None:
    report = doctor("127.0.0.1:1", prefix, expect=1)
    assert report["failed"] == ["Kafka"]
    assert {"Python", "packages", "Java", "Kafka", "topics", "cache folder", "disk", "clock"} <= set(report["rows"])
    assert "forebay broker up" in report["rows"]["Kafka"]["remedy"]


def test_missing_topics_are_a_warning_until_they_are_created(kafka: str, prefix: str) -> None:
    assert doctor(kafka, prefix, expect=0)["rows"]["topics"]["verdict"] == "warn"
    topics.create(load_settings(bootstrap=kafka, topic_prefix=prefix))
    rows = doctor(kafka, prefix, expect=0)["rows"]
    assert {rows[check]["verdict"] for check in ("topics", "access", "clock skew", "model", "disk")} == {"ok"}
    assert "give or take" in rows["clock skew"]["found"] and "shipped" in rows["model"]["found"]


def test_sensors_that_do_not_get_on_are_named(kafka: str, prefix: str) -> None:
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix)
    topics.create(settings)
    assert doctor(kafka, prefix, expect=0)["rows"]["sensors"]["found"] == "none is listed yet"
    learning = notice(STATUS, 1, Phase.LEARNING, hours=30, since_us=BEGAN_US)
    stuck = replace(learning, sensor="weir[/]\x1b[2J")
    producer = clients.producer(settings, "test")
    for each in (notice(STATUS, 2), stuck):
        producer.produce(settings.topics.baselines, orjson.dumps(each.document()), key=each.key)
    producer.produce(settings.topics.baselines, b"not of featurize", key="x")
    assert producer.flush(30) == 0
    rows = doctor(kafka, prefix, expect=0)["rows"]
    assert rows["sensors"]["found"] == "2: 1 learning, 1 anchored"
    assert "2 sensors, none silent" in rows["silence"]["found"]
    assert "for 0 of 2 sensors" in rows["calibration"]["found"]
    named = rows["sensor dam/weir[/]\\x1b[2J"]
    assert named["verdict"] == "warn" and "learning for 30 h" in named["found"] and named["remedy"]


def test_sensors_whose_flows_come_late_are_named_with_the_setting_that_takes_them(kafka: str, prefix: str) -> None:
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix)
    topics.create(settings)
    assert doctor(kafka, prefix, expect=0)["rows"]["late flows"]["found"] == "no flow in the last hour"
    ends_s = [0, *(second for at in range(100, 200) for second in (at, at - 95))]  # every other one 95 s behind
    log = [
        RawMessage("dam", sensor, tuple(Record(BEGAN_US + end_s * 1_000_000) for end_s in seconds), BEGAN_US, mark=True)
        for sensor, seconds in (("gate", ends_s), ("weir", list(range(150))))
    ]
    producer = clients.producer(settings, "test")
    for value in (*wire(log, [1]).archive, b"not of score"):
        producer.produce(settings.topics.archive, value, partition=0)
    assert producer.flush(30) == 0
    rows = doctor(kafka, prefix, expect=0)["rows"]
    assert rows["late flows"]["found"].startswith("100 of the last 351 flows came late; 1 of 2 sensors")
    assert rows["late flows"]["verdict"] == rows["sensor dam/gate"]["verdict"] == "warn"
    assert "100 of its last 201 flows came late (49.8%), up to 1 min 35 s" in rows["sensor dam/gate"]["found"]
    assert "FOREBAY_LATENESS_US=100000000 and FOREBAY_IDLE_US=100000000" in rows["sensor dam/gate"]["remedy"]
    assert "sensor dam/weir" not in rows
