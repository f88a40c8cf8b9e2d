"""An S3 server (moto's) as a process of its own that can stand still, or be gone and come back with what it holds.

`python -m tests.crash.s3_server PORT`: SIGUSR1 closes the port, SIGUSR2 opens it again.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moto.server import ThreadedMotoServer

from pipeline.tools.broker.ports import free_port
from pipeline.tools.processes import Processes, StartedProcess
from tests.patience import PATIENCE_S
from tests.runtime.storage.bucket import KEYS, make_bucket

CLOSE, OPEN = signal.SIGUSR1, signal.SIGUSR2


class S3Server:
    """The server's process and one bucket in it."""

    def __init__(self, server: StartedProcess, port: int) -> None:
        self._server = server
        self.bucket = f"s3://plant/line-4?{make_bucket(f'http://127.0.0.1:{port}', 'plant')}"

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Answer nothing meanwhile; connections stay open."""
        self._server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._server.process.send_signal(signal.SIGCONT)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Refuse connections meanwhile."""
        self._server.process.send_signal(CLOSE)
        try:
            yield
        finally:
            self._server.process.send_signal(OPEN)


@contextmanager
def running(logs: Path) -> Iterator[S3Server]:
    """Run a server of the caller's own; stop it at the end."""
    port = free_port()
    logs.mkdir(parents=True, exist_ok=True)
    processes = Processes(logs, KEYS)
    try:
        server = processes.start("s3", str(port), program=("-m", "tests.crash.s3_server"))
        processes.wait_ready([server], PATIENCE_S)
        yield S3Server(server, port)
    finally:
        processes.stop()


def _serving(port: int) -> ThreadedMotoServer:
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    return server


def main(port: int) -> None:
    """Serve until SIGTERM. What buckets hold belongs to the process, not to the open port."""
    signals = {CLOSE, OPEN, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before there are threads, which inherit it
    serving: ThreadedMotoServer | None = _serving(port)
    os.write(2, b'{"event": "ready"}\n')
    while (got := signal.sigwait(signals)) != signal.SIGTERM:
        if got == CLOSE and serving is not None:
            serving.stop()
            serving = None
        elif got == OPEN and serving is None:
            serving = _serving(port)


if __name__ == "__main__":
    main(int(sys.argv[1]))
