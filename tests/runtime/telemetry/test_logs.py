"""Libraries' logs are JSON lines too, each sentence once in a while; lost connections are the watch's to report."""

import json
import logging
import subprocess
import sys

import pytest

from pipeline.runtime.telemetry.logs import REPEAT_AFTER_S, LibraryLines, is_about_connection
from tests.patience import PATIENCE_S

SAYS = """
import logging, warnings
from pipeline.runtime.telemetry import configure

configure("info")
configure("info")
for number in range(5000):
    logging.getLogger("aiokafka").error("Unable connect to node with id %s: %s", number, "refused")
    logging.getLogger("aiokafka.consumer.fetcher").warning("Topic %s is odd", number)
    logging.getLogger("librdkafka").critical("FATAL [%s]", number)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("faust.agents").exception("agent raised")
warnings.warn("an old call")
logging.getLogger("aiokafka").info("chatter")
"""


@pytest.mark.slow
def test_every_library_writes_json_and_no_storm() -> None:
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == [
        "aiokafka.consumer.fetcher",
        "librdkafka",
        "faust.agents",
        "py.warnings",
    ]
    assert "ZeroDivisionError" in lines[2]["exception"]
    assert {line["level"] for line in lines} == {"warning", "error"}


def record(name: str, text: str, error: Exception | None = None, level: int = logging.ERROR) -> logging.LogRecord:
    info = (type(error), error, None) if error is not None else None
    return logging.LogRecord(name, level, "", 0, text, (), info)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (record("aiokafka", "Unable connect to node with id 1: [Errno 111] Connect call failed"), True),
        (record("aiokafka.consumer.group_coordinator", "Group Coordinator Request failed: NodeNotReadyError"), True),
        (record("aiokafka.client", "something", ConnectionError("refused")), True),
        (record("aiokafka", "Topic authorization failed for topics"), False),
        (record("pipeline", "connection"), False),
        (record("aiokafka", "connection", level=logging.CRITICAL), False),
    ],
)
def test_only_lost_connections_are_left_out(line: logging.LogRecord, expected: bool) -> None:
    assert is_about_connection(line) is expected


def test_a_sentence_comes_again_after_ten_minutes_with_how_many_were_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    handler = LibraryLines(lambda: now[0])
    written: list[tuple[str, int]] = []
    monkeypatch.setattr(handler, "_write", lambda line, left_out: written.append((line.getMessage(), left_out)))
    for second in range(int(REPEAT_AFTER_S) + 1):
        now[0] = float(second)
        handler.emit(record("faust", "odd"))
    assert written == [("odd", 0), ("odd", int(REPEAT_AFTER_S) - 1)]
