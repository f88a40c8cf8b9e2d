"""Who asks, and whether they may: what a route depends on."""

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, Request

from pipeline.tools.triage.accounts import may
from pipeline.tools.triage.answers import Refused
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.sessions import Session

ASKED_BY_ITSELF = frozenset({"/api/v1/session", "/api/v1/events"})
"""What a page that is left open asks without its person: no use of a session."""


def page_of(request: Request) -> Page:
    """The page that the request is to."""
    page: Page = request.app.state.page
    return page


def origin_of(request: Request) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client is not None else ""


def session_or_none(request: Request) -> Session | None:
    """Who asks, if they are known."""
    page = page_of(request)
    return page.sessions.of(request.cookies.get(page.cookie), request.url.path not in ASKED_BY_ITSELF)


def _known(session: Annotated[Session | None, Depends(session_or_none)]) -> Session:
    if session is None:
        raise Refused(401, "session", "none, or one that is over", "a session", "sign in")
    return session


def having(role: str) -> Callable[..., Session]:
    """Who asks, if their role may what this one may."""

    def asker(request: Request, session: Annotated[Session, Depends(_known)]) -> Session:
        if not may(session.account.role, role):
            action = f"{request.method} {request.url.path}"[:200]
            page_of(request).audit.note(session.account.name, origin_of(request), action, result="refused")
            raise Refused(403, "role", session.account.role, role, "ask who looks after the page for another role")
        return session

    return asker


def changing(role: str) -> Callable[..., Session]:
    """The same for a request that changes something: it bears the token of its session's page."""
    asked = having(role)

    def changer(
        session: Annotated[Session, Depends(asked)], x_csrf_token: Annotated[str, Header(max_length=200)] = ""
    ) -> Session:
        if not secrets.compare_digest(x_csrf_token.encode(), session.csrf.encode()):
            raise Refused(403, "x-csrf-token", "another token", "that of GET session", "load the page again")
        return session

    return changer
