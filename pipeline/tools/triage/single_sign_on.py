"""Signing in at a provider of OpenID Connect: there with a code's promise, back with the code (RFC 6749, 7636).

The browser keeps one secret of a sign-in in a cookie; state, nonce and PKCE's verifier are derived from it. So a server
keeps nothing of sign-ins that nobody finishes, and any server of the same store may finish one.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import Depends, Query, Request
from fastapi.responses import RedirectResponse

from pipeline.errors import ForebayError
from pipeline.runtime.telemetry import log
from pipeline.runtime.terminal import printable
from pipeline.tools.triage.accounts import Account
from pipeline.tools.triage.answers import Refused
from pipeline.tools.triage.asking import origin_of, page_of
from pipeline.tools.triage.id_tokens import RefusedToken, role_in
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.provider import Provider, ProviderAway, RefusedCode
from pipeline.tools.triage.sessions import Sessions
from pipeline.tools.triage.signing_in import begin

LOGIN, CALLBACK = "/oidc/login", "/oidc/callback"
PREFIX = "/api/v1"
PATIENCE_S = 600
"""So long people may take at the provider."""
MAX_NAME = 64
MADE_BY_PROVIDER = "oidc:"
"""Before every name that a provider gives: no account has a colon, so nobody passes for another's."""
AWAY, REFUSED, NO_ROLE, AGAIN = "away", "refused", "no-role", "again"
"""Why a sign-in failed, for the page's screen, which has a sentence for each."""
Text = Annotated[str, Query(max_length=8_192)]
Moved = Annotated[bool, Query()]


def ways_to_sign_in(page: Annotated[Page, Depends(page_of)]) -> dict[str, Any]:
    """How one may sign in: by password, and where at which provider."""
    if page.provider is None:
        return {"password": page.sessions.needs_login, "oidc": None}
    return {"password": bool(page.accounts.every()), "oidc": page.provider.settings.shown}


def leave(page: Annotated[Page, Depends(page_of)], request: Request, moved: Moved = False) -> RedirectResponse:
    """Send a browser to the provider, with a secret to come back with.

    It first goes to the page's own address, once, where it has called it by another: it will come back there.
    """
    provider, _ = _parts(page)
    if not moved and request.headers.get("host", "").lower() != urlsplit(page.url).netloc.lower():
        return RedirectResponse(f"{page.url}{PREFIX}{LOGIN}?moved=true", 303)
    try:
        endpoint = provider.endpoints().authorization
    except ProviderAway as error:
        return _failed(page, request, AWAY, str(error))
    secret = f"{int(time.time())}.{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(_derived(secret, "verifier").encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": provider.settings.client_id,
        "redirect_uri": _redirect(page),
        "scope": " ".join(provider.settings.scopes),
        "state": _derived(secret, "state"),
        "nonce": _derived(secret, "nonce"),
        "code_challenge": urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    answer = RedirectResponse(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", 303)
    # Lax: the provider's redirect back is a request from another site, and has to bring it.
    answer.set_cookie(
        _cookie(page), secret, max_age=PATIENCE_S, path="/", secure=page.tls, httponly=True, samesite="lax"
    )
    return answer


def come_back(
    page: Annotated[Page, Depends(page_of)],
    request: Request,
    state: Text = "",
    code: Text = "",
    error: Text = "",
    iss: Text = "",
) -> RedirectResponse:
    """Start a session of whom the provider sends back; where it proves nobody, say so on the page."""
    provider, sessions = _parts(page)
    secret = request.cookies.get(_cookie(page), "")
    if not _is_fresh(secret) or not secrets.compare_digest(state.encode(), _derived(secret, "state").encode()):
        return _failed(page, request, AGAIN, "no sign-in of this browser, or one begun long ago")
    if error or not code:
        return _failed(page, request, REFUSED, f"the provider says {error or 'nothing'}")
    if iss and iss != provider.settings.issuer:
        return _failed(page, request, REFUSED, f"sent back by another provider: {iss}")
    try:
        claims = provider.claims_for(code, _derived(secret, "verifier"), _redirect(page), _derived(secret, "nonce"))
    except ProviderAway as problem:
        return _failed(page, request, AWAY, str(problem))
    except ForebayError as problem:
        log("triage").error("nobody can sign in at the provider", reason=str(problem))
        return _failed(page, request, AWAY, str(problem))
    except (RefusedCode, RefusedToken) as problem:
        return _failed(page, request, REFUSED, f"{type(problem).__name__}: {problem}")
    name, about = _name(claims, provider), f"{provider.settings.issuer} {claims['sub']}"
    role = role_in(claims, provider.settings)
    if role is None:
        return _failed(page, request, NO_ROLE, f"in no group with a role: {about}", name)
    answer = _to_page(page)
    begin(page, sessions, answer, Account(name, role), origin_of(request), is_local=False, about=about)
    return answer


def _parts(page: Page) -> tuple[Provider, Sessions]:
    if page.provider is None or not isinstance(page.sessions, Sessions):
        raise Refused(404, "oidc", "a page without a provider", "one with `--oidc FILE`", "sign in as the page says")
    return page.provider, page.sessions


def _cookie(page: Page) -> str:
    return f"{page.cookie}-sign-in"


def _redirect(page: Page) -> str:
    return f"{page.url}{PREFIX}{CALLBACK}"


def _derived(secret: str, use: str) -> str:
    """A value of a sign-in for one use, from which nobody finds the secret or another value."""
    return urlsafe_b64encode(hmac.digest(secret.encode(), use.encode(), "sha256")).decode().rstrip("=")


def _is_fresh(secret: str) -> bool:
    began, _, rest = secret.partition(".")
    if not (began.isascii() and began.isdigit() and len(began) <= 12 and len(rest) >= 40):
        return False
    return 0 <= time.time() - int(began) <= PATIENCE_S


def _name(claims: Mapping[str, Any], provider: Provider) -> str:
    given = claims.get(provider.settings.name_claim)
    text = given.strip() if isinstance(given, str) else ""
    return MADE_BY_PROVIDER + printable(text or str(claims["sub"]), MAX_NAME)


def _to_page(page: Page, why: str = "") -> RedirectResponse:
    """Back to the page, and nowhere else; the sign-in's cookie has served."""
    answer = RedirectResponse(f"/?sign-in={why}" if why else "/", 303)
    answer.delete_cookie(_cookie(page), path="/", secure=page.tls, httponly=True, samesite="lax")
    return answer


def _failed(page: Page, request: Request, why: str, reason: str, who: str = "") -> RedirectResponse:
    """Write down why nobody was signed in, and say on the page which kind of reason it was."""
    page.audit.note(who, origin_of(request), "login by provider", printable(reason, 500), why)
    return _to_page(page, why)
