"""`forebay up`, `status` and `down` as a person types them, on a real Kafka."""

import os
import pty
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import orjson
import pytest

from pipeline.runtime.kafka import clients
from pipeline.settings import load_settings
from pipeline.tools.broker import local
from pipeline.tools.system import leftovers, record
from pipeline.tools.system.identity import identity_of, is_alive
from pipeline.tools.system.supervise import INTERRUPT_BROKER_S, INTERRUPT_WORKERS_S, STOP_WORKERS_S
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

READY_WITHIN_S = PATIENCE_S
SOON_S = STOP_WORKERS_S  # what `forebay down` gives the workers alone
RECORDS = 3_000


@dataclass
class Box:
    """A folder with a system of its own."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **changes: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, document and what was said of `forebay ARGUMENTS`."""
        ended = subprocess.run(
            [sys.executable, "-m", "pipeline.tools.cli", *arguments],
            cwd=self.folder,
            env={**self.environment, **changes},
            capture_output=True,
            text=True,
            timeout=600,
        )
        lines = ended.stdout.splitlines()
        return ended.returncode, orjson.loads(lines[-1]) if lines else {}, ended.stderr

    def system(self) -> record.SystemRecord:
        """The record, which must be there."""
        system = record.read(self.folder / "var" / "run")
        assert system is not None
        return system

    def worker(self, name: str) -> record.WorkerRecord:
        """A worker's part of it."""
        return next(worker for worker in self.system().workers if worker.name == name)

    def wait_until(self, what: str, true: Any) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not true():
            assert time.monotonic() < deadline, f"{what}: {self.system()}"
            time.sleep(0.2)

    def kill(self, name: str) -> None:
        """SIGKILL a worker, and wait until its replacement is ready."""
        before = self.worker(name)
        assert before.process is not None
        os.kill(before.process.pid, signal.SIGKILL)
        self.wait_until(
            f"{name} again",
            lambda: (now := self.worker(name)).restarts == before.restarts + 1 and now.state is record.State.READY,
        )


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    root = Path(__file__).parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    environment |= {"PYTHONPATH": str(root), "FOREBAY_PARTITIONS": "2", "FOREBAY_IDLE_US": "0"}
    environment |= {"FOREBAY_ARCHIVE_ROWS_PER_FILE": "500", "FOREBAY_TRIAGE_PORT": "-1"}
    box = Box(tmp_path, environment)
    yield box
    seen = record.read(tmp_path / "var" / "run")
    box.run("down")
    if seen is not None:
        left = leftovers.find(seen)
        assert not left.workers and left.broker is None and not is_alive(seen.supervisor)


@pytest.fixture
def named(box: Box, kafka: str, prefix: str) -> Box:
    """A box whose Kafka runs elsewhere."""
    box.environment |= {"FOREBAY_BOOTSTRAP": kafka, "FOREBAY_TOPIC_PREFIX": prefix}
    return box


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of ours
        return str(answer.read().decode())


def send(box: Box, seed: str) -> None:
    sent = box.run("load", "send", "--records", str(RECORDS), "--rate", "max", "--seed", seed, "--sensors", "2")
    assert sent[0] == 0 and sent[1]["sent"] == RECORDS, sent


def expect_down(box: Box) -> None:
    """`forebay down` ends every process, and says so once."""
    identities = [box.system().supervisor, *box.system().processes]
    code, ended, _ = box.run("down", "--json")
    assert code == 0 and ended["stopped"] and ended["supervisor"]
    assert not [each for each in identities if is_alive(each)]
    assert box.run("status", "--json")[0] == 1
    assert box.run("down", "--json")[1]["stopped"] is False


