"""What no browser of ours sends is refused, and every answer says what a browser may do with it."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.tools.http_server import host_of
from pipeline.tools.triage.gate import MAX_BODY_BYTES
from pipeline.tools.triage.sessions import Sessions
from tests.tools.triage.pages import ADDRESS, TestClient, alert, client_of, store_of

API = "/api/v1"
JSON = {"content-type": "application/json"}


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return client_of(store_of(tmp_path, [alert(1)]))


@pytest.mark.parametrize(
    "path", ["/", f"{API}/session", f"{API}/nothing", "/js/api.js", "/../../etc/passwd", "/none.js"]
)
def test_every_answer_has_its_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == ("no-store" if path.startswith(API) else "no-cache")
    assert "strict-transport-security" not in headers and "server" not in headers


def test_under_tls_the_browser_is_told_to_stay_there(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    client = client_of(store, tls=True, sessions=Sessions(store.database))
    assert client.get(f"{API}/session").headers["strict-transport-security"].startswith("max-age=")


def test_the_page_is_served_without_a_session_and_what_it_shows_is_not(tmp_path: Path) -> None:
    store = store_of(tmp_path, [alert(1)])
    client = client_of(store, sessions=Sessions(store.database))
    assert client.get("/").status_code == 200
    for path in (
        "incidents",
        "incidents/0000",
        "sites",
        "sensors",
        "models",
        "replays",
        "map?site=a",
        "audit",
        "events",
    ):
        answer = client.get(f"{API}/{path}")
        assert (answer.status_code, answer.json()["error"]["where"]) == (401, "session"), path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]:80"])
def test_a_strange_name_of_this_host_is_refused(client: TestClient, host: str) -> None:
    """A name of somebody else's that resolves to loopback must not read the page."""
    assert client.get(f"{API}/incidents", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9480", "[::1]:9480"])
def test_the_names_of_loopback_are_known(client: TestClient, host: str) -> None:
    assert client.get(f"{API}/incidents", headers={"host": host}).status_code == 200


def test_names_of_hosts_are_read_from_headers() -> None:
    assert [host_of(each) for each in ("A.b:1", "[::1]:2", "[::1]", "x", "")] == ["a.b", "::1", "::1", "x", ""]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example", **JSON}, 403),
        ({"origin": "null", **JSON}, 403),
        ({"origin": f"{ADDRESS}:1", **JSON}, 403),
        ({"sec-fetch-site": "cross-site", **JSON}, 403),
        ({"sec-fetch-site": "none", **JSON}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
        (JSON, 403),  # the token of the session is missing
        ({**JSON, "x-csrf-token": "guessed"}, 403),
        ({**JSON, "x-csrf-token": "\xff\xfe"}, 403),
    ],
)
def test_a_change_comes_from_the_page_itself(client: TestClient, headers: dict[str, Any], status: int) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.post(f"{API}/logout", content=b"{}", headers=raw)
    assert answer.status_code == status and answer.json()["error"]["got"]


def test_a_change_of_the_page_itself_is_carried_out(client: TestClient) -> None:
    token = client.get(f"{API}/session").json()["csrf"]
    given = {"origin": ADDRESS, "sec-fetch-site": "same-origin", "x-csrf-token": token, **JSON}
    assert client.post(f"{API}/logout", content=b"{}", headers=given).status_code == 200


def test_a_large_body_is_refused_before_it_is_read(client: TestClient) -> None:
    answer = client.post(f"{API}/login", content=b" " * (MAX_BODY_BYTES + 1), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 50_000, b'{"user":1,"password":[]}', b"\xff"])
def test_a_body_that_is_none_is_an_error_of_the_sender(tmp_path: Path, body: bytes) -> None:
    store = store_of(tmp_path)
    client = client_of(store, sessions=Sessions(store.database))
    answer = client.post(f"{API}/login", content=body, headers=JSON)
    assert answer.status_code in (400, 422) and answer.json()["error"]["expected"]


def test_there_is_no_page_of_documentation(client: TestClient) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code == 404
