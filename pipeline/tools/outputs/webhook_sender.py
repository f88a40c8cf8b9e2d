"""Webhooks: a POST of JSON, signed, never redirected; its answer decides what happens to the revision."""

import hashlib
import hmac
import http.client
import threading
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from pipeline.tools.outputs.formats.table import as_line, content_type
from pipeline.tools.outputs.revision import PRODUCT_VERSION, Revision
from pipeline.tools.outputs.sending import Refused, Retry, secret
from pipeline.tools.outputs.tls import context, reason, remedy
from schemas.outputs import WebhookOutput, address_of, destination_of

SIGNATURE = "X-Forebay-Signature"
IDEMPOTENCY = "Idempotency-Key"
# Answers that say: later. Every other one of 400 to 499 says that this revision is not wanted.
LATER = (408, 425, 429)
MAX_ANSWER_BYTES = 300


class WebhookSender:
    """Posts to one URL, a connection each: alerts are few, and a kept connection may be half dead."""

    def __init__(self, output: WebhookOutput) -> None:
        self.output = output
        self._where = destination_of(output)

    def send(self, revision: Revision) -> str:
        """Post a revision."""
        body = as_line(revision, self.output.format).encode()
        headers = self._headers(revision, body, int(time.time()))
        try:
            status, asked, answer = self._post(body, headers)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError):
                raise Retry(f"{self._where}: got {reason(error)}", remedy(error)) from None
            raise Retry(
                f"{self._where}: got no HTTP ({type(error).__name__})", "compare the port and the URL"
            ) from None
        said = f"{status}{f' {answer}' if answer else ''}"
        if 200 <= status < 300:
            return said
        if status >= 500 or status in LATER:
            raise Retry(f"{self._where}: got {said}", "see the receiver's log", after_s=asked)
        if 300 <= status < 400:
            raise Refused(f"{self._where}: got {status}, a redirect", "set webhook to where it leads")
        raise Refused(f"{self._where}: got {said}", "compare URL, secret and format with what the receiver expects")

    def close(self) -> None:
        """Nothing is kept open."""

    def _headers(self, revision: Revision, body: bytes, now_s: int) -> dict[str, str]:
        headers = {
            "Content-Type": content_type(self.output.format),
            "User-Agent": f"forebay/{PRODUCT_VERSION}",
            IDEMPOTENCY: revision.key,
            "Connection": "close",
        }
        if self.output.secret_file:
            headers[SIGNATURE] = signature(secret(self.output.secret_file), body, now_s)
        if self.output.token_file:
            token = secret(self.output.token_file).decode("latin-1")
            if not token.isprintable():
                raise Retry(f"{self.output.token_file}: got more than one line", "write the token alone into it")
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, float, str]:
        """Status, seconds to wait that the receiver asks for, and how its answer begins."""
        scheme, host, port = address_of(self.output.webhook)
        parts, limit_s = urlsplit(self.output.webhook), self.output.timeout_s
        connection = (
            http.client.HTTPSConnection(host, port, timeout=limit_s, context=context(self.output))
            if scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=limit_s)
        )
        # A receiver that sends a byte now and then never lets a socket's own timeout pass.
        over = threading.Timer(2 * limit_s, lambda: _abort(connection))
        over.daemon = True
        over.start()
        try:
            connection.request("POST", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", body, headers)
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER_BYTES).decode("utf-8", "replace")
            return response.status, asked_s(response.headers.get("Retry-After"), time.time()), answer
        finally:
            over.cancel()
            connection.close()


def _abort(connection: http.client.HTTPConnection) -> None:
    """End a connection from another thread: whoever waits for it gets an error."""
    if connection.sock is not None:
        try:
            connection.sock.shutdown(2)
        except OSError:
            return


def signature(key: bytes, body: bytes, now_s: int) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 of "SECONDS." and the body."""
    digest = hmac.new(key, b"%d.%s" % (now_s, body), hashlib.sha256).hexdigest()
    return f"t={now_s},v1={digest}"


def asked_s(header: str | None, now_s: float) -> float:
    """Seconds that a Retry-After asks for: a number or a date; 0 where it is neither, or past."""
    if not header:
        return 0.0
    if header.strip().isascii() and header.strip().isdigit():
        return float(header.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now_s)
    except (ValueError, OverflowError):
        return 0.0
