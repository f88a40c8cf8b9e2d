"""A call that hangs is left behind; after too many the process restarts itself; a call that returns is only a call."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import KafkaUnreachable
from pipeline.runtime.kafka import watchdog
from pipeline.runtime.kafka.watchdog import LeftBehind, Watchdog, returns
from tests.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def none_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test counts what another left behind."""
    monkeypatch.setattr(Watchdog, "_left_behind", 0)
    monkeypatch.setattr(watchdog, "GRACE_S", 0.1)


def test_a_call_that_returns_returns_and_raises_as_if_unwatched() -> None:
    called: list[int] = []
    Watchdog("score", lambda: True, stuck_s=5.0).call(lambda: called.append(1), 1.0)
    assert called == [1]
    with pytest.raises(ZeroDivisionError):
        Watchdog("score", lambda: True, stuck_s=5.0).call(lambda: 1 // 0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("hopeless", "stuck_s"), [(True, 2 * PATIENCE_S), (False, 0.5)])
def test_a_call_that_hangs_is_left_behind(hopeless: bool, stuck_s: float) -> None:
    release = threading.Event()
    with pytest.raises(LeftBehind, match="did not come back within") as raised:
        Watchdog("score", lambda: hopeless, stuck_s).call(lambda: release.wait(PATIENCE_S), 0.1)
    assert isinstance(raised.value, KafkaUnreachable)
    release.set()


@pytest.mark.slow
def test_a_slow_call_is_waited_for_while_there_is_hope() -> None:
    Watchdog("score", lambda: False, stuck_s=30.0).call(lambda: time.sleep(1.0), 0.1)


def test_a_call_with_a_bound_returns_raises_or_is_left_behind() -> None:
    release = threading.Event()
    assert returns(lambda: None, PATIENCE_S)
    with pytest.raises(ZeroDivisionError):
        returns(lambda: 1 // 0, PATIENCE_S)
    assert not returns(lambda: release.wait(PATIENCE_S), 0.1)
    release.set()


def test_calls_share_a_thread_that_ends_with_the_watchdog() -> None:
    threads: list[threading.Thread] = []
    watchdog = Watchdog("score", lambda: False, stuck_s=5.0)
    for _ in range(3):
        watchdog.call(lambda: threads.append(threading.current_thread()), 1.0)
    assert len(set(threads)) == 1
    del watchdog
    threads[0].join(PATIENCE_S)
    assert not threads[0].is_alive()


def test_a_call_that_hangs_does_not_hold_up_the_next_one() -> None:
    release = threading.Event()
    watchdog = Watchdog("score", lambda: True, stuck_s=0.1)
    with pytest.raises(LeftBehind):
        watchdog.call(lambda: release.wait(PATIENCE_S), 0.1)
    called: list[int] = []
    watchdog.call(lambda: called.append(1), 1.0)
    assert called == [1]
    release.set()


HANGS = """
import pathlib, sys, threading
from pipeline.runtime.kafka.watchdog import MAX_LEFT_BEHIND, LeftBehind, Watchdog

runs = pathlib.Path(sys.argv[1])
runs.write_text(runs.read_text() + "." if runs.exists() else ".")
if len(runs.read_text()) > 1:
    print("came back", sys.argv[2])
    raise SystemExit(0)
for _time in range(MAX_LEFT_BEHIND + 1):
    try:
        Watchdog("score", lambda: False, stuck_s=0.1).call(threading.Event().wait, 0.1)
    except LeftBehind:
        pass
"""


@pytest.mark.slow
def test_after_too_many_the_process_restarts_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS, str(tmp_path / "runs"), "its arguments"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout.endswith("came back its arguments\n")
    assert "restarting in this process" in done.stdout + done.stderr
