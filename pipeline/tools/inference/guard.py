"""What every request passes before its body is believed: host, token, size, and how many are under way. Plain ASGI."""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.tools.http_server import BODY_S, host_of, read_body, replayed

if TYPE_CHECKING:
    from pipeline.tools.inference.measures import Measures

PROBES = ("/v2/health/live", "/v2/health/ready")
ALWAYS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
RETRY_AFTER_S = "1"
READ_AT = "forebay.read_at"
"""In a request's scope: when its body was whole."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What is let in.

    Attributes
    ----------
    hosts : names by which the server may be called; None where it does not know them: beyond loopback
    token : what `Authorization: Bearer` must say; None: nobody is asked. Probes never are
    max_body_bytes : of a request
    max_requests : with a body, at the same time
    """

    hosts: frozenset[str] | None
    token: bytes | None
    max_body_bytes: int
    max_requests: int


class Guard:
    """Refuses what must not be served, and marks every answer."""

    def __init__(self, app: ASGIApp, guarded: Guarded, measures: "Measures") -> None:
        self._app = app
        self._guarded = guarded
        self._measures = measures
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(ALWAYS)
                self._measure(scope, message["status"])
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, marked)
        elif scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, marked)
        else:
            await self._with_body(scope, receive, marked)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._under_way >= self._guarded.max_requests:
            text = f"requests: got one more than {self._guarded.max_requests} at a time, expected fewer"
            await refused(429, f"{text}; send it again later", {"retry-after": RETRY_AFTER_S})(scope, receive, send)
            return
        self._under_way += 1
        try:
            try:
                body = await read_body(receive, self._guarded.max_body_bytes)
            except TimeoutError:
                text = f"body: got a part of it in {BODY_S:g} s, expected all; send it again"
                await refused(408, text, {"connection": "close"})(scope, receive, send)
                return
            if body is None:
                await self._too_large()(scope, receive, send)
                return
            scope[READ_AT] = time.monotonic()
            await self._app(scope, replayed(body, receive), send)
        finally:
            self._under_way -= 1

    def _measure(self, scope: Scope, status: int) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            seconds = time.monotonic() - scope[READ_AT] if READ_AT in scope else None
            self._measures.answered(status, content_kind(Headers(scope=scope)), seconds)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers, guarded = Headers(scope=scope), self._guarded
        host = host_of(headers.get("host", ""))
        if guarded.hosts is not None and host not in guarded.hosts:
            # A name of somebody else's that points here: a page of theirs could ask under it.
            names = ", ".join(sorted(guarded.hosts))
            return refused(421, f"host: got {host[:120]!r}, expected one of {names}; use the address that was printed")
        if "origin" in headers:
            return refused(403, "origin: got a request of a web page, expected one of a program")
        if guarded.token is not None and scope["path"] not in PROBES and not self._knows(headers):
            return refused(
                401, "authorization: got no token that is known, expected Bearer TOKEN", {"www-authenticate": "Bearer"}
            )
        size = headers.get("content-length", "")
        if size.isdecimal() and (len(size) > 12 or int(size) > guarded.max_body_bytes):
            return self._too_large()
        return None

    def _knows(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        token = self._guarded.token or b""
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1", "replace"), token)

    def _too_large(self) -> JSONResponse:
        most = self._guarded.max_body_bytes
        return refused(413, f"body: got more than {most:,} bytes, expected at most so many; send fewer rows at once")


def content_kind(headers: Mapping[str, str]) -> str:
    """The kind of a body, without what else its header says."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as the protocol has it."""
    return JSONResponse({"error": message}, status, headers)
