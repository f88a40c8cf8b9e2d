"""The local broker as people use it: `forebay broker ...` in processes of its own, on a folder of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from pipeline.errors import Failed, Misconfigured
from pipeline.tools.broker import local, process, state
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

FOREBAY = [sys.executable, "-c", "from pipeline.tools.cli.main import main; main()"]
TOPIC = "kept"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for the tests of this file, in their order: a broker's life."""
    folder = tmp_path_factory.mktemp("life") / "broker"
    yield folder
    local.stop(folder, grace_s=10)


def broker(*arguments: str, expect: int = 0) -> dict[str, Any]:
    done = subprocess.run([*FOREBAY, "broker", *arguments, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stderr
    document: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1]) if done.stdout else {"error": done.stderr}
    return document


def test_two_at_once_start_one_broker(data: Path) -> None:
    command = [*FOREBAY, "broker", "up", "--data", str(data), "--port", "0", "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    documents = [orjson.loads(each.communicate(timeout=PATIENCE_S)[0].splitlines()[-1]) for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert documents[0]["pid"] == documents[1]["pid"]
    assert documents[0]["bootstrap"].startswith("127.0.0.1:")


def test_up_again_says_where_it_runs(data: Path) -> None:
    before = state.read(data)
    assert before is not None
    again = broker("up", "--data", str(data))
    assert (again["already_running"], again["pid"]) == (True, before.pid)
    assert "already runs" in broker("up", "--data", str(data), "--port", "1", expect=78)["error"]
    existing = broker("up", "--bootstrap", before.bootstrap)
    assert (existing["external"], existing["cluster_id"]) == (True, before.cluster_id)


def test_its_port_taken_by_another_broker_is_said(data: Path, tmp_path: Path) -> None:
    running = state.read(data)
    assert running is not None
    with pytest.raises(Misconfigured, match=f"--bootstrap {running.bootstrap}"):
        local.start(tmp_path, running.port)


def test_it_keeps_a_message_over_kill_9(data: Path) -> None:
    running = state.read(data)
    assert running is not None
    client = AdminClient({"bootstrap.servers": running.bootstrap})
    client.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(20)
    producer = Producer({"bootstrap.servers": running.bootstrap, "acks": "all"})
    producer.produce(TOPIC, b"still here")
    assert producer.flush(20) == 0
    del producer, client

    os.kill(running.pid, signal.SIGKILL)
    wait_until_gone(running.pid, running.run_id)
    assert broker("status", "--data", str(data), expect=1)["running"] is False

    again = broker("up", "--data", str(data), "--port", "0")
    assert again["already_running"] is False
    assert again["pid"] != running.pid
    assert (again["cluster_id"], again["bootstrap"]) == (running.cluster_id, running.bootstrap)
    consumer = Consumer({"bootstrap.servers": running.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    deadline = time.monotonic() + PATIENCE_S
    message = None
    while message is None and time.monotonic() < deadline:
        message = consumer.poll(1.0)
    consumer.close()
    assert message is not None
    assert message.value() == b"still here"


def test_status_says_what_runs(data: Path) -> None:
    report = broker("status", "--data", str(data))
    assert (report["running"], report["answering"], report["topics"]) == (True, True, 1)
    assert report["kafka_version"].startswith("4.")
    assert report["data_bytes"] > 0


def test_a_lost_state_file_never_lets_a_second_broker_on_the_folder(data: Path) -> None:
    running = state.read(data)
    assert running is not None
    (data / state.NAME).write_bytes(b"garbage")
    with pytest.raises(Failed, match="runs on this folder"):
        local.start(data)
    state.write(data, running)
    assert local.status(data).answering


def test_down_stops_it_and_is_idempotent(data: Path) -> None:
    running = state.read(data)
    assert running is not None
    stopped = broker("down", "--data", str(data))
    assert (stopped["stopped"], stopped["pid"]) == (True, running.pid)
    assert not process.is_ours(running.pid, running.run_id)
    assert state.read(data) is None
    assert broker("down", "--data", str(data))["stopped"] is False


def test_it_comes_back_on_its_old_port_and_down_finds_it_by_its_address(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = local.last_port(data)
    again = broker("up", "--data", str(data))
    assert again["bootstrap"] == f"127.0.0.1:{port}"
    monkeypatch.chdir(tmp_path)  # where there is no var/broker
    monkeypatch.setenv("FOREBAY_BOOTSTRAP", "127.0.0.1:1")
    missed = broker("down")
    assert missed["stopped"] is False
    assert missed["looked"] == [
        "at 127.0.0.1:1 (FOREBAY_BOOTSTRAP), where no broker of ours runs",
        f"in {tmp_path}/var/broker",
    ]
    monkeypatch.setenv("FOREBAY_BOOTSTRAP", again["bootstrap"])
    assert broker("status")["pid"] == again["pid"]
    stopped = broker("down")
    assert (stopped["stopped"], stopped["pid"], stopped["data"]) == (True, again["pid"], str(data))


def test_ctrl_c_while_it_starts_leaves_nothing_behind(data: Path) -> None:
    command = [*FOREBAY, "broker", "up", "--data", str(data), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
        deadline = time.monotonic() + PATIENCE_S
        while (running := state.read(data)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        starting.send_signal(signal.SIGINT)
        assert starting.wait(PATIENCE_S) != 0
    wait_until_gone(running.pid, running.run_id)
    assert state.read(data) is None


def wait_until_gone(pid: int, run_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while process.is_ours(pid, run_id):
        assert time.monotonic() < deadline
        time.sleep(0.02)
