"""Files that grow on a real Kafka: killed at every step, rotated both ways, without Kafka, and fenced by a twin."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from pipeline.contracts.raw import ZEEK_JSON
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.headers import HeaderCache
from pipeline.runtime.kafka import clients, topics
from pipeline.settings import Settings, load_settings
from pipeline.tools.broker import local
from tests.commands import forebay
from tests.ingest.records import ZEEK
from tests.integration.ingest_stage import read
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PARTITIONS = 2
POINTS = ("follow.read", "follow.begun", "follow.produced", "follow.offsets sent", "follow.committed")
LINES_AT_ONCE = 40
ROTATE_EVERY = 30
"""Number of writes of LINES_AT_ONCE lines each; some 0.6 s."""


@pytest.fixture
def plant(kafka: str, prefix: str) -> Settings:
    settings = load_settings(bootstrap=kafka, topic_prefix=prefix, partitions=PARTITIONS, metrics_port=-1)
    topics.create(settings)
    return settings


class Zeek(threading.Thread):
    """Writes conn.log in spool/, and rotates it as Zeek does or as logrotate's copytruncate does."""

    def __init__(self, folder: Path, copytruncate: bool = False) -> None:
        super().__init__(name="zeek", daemon=True)
        self.folder, self.copytruncate = folder, copytruncate
        (folder / "spool").mkdir(parents=True)
        (folder / "2026-11-28").mkdir()
        (folder / "current").symlink_to(folder / "spool")
        self.log = folder / "spool" / "conn.log"
        self.path = folder / "current" / "conn.log"
        self.lines: list[bytes] = []
        self.rotations = 0
        self.enough = threading.Event()

    def run(self) -> None:
        """Write until `enough` is set."""
        turns = 0
        while not self.enough.wait(0.02):
            self.write(LINES_AT_ONCE)
            turns += 1
            if turns % ROTATE_EVERY == 0:
                self.rotate()

    def write(self, lines: int) -> None:
        """Append lines, cut in the middle of one and joined again."""
        new = [json.dumps({**ZEEK, "uid": f"C{len(self.lines) + number}"}).encode() for number in range(lines)]
        data = b"\n".join(new) + b"\n"
        with self.log.open("ab", buffering=0) as file:
            file.write(data[:-20])
            file.write(data[-20:])
        self.lines += new

    def rotate(self) -> None:
        """Rotate the log as Zeek does (rename and pack), or copy and truncate it."""
        self.rotations += 1
        if self.copytruncate:
            shutil.copyfile(self.log, self.log.with_name(f"conn.log.{self.rotations:04d}"))
            os.truncate(self.log, 0)
            return
        rotated = self.log.rename(self.log.with_name(f"conn-26-11-28_{self.rotations:04d}.log"))
        packed = self.folder / "2026-11-28" / f"conn.{self.rotations:04d}.log.gz"
        packed.write_bytes(gzip.compress(rotated.read_bytes(), 1))
        rotated.unlink()


def environment(settings: Settings, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "FOREBAY_BOOTSTRAP": settings.bootstrap,
        "FOREBAY_TOPIC_PREFIX": settings.topic_prefix,
        "FOREBAY_PARTITIONS": str(settings.partitions),
        "FOREBAY_METRICS_PORT": "-1",
        **more,
    }


