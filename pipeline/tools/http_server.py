"""A server of HTTP as a command runs it: where it listens, under which guard, and how it ends."""

import asyncio
import ipaddress
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Message, Receive

from pipeline.errors import Misconfigured, Usage

STOP_S = 2
"""How long answers under way may take when it is asked to stop."""
MAX_REQUESTS = 1_000
BODY_S = 60.0
"""How long a body may take to come: who is gone without a word else holds a place for ever."""
MAX_HEAD_BYTES = 32_768
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server is to listen, and with which certificate."""

    host: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return self.tls_cert is not None

    @property
    def local(self) -> bool:
        """Whether nobody but this machine reaches it."""
        return is_loopback(self.host)

    def url(self, port: int) -> str:
        """Its address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(header: str) -> str:
    """The host that a Host header names, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def require_tls(listening: Listening) -> None:
    """Misconfigured where others than this machine would be served without TLS, or half a certificate is given."""
    if (listening.tls_cert is None) != (listening.tls_key is None):
        raise Misconfigured("--tls-cert, --tls-key: got one of them, expected both")
    if not listening.local and not listening.tls:
        raise Misconfigured(
            f"--host {listening.host}: got an address that others reach, and no certificate, expected TLS beyond this "
            "machine; give --tls-cert and --tls-key, or serve on 127.0.0.1"
        )


def listen(listening: Listening) -> socket.socket:
    """A socket that listens; Usage where the address or port cannot be had."""
    host, port = listening.host, listening.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise Usage(
            f"--host {host} --port {port}: got {error.strerror}, expected an address of this machine and a free port; "
            "--port 0 finds one"
        ) from error
    return made


def server_of(app: ASGIApp, listening: Listening, started: Callable[[], None]) -> uvicorn.Server:
    """A server, not yet started; `started` is called once it answers. Misconfigured where the certificate is none."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_S,
        limit_concurrency=MAX_REQUESTS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ssl_certfile=listening.tls_cert,
        ssl_keyfile=listening.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"--tls-cert {listening.tls_cert}: got {error}, expected a certificate and its key in PEM"
        ) from error
    return _Server(config, started)


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """A request's whole body; None where it is too large: it is not read on. TimeoutError where it does not come."""
    async with asyncio.timeout(BODY_S):
        return await _read_body(receive, max_bytes)


async def _read_body(receive: Receive, max_bytes: int) -> bytes | None:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read once more, and then whatever comes."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class _Server(uvicorn.Server):
    """Says when it answers, and ends as other commands do: asked to stop, with 0."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._say_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end it; they are not raised again, which would end the process before all is closed."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
