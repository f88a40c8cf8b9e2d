"""The page's server at work: where it listens, under which guard, and what feeds its store."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import Misconfigured
from pipeline.runtime.telemetry.logs import configure
from pipeline.settings import Settings
from pipeline.tools.http_server import LOOPBACK, Listening, is_loopback, listen, require_tls, server_of
from pipeline.tools.triage.accounts import Accounts
from pipeline.tools.triage.alert_files import read_alerts
from pipeline.tools.triage.app import application
from pipeline.tools.triage.database import Database, open_database
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.provider import Provider
from pipeline.tools.triage.provider_settings import ProviderSettings, read_provider
from pipeline.tools.triage.sessions import LocalUser, Sessions
from pipeline.tools.triage.store import Store
from pipeline.tools.triage.topic_feed import TopicFeed


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

    @property
    def listening(self) -> Listening:
        """Where it listens."""
        return Listening(self.host, self.port, self.tls_cert, self.tls_key)


def require_guarded(request: Request, database: Database) -> None:
    """Misconfigured where the page would be served beyond this machine without TLS or without accounts."""
    require_tls(request.listening)
    if not request.listening.local and request.oidc is None and not Accounts(database).every():
        raise Misconfigured(
            f"--host {request.host}: got an address that others reach, and no account, expected people who sign in; "
            "`forebay triage user add NAME --role analyst` makes one"
        )


def address_of(request: Request, port: int, provider: ProviderSettings | None) -> str:
    """The page's address for browsers; Misconfigured where a provider cannot send them back to it."""
    where = request.listening
    scheme = "https" if where.tls else "http"
    if provider is None or (provider.url is None and where.local):
        return where.url(port)
    if provider.url is None:
        raise Misconfigured(
            f"--oidc {request.oidc}: got no url, expected the page's address, to which the provider sends browsers "
            f"back; write `url: {scheme}://NAME:{port}` into it"
        )
    parts = urlsplit(provider.url)
    if parts.scheme != scheme or (where.local and not is_loopback(parts.hostname or "")):
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
    where = request.listening
    signing_in = provider is not None or Accounts(database).every()
    sessions = Sessions(database) if signing_in else LocalUser()
    feed = TopicFeed(settings, store) if not request.alerts else None
    page = Page(
        store, sessions, where.tls, LOOPBACK if where.local else None, settings=settings if feed is not None else None
    )
    if feed is not None:
        page.feed = feed.state
    with listen(where) as listening:
        port = int(listening.getsockname()[1])
        page.provider, page.url = provider, address_of(request, port, provider.settings if provider else None)
        server = server_of(application(page), where, lambda: started(page.url, port))
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