@contextmanager
def follower(settings: Settings, path: Path, *options: str, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "pipeline.tools.cli", "flow", "follow", str(path), "--site", "dam"]
    process = subprocess.Popen(
        [*command, "--sensor", "gate", *options],
        env=environment(settings, **more), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def messages(settings: Settings) -> list[Message]:
    """Everything committed in `raw`."""
    return read(settings, settings.topics.raw)


def records(settings: Settings) -> list[bytes]:
    return [record for message in messages(settings) for record in bytes(message.value() or b"").split(b"\n")]


def wait_for(settings: Settings, count: int) -> list[bytes]:
    deadline = time.monotonic() + PATIENCE_S
    while len(came := records(settings)) < count:
        assert time.monotonic() < deadline, f"{len(came)} of {count} records"
        time.sleep(0.3)
    return came


def kill_at(settings: Settings, zeek: Zeek, kills: int) -> None:
    """Start a follower that dies at the next of its steps, again and again, while the writer continues."""
    with follower(settings, zeek.path, "--once") as process:  # what it missed before it ever ran is not its own
        assert process.wait(PATIENCE_S) == 0
    zeek.start()
    for number in range(kills):
        point = f"{POINTS[number % len(POINTS)]}:{1 + number // len(POINTS) % 3}"
        with follower(settings, zeek.path, FOREBAY_FAILPOINT=point) as process:
            assert process.wait(PATIENCE_S) == -signal.SIGKILL, point


def exact_books(settings: Settings, zeek: Zeek) -> dict[str, Any]:
    """Stop the writer, send the rest, and compare with what was written."""
    zeek.enough.set()
    zeek.join()
    with follower(settings, zeek.path, "--once", "--json") as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err.decode()[-2000:]
    # Rotated ten times as often as any log is, so that a file may be found after its successor.
    assert sorted(records(settings)) == sorted(zeek.lines)
    document: dict[str, Any] = json.loads(out.splitlines()[-1])
    return document


@pytest.mark.crash
@pytest.mark.parametrize(
    "copytruncate",
    [
        pytest.param(False, id="renamed and packed"),
        pytest.param(True, id="copied and truncated", marks=pytest.mark.nightly),
    ],
)
def test_killed_at_every_step_while_files_are_rotated(plant: Settings, tmp_path: Path, copytruncate: bool) -> None:
    zeek = Zeek(tmp_path, copytruncate)
    kill_at(plant, zeek, len(POINTS) + 1)
    assert exact_books(plant, zeek)["gaps"] == 0
    assert zeek.rotations > 3
    decoded = decode_messages(HeaderCache().messages(messages(plant)), 1 << 60)
    assert decoded.flows.num_rows == len(zeek.lines) and decoded.rejects.num_rows == 0
    assert set(decoded.flows["sensor"].to_pylist()) == {"gate"}


@pytest.mark.crash
@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("copytruncate", [False, True], ids=["renamed and packed", "copied and truncated"])
def test_killed_fifty_times(plant: Settings, tmp_path: Path, copytruncate: bool) -> None:
    zeek = Zeek(tmp_path, copytruncate)
    kill_at(plant, zeek, 50)
    assert exact_books(plant, zeek)["gaps"] == 0


def test_what_is_written_arrives_within_seconds_until_it_is_stopped(plant: Settings, tmp_path: Path) -> None:
    zeek = Zeek(tmp_path)
    with follower(plant, zeek.path, "--json") as process:
        for _ in range(3):
            zeek.write(5)
            wait_for(plant, len(zeek.lines))
            zeek.rotate()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err.decode()
    assert json.loads(out.splitlines()[-1])["sent"] == 15
    assert records(plant) == zeek.lines
    headers = [clients.headers_of(message) for message in messages(plant)]
    assert {each["content-type"] for each in headers} == {ZEEK_JSON.encode()}
    assert {(each["site"], each["sensor"]) for each in headers} == {(b"dam", b"gate")}
    assert {bytes(message.key() or b"") for message in messages(plant)} == {b"dam/gate"}


def test_of_two_with_one_name_the_first_is_fenced(plant: Settings, tmp_path: Path) -> None:
    zeek = Zeek(tmp_path)
    zeek.write(10)
    with follower(plant, zeek.path) as first:
        wait_for(plant, 10)
        with follower(plant, zeek.path) as second:
            while first.poll() is None:
                zeek.write(10)
                time.sleep(0.2)
            assert first.returncode == 75
            assert wait_for(plant, len(zeek.lines)) == zeek.lines
            assert second.poll() is None


@pytest.mark.crash
@pytest.mark.nightly
def test_while_kafka_is_away_the_files_are_the_buffer(prefix: str, tmp_path: Path) -> None:
    broker = tmp_path / "broker"
    settings = load_settings(
        bootstrap=local.start(broker).bootstrap, topic_prefix=prefix, partitions=PARTITIONS, metrics_port=-1
    )
    try:
        topics.create(settings)
        zeek = Zeek(tmp_path / "zeek")
        zeek.write(50)
        with follower(settings, zeek.path) as process:
            wait_for(settings, 50)
            local.stop(broker)
            for _ in range(3):
                zeek.write(50)
                zeek.rotate()
            zeek.write(50)
            time.sleep(8)
            assert process.poll() is None
            local.start(broker)
            assert wait_for(settings, len(zeek.lines)) == zeek.lines
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert b"Kafka is away" in err and b"Kafka is back" in err
        assert zeek.lines == records(settings)
    finally:
        local.stop(broker)


def test_how_far_it_is_can_be_seen(plant: Settings, tmp_path: Path) -> None:
    zeek = Zeek(tmp_path)
    zeek.write(10)
    with follower(plant, zeek.path, "--once") as process:
        assert process.wait(PATIENCE_S) == 0
    zeek.write(1)
    words = ("flow", "followed", "--site", "dam", "--sensor")
    document = json.loads(forebay(*words, "gate", "--json", environment=environment(plant)).stdout.splitlines()[-1])
    [file] = document["files"]
    assert (file["records"], file["state"], file["live"]) == (10, "open", str(zeek.path))
    assert 0 < file["behind_bytes"] < 1_000
    done = forebay(*words, "weir", environment=environment(plant))
    assert done.code == 0 and "nothing sent yet by dam/weir" in done.stderr and "`forebay source list`" in done.stderr


def test_the_files_of_the_sources_are_followed(plant: Settings, tmp_path: Path) -> None:
    zeek, other = Zeek(tmp_path / "a"), Zeek(tmp_path / "b")
    zeek.write(10)
    other.lines = zeek.lines[:]  # so that other uids follow: a file of the same content is the same file
    other.write(5)
    entries = [
        {"file": str(zeek.path), "site": "dam", "sensor": "gate"},
        {
            **{"files": [str(other.log.parent / "*.log")], "site": "dam", "sensor": "weir"},
            **{"time_zone": "Europe/Vienna", "lateness_us": 5_000_000},
        },
        {"file": str(tmp_path / "later.log"), "site": "dam", "sensor": "lock"},
        {"topic": f"{plant.topic_prefix}zeek", "site": "dam", "sensor": "gate"},
    ]
    file = tmp_path / "sources.yaml"
    file.write_text(json.dumps({"sources": entries}))
    command = [sys.executable, "-m", "pipeline.tools.cli", "flow", "follow", "--once", "--sources", str(file)]
    done = subprocess.run(command, env=environment(plant), capture_output=True, cwd=ROOT, check=True)
    assert b"topics are not read here" in done.stderr
    sent = Counter(bytes(message.key() or b"") for message in messages(plant))
    assert sent == {b"dam/gate": 1, b"dam/weir": 1} and len(records(plant)) == 15
    headers = {bytes(message.key() or b""): clients.headers_of(message) for message in messages(plant)}
    said = {key: (each.get("time-zone"), each.get("lateness-us")) for key, each in headers.items()}
    # Zeek's own by default, of the other source its own.
    assert said == {b"dam/gate": (None, b"300000000"), b"dam/weir": (b"Europe/Vienna", b"5000000")}
    zeek.write(1)
    listed = forebay("source", "list", "--sources", str(file), "--json", environment=environment(plant))
    gate, weir, lock, topic = json.loads(listed.stdout.splitlines()[-1])["sources"]
    assert [[each["records"] for each in source["files"]] for source in (gate, weir, lock)] == [[10], [5], []]
    assert (lock["exists"], topic["kind"], topic["exists"]) == (False, "topic", False)
    assert 0 < gate["files"][0]["behind_bytes"] < 1_000 and weir["files"][0]["behind_bytes"] == 0
    assert gate["files"][0]["committed_us"] / 1e6 > time.time() - PATIENCE_S


def test_standard_input_is_sent_as_it_comes(plant: Settings, tmp_path: Path) -> None:
    zeek = Zeek(tmp_path)
    zeek.write(20)
    command = [sys.executable, "-m", "pipeline.tools.cli", "flow", "send", "-", "--site", "dam", "--sensor", "gate"]
    process = subprocess.Popen(
        [*command, "--json", "--pack", "8"],
        env=environment(plant), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    with process:
        process.stdin.write(b"\n".join(zeek.lines) + b"\n" + zeek.lines[0][:40])
        process.stdin.flush()
        assert wait_for(plant, 20) == zeek.lines
        process.stdin.write(zeek.lines[0][40:])
        out = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 0
    document = json.loads(out.splitlines()[-1])
    assert document["sent"] == document["records"] == 21 and document["finished"]
    *sent, mark = messages(plant)
    assert [len(bytes(message.value() or b"").split(b"\n")) for message in sent] == [8, 8, 4, 1]
    assert clients.headers_of(mark)["content-type"] == b"end-of-source"
    assert clients.headers_of(mark)["records"] == b"21"


def test_the_unit_of_the_documentation_runs_as_it_stands(plant: Settings, tmp_path: Path) -> None:
    page = (ROOT / "docs/connect/files.md").read_text()
    unit = page[page.index("[Service]") : page.index("[Install]")].replace("\\\n", " ")
    facts = [line.strip().partition("=") for line in unit.splitlines() if "=" in line]
    variables = dict(value.split("=", 1) for name, _, value in facts if name == "Environment")
    [command] = [value.split() for name, _, value in facts if name == "ExecStart"]
    zeek = Zeek(tmp_path)
    variables |= {"FOREBAY_BOOTSTRAP": plant.bootstrap, "FOREBAY_METRICS_PORT": "0"}
    here = [argument.replace("/opt/zeek/logs", str(tmp_path)) for argument in command[1:]]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.tools.cli", *here],
        env={**environment(plant), **variables}, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None and any(b'"ready"' in line for line in process.stderr)
    zeek.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while zeek.rotations < 4 or len(records(plant)) < 200:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
        zeek.enough.set()
        zeek.join()
        assert sorted(wait_for(plant, len(zeek.lines))) == sorted(zeek.lines)
        assert clients.headers_of(messages(plant)[0])["sensor"] == b"edge-1"
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
