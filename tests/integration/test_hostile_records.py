"""Records, headers and names that would steer a terminal, through a real Kafka to every command that shows of them."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, load_settings
from tests.commands import forebay
from tests.ingest.records import ZEEK
from tests.integration.ingest_stage import environment
from tests.integration.test_rejects import start, stopped
from tests.patience import PATIENCE_S
from tests.tools.cli.test_hostile_text import HOSTILE

pytestmark = pytest.mark.integration
# What shows of records, of names, or of what is in a topic; each ends by itself.
COMMANDS = (
    ("rejects", "list"),
    ("rejects", "list", "--json"),
    ("rejects", "list", "--sensor", HOSTILE),
    ("rejects", "tail", "--from-start", "--no-follow"),
    ("rejects", "tail", "--from-start", "--no-follow", "--json"),
    ("source", "check", "--topic", "{prefix}tools"),
    ("source", "check", "--topic", "{prefix}tools", "--json"),
    ("source", "check", "--topic", HOSTILE),
    ("source", "list"),
    ("alert", "tail", "--from-start", "--no-follow"),
    ("alert", "tail", "--from-start", "--no-follow", "--events"),
    ("alert", "list", "--all"),
    ("alert", "list", "--all", "--json"),
    ("alert", "list", "--asset", HOSTILE, "--site", HOSTILE),
    ("alert", "list", "--sort", HOSTILE),
    ("alert", "show", HOSTILE),
    ("archive", "query", f"select '{HOSTILE}' as \"{HOSTILE}\""),
    ("archive", "query", f"select {HOSTILE}"),
    ("topic", "list"),
    ("topic", "check"),
    ("status",),
    ("config", "show"),
)


@pytest.fixture
def stage(kafka: str, prefix: str) -> Settings:
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix, partitions=2)
    topics.create(settings)
    return settings


def records() -> list[bytes]:
    made: list[Any] = [
        {**ZEEK, "service": HOSTILE},
        {**ZEEK, "proto": HOSTILE},
        {**ZEEK, "id.orig_h": HOSTILE},
        {"ts": 1.0, "_path": HOSTILE},
        {"event_type": HOSTILE},
        {"message": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}},
        {**ZEEK, "sensor": HOSTILE},
    ]
    return [json.dumps(each, ensure_ascii=False).encode() for each in made] + [HOSTILE.encode(), b"\x9b\xff"]


def test_nothing_of_a_record_steers_the_terminal_of_any_command(stage: Settings, tmp_path: Path) -> None:
    producer = clients.producer(stage, "foreign")
    evil = HOSTILE.encode()
    for number, record in enumerate(records()):
        for kind, site, sensor in ((b"zeek-conn+json", b"dam", b"gate"), (evil, evil, evil)):
            headers: list[tuple[str, str | bytes | None]] = [("content-type", kind), ("site", site), ("sensor", sensor)]
            producer.produce(stage.topics.raw, record, headers=headers, partition=number % 2)
        producer.produce(f"{stage.topic_prefix}tools", record, key=evil, headers=[("sensor", evil), ("site", evil)])
        producer.produce(stage.topics.alerts, record, key=evil, partition=0)
    assert producer.flush(30) == 0
    ingest = start(stage, "ingest", "run")
    try:
        deadline = time.monotonic() + PATIENCE_S
        while json.loads(_run(stage, ("rejects", "list", "--json"))[0].splitlines()[-1])["rejects"] < len(records()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        _, log = stopped(ingest)
    assert log.replace("\n", "").isprintable()
    for command in COMMANDS:
        words = tuple(word.replace("{prefix}", stage.topic_prefix) for word in command)
        out, err = _run(stage, words)
        text = (out + err).replace("\n", "")
        assert text and text.isprintable(), (command, [each for each in text if not each.isprintable()])


def _run(settings: Settings, words: tuple[str, ...]) -> tuple[str, str]:
    done = forebay(*words, environment=environment(settings))
    return done.stdout, done.stderr
