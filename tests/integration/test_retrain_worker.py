"""Retrain on a real broker: samples survive being killed, verdicts and label files make candidates, gates refuse."""

import hashlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import TopicPartition

from models.serving import registry
from models.serving.model import Model
from models.training import train
from pipeline.retrain import samples, schedule
from pipeline.retrain.lock import alone
from pipeline.retrain.samples import SampleRange
from pipeline.runtime.kafka import clients
from pipeline.runtime.storage.location import folder_or_storage, open_storage
from pipeline.runtime.wire.messages import write
from pipeline.settings import Settings, inherited_environment
from pipeline.tools import promotion
from pipeline.tools.alerts import verdicts
from tests.commands import forebay
from tests.contracts.verdict_records import on_event
from tests.crash.flow import everything_below
from tests.integration.chains import GRACE_S, settings_for, wait_for, worker
from tests.patience import PATIENCE_S
from tests.retrain.small_training import ATTACK, CONFIG, FEATURES, facts, plant_rows
from tests.retrain.small_training import samples as scored_rows
from tests.runtime.storage.bucket import bucket, endpoint

__all__ = ["bucket", "endpoint"]
pytestmark = pytest.mark.integration
ROWS, MESSAGES = 1800, 36
ATTACKS = range(0, ROWS, 8)
NORMALS = [row for row in range(ROWS) if row % 8]


@pytest.fixture(scope="module")
def current() -> Model:
    return train.train(plant_rows(), FEATURES, CONFIG)


@pytest.fixture
def settings(request: pytest.FixtureRequest, kafka: str, prefix: str, tmp_path: Path, current: Model) -> Settings:
    in_bucket = getattr(request, "param", "folder") == "bucket"
    root = request.getfixturevalue("bucket") if in_bucket else tmp_path
    uris = everything_below(root)
    registry.save(current, folder_or_storage(uris["registry_uri"], "models"))
    return settings_for(
        kafka,
        prefix,
        tmp_path / "state",
        registry_uri=uris["registry_uri"],
        samples_uri=uris["samples_uri"],
        model=current.id,
        device="cpu",
    )


def send(settings: Settings, numbers: Iterable[int]) -> None:
    """Put the messages of these numbers into `retrain` as score does: in transactions, partition 1 without rows."""
    rows = scored_rows(ROWS, seed=7)
    each = ROWS // MESSAGES
    producer = clients.transactional_producer(settings, "test")
    for seq in numbers:
        producer.begin_transaction()
        for partition, batch in enumerate((rows.slice(seq * each, each), rows.slice(0, 0))):
            value = write(batch, facts(seq, partition, batch))
            producer.produce(settings.topics.retrain, value, partition=partition)
        producer.commit_transaction()


