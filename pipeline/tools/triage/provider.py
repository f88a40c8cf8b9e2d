"""A provider of OpenID Connect: what it says of itself, its keys, and tokens for codes. Nothing it answers is trusted.

Every answer has a size and a time within which it must come, redirects are not followed, and few are asked at once.
"""

import base64
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import orjson
from joserfc.jwk import Key

from pipeline.errors import Misconfigured
from pipeline.tools.triage.id_tokens import UnknownKey, claims_in, keys_of
from pipeline.tools.triage.provider_settings import HTTPS, ProviderSettings, is_safe

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT_S = 5.0
DEADLINE_S = 15.0
MAX_ANSWER_BYTES = 262_144
REMEMBERED_S = 3_600.0
KEYS_AGAIN_S = 30.0
"""A key that is not known makes the keys be read again, no more often than that."""
AT_ONCE = 4


class ProviderAway(Exception):
    """The provider does not answer, or not as a provider does; the message says what it did."""


class RefusedCode(Exception):
    """The provider gives no token for a code: it is used, too old, or of another client."""


class Endpoints(NamedTuple):
    """Where a provider is asked for what."""

    authorization: str
    token: str
    keys: str
    posts_secret: bool
    """The secret goes into the request's body: the provider takes it there alone."""


class Provider:
    """A provider, and what it said of late."""

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._endpoints: tuple[float, Endpoints] | None = None
        self._keys: tuple[float, list[Key]] | None = None
        try:
            self._tls = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"ca_file {settings.ca_file}: got {error}, expected certificates in PEM") from error

    def endpoints(self) -> Endpoints:
        """Where the provider is asked for what; ProviderAway where it does not say."""
        remembered = self._endpoints
        if remembered is not None and time.monotonic() - remembered[0] < REMEMBERED_S:
            return remembered[1]
        address = self.settings.issuer.rstrip("/") + DISCOVERY
        found = _endpoints_in(self._asked("GET", address), self.settings.issuer, address)
        self._endpoints = (time.monotonic(), found)
        return found

    def claims_for(self, code: str, verifier: str, redirect: str, nonce: str) -> Mapping[str, Any]:
        """What the provider says of who came back with a code.

        RefusedCode, RefusedToken or ProviderAway where that is not proven.
        """
        endpoints = self.endpoints()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        headers, secret = {}, self.settings.secret()
        if secret is None or endpoints.posts_secret:
            form |= {"client_id": self.settings.client_id, **({"client_secret": secret} if secret is not None else {})}
        else:
            pair = f"{quote(self.settings.client_id, safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        token = self._asked("POST", endpoints.token, headers, form).get("id_token")
        keys, age_s = self._known_keys(endpoints)
        try:
            return claims_in(token, keys, self.settings, nonce)
        except UnknownKey:
            if age_s < KEYS_AGAIN_S:
                raise
            keys, _ = self._known_keys(endpoints, again=True)
            return claims_in(token, keys, self.settings, nonce)

    def _known_keys(self, endpoints: Endpoints, again: bool = False) -> tuple[list[Key], float]:
        """The provider's keys, and how long ago they were read, in seconds; one reads them at a time."""
        with self._lock:
            now = time.monotonic()
            if self._keys is not None:
                age_s = now - self._keys[0]
                if age_s < (KEYS_AGAIN_S if again else REMEMBERED_S):
                    return self._keys[1], age_s
            found = keys_of(self._asked("GET", endpoints.keys))
            self._keys = (time.monotonic(), found)
            return found, 0.0

    def _asked(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The JSON object that the provider answers with. RefusedCode: 400 or 401, which a code can be to blame for."""
        if not self._turns.acquire(blocking=False):
            raise ProviderAway("as many requests to the provider as there may be are under way")
        try:
            status, body = self._answer(method, address, {"accept-encoding": "identity", **(headers or {})}, form)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ProviderAway(f"{address}: {type(error).__name__} {error}".strip()) from error
        finally:
            self._turns.release()
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if form is not None and status in (400, 401):
            said = document.get("error") if isinstance(document, dict) else None
            raise RefusedCode(f"{status} {said}"[:200])
        if status != 200 or not isinstance(document, dict):
            raise ProviderAway(f"{address}: status {status}, expected 200 and a JSON object")
        return document

    def _answer(
        self, method: str, address: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        """Status and body of an answer, which has to be small and soon."""
        until, body = time.monotonic() + DEADLINE_S, b""
        given = {"accept": "application/json", **headers}
        with (
            httpx.Client(verify=self._tls, timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client,
            client.stream(method, address, headers=given, data=form) as answer,
        ):
            for part in answer.iter_raw():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise ProviderAway(f"{address}: more than {MAX_ANSWER_BYTES:,} bytes")
                if time.monotonic() > until:
                    raise ProviderAway(f"{address}: no whole answer within {DEADLINE_S:.0f} s")
            return answer.status_code, body


def _endpoints_in(document: Mapping[str, Any], issuer: str, address: str) -> Endpoints:
    """The endpoints that a provider's document names; ProviderAway where it is of another one, or they are not safe."""
    if document.get("issuer") != issuer:
        got = repr(document.get("issuer"))[:120]
        raise ProviderAway(f"{address}: issuer {got}, expected {issuer}; write `issuer` as the provider does")
    urls: list[str] = []
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        url = document.get(name)
        if not isinstance(url, str) or not is_safe(url) or (issuer.startswith("https:") and url.startswith("http:")):
            raise ProviderAway(f"{address}: {name} {repr(url)[:120]}, expected {HTTPS}")
        urls.append(url)
    methods = document.get("token_endpoint_auth_methods_supported")
    posts = isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
    authorization, token, keys = urls
    return Endpoints(authorization, token, keys, posts)
