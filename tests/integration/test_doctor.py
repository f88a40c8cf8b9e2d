from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from pipeline.runtime.kafka import topics
from pipeline.settings import load_settings
from pipeline.tools.cli.doctor import app

pytestmark = pytest.mark.integration


def doctor(bootstrap: str, prefix: str, expect: int) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["--bootstrap", bootstrap, "--prefix", prefix, "--json"])
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
    assert doctor(kafka, prefix, expect=0)["rows"]["topics"]["verdict"] == "ok"
