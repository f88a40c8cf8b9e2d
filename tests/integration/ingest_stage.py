"""What tests of ingest on a real Kafka share: its settings, its worker, files sent, what stands in a topic."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from confluent_kafka import Message, TopicPartition

from pipeline.ingest.files import send as sending
from pipeline.ingest.files.reading import read_source
from pipeline.runtime.kafka import clients, topics
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import start
from pipeline.settings import Settings, load_settings
from tests.commands import forebay as command
from tests.patience import PATIENCE_S

PARTITIONS = 2
ROOT = Path(__file__).parents[2]
LEFT = ROOT / "loadtest/plants/westermo/output_left.zip"
FLOWS_OF_LEFT = 8533


def created(bootstrap: str, prefix: str) -> Settings:
    """Settings of ingest alone, with topics of its own."""
    settings = load_settings(bootstrap=bootstrap, topic_prefix=prefix, partitions=PARTITIONS)
    topics.create(settings)
    return settings


def environment(settings: Settings, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "FOREBAY_BOOTSTRAP": settings.bootstrap,
        "FOREBAY_TOPIC_PREFIX": settings.topic_prefix,
        "FOREBAY_PARTITIONS": str(settings.partitions),
        **more,
    }


def forebay(settings: Settings, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; its exit code and its last line."""
    done = command(*arguments, environment=environment(settings))
    lines = done.stdout.splitlines()
    return done.code, json.loads(lines[-1]) if lines else {"stderr": done.stderr}


def send(settings: Settings, path: Path, sensor: str) -> int:
    """Send a file from this process; how many records Kafka took."""
    telemetry = start("send", settings)
    plan = sending.Plan("w", sensor, pack=16)
    sent = sending.send(settings, telemetry, Stop(), read_source(path), plan, lambda _done: None)
    telemetry.close()
    assert sent.finished
    return sent.records


@contextmanager
def worker(settings: Settings, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.tools.cli", "ingest", "run"],
        env=environment(settings, **more), cwd=ROOT, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()
        process.communicate()


def read(settings: Settings, topic: str) -> list[Message]:
    """Everything committed in a topic at this moment, by partition and offset."""
    consumer = clients.reader(settings, "test", **{"enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(settings.partitions)])
    messages: list[Message] = []
    ended = 0
    while ended < settings.partitions:
        for message in consumer.consume(500, 1.0):
            if message.error() is None:
                messages.append(message)
            else:
                ended += 1
    consumer.close()
    return sorted(messages, key=lambda message: (message.partition(), message.offset()))


def value(message: Message) -> bytes:
    payload = message.value()
    assert isinstance(payload, bytes)
    return payload
