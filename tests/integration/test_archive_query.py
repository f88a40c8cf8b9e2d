"""`forebay archive query` on a real Kafka: every row is there exactly once, closed, in a segment or in its topic."""

import signal
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from pipeline.archive import snapshot
from pipeline.archive.pairing import read_rejects, read_scored
from pipeline.archive.upkeep import open_rows
from pipeline.archive.upkeep.query import run as query
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from pipeline.tools.cli.archive import app
from tests.archive.plant import random_log, wire
from tests.contracts.facts import at
from tests.integration.chains import settings_for, wait_for, worker
from tests.patience import PATIENCE_S
from tests.runtime.storage.bucket import endpoint, new_bucket

__all__ = ["endpoint"]
pytestmark = pytest.mark.integration
STAGE = "pipeline.tools.cli archive run"
ROWS_PER_FILE = 30
MESSAGES = 240
EVERYTHING = " UNION ALL ".join(
    f"SELECT '{table}', raw_partition, raw_offset, raw_index FROM {table}"  # noqa: S608
    for table in ("flows", "late", "rejects")
)
Row = tuple[str, int, int, int]


def made(kafka: str, prefix: str, folder: Path, uri: str | Path) -> Settings:
    return settings_for(
        kafka, prefix, folder / "state", archive_uri=uri, archive_rows_per_file=ROWS_PER_FILE, log_level="info"
    )


@pytest.fixture
def settings(kafka: str, prefix: str, tmp_path: Path) -> Settings:
    return made(kafka, prefix, tmp_path, tmp_path / "archive")


class Plant(threading.Thread):
    """Writes both topics as score and ingest do, in transactions, some aborted; notes the committed rows."""

    def __init__(self, settings: Settings, pause_s: float = 0.0, messages: int = MESSAGES) -> None:
        super().__init__(name="plant", daemon=True)
        self.settings, self.pause_s = settings, pause_s
        self.enough = threading.Event()
        self.rows: list[Row] = []
        self.parts: list[tuple[str, int, bytes]] = []
        for partition in (0, 1):
            sensors = ((f"site{partition}", "a"), (f"site{partition}", "b"))
            topics = wire(random_log(Random(partition), messages, sensors), range(0, messages, 3), partition=partition)
            # The two topics' writers run at their own pace: rejects first here, so that some wait for their flows.
            self.parts += [(settings.topics.rejects, partition, value) for value in topics.rejects[:5]]
            rest = [(settings.topics.rejects, partition, value) for value in topics.rejects[5:]]
            scored = [(settings.topics.archive, partition, value) for value in topics.archive]
            while scored or rest:
                self.parts += [each.pop(0) for each in (scored, scored, rest) if each]

    def run(self) -> None:
        """Write everything, or until `enough` is set."""
        producer = clients.transactional_producer(self.settings, "test")
        for first in range(0, len(self.parts), 4):
            if self.enough.wait(self.pause_s):
                return
            several = self.parts[first : first + 4]
            if first % 3 == 0:
                self.write(producer, several)
                producer.abort_transaction()
            self.write(producer, several)
            producer.commit_transaction()
            self.rows += [row for part in several for row in self.rows_of(*part)]

    @staticmethod
    def write(producer: Producer, parts: list[tuple[str, int, bytes]]) -> None:
        """Produce messages in a transaction that stays open."""
        producer.begin_transaction()
        for topic, partition, value in parts:
            producer.produce(topic, value=value, partition=partition)
        assert producer.flush(30) == 0

    def rows_of(self, topic: str, partition: int, value: bytes) -> list[Row]:
        """Table and raw position of each row in a message."""
        if topic == self.settings.topics.rejects:
            rows = read_rejects(value, at("rejects", partition, 0))
            tables = ["rejects"] * len(rows)
        else:
            rows = read_scored(value, at("archive", partition, 0)).rows
            tables = ["late" if late_us > 0 else "flows" for late_us in rows.column("late_by_us").to_pylist()]
        columns = (rows.column(name).to_pylist() for name in ("raw_partition", "raw_offset", "raw_index"))
        return list(zip(tables, *columns, strict=True))


def asked(settings: Settings, everything: bool = True) -> tuple[Counter[Row], dict[str, Any]]:
    document = query(settings.archive_uri, EVERYTHING, 100_000, settings if everything else None)
    return Counter(tuple(row) for row in document["rows"]), document


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.nightly)])
def test_no_row_is_lost_or_doubled_while_files_close(
    kafka: str, prefix: str, tmp_path: Path, endpoint: str, where: str
) -> None:
    """The archive closes files all the time, is killed and starts again, and is asked again and again meanwhile."""
    settings = made(kafka, prefix, tmp_path, tmp_path / "archive" if where == "folder" else new_bucket(endpoint))
    plant, log = Plant(settings, 0.15, 4 * MESSAGES), tmp_path / "log"
    least = len([row for part in plant.parts for row in plant.rows_of(*part)]) // 4
    seen: list[tuple[int, int]] = []

    def is_varied() -> bool:
        return len({closed for closed, _ in seen}) > 3 and sum(open_rows > 0 for _, open_rows in seen) > 3

    def ask() -> None:
        before = list(plant.rows)
        rows, document = asked(settings)
        assert document["not_read"] == []
        assert set(rows.values()) <= {1}
        assert not Counter(before) - rows
        assert document["closed_rows"] + document["open_rows"] == rows.total()
        seen.append((document["closed_rows"], document["open_rows"]))

    with worker(settings, STAGE, log=log) as process:
        wait_for(log, "ready")
        plant.start()
        while len(plant.rows) < least // 2:
            ask()
        process.send_signal(signal.SIGKILL)
        process.wait()
        ask()
    with worker(settings, STAGE, log=log):
        while plant.is_alive():
            ask()
            if len(plant.rows) >= least and is_varied():  # what is slow to ask or to close gets more to read
                plant.enough.set()
        plant.join()
        for _ in range(5):
            ask()
            assert asked(settings)[0] == Counter(plant.rows)
    assert is_varied(), seen


