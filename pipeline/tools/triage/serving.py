"""The page's server at work: where it listens, under which guard, and what feeds its store."""

import ipaddress
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from pipeline.errors import Misconfigured, Usage
from pipeline.runtime.telemetry.logs import configure
from pipeline.settings import Settings
from pipeline.tools.triage.accounts import Accounts
from pipeline.tools.triage.alert_files import read_alerts
from pipeline.tools.triage.app import Page, application
from pipeline.tools.triage.database import Database, open_database
from pipeline.tools.triage.gate import LOOPBACK
from pipeline.tools.triage.provider import Provider
from pipeline.tools.triage.provider_settings import ProviderSettings, read_provider
from pipeline.tools.triage.sessions import LocalUser, Sessions
from pipeline.tools.triage.store import Store
from pipeline.tools.triage.topic_feed import TopicFeed

STOP_S = 2
"""How long answers under way may take when it is asked to stop."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be served, and where."""

    host: str
    port: int
    folder: Path
    store: str | None = None
    alerts: tuple[Path, ...] = ()
    """Files of alerts to show instead of what the topics hold."""
    rebuild: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    oidc: Path | None = None
    """A file that describes a provider at which people may sign in."""


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_guarded(request: Request, database: Database) -> None:
    """Misconfigured where the page would be served beyond this machine without TLS or without accounts."""
    if (request.tls_cert is None) != (request.tls_key is None):
        raise Misconfigured("--tls-cert, --tls-key: got one of them, expected both")
    if is_loopback(request.host):
        return
    if request.tls_cert is None:
        raise Misconfigured(
            f"--host {request.host}: got an address that others reach, and no certificate, expected TLS beyond this "
            "machine; give --tls-cert and --tls-key, or serve on 127.0.0.1"
        )
    if request.oidc is None and not Accounts(database).every():
        raise Misconfigured(
            f"--host {request.host}: got an address that others reach, and no account, expected people who sign in; "
            "`forebay triage user add NAME --role analyst` makes one"
        )


def address_of(request: Request, port: int, provider: ProviderSettings | None) -> str:
    """The page's address for browsers; Misconfigured where a provider cannot send them back to it."""
    scheme = "https" if request.tls_cert is not None else "http"
    if provider is None or (provider.url is None and is_loopback(request.host)):
        host = f"[{request.host}]" if ":" in request.host else request.host
        return f"{scheme}://{host}:{port}"
    if provider.url is None:
        raise Misconfigured(
            f"--oidc {request.oidc}: got no url, expected the page's address, to which the provider sends browsers "
            f"back; write `url: {scheme}://NAME:{port}` into it"
        )
    parts = urlsplit(provider.url)
    if parts.scheme != scheme or (is_loopback(request.host) and not is_loopback(parts.hostname or "")):
        raise Misconfigured(
            f"--oidc {request.oidc}: got url {provider.url}, expected an {scheme} address of this server; "
            "TLS ends here, and on loopback it answers to names of loopback alone"
        )
    return provider.url


def serve(request: Request, settings: Settings, started: Callable[[str, int], None]) -> None:
    """Serve until SIGINT or SIGTERM. `started` is called with the address once it answers."""
    configure(settings.log_level)
    provider = Provider(read_provider(request.oidc)) if request.oidc is not None else None
    database = open_database(request.folder, request.store)
    store = Store(database, request.rebuild)
    require_guarded(request, database)
    for path in request.alerts:
        store.take_alerts(read_alerts(path))
    tls = request.tls_cert is not None
    local = is_loopback(request.host)
    signing_in = provider is not None or Accounts(database).every()
    sessions = Sessions(database) if signing_in else LocalUser()
    feed = TopicFeed(settings, store) if not request.alerts else None
    page = Page(store, sessions, tls, LOOPBACK if local else None, settings=settings if feed is not None else None)
    if feed is not None:
        page.feed = feed.state
    listening = _listen(request.host, request.port)
    port = int(listening.getsockname()[1])
    page.provider, page.url = provider, address_of(request, port, provider.settings if provider else None)
    config = uvicorn.Config(
        application(page),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_S,
        limit_concurrency=1_000,
        h11_max_incomplete_event_size=32_768,
        ssl_certfile=request.tls_cert,
        ssl_keyfile=request.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"--tls-cert {request.tls_cert}: got {error}, expected a certificate and its key in PEM"
        ) from error
    server = _Server(config, lambda: started(page.url, port))
    page.plant.start()
    page.watch.start()
    if feed is not None:
        feed.start()
    try:
        server.run(sockets=[listening])
    finally:
        page.watch.close()
        page.plant.close()
        if feed is not None:
            feed.close()
        database.close()


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


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens; Usage where the address or port cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        raise Usage(
            f"--host {host} --port {port}: got {error.strerror}, expected an address of this machine and a free port; "
            "--port 0 finds one"
        ) from error
    return made
