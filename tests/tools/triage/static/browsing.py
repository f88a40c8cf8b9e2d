"""A real Chromium on a page that a real server serves, on this machine alone."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from pipeline.tools.broker.ports import free_port
from pipeline.tools.triage import page as triage
from pipeline.tools.triage.app import application
from pipeline.tools.triage.sessions import LocalUser, Sessions
from pipeline.tools.triage.store import Store
from tests.patience import PATIENCE_S

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)
STREAM = "eventsource"  # a request whose answer never ends
WIDTHS = {"narrow": (390, 844), "wide": (1920, 1080)}
TIMEOUT_MS = 1_000 * PATIENCE_S


def chromium() -> str | None:
    """The Chromium that FOREBAY_TEST_CHROMIUM names, else one of PATH."""
    named = os.environ.get("FOREBAY_TEST_CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser, or the test is skipped and says what it therefore did not show."""
    path = chromium()
    if path is None:
        pytest.skip("not proven: the page in a real browser (no chromium in PATH; FOREBAY_TEST_CHROMIUM names one)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS), timeout=TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        yield browser
        browser.close()


@dataclass(slots=True)
class Served:
    """A page that is served, and can go away and come back on the same port."""

    store: Store
    sessions: LocalUser | Sessions = field(default_factory=LocalUser)
    given: Mapping[str, Any] = field(default_factory=dict)
    port: int = 0
    page: triage.Page | None = None
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Answer on the port."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = self.port or free_port()  # no client's: it must be free again after a while
        listening.bind(("127.0.0.1", self.port))
        self.page = triage.Page(self.store, self.sessions, **self.given)
        config = uvicorn.Config(application(self.page), log_config=None, access_log=False, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        until = time.monotonic() + PATIENCE_S
        while not self._server.started and time.monotonic() < until:
            time.sleep(0.02)
        assert self._server.started

    def stop(self) -> None:
        """Be gone, with every connection."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._server = self._thread = None


@contextmanager
def served(store: Store, sessions: LocalUser | Sessions | None = None, **given: Any) -> Iterator[Served]:
    """A page of a store, served while the context lasts."""
    made = Served(store, sessions or LocalUser(), given)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        store.database.close()


class Reader:
    """Somebody at a browser: a page, and everything that it complained of."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context, self.url = context, url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.faults: list[str] = []
        self.requested: set[str] = set()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda said: self.faults.append(said.text) if "Security Policy" in said.text else None)
        self.page.on("request", self._asked)
        self.page.on("requestfinished", self._answered)
        self.page.on("requestfailed", self._answered)
        self.on_their_way = 0

    def _asked(self, request: Request) -> None:
        self.requested.add(request.url)
        self.on_their_way += request.resource_type != STREAM

    def _answered(self, request: Request) -> None:
        self.on_their_way -= request.resource_type != STREAM

    def wait_until_still(self) -> None:
        """Until the page has every answer, and has asked for nothing more for half a second; ten seconds at most."""
        quiet_ms, until = 0, time.monotonic() + 10
        while quiet_ms < 500 and time.monotonic() < until:
            self.page.wait_for_timeout(100)
            quiet_ms = 0 if self.on_their_way > 0 else quiet_ms + 100

    def open(self, address: str = "#/incidents") -> Page:
        """Load the page at an address of its own, anew."""
        self.page.goto("about:blank")
        self.page.goto(self.url + address)
        self.page.locator("main").wait_for()
        return self.page


@contextmanager
def reading(browser: Browser, url: str, width: str = "wide", theme: Any = "light", **context: Any) -> Iterator[Reader]:
    """A reader with cookies of their own; what its page did wrong fails the test."""
    across, high = WIDTHS[width]
    given = {"viewport": {"width": across, "height": high}, "color_scheme": theme, "timezone_id": "UTC", **context}
    made = browser.new_context(**given)
    try:
        reader = Reader(made, url)
        yield reader
        assert not reader.faults
        assert {each for each in reader.requested if not each.startswith((url, "about:", "data:"))} == set()
    finally:
        made.close()


def folder_of(tmp_path: Path, name: str) -> Path:
    """A folder for one store."""
    made = tmp_path / name
    made.mkdir()
    return made
