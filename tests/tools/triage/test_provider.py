"""A provider's answers: small, soon, of this issuer, from safe addresses; a new key of its is found once."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from joserfc.jwk import RSAKey

from pipeline.errors import Misconfigured
from pipeline.tools.triage import provider as module
from pipeline.tools.triage.id_tokens import RefusedToken, UnknownKey
from pipeline.tools.triage.provider import Provider, ProviderAway, RefusedCode
from pipeline.tools.triage.provider_settings import ProviderSettings, is_safe, read_provider
from pipeline.tools.triage.serving import Request, address_of
from tests.tools.triage.test_id_tokens import CLIENT, GROUPS, NONCE, OTHER, RSA, token

NEW = RSAKey.generate_key(2048, {"kid": "new"})
Answer = Callable[[], tuple[int, dict[str, str], bytes]]


def json(document: Any, status: int = 200) -> Answer:
    return lambda: (status, {}, orjson.dumps(document))


def fresh(issuer: str, key: RSAKey = RSA) -> str:
    """A token of this moment."""
    now = int(time.time())
    return token(key, iss=issuer, iat=now, exp=now + 300)


class Scripted:
    """A provider that answers what a test wants."""

    def __init__(self) -> None:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                script.asked.append(self.path)
                script.headers.append(dict(self.headers))
                script.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
                status, headers, body = script.answers[self.path]()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                return

        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        self.keys: list[RSAKey] = [RSA]
        self.token = fresh(self.issuer)
        self.answers: dict[str, Answer] = {
            module.DISCOVERY: lambda: json(self.document)(),
            "/keys": lambda: json({"keys": [key.as_dict(private=False) for key in self.keys]})(),
            "/token": lambda: json({"id_token": self.token})(),
        }

    def provider(self, **changed: Any) -> Provider:
        given = {"issuer": self.issuer, "client_id": CLIENT, "roles": GROUPS, **changed}
        return Provider(ProviderSettings.model_validate(given))


@pytest.fixture
def script() -> Iterator[Scripted]:
    made = Scripted()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def claims(provider: Provider) -> Any:
    return provider.claims_for("the code", "the verifier", "http://127.0.0.1/back", NONCE)


def test_a_code_becomes_claims_and_what_a_provider_says_is_remembered(script: Scripted) -> None:
    provider = script.provider()
    assert claims(provider)["sub"] == claims(provider)["sub"] == "kim"
    assert script.asked == [module.DISCOVERY, "/token", "/keys", "/token"]
    sent = b"grant_type=authorization_code&code=the+code&redirect_uri=http%3A%2F%2F127.0.0.1%2Fback"
    assert script.bodies[1] == sent + b"&code_verifier=the+verifier&client_id=forebay"


@pytest.mark.parametrize("posted", [False, True])
def test_the_secret_goes_where_the_provider_takes_it(script: Scripted, tmp_path: Path, posted: bool) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a/b:c d\n")
    if posted:
        script.document["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    claims(script.provider(client_secret_file=secret))
    header = {name.lower(): value for name, value in script.headers[1].items()}.get("authorization")
    assert header == (None if posted else "Basic Zm9yZWJheTphJTJGYiUzQWMlMjBk")
    assert (b"client_secret=a%2Fb%3Ac+d" in script.bodies[1]) is posted


def test_a_new_key_is_looked_for_once(script: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = script.provider()
    claims(provider)
    script.token = fresh(script.issuer, NEW)
    with pytest.raises(UnknownKey):
        claims(provider)
    assert script.asked.count("/keys") == 1, "they were read a moment ago"
    monkeypatch.setattr(module, "KEYS_AGAIN_S", 0.0)
    with pytest.raises(UnknownKey):
        claims(provider)
    assert script.asked.count("/keys") == 2
    script.keys = [RSA, NEW]
    assert claims(provider)["sub"] == "kim"
    assert script.asked.count("/keys") == 3
    script.token = fresh(script.issuer, OTHER)
    with pytest.raises(RefusedToken):
        claims(provider)
    assert script.asked.count("/keys") == 3, "a wrong signature is no new key"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("issuer", "https://evil.example"),
        ("issuer", None),
        ("token_endpoint", "http://evil.example/token"),
        ("token_endpoint", "file:///etc/passwd"),
        ("jwks_uri", ["https://a.example"]),
        ("jwks_uri", "https://[bad"),
        ("authorization_endpoint", "javascript:alert(1)"),
        ("authorization_endpoint", "https://a.example/x\r\nset-cookie: a=b"),
        ("authorization_endpoint", None),
    ],
)
def test_a_document_that_leads_elsewhere_is_refused(script: Scripted, name: str, value: Any) -> None:
    script.document[name] = value
    with pytest.raises(ProviderAway, match=name):
        script.provider().endpoints()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (module.DISCOVERY, json({}, 500)),
        (module.DISCOVERY, json([])),
        (module.DISCOVERY, lambda: (200, {}, b"<html>")),
        (module.DISCOVERY, lambda: (200, {}, b"[" * 100_000)),
        (module.DISCOVERY, lambda: (200, {}, b" " * (module.MAX_ANSWER_BYTES + 1))),
        (module.DISCOVERY, lambda: (302, {"location": "/keys"}, b"")),
        (module.DISCOVERY, lambda: (200, {"content-encoding": "gzip"}, b"\x1f\x8b\x08")),
        ("/token", json({}, 500)),
        ("/token", lambda: (307, {"location": "https://evil.example"}, b"")),
        ("/keys", lambda: (200, {}, b"")),
        ("/keys", json({}, 404)),
    ],
)
def test_an_answer_that_is_none_is_a_provider_that_is_away(script: Scripted, path: str, answer: Answer) -> None:
    script.answers[path] = answer
    with pytest.raises(ProviderAway):
        claims(script.provider())


@pytest.mark.parametrize("status", [400, 401])
def test_a_code_that_is_not_taken(script: Scripted, status: int) -> None:
    script.answers["/token"] = json({"error": "invalid_grant"}, status)
    with pytest.raises(RefusedCode, match="invalid_grant"):
        claims(script.provider())


@pytest.mark.parametrize("given", [None, 7, "", "a.b.c"])
def test_an_answer_without_a_token_proves_nothing(script: Scripted, given: Any) -> None:
    script.token = given
    with pytest.raises(RefusedToken):
        claims(script.provider())


def test_a_slow_provider_is_waited_for_no_longer_than_that(script: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    def late() -> tuple[int, dict[str, str], bytes]:
        time.sleep(1)
        return json(script.document)()

    script.answers[module.DISCOVERY] = late
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    with pytest.raises(ProviderAway, match="Timeout"):
        script.provider().endpoints()
    monkeypatch.setattr(module, "TIMEOUT_S", 10.0)
    monkeypatch.setattr(module, "DEADLINE_S", 0.1)
    with pytest.raises(ProviderAway, match="no whole answer"):
        script.provider().endpoints()


def test_few_requests_are_under_way_at_once(script: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 0)
    with pytest.raises(ProviderAway, match="as many"):
        script.provider().endpoints()


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://id.example", True),
        ("http://127.0.0.1:8080/realms/x", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://id.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://127.0.0.1@evil.example", False),
        ("https://user:word@id.example", False),
        ("https://id.example#x", False),
        ("https://id.example:port", False),
        ("https://", False),
        ("ftp://127.0.0.1", False),
        ("https://id.example/\n", False),
        ("", False),
    ],
)
def test_where_a_provider_may_be_asked(url: str, safe: bool) -> None:
    assert is_safe(url) is safe


FILE = "issuer: https://id.example\nclient_id: forebay\nroles: {analyst: [ot]}\n"


def test_a_file_describes_a_provider(tmp_path: Path) -> None:
    file = tmp_path / "oidc.yaml"
    file.write_text(FILE)
    assert (read_provider(file).shown, read_provider(file).roles.analyst) == ("id.example", ("ot",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("issuer: http://id.example\nclient_id: a\nroles: {viewer: [b]}", "issuer"),
        ("issuer: https://id.example/?a=b\nclient_id: a\nroles: {viewer: [b]}", "issuer"),
        ("issuer: https://id.example\nclient_id: a\nroles: {}", "a group for one role"),
        ("issuer: https://id.example\nclient_id: a\nroles: {root: [b]}", "roles.root"),
        ("issuer: https://id.example\nclient_id: a", "roles"),
        (FILE + "client_secret: x", "client_secret"),
        (FILE + "client_secret_file: /nowhere/at/all", "client_secret_file"),
        (FILE + "client_secret_file: /dev/null", "no secret"),
        (FILE + "url: https://page.example/x", "url"),
        (FILE + "scopes: [profile]", "openid"),
        ("[", "YAML"),
        ("- a", "lines"),
    ],
)
def test_what_describes_none_is_said(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "oidc.yaml"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=says):
        read_provider(file)


def test_certificates_that_are_none_are_said(script: Scripted, tmp_path: Path) -> None:
    for name in ("none.pem", "empty.pem"):
        (tmp_path / "empty.pem").touch()
        with pytest.raises(Misconfigured, match="ca_file"):
            script.provider(ca_file=tmp_path / name)


@pytest.mark.parametrize(
    ("host", "tls", "url", "address"),
    [
        ("127.0.0.1", False, None, "http://127.0.0.1:1"),
        ("::1", False, None, "http://[::1]:1"),
        ("127.0.0.1", False, "http://localhost:1/", "http://localhost:1"),
        ("0.0.0.0", True, "https://page.example", "https://page.example"),  # noqa: S104
        ("0.0.0.0", True, None, None),  # noqa: S104
        ("127.0.0.1", False, "https://page.example", None),
        ("127.0.0.1", True, "https://page.example", None),
        ("0.0.0.0", True, "http://localhost:1", None),  # noqa: S104
    ],
)
def test_where_the_provider_sends_browsers_back_to(
    tmp_path: Path, host: str, tls: bool, url: str | None, address: str | None
) -> None:
    pem = tmp_path / "a.pem" if tls else None
    request = Request(host, 1, tmp_path, tls_cert=pem, tls_key=pem, oidc=tmp_path)
    given = {"issuer": "https://id.example", "client_id": "a", "roles": GROUPS, "url": url}
    settings = ProviderSettings.model_validate(given)
    if address is not None:
        assert address_of(request, 1, settings) == address
        return
    with pytest.raises(Misconfigured, match="url"):
        address_of(request, 1, settings)
