"""`forebay flow send` on a real Kafka: stopped, told what is wrong, and a file without records."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import BadData, Failed, KafkaUnreachable, Usage
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from pipeline.tools.cli import flow
from tests.integration.ingest_stage import FLOWS_OF_LEFT, LEFT, ROOT, created, environment, read, send
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.fixture
def stage(kafka: str, prefix: str) -> Settings:
    return created(kafka, prefix)


def test_a_stopped_sender_leaves_no_mark(stage: Settings) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.tools.cli", "flow", "send", str(LEFT), "--speed", "100", "--json"],
        env=environment(stage), cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while not read(stage, stage.topics.raw) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    document = json.loads(stdout.decode().splitlines()[-1])
    messages = read(stage, stage.topics.raw)
    assert 0 < document["sent"] == len(messages) < FLOWS_OF_LEFT and not document["finished"]
    assert all(clients.headers_of(message)["content-type"] == b"icsflow+csv" for message in messages)


def test_sending_says_what_is_wrong(kafka: str, prefix: str, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="forebay topic create"):
        flow.send([str(LEFT)], bootstrap=kafka, prefix=prefix)
    with pytest.raises(KafkaUnreachable, match="forebay broker up"):
        flow.send([str(LEFT)], bootstrap="127.0.0.1:1", prefix=prefix)
    with pytest.raises(Usage, match="--speed"):
        flow.send([str(LEFT)], speed="0", bootstrap=kafka, prefix=prefix)
    (tmp_path / "x").write_text("hello")
    with pytest.raises(BadData, match="zeek-conn"):
        flow.send([str(tmp_path / "x")], bootstrap=kafka, prefix=prefix)


def test_an_empty_file_is_only_a_mark(stage: Settings, tmp_path: Path) -> None:
    (tmp_path / "quiet.log").write_text("")
    assert send(stage, tmp_path / "quiet.log", "quiet") == 0
    (mark,) = read(stage, stage.topics.raw)
    headers = clients.headers_of(mark)
    assert headers["content-type"] == b"end-of-source" and headers["records"] == b"0" and headers["sensor"] == b"quiet"