def test_rows_are_there_before_the_archive_has_ever_run_and_with_it_stopped(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    plant = Plant(settings, messages=60)
    plant.run()
    rows, document = asked(settings)
    assert rows == Counter(plant.rows)
    assert (document["closed_rows"], document["open_rows"]) == (0, len(plant.rows))
    assert asked(settings, False)[1]["rows"] == []
    log = tmp_path / "log"
    with worker(settings, STAGE, log=log) as process:
        wait_for(log, "files closed")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert snapshot.read(settings.archive_uri)
    assert asked(settings)[0] == Counter(plant.rows)


def command(settings: Settings, *options: str) -> tuple[dict[str, Any], str]:
    words = ["query", EVERYTHING, "--archive", str(settings.archive_uri), "--prefix", settings.topic_prefix]
    done = CliRunner().invoke(app, [*words, *options])
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout.splitlines()[-1]), " ".join(done.stderr.split())


def archived_whole(settings: Settings, rows: int, folder: Path) -> tuple[dict[str, Any], str]:
    """Run the worker until the archive alone, without Kafka, has all rows; what it then says where Kafka is away."""
    for attempt in range(20):
        log = folder / f"log-{attempt}"
        with worker(settings, STAGE, log=log) as process:
            wait_for(log, "files closed" if not attempt else "partitions")
            time.sleep(attempt)
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        document, text = command(settings, "--bootstrap", "127.0.0.1:9")
        if document["closed_rows"] + document["open_rows"] == rows:
            return document, text
    raise AssertionError(f"got {document['closed_rows']} closed and {document['open_rows']} open rows of {rows}")


def test_what_cannot_be_read_is_said(settings: Settings, tmp_path: Path) -> None:
    """Kafka away, topics that are not there, and topics of another system."""
    plant = Plant(settings, messages=60)
    plant.run()
    away, text = archived_whole(settings, len(plant.rows), tmp_path)
    assert "not read: rows that came after the archive's last commit: Kafka at 127.0.0.1:9 does not answer" in text
    assert len(away["not_read"]) == 1

    whole, text = command(settings, "--bootstrap", settings.bootstrap)
    assert f"rows closed in {whole['closed_files']} files, {whole['open_rows']} rows open" in text
    assert whole["not_read"] == [] and "not read" not in text
    assert whole["open_rows"] == away["open_rows"]

    closed, text = command(settings, "--bootstrap", "127.0.0.1:9", "--closed")
    assert (closed["open_rows"], closed["not_read"]) == (None, [])
    assert "open rows were not read" in text

    lacking, text = command(settings, "--bootstrap", settings.bootstrap, "--prefix", "nobodys.")
    assert len(lacking["not_read"]) == 2 and "topic nobodys.archive: not in Kafka" in text

    other = made(settings.bootstrap, f"{settings.topic_prefix}other.", tmp_path, settings.archive_uri)
    Plant(other, messages=3).run()
    foreign, text = command(other, "--bootstrap", settings.bootstrap)
    assert foreign["open_rows"] == whole["open_rows"]
    assert "it is not this archive's topic" in text


def test_rows_of_another_sequence_are_no_rows_of_this_archive(settings: Settings, tmp_path: Path) -> None:
    plant = Plant(settings, messages=60)
    plant.run()
    archived_whole(settings, len(plant.rows), tmp_path)
    before, _ = asked(settings)
    producer = clients.producer(settings, "test")
    again = next(part for part in plant.parts if part[0] == settings.topics.archive)
    producer.produce(again[0], value=again[2], partition=again[1])
    producer.produce(settings.topics.archive, value=b"no message", partition=1 - again[1])
    assert producer.flush(30) == 0
    rows, document = asked(settings)
    assert rows == before
    assert sorted(text.partition("got ")[2][:5] for text in document["not_read"]) == ["Arrow", "seq 0"]


def test_of_an_archive_that_is_far_behind_a_bounded_part_is_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").mkdir()
    plant = Plant(settings, messages=60)
    plant.run()
    unpacked = [
        read_scored(value, at(topic, partition)).size_bytes
        for topic, partition, value in plant.parts
        if topic == settings.topics.archive
    ]
    monkeypatch.setattr(open_rows, "MAX_TAIL_BYTES", sum(unpacked) // 2)
    rows, document = asked(settings)
    assert 0 < rows.total() < len(plant.rows) and not rows - Counter(plant.rows)
    [text] = document["not_read"]
    assert "the newest rows were not read" in text
