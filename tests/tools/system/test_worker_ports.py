"""At which port a worker comes back."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.tools.broker.ports import free_port
from pipeline.tools.system.worker import SupervisedWorker
from pipeline.tools.system.worker_table import WorkerRow


class Ended:
    """A process that ended at once."""

    pid = 2**22 + 1

    def poll(self) -> int | None:
        return -9


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


def test_it_takes_its_usual_port_else_the_one_it_had_else_another(tmp_path: Path) -> None:
    usual, now = free_port(), 0.0
    row = WorkerRow("triage", (), usual)
    worker = SupervisedWorker(row, "127.0.0.1", tmp_path, lambda *_: Ended(), lambda *_, **__: None)

    def started() -> int:
        nonlocal now
        now += 3600.0
        worker.step({}, now)
        worker.step({}, now)  # it has ended: the next step starts it
        return worker.record(now).port

    with listening(usual):
        other = started()
        assert other not in (0, usual) and started() == other
        with listening(other):
            assert started() not in (usual, other)
    assert started() == usual