def test_workers_that_are_killed_are_back_and_no_record_is_lost_or_doubled(named: Box) -> None:
    named.environment["FOREBAY_TRIAGE_PORT"] = "0"
    code, document, said = named.run("up", "--detach")
    assert code == 0, said
    names = ["ingest", "featurize", "score", "alert", "archive", "retrain"]
    assert [name for name in document["workers"] if name not in ("triage", "endpoint")] == names
    assert f"the page: {document['page']}" in said and "<title>" in get(document["page"])
    assert get(f"{document['page']}/readyz") == "ready\n"
    named.kill("triage")

    code, refused, said = named.run("up", "--json")
    assert code == 73
    assert f"supervisor pid {document['pid']}" in refused["error"] and "ingest ready" in refused["error"]

    send(named, "1")
    for name in ("ingest", "featurize", "score", "archive"):
        named.kill(name)
    send(named, "2")

    def archived() -> int:
        _, account, _ = named.run("archive", "account", "--json")
        return sum(row["accepted"] + row["late"] + row["rejected"] for row in account["sensors"])

    everything = " + ".join(f"(select count(*) from {table})" for table in ("flows", "late", "rejects"))  # noqa: S608

    def asked() -> int:
        _, answer, said = named.run("archive", "query", f"select {everything}", "--json")
        assert answer["not_read"] == [], said
        return int(answer["rows"][0][0])

    named.wait_until("asked", lambda: asked() == 2 * RECORDS)
    named.wait_until("archived", lambda: archived() == 2 * RECORDS)
    assert asked() == 2 * RECORDS
    code, verified, said = named.run("archive", "verify", "--json")
    assert code == 0 and verified["ok"], said

    code, status, said = named.run("status", "--cpu", "1")
    assert code == 0 and status["ready"], said
    by_name = {worker["name"]: worker for worker in status["workers"]}
    assert {name: by_name[name]["restarts"] for name in names} == dict(zip(names, (1, 1, 1, 0, 1, 0), strict=True))
    assert by_name["alert"]["rows_in"] is not None and by_name["ingest"]["lag_s"] == 0
    assert (by_name["triage"]["state"], by_name["triage"]["ready"], by_name["triage"]["restarts"]) == ("ready", True, 1)
    assert f"the page: {status['page']}" in said and status["page"].endswith(f":{by_name['triage']['port']}")
    assert get(f"{status['page']}/api/v1/session") and (named.folder / "var" / "triage" / "triage.sqlite").is_file()
    assert status["broker"] is None and status["bootstrap"] == named.environment["FOREBAY_BOOTSTRAP"]
    if sys.platform == "linux":
        assert 0 < status["pss_bytes"] <= status["rss_bytes"] and status["cpu_percent"] >= 0
    for name in names:
        assert f"{name} " in said and str(by_name[name]["pid"]) in said

    assert get(f"{document['endpoint']}/readyz") == "ready\n"
    metrics = get(f"{document['endpoint']}/metrics")
    assert all(f'forebay_up{{stage="{name}"}} 1.0' in metrics for name in names) and "triage" not in metrics
    assert 'forebay_worker_restarts_total{stage="score"} 1' in metrics

    expect_down(named)
    # The Kafka that was named is somebody else's.
    clients.require_broker(load_settings(bootstrap=named.environment["FOREBAY_BOOTSTRAP"]))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("FOREBAY_DEVICE", "cuda"), ("FOREBAY_MODEL", "igan-000000000000")],
)
def test_a_worker_that_cannot_start_is_named_with_its_error_and_remedy(named: Box, setting: str, value: str) -> None:
    """A setting stays wrong: it is not tried again."""
    named.environment |= {"CUDA_VISIBLE_DEVICES": ""}
    code, refused, said = named.run("up", "--detach", "--json", **{setting: value})
    assert code == 78, said
    assert "score does not run: exit 78: " in refused["error"] and value in refused["error"]
    assert "score.log" in refused["error"]
    others = [worker.name for worker in named.system().workers if worker.name != "score"]
    named.wait_until("the others", lambda: all(named.worker(name).state == "ready" for name in others))
    code, status, said = named.run("status")
    assert code == 1 and status["running"] and not status["ready"]
    [score] = [worker for worker in status["workers"] if worker["name"] == "score"]
    assert score["state"] == "failed" and score["restarts"] == 0
    assert value in score["last_error"] and score["remedy"]
    assert f"score: {score['last_error']}; {score['remedy']}" in said
    with pytest.raises(HTTPError) as not_ready:
        get(f"{status['endpoint']}/readyz")
    assert "score: failed; exit 78: " in not_ready.value.read().decode()


