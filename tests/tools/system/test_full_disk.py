"""What the system cannot give any more ends no worker: the supervisor says so as far as it can, and tries again."""

import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.tools.system import starting
from pipeline.tools.system.events import Events
from pipeline.tools.system.record import State
from pipeline.tools.system.worker import SupervisedWorker
from pipeline.tools.system.worker_table import WorkerRow, endpoint_row


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_an_event_that_cannot_be_written_is_not_said() -> None:
    events = Events(Path("/dev/full"))
    events.say("stopping")
    for descriptor in events.descriptors:
        os.close(descriptor)


def test_a_worker_that_cannot_be_started_is_tried_again_and_named(tmp_path: Path) -> None:
    said: list[str] = []

    def spawn(_row: WorkerRow, _environment: Mapping[str, str], _log: int) -> starting.Process:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    row = endpoint_row(str(tmp_path), 0, "127.0.0.1")
    worker = SupervisedWorker(row, "127.0.0.1", tmp_path, spawn, lambda event, **_facts: said.append(event))
    now, states = 0.0, []
    for _start in range(4):
        assert worker.step({}, now) or worker.record(now).state is State.WAITING
        states.append(worker.record(now).state)
        now += 3600.0
    assert states == [State.WAITING] * 3 + [State.FAILING]
    assert said == ["ended; started again"] * 3 + ["keeps failing; tried again"]
    assert "Resource temporarily unavailable" in worker.record(now).last_error
    assert "disk space" in worker.record(now).remedy
