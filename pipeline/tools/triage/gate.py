"""What every request passes before anything reads it: the host it names, its size and kind; and every answer's headers.

Plain ASGI: it sees the body before it is read, and streams what is streamed.
"""

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.tools.http_server import BODY_S, host_of, read_body, replayed
from pipeline.tools.triage.answers import ErrorText, answer

MAX_BODY_BYTES = 65_536
API = "/api/"
POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    )
)
ALWAYS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
A_YEAR_S = 31_536_000


class Gate:
    """Refuses what no browser of ours sends, and marks every answer.

    Parameters
    ----------
    hosts : names by which this server may be called; None where it does not know them: beyond loopback
    tls : whether the server speaks TLS
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None, tls: bool) -> None:
        self._app = app
        self._hosts = frozenset(hosts) if hosts is not None else None
        self._scheme = "https" if tls else "http"
        self._headers = {**ALWAYS, **({"strict-transport-security": f"max-age={A_YEAR_S}"} if tls else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers["cache-control"] = "no-store" if scope["path"].startswith(API) else "no-cache"
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            status, text = refusal
            await answer(status, text)(scope, receive, marked)
            return
        if scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, marked)
            return
        try:
            body = await read_body(receive, MAX_BODY_BYTES)
        except TimeoutError:
            text = ErrorText(where="body", got=f"a part of it in {BODY_S:g} s", expected="all of it", remedy="")
            await answer(408, text)(scope, receive, marked)
            return
        if body is None:
            text = ErrorText(
                where="body", got=f"more than {MAX_BODY_BYTES:,} bytes", expected="at most so many", remedy=""
            )
            await answer(413, text)(scope, receive, marked)
            return
        await self._app(scope, replayed(body, receive), marked)

    def _refusal(self, scope: Scope) -> tuple[int, ErrorText] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and host_of(host) not in self._hosts:
            # A name of somebody else's that points here: a page of theirs could read ours under it.
            return 421, ErrorText(
                where="host",
                got=host[:120],
                expected=f"one of {', '.join(sorted(self._hosts))}",
                remedy="open the address that `forebay triage serve` has printed",
            )
        if scope["method"] in {"GET", "HEAD"}:
            return None
        origin, fetched_by = headers.get("origin"), headers.get("sec-fetch-site")
        if (origin is not None and origin.lower() != f"{self._scheme}://{host}".lower()) or (
            fetched_by not in (None, "same-origin")
        ):
            got = origin if origin is not None else f"a request of a {fetched_by} page"
            return 403, ErrorText(where="origin", got=str(got)[:120], expected="this page's own", remedy="")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["path"].startswith(API) and kind != "application/json":
            return 415, ErrorText(
                where="content-type", got=kind[:120] or "none", expected="application/json", remedy=""
            )
        return None
