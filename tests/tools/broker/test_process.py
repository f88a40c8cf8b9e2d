import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.tools.broker import process
from tests.patience import PATIENCE_S

SLEEP = "import sys, time; print('ready', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


def launch(code: str, mark: str, folder: Path) -> int:
    output = folder / "output"
    with (folder / "kept").open("w") as log_file:
        pid = process.start([sys.executable, "-c", code, mark], output, log_file.fileno())
    deadline = time.monotonic() + PATIENCE_S
    while "ready" not in output.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return pid


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as started:
        yield started
        started.kill()


def test_a_process_is_known_by_its_mark_and_ends_when_asked(tmp_path: Path) -> None:
    pid = launch(SLEEP, "mark-one", tmp_path)
    assert process.is_ours(pid, "mark-one")
    assert not process.is_ours(pid, "mark-two")
    assert os.getsid(pid) == pid  # a Ctrl-C in our terminal does not reach it
    assert process.stop(pid, "mark-one", grace_s=PATIENCE_S) is False
    assert not process.is_ours(pid, "mark-one")
    assert process.stop(pid, "mark-one", grace_s=10) is False


def test_one_that_does_not_listen_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    pid = launch(STUBBORN, "mark-stubborn", tmp_path)
    assert process.stop(pid, "mark-stubborn", grace_s=0.2) is True
    assert not process.is_ours(pid, "mark-stubborn")


def test_a_reused_pid_is_left_alone(stranger: subprocess.Popen[bytes]) -> None:
    assert not process.is_ours(stranger.pid, "mark-of-a-broker")
    assert process.stop(stranger.pid, "mark-of-a-broker", grace_s=0.1) is False
    assert stranger.poll() is None


def test_a_pid_of_nobody_is_not_ours() -> None:
    assert not process.is_ours(2**22 - 1, "mark")


def test_it_is_known_from_its_first_moment(tmp_path: Path) -> None:
    for number in range(5):
        with (tmp_path / "kept").open("w") as log_file:
            pid = process.start([sys.executable, "-c", SLEEP, f"mark-{number}"], tmp_path / "output", log_file.fileno())
        assert process.is_ours(pid, f"mark-{number}")
        process.stop(pid, f"mark-{number}", grace_s=10)
