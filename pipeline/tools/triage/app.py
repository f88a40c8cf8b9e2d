"""The page's web application: its parts put together, and which of them answers what."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pipeline.tools.triage import answers
from pipeline.tools.triage.accounts import Accounts, Failures
from pipeline.tools.triage.audit import Audit
from pipeline.tools.triage.gate import LOOPBACK, Gate
from pipeline.tools.triage.live import Live
from pipeline.tools.triage.sessions import LocalUser, Sessions
from pipeline.tools.triage.store import Store

STATIC = Path(__file__).parent / "static"


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
    accounts: Accounts = field(init=False)
    audit: Audit = field(init=False)
    live: Live = field(init=False)
    failures: Failures = field(default_factory=Failures)

    def __post_init__(self) -> None:
        self.accounts = Accounts(self.store.database)
        self.audit = Audit(self.store.database)
        self.live = Live(self.store.database)

    @property
    def cookie(self) -> str:
        """The name of the session's cookie: under TLS one that no other host can set."""
        return "__Host-forebay" if self.tls else "forebay"


class PageFiles(StaticFiles):
    """The page's files; the page itself for every path of its screens."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or the page."""
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or "." in path.rpartition("/")[2] or path.startswith("api"):
                raise
            return await super().get_response("index.html", scope)


def application(page: Page) -> FastAPI:
    """The application that serves a page."""
    from pipeline.tools.triage.routes import api

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await page.live.close()

    app = FastAPI(title="Forebay", version="1", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.page = page
    answers.install(app)
    app.include_router(api())
    app.mount("/", PageFiles(directory=STATIC, html=True, check_dir=False))
    app.add_middleware(Gate, hosts=page.hosts, tls=page.tls)
    return app