def test_a_supervisor_that_was_killed_is_taken_over_with_its_kafka(box: Box) -> None:
    box.environment["FOREBAY_METRICS_PORT"] = "0"
    code, document, said = box.run("up", "--detach")
    assert code == 0, said
    first = box.system()
    assert first.broker is not None and first.broker.is_ours
    os.kill(document["pid"], signal.SIGKILL)
    code, status, said = box.run("status")
    assert code == 1 and not status["running"]
    assert "the supervisor was killed; still running:" in said and "Kafka at" in status["left_running"][-1]

    code, again, said = box.run("up", "--detach")
    assert code == 0, said
    second = box.system()
    assert not [each for each in first.processes if is_alive(each)]
    assert second.bootstrap == first.bootstrap and second.broker is not None and second.broker.is_ours

    # Kafka dies: it is started again where it was, and the same workers continue.
    running = local.process_of(Path(second.broker.data))
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    box.wait_until("Kafka again", lambda: (now := box.system().broker) is not None and now.restarts == 1)
    box.wait_until("ready again", lambda: box.run("status", "--json")[0] == 0)
    assert box.system().bootstrap == first.bootstrap
    assert [worker.restarts for worker in box.system().workers] == [0] * len(second.workers)

    # Killed once more: `down` ends what is left, Kafka too.
    os.kill(again["pid"], signal.SIGKILL)
    code, ended, said = box.run("down")
    assert code == 0 and not ended["supervisor"]
    assert local.process_of(Path(second.broker.data)) is None
    assert record.read(box.folder / "var" / "run") is None


def test_ctrl_c_ends_everything_soon(named: Box) -> None:
    command = [sys.executable, "-m", "pipeline.tools.cli", "up"]
    with subprocess.Popen(command, cwd=named.folder, env=named.environment, stderr=subprocess.PIPE) as foreground:
        folder = named.folder / "var" / "run"
        named.wait_until("the record", lambda: record.read(folder) is not None)
        named.wait_until("ready", lambda: named.system().is_ready)
        assert named.system().supervisor == identity_of(foreground.pid)
        processes = named.system().processes
        started_s = time.monotonic()
        foreground.send_signal(signal.SIGINT)
        _, said = foreground.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - started_s
    assert foreground.returncode == 0
    assert b'"everything is ready"' in said and b'"stopped"' in said
    assert not [each for each in processes if is_alive(each)]
    assert took_s < SOON_S


def test_ctrl_c_ends_everything_soon_where_no_worker_answers(named: Box) -> None:
    command = [sys.executable, "-m", "pipeline.tools.cli", "up"]
    with subprocess.Popen(command, cwd=named.folder, env=named.environment, stderr=subprocess.DEVNULL) as foreground:
        folder = named.folder / "var" / "run"
        named.wait_until("the record", lambda: record.read(folder) is not None)
        named.wait_until("ready", lambda: named.system().is_ready)
        processes = named.system().processes
        for process in processes:
            os.kill(process.pid, signal.SIGSTOP)
        named.wait_until("asked in vain", lambda: named.system().workers[0].state is record.State.NOT_READY)
        started_s = time.monotonic()
        foreground.send_signal(signal.SIGINT)
        assert foreground.wait(PATIENCE_S) == 0
        took_s = time.monotonic() - started_s
    assert not [each for each in processes if is_alive(each)]
    assert took_s < SOON_S
    assert INTERRUPT_WORKERS_S + INTERRUPT_BROKER_S < 10, "what is waited for: the rest is up to the machine"


def test_a_terminal_that_is_closed_ends_everything_in_order(box: Box) -> None:
    """Nobody hears what the supervisor says last; Kafka is ended none the less."""
    box.environment["FOREBAY_METRICS_PORT"] = "-1"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(box.folder)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and so it would be by the supervisor
        os.execve(sys.executable, [sys.executable, "-m", "pipeline.tools.cli", "up"], box.environment)  # noqa: S606
    folder = box.folder / "var" / "run"
    box.wait_until("the record", lambda: record.read(folder) is not None)
    box.wait_until("ready", lambda: box.system().is_ready)
    broker = box.system().broker
    assert broker is not None
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert local.process_of(Path(broker.data)) is None
    assert record.read(folder) is None


def test_ctrl_c_while_kafka_starts_ends_it_too(box: Box) -> None:
    command = [sys.executable, "-m", "pipeline.tools.cli", "up"]
    data = box.folder / "var" / "broker"
    with subprocess.Popen(command, cwd=box.folder, env=box.environment, stderr=subprocess.DEVNULL) as foreground:
        box.wait_until("a process of Kafka", lambda: local.process_of(data) is not None)
        assert box.system().phase is record.Phase.KAFKA
        foreground.send_signal(signal.SIGINT)
        foreground.wait(PATIENCE_S)
    assert local.process_of(data) is None
    assert record.read(box.folder / "var" / "run") is None