def judge(settings: Settings, verdict: str, rows: Iterable[int], by: str) -> None:
    """An analyst's verdict on an alert that holds these rows, as the command sends it."""
    alert = {
        "finding_info": {"uid": hashlib.sha256(f"{verdict} {by}".encode()).hexdigest()[:32]},
        "metadata": {"sequence": 3},
        "unmapped": {
            "site": "plant",
            "sensor": "left",
            "class": ATTACK,
            "model": "any",
            "members": [[0, 1000 + row, 0, row] for row in rows][:1024],
            "members_left_out": 0,
        },
    }
    verdicts.send(settings, on_event(alert, verdict, time.time_ns() // 1000, by))


def label_file(path: Path, rows: Iterable[int], label: str = "normal") -> Path:
    lines = ["site,sensor,source_record,label", *(f"plant,left,{row},{label}" for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def keep(settings: Settings) -> None:
    """Samples as the worker writes them."""
    samples.write(settings.samples_uri, [scored_rows(ROWS, seed=7)], SampleRange(0, 0, MESSAGES - 1, FEATURES.hash))


def now(settings: Settings, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """`forebay retrain now --json`: exit code, document and stderr."""
    words = ("retrain", "now", "--no-base", "--json", *arguments)
    done = forebay(*words, environment=inherited_environment(settings.variables()))
    lines = done.stdout.splitlines()
    assert len(lines) <= 1, "one document and nothing else"
    return done.code, orjson.loads(lines[0]) if lines else {}, " ".join(done.stderr.split())


def wait_for_rows(settings: Settings, rows: int, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while samples.count(settings.samples_uri, FEATURES.hash) < rows:
        assert time.monotonic() < deadline, "samples never came"
        time.sleep(0.1)


@pytest.mark.parametrize(
    "settings",
    ["folder", pytest.param("bucket", marks=pytest.mark.nightly)],  # tests/crash kills it with a bucket in every run
    indirect=True,
)
def test_samples_survive_kill_and_the_room_stops_in_time_while_it_trains(settings: Settings, tmp_path: Path) -> None:
    command, log = "pipeline.tools.cli retrain run --no-base --every", tmp_path / "log"
    send(settings, range(10))
    with worker(settings, f"{command} 0", log=log) as process:
        wait_for(log, '"ready"')
        wait_for_rows(settings, 500)
        send(settings, range(10, 20))
        time.sleep(1)  # read, and not written yet
        process.kill()
    send(settings, range(20, MESSAGES))
    with worker(settings, f"{command} 1s", log=log) as process:
        wait_for_rows(settings, ROWS)
        # Nobody has given a verdict, so there is nothing to train on: it says so, and continues.
        wait_for(log, '"candidate finished"')
        wait_for(log, '"exit_code": 64')
        time.sleep(1.5)  # the next one is under way
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACE_S) == 0
    stored = samples.read(settings.samples_uri, FEATURES.hash)
    assert stored.column("raw_offset").to_pylist() == list(range(1000, 1000 + ROWS))
    recorded = orjson.loads(open_storage(settings.samples_uri).read(schedule.NAME))
    assert recorded["last_us"] <= time.time_ns() // 1_000
    assert "no sample has a label" in " ".join(log.read_text().split())
    with alone(settings.registry_uri):
        pass


def test_samples_that_were_deleted_unread_are_reported_and_training_continues(
    settings: Settings, tmp_path: Path
) -> None:
    command, log = "pipeline.tools.cli retrain run --no-base --every 0", tmp_path / "log"
    each = ROWS // MESSAGES
    send(settings, range(4))
    with worker(settings, command) as process:
        wait_for_rows(settings, 4 * each)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    send(settings, range(4, 12))
    admin = clients.admin(settings)
    # Each message is followed by the mark of its transaction: the first offset held is that of message 8.
    for future in admin.delete_records([TopicPartition(settings.topics.retrain, 0, 16)]).values():
        future.result(30)
    with worker(settings, command, log=log) as process:
        wait_for_rows(settings, 8 * each)
        wait_for(log, '"deleted before it was read"')
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    warnings = [orjson.loads(line) for line in log.read_text().splitlines() if "deleted before it was read" in line]
    assert [(line["level"], line["partition"], line["first_offset"]) for line in warnings] == [("warning", 0, 16)]
    assert warnings[0]["offsets"] == 16 - warnings[0]["position"] >= 8


@pytest.mark.parametrize("settings", ["folder", "bucket"], indirect=True)
def test_verdicts_and_a_label_file_make_a_candidate_that_score_takes_over(
    settings: Settings, current: Model, tmp_path: Path
) -> None:
    keep(settings)
    judge(settings, "tp", ATTACKS, "ann")
    judge(settings, "fp", NORMALS[:700], "bo")
    judge(settings, "fp", [0, ROWS + 5], "eve")  # disagrees with ann on one flow; the other is no sample
    labels = label_file(tmp_path / "labels.csv", NORMALS[600:])
    with worker(settings, "pipeline.tools.cli score run", log=tmp_path / "score"):
        wait_for(tmp_path / "score", '"ready"')  # a promotion waits for its vote, and not for its start
        code, document, text = now(settings, "--labels", str(labels), "--promote")
        assert (code, document["passed"]) == (0, True), (document, text)
        # Seen again with the same labels there is nothing new to learn.
        again = now(settings, "--labels", str(labels), "--promote")
    labelled = document["labelled"]
    assert labelled["by"] == {"bo": 700, "file labels.csv": 875, "ann": 224}
    assert labelled["labels"] == {"normal": len(NORMALS), ATTACK: len(ATTACKS) - 1}
    assert labelled["conflicting"] == 1
    assert (document["current"], document["promotion"]["decision"]) == (current.id, "accepted")
    assert promotion.current(settings) == document["candidate"]
    promoted = registry.load(document["candidate"], folder_or_storage(settings.registry_uri))
    assert promoted.document["parent"] == current.id
    assert promoted.document["data"][-1] == labelled
    code, document, _ = again
    assert (code, document["candidate"], document["current"]) == (0, None, promoted.id)


def test_too_little_evidence_does_not_pass_the_gate(settings: Settings, current: Model, tmp_path: Path) -> None:
    keep(settings)
    judge(settings, "tp", [row for row in ATTACKS if row < 1300], "ann")
    labels = label_file(tmp_path / "labels.csv", NORMALS)
    code, document, _ = now(settings, "--labels", str(labels))
    assert (code, document["passed"], document["promotion"]) == (1, False, None)
    assert any("held-out attack rows, expected at least 20" in reason for reason in document["comparison"]["against"])
    assert registry.list_models(Path(settings.registry_uri)) == sorted([current.id, document["candidate"]])
    with alone(settings.registry_uri):
        code, document, text = now(settings, "--labels", str(labels))
    assert (code, document["exit_code"]) == (1, 1)
    assert f"a candidate is being trained already (process {os.getpid()} on " in document["error"]
    assert document["error"] in text
