"""Webhooks against a server that fails, hangs, redirects and asks to wait."""

import hashlib
import hmac
import json
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.broker.ports import free_port
from pipeline.tools.outputs.revision import Revision, revision_of
from pipeline.tools.outputs.sending import Refused, Retry
from pipeline.tools.outputs.webhook_sender import WebhookSender, asked_s, signature
from schemas.outputs import WebhookOutput
from tests.patience import PATIENCE_S
from tests.tools.outputs.receivers import Certificates, WebServer, web_server
from tests.tools.outputs.revisions import event, revision


def sender(url: str, **others: Any) -> WebhookSender:
    return WebhookSender(WebhookOutput(name="hook", webhook=url, **{"timeout_s": 60.0, **others}))


def sent(server: WebServer, made: Revision | None = None, **others: Any) -> str:
    return sender(server.url, **others).send(made or revision_of(event()))


def verified(header: str, body: bytes, key: bytes, now_s: float) -> bool:
    """As docs/outputs.md tells a receiver to do it."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    expected = hmac.new(key, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts["v1"]) and abs(now_s - int(parts["t"])) < 300


def test_a_post_is_json_signed_and_has_a_key(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the two of us\n")
    (tmp_path / "token").write_text("t0ken\n")
    with web_server() as server:
        answer = sent(server, secret_file=str(tmp_path / "secret"), token_file=str(tmp_path / "token"))
    [(path, headers, body)] = server.requests
    assert answer == "200 said" and path == "/hook?of=forebay"
    assert json.loads(body) == event()
    assert headers["Idempotency-Key"] == revision_of(event()).key and headers["Authorization"] == "Bearer t0ken"
    assert verified(headers["X-Forebay-Signature"], body, b"of the two of us", time.time())
    assert not verified(headers["X-Forebay-Signature"], body + b" ", b"of the two of us", time.time())


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
def test_later_is_later(status: int) -> None:
    with web_server() as server:
        server.answers = [(status, {"Retry-After": "7"})]
        with pytest.raises(Retry) as raised:
            sent(server)
    assert raised.value.after_s == 7.0 and str(status) in str(raised.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422])
def test_never_is_never(status: int) -> None:
    with web_server() as server:
        server.answers = [(status, {})]
        with pytest.raises(Refused, match=str(status)):
            sent(server)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with web_server() as server, web_server() as elsewhere:
        server.answers = [(status, {"Location": elsewhere.url})]
        with pytest.raises(Refused, match="redirect"):
            sent(server)
        assert len(server.requests) == 1 and not elsewhere.requests


def test_a_receiver_that_hangs_is_left_in_time() -> None:
    with web_server() as server:
        server.hang_s = PATIENCE_S
        started = time.monotonic()
        with pytest.raises(Retry, match="no answer in time"):
            sent(server, timeout_s=0.3)
        assert time.monotonic() - started < PATIENCE_S


def test_a_receiver_that_is_away_may_come_back() -> None:
    with pytest.raises(Retry, match="refused"):
        sender(f"http://127.0.0.1:{free_port()}/").send(revision_of(event()))


def test_tls_is_verified(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    with web_server(certificates.context()) as server:
        assert sent(server, ca_file=certificates.ca_file).startswith("200")
        with pytest.raises(Retry, match="does not verify"):
            sent(server)
        with pytest.raises(Retry, match="certificates of hook"):
            sent(server, ca_file=str(tmp_path / "absent.pem"))
    assert len(server.requests) == 1, "nothing was sent to whom we do not know"


def test_a_secret_that_cannot_be_read_is_corrected_by_a_person(tmp_path: Path) -> None:
    with web_server() as server:
        for content in (None, b"", b"x" * 5_000):
            if content is not None:
                (tmp_path / "secret").write_bytes(content)
            with pytest.raises(Retry, match="secret"):
                sent(server, secret_file=str(tmp_path / "secret"))
        (tmp_path / "token").write_text("a\nX-Injected: yes")
        with pytest.raises(Retry, match="more than one line"):
            sent(server, token_file=str(tmp_path / "token"))
    assert not server.requests


def test_text_from_the_network_stays_inside_the_body() -> None:
    hostile = replace(revision(), says='"}\r\nX-Evil: 1\r\n\r\n{', site="a\r\nb")
    with web_server() as server:
        sent(server, hostile, format="ecs")
    [(_, headers, body)] = server.requests
    assert "X-Evil" not in headers and json.loads(body)["message"] == hostile.says


@given(st.binary(max_size=50), st.binary(min_size=1, max_size=50), st.integers(0, 2**40))
def test_signatures_verify(body: bytes, key: bytes, now_s: int) -> None:
    header = signature(key, body, now_s)
    assert verified(header, body, key, now_s) and not verified(header, body, key + b"x", now_s)


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, 0.0), ("", 0.0), ("12", 12.0), ("-1", 0.0), ("soon", 0.0), ("٣", 0.0), ("9" * 400, 999_999_999.0)],
)
def test_retry_after(header: str | None, expected: float) -> None:
    assert asked_s(header, 1_000.0) == expected


def test_retry_after_a_date() -> None:
    assert asked_s(formatdate(1_060.0, usegmt=True), 1_000.0) == 60.0
    assert asked_s(formatdate(900.0, usegmt=True), 1_000.0) == 0.0
