"""What the page's answers need, in one place: the store, and what guards it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipeline.settings import Settings
from pipeline.tools.http_server import LOOPBACK
from pipeline.tools.triage.accounts import Accounts, Failures
from pipeline.tools.triage.audit import Audit
from pipeline.tools.triage.figures.watch import Watch
from pipeline.tools.triage.live import Live
from pipeline.tools.triage.plant import Plant, Remembered, models
from pipeline.tools.triage.provider import Provider
from pipeline.tools.triage.sessions import LocalUser, Sessions
from pipeline.tools.triage.store import Store


def _no_feed() -> dict[str, Any]:
    return {"state": "file"}


@dataclass(slots=True)
class Page:
    """What answers need: the store and what guards it."""

    store: Store
    sessions: LocalUser | Sessions
    tls: bool = False
    hosts: tuple[str, ...] | None = LOOPBACK
    """Names by which it may be called; None: any."""
    feed: Callable[[], dict[str, Any]] = _no_feed
    """How reading the topics does."""
    provider: Provider | None = None
    """Where people may sign in besides with a password."""
    url: str = ""
    """The page's address for browsers, to which the provider sends them back."""
    settings: Settings | None = None
    """Where verdicts go; None: to the store alone, of alerts of a file."""
    accounts: Accounts = field(init=False)
    audit: Audit = field(init=False)
    plant: Plant = field(init=False)
    models: Remembered = field(init=False)
    watch: Watch = field(init=False)
    live: Live = field(init=False)
    failures: Failures = field(default_factory=Failures)

    def __post_init__(self) -> None:
        self.accounts = Accounts(self.store.database)
        self.audit = Audit(self.store.database)
        self.plant = Plant(self.settings)
        self.models = Remembered(lambda: models(self.store.database, self.settings))
        self.watch = Watch(self.settings)
        self.live = Live(self.store.database)

    @property
    def cookie(self) -> str:
        """The name of the session's cookie: under TLS one that no other host can set."""
        return "__Host-forebay" if self.tls else "forebay"
