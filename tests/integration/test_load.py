"""`forebay load send` on a real broker: all of it arrives, it ends when it should, and it stays at home."""

from pathlib import Path

import orjson
import pytest
from confluent_kafka import TopicPartition

from pipeline.contracts.raw import END_OF_SOURCE
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from tests.commands import forebay
from tests.integration.chains import settings_for

pytestmark = pytest.mark.integration


def sent(settings: Settings) -> list[tuple[str, str, bytes]]:
    """Key, content-type and value of everything in `raw`, by partition."""
    reader = clients.reader(settings, "test")
    raw, records = settings.topics.raw, []
    for partition in range(settings.partitions):
        _, end = reader.get_watermark_offsets(TopicPartition(raw, partition), timeout=10)
        reader.assign([TopicPartition(raw, partition, 0)])
        left = end
        while left:
            for message in reader.consume(left, 1.0):
                headers = clients.headers_of(clients.raise_for(message))
                records.append(
                    ((message.key() or b"").decode(), headers["content-type"].decode(), message.value() or b"")
                )
                left -= 1
    reader.close()
    return records


def run(kafka: str, prefix: str, *options: str) -> dict[str, object]:
    ended = forebay("load", "send", "--bootstrap", kafka, "--prefix", prefix, "--json", *options)
    assert ended.code == 0, ended.stdout + ended.stderr
    document: dict[str, object] = orjson.loads(ended.stdout.splitlines()[-1])
    return document


def test_all_of_it_arrives(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path)
    scenario = ("--scenario", "sites", "--sites", "3", "--sensors", "2", "--records", "1000", "--rate", "max")
    document = run(kafka, prefix, *scenario, "--pack", "7", "--seed", "4")
    assert (document["sent"], document["sensors"], document["finished"]) == (1_000, 6, True)
    messages = sent(settings)
    marks = [key for key, kind, _ in messages if kind == END_OF_SOURCE]
    assert sorted(marks) == [f"site-{site}/tap-{sensor}" for site in range(3) for sensor in range(2)]
    assert sum(len(value.splitlines()) for _, _, value in messages) == 1_000


def test_it_keeps_its_pace_and_its_bound(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings_for(kafka, prefix, tmp_path)
    document = run(kafka, prefix, "--records", "100000", "--rate", "250", "--seconds", "3")
    assert document["finished"] is False
    assert 0 < int(str(document["sent"])) <= 750 + 1, "none before it is due, and one may be due at the end"


def test_it_stays_at_home() -> None:
    ended = forebay("load", "send", "--bootstrap", "kafka.example:9092")
    assert ended.code == 2 and "--not-local" in ended.stderr
