"""Signing in and out by name and password."""

import time
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from pipeline.tools.triage.accounts import VIEWER, Account
from pipeline.tools.triage.answers import Refused
from pipeline.tools.triage.asking import changing, origin_of, page_of
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.sessions import ABSOLUTE_US, Session, Sessions


class Credentials(BaseModel):
    """A name and a password."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    user: str = Field(max_length=64)
    password: str = Field(max_length=256)


def login(
    page: Annotated[Page, Depends(page_of)], request: Request, response: Response, given: Credentials
) -> dict[str, Any]:
    """Start a session; its cookie comes with the answer."""
    sessions = page.sessions
    if not isinstance(sessions, Sessions):
        raise Refused(400, "login", "a page without accounts", "one with accounts", "nobody has to sign in")
    origin, now = origin_of(request), time.monotonic()
    wait_s = page.failures.wait_s(given.user, origin, now)
    if wait_s > 0:
        page.audit.note(given.user, origin, "login", result="too many wrong passwords")
        refused = Refused(429, "login", "too many wrong passwords", "fewer", f"try again in {wait_s / 60:.0f} min")
        refused.headers["retry-after"] = str(round(wait_s) + 1)
        raise refused
    account = page.accounts.checked(given.user, given.password)
    if account is None:
        page.failures.failed(given.user, origin, now)
        page.audit.note(given.user, origin, "login", result="wrong name or password")
        raise Refused(401, "login", "another name or password", "those of an account", "")
    page.failures.succeeded(given.user, origin)
    return begin(page, sessions, response, account, origin)


def begin(
    page: Page,
    sessions: Sessions,
    response: Response,
    account: Account,
    origin: str,
    is_local: bool = True,
    about: str = "",
) -> dict[str, Any]:
    """Start a session of an account that was proven; `about`: by whom, for the audit log."""
    session = sessions.start(account, is_local)
    page.audit.note(account.name, origin, "login", about)
    response.set_cookie(
        page.cookie,
        session.token,
        max_age=ABSOLUTE_US // 1_000_000,
        path="/",
        secure=page.tls,
        httponly=True,
        samesite="strict",
    )
    return described(page, session)


def described(page: Page, session: Session | None) -> dict[str, Any]:
    """Who asks, for their page; `login` where they have to sign in first."""
    return {
        "user": session.account.name if session else None,
        "role": session.account.role if session else None,
        "csrf": session.csrf if session else None,
        "login": session is None,
        "can_log_out": page.sessions.needs_login,
        "feed": page.feed() if session else None,
    }


def logout(
    page: Annotated[Page, Depends(page_of)],
    request: Request,
    response: Response,
    session: Annotated[Session, Depends(changing(VIEWER))],
) -> dict[str, Any]:
    """End the session."""
    if isinstance(page.sessions, Sessions):
        page.sessions.end(session)
    page.audit.note(session.account.name, origin_of(request), "logout")
    response.delete_cookie(page.cookie, path="/", secure=page.tls, httponly=True, samesite="strict")
    return {"login": page.sessions.needs_login}
