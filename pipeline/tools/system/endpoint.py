"""The box's endpoint: one `/metrics` and one `/readyz` for all workers, from their own endpoints.

A process of its own beside the workers: what it knows stands in the supervisor's record. It writes nothing.
"""

import errno
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any
from wsgiref.simple_server import make_server

from pipeline.errors import ForebayError
from pipeline.runtime.telemetry.endpoint import QuietHandler, ThreadingServer
from pipeline.tools.system import probes, record
from pipeline.tools.system.record import State, SystemRecord

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
READY, RESTARTS = "forebay_worker_ready", "forebay_worker_restarts"


def metrics(system: SystemRecord) -> str:
    """The metrics of all workers, and how they do."""
    texts = {}
    host = probes.reachable_host(system.host)
    for worker in system.stages:
        answer = probes.get(host, worker.port, "/metrics", probes.METRICS_TIMEOUT_S) if worker.process else None
        if answer is not None and answer[0] == 200:
            texts[worker.name] = answer[1]
    lines = [
        f"# HELP {READY} whether the supervisor saw the worker ready",
        f"# TYPE {READY} gauge",
    ]
    lines += [f'{READY}{{stage="{worker.name}"}} {int(worker.state is State.READY)}' for worker in system.stages]
    lines += [f"# HELP {RESTARTS}_total starts of a worker beyond its first", f"# TYPE {RESTARTS}_total counter"]
    lines += [f'{RESTARTS}_total{{stage="{worker.name}"}} {worker.restarts}' for worker in system.stages]
    return probes.merge(texts) + "".join(f"{line}\n" for line in lines)


def readiness(system: SystemRecord) -> tuple[bool, str]:
    """Whether every worker is ready now, and a line on each that is not."""
    host = probes.reachable_host(system.host)
    lines = []
    for worker in system.stages:
        answer = probes.get(host, worker.port, "/readyz") if worker.process else None
        if answer is None or answer[0] != 200:
            why = answer[1].strip() if answer is not None else worker.state.value
            lines.append(f"{worker.name}: {why}{f'; {worker.last_error}' if worker.last_error else ''}\n")
    return not lines, "".join(lines) or "ready\n"


class SystemEndpoint:
    """Answers what is asked, from a folder's record."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        path = environ.get("PATH_INFO", "/")
        if path == "/livez":
            return _say(start_response, "200 OK", "alive\n")
        if path not in ("/metrics", "/readyz"):
            return _say(start_response, "404 Not Found", "ask for /metrics, /readyz or /livez\n")
        try:
            system = record.read(self._folder)
        except ForebayError as error:
            return _say(start_response, "503 Service Unavailable", f"{error}\n")
        if system is None:
            return _say(start_response, "503 Service Unavailable", "no supervisor\n")
        if path == "/metrics":
            return _say(start_response, "200 OK", metrics(system), METRICS)
        ready, text = readiness(system)
        return _say(start_response, "200 OK" if ready else "503 Service Unavailable", text)


def _say(start_response: StartResponse, status: str, text: str, kind: str = TEXT) -> list[bytes]:
    start_response(status, [("Content-Type", kind)])
    return [text.encode()]


def main() -> None:
    """Serve until stopped: `python -m pipeline.tools.system.endpoint FOLDER HOST PORT`."""
    folder, host, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    try:
        server = make_server(host, port, SystemEndpoint(folder).answer, ThreadingServer, QuietHandler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        sys.stderr.write(
            f"error: endpoint {host}:{port}: got {error.strerror}, expected a free port of this machine; choose "
            "another with FOREBAY_METRICS_PORT\n"
        )
        raise SystemExit(78) from None

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Not from this thread: it is the one that serves.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_forever(poll_interval=0.5)
    server.server_close()


if __name__ == "__main__":
    main()
