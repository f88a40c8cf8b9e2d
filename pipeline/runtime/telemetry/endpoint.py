"""The HTTP endpoint of a stage: `/metrics` for Prometheus; `/startupz`, `/livez`, `/readyz` for its orchestrator."""

import errno
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from pipeline.errors import Misconfigured

# A loop that has not come round for this long hangs. Longer than any step that waits for Kafka (60 s, a few of them in
# a row); while Kafka is known to be away the watch beats instead of the loop: an outage must not look like a hang.
HANGS_AFTER_S = 300.0

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Health:
    """Whether the stage has restored its state once (`started`), turns its loop (`alive`) and has its partitions
    (`ready`, and not while Kafka is away). A probe never asks Kafka: the stage's own watch does (kafka/outage.py).
    """

    def __init__(self) -> None:
        self.started = False
        self._ready = False
        self._last_beat: float | None = None
        self.kafka_answers = True

    @property
    def ready(self) -> bool:
        """True while the stage has its partitions and Kafka answers."""
        return self._ready and self.kafka_answers

    @ready.setter
    def ready(self, now: bool) -> None:
        self._ready = now
        self.started = self.started or now

    @property
    def why_not_ready(self) -> str:
        """The reason that `/readyz` reports where it fails."""
        return "no partitions yet" if self.kafka_answers else "Kafka does not answer"

    def beat(self) -> None:
        """Record that the loop is alive."""
        self._last_beat = time.monotonic()

    @property
    def alive(self) -> bool:
        """True until a stage that has started its loop stops turning it."""
        return self._last_beat is None or time.monotonic() - self._last_beat < HANGS_AFTER_S


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """Answers each client in a thread of its own."""

    daemon_threads = True
    # Closing does not wait for a client that holds its connection open.
    block_on_close = False


class QuietHandler(WSGIRequestHandler):
    """Reads a request and logs nothing."""

    # Seconds a client may take to send its request.
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: scrapes are frequent."""


class Endpoint:
    """Serves a registry and a stage's health from a thread of its own."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, health: Health, else_free: bool = False
    ) -> None:
        """Listen on `port`; with `else_free` on any free one where that is taken, else Misconfigured."""
        self._metrics = make_wsgi_app(registry)
        self._health = health
        try:
            self._server = self._listen(host, port, else_free)
        except OSError as error:
            raise Misconfigured(
                f"metrics endpoint {host}:{port}: got {error.strerror or error}, expected a free port of this machine; "
                "choose another with FOREBAY_METRICS_PORT (0 takes any free one, -1 none)"
            ) from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True
        )
        self._thread.start()

    def _listen(self, host: str, port: int, else_free: bool) -> WSGIServer:
        try:
            return make_server(host, port, self._answer, ThreadingServer, QuietHandler)
        except OSError as error:
            if not else_free or error.errno != errno.EADDRINUSE:
                raise
            return make_server(host, 0, self._answer, ThreadingServer, QuietHandler)

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            return self._metrics(environ, start_response)  # type: ignore[no-any-return]
        if path == "/startupz":
            return _say(start_response, self._health.started, "started", "state not restored yet")
        if path == "/livez":
            return _say(start_response, self._health.alive, "alive", "the loop has not turned for five minutes")
        if path == "/readyz":
            return _say(start_response, self._health.ready, "ready", self._health.why_not_ready)
        return _say(
            start_response, False, "", "ask for /metrics, /startupz, /livez or /readyz", otherwise="404 Not Found"
        )

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _say(
    start_response: StartResponse, good: bool, yes: str, no: str, otherwise: str = "503 Service Unavailable"
) -> list[bytes]:
    start_response("200 OK" if good else otherwise, [("Content-Type", "text/plain; charset=utf-8")])
    return [(yes if good else no).encode() + b"\n"]
