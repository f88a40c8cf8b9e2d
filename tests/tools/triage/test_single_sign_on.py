"""Signing in at a provider: whom it proves gets a session, and nothing that is replayed, swapped or forged does."""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from warnings import catch_warnings, simplefilter

import httpx
import pytest

from pipeline.tools.triage.accounts import Accounts
from pipeline.tools.triage.provider import Provider
from pipeline.tools.triage.provider_settings import ProviderSettings
from pipeline.tools.triage.sessions import Sessions
from pipeline.tools.triage.single_sign_on import PATIENCE_S
from pipeline.tools.triage.store import Store
from tests.tools.triage.pages import ADDRESS, TestClient, alert, client_of, store_of

with catch_warnings():
    simplefilter("ignore")
    import authlib.deprecate  # noqa: F401 - it turns on warnings of its own, which the next import gives

    simplefilter("ignore")
    from oidc_provider_mock import User as User
    from oidc_provider_mock import run_server_in_thread as run_server_in_thread

API = "/api/v1"
PASSWORD = "correct horse battery"
GROUPS = {"viewer": ["plant"], "analyst": ["ot-security"], "admin": ["heads"]}
PEOPLE: dict[str, dict[str, object]] = {
    "1": {"preferred_username": "kim", "groups": ["plant", "ot-security"]},
    "2": {"preferred_username": "lee", "groups": ["canteen"]},
    "3": {"preferred_username": "ana\u202e\x1b[31m" + "x" * 99, "groups": "heads"},
    "4": {"groups": ["plant"]},
}
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    people = [User(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    with run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_of(tmp_path, [alert(1)])
    Accounts(store.database).add("kim", "admin", PASSWORD)
    return store


def settings(issuer: str, **changed: Any) -> ProviderSettings:
    return ProviderSettings.model_validate({"issuer": issuer, "client_id": "forebay", "roles": GROUPS, **changed})


def browser_of(store: Store, folder: Path, issuer: str, **changed: Any) -> TestClient:
    """A browser that follows no redirect by itself."""
    secret = folder / "secret"
    secret.write_text("a secret: with a colon\n")
    provider = Provider(settings(issuer, client_secret_file=secret, **changed))
    client = client_of(store, sessions=Sessions(store.database), provider=provider, url=ADDRESS)
    client.follow_redirects = False
    return client


@pytest.fixture
def browser(store: Store, tmp_path: Path, issuer: str) -> TestClient:
    return browser_of(store, tmp_path, issuer)


def left(browser: TestClient, **changed: str) -> str:
    """Where the browser is sent to sign in, with some of what is asked there changed."""
    answer = browser.get(f"{API}/oidc/login")
    assert answer.status_code == 303
    where = urlsplit(str(answer.headers["location"]))
    return where._replace(query=urlencode({**dict(parse_qsl(where.query)), **changed})).geturl()


def signed_in_there(address: str, sub: str = "1", **form: str) -> str:
    """The address on the page that the provider sends somebody back to."""
    answer = httpx.post(address, data={"sub": sub, **form}, trust_env=False)
    assert answer.status_code == 302, answer.text
    location: str = answer.headers["location"]
    return location.removeprefix(ADDRESS)


def who(browser: TestClient) -> tuple[Any, Any]:
    found = browser.get(f"{API}/session").json()
    return found["user"], found["role"]


def noted(store: Store) -> list[tuple[str, str, str]]:
    from pipeline.tools.triage.audit import Audit

    return [(each["user"], each["action"], each["result"]) for each in Audit(store.database).newest(10)]


def test_somebody_signs_in_at_the_provider_and_has_a_session_as_any_other(browser: TestClient, store: Store) -> None:
    ways = browser.get(f"{API}/login").json()
    assert ways == {"password": True, "oidc": "localhost"}
    answer = browser.get(signed_in_there(left(browser)))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    session = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("forebay="))
    assert "HttpOnly" in session and "SameSite=strict" in session and "Max-Age=43200" in session
    assert who(browser) == ("oidc:kim", "analyst"), "and not the account of the name kim, which is an admin"
    assert browser.get(f"{API}/incidents").status_code == 200 and browser.get(f"{API}/audit").status_code == 403
    token = browser.get(f"{API}/session").json()["csrf"]
    assert browser.post(f"{API}/logout", json={}, headers={"x-csrf-token": token}).status_code == 200
    assert who(browser) == (None, None)
    assert noted(store)[-1] == ("oidc:kim", "login", "done") and noted(store)[0] == ("oidc:kim", "logout", "done")


def test_what_is_asked_at_the_provider(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Mapping[str, str]] = []
    asked = Provider._asked

    def noting(self: Provider, method: str, address: str, headers: Any = None, form: Any = None) -> dict[str, Any]:
        sent.append(form or {})
        return asked(self, method, address, headers, form)

    monkeypatch.setattr(Provider, "_asked", noting)
    answer = browser.get(f"{API}/oidc/login")
    query = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert {name: query[name] for name in ("response_type", "client_id", "redirect_uri", "scope")} == {
        "response_type": "code",
        "client_id": "forebay",
        "redirect_uri": f"{ADDRESS}{API}/oidc/callback",
        "scope": "openid profile",
    }
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and f"Max-Age={PATIENCE_S}" in cookie
    secret = re.split("[=;]", cookie)[1]
    assert all(len(query[name]) == 43 and query[name] not in cookie for name in ("state", "nonce"))
    assert len({query["state"], query["nonce"], query["code_challenge"], secret}) == 4
    browser.get(signed_in_there(answer.headers["location"]))
    verifier = next(form["code_verifier"] for form in sent if form)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert query["code_challenge"] == challenge and query["code_challenge_method"] == "S256" and len(verifier) >= 43


def test_under_tls_the_cookie_of_a_sign_in_is_of_this_host_alone(store: Store, issuer: str) -> None:
    given = {"sessions": Sessions(store.database), "tls": True, "url": "https://127.0.0.1"}
    client = client_of(store, provider=Provider(settings(issuer)), **given)
    cookie = client.get(f"{API}/oidc/login", follow_redirects=False).headers["set-cookie"]
    assert cookie.startswith("__Host-forebay-sign-in=") and "Secure" in cookie and "Path=/;" in cookie


def refused(browser: TestClient, store: Store, address: str, why: str, who_it_was: str = "") -> None:
    """That an address signs nobody in, sends the browser to the page and nowhere else, and is written down."""
    answer = browser.get(address)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/?sign-in={why}")
    assert "forebay=" not in answer.headers.get("set-cookie", "").replace("forebay-sign-in=", "")
    assert who(browser) == (None, None)
    assert noted(store)[0] == (who_it_was, "login by provider", why)


@pytest.mark.parametrize("sub", ["2", "somebody-else"])
def test_who_is_in_no_group_with_a_role_is_refused(browser: TestClient, store: Store, sub: str) -> None:
    name = "oidc:lee" if sub == "2" else f"oidc:{sub}"
    refused(browser, store, signed_in_there(left(browser), sub), "no-role", name)


def test_a_name_is_printable_and_short_and_without_one_it_is_the_sub(browser: TestClient) -> None:
    browser.get(signed_in_there(left(browser), "3"))
    name, role = who(browser)
    assert name.startswith(r"oidc:ana\x202e\x1b[31mxx") and len(name) <= 69 and role == "admin"
    browser.cookies.clear()
    browser.get(signed_in_there(left(browser), "4"))
    assert who(browser) == ("oidc:4", "viewer")


def test_a_code_serves_once(browser: TestClient, store: Store) -> None:
    back = signed_in_there(left(browser))
    secret = browser.cookies["forebay-sign-in"]
    assert browser.get(back).headers["location"] == "/"
    browser.cookies.clear()
    refused(browser, store, back, "again")
    browser.cookies["forebay-sign-in"] = secret
    refused(browser, store, back, "refused")


def test_a_sign_in_of_another_browser_is_refused(browser: TestClient, store: Store) -> None:
    back = signed_in_there(left(browser))
    refused(browser, store, back.replace("state=", "state=x"), "again")
    left(browser)  # another sign-in: of the first one only the address is left
    refused(browser, store, back, "again")
    refused(browser, store, f"{API}/oidc/callback?code=x", "again")
    refused(browser, store, f"{API}/oidc/callback", "again")
    for forged in ("", ".", "0." + "x" * 43, "9" * 12 + "." + "x" * 43, "1" * 500, "²." + "x" * 43):
        browser.cookies.clear()
        raw = {"cookie": b"forebay-sign-in=" + forged.encode()}
        answer = browser.get(back, headers=raw)
        assert answer.headers["location"] == "/?sign-in=again"


def test_a_sign_in_that_took_too_long_is_refused(
    browser: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = signed_in_there(left(browser))
    monkeypatch.setattr("pipeline.tools.triage.single_sign_on.PATIENCE_S", -1)
    refused(browser, store, back, "again")


def test_a_token_of_another_sign_in_is_refused(browser: TestClient, store: Store) -> None:
    refused(browser, store, signed_in_there(left(browser, nonce="of another one")), "refused")


def test_an_answer_of_another_provider_is_refused(browser: TestClient, store: Store) -> None:
    back = signed_in_there(left(browser))
    refused(browser, store, f"{back}&iss=https://elsewhere.example", "refused")


def test_a_person_who_says_no_is_not_signed_in(browser: TestClient, store: Store) -> None:
    state = dict(parse_qsl(urlsplit(left(browser)).query))["state"]
    refused(browser, store, f"{API}/oidc/callback?error=access_denied&state={state}", "refused")
    left(browser)


def test_a_token_of_another_client_is_refused(
    browser: TestClient, store: Store, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = signed_in_there(left(browser))
    other = settings(issuer, client_id="another")
    monkeypatch.setattr("pipeline.tools.triage.provider.claims_in", _for(other))
    refused(browser, store, back, "refused")


def _for(provider: ProviderSettings) -> Any:
    from pipeline.tools.triage.id_tokens import claims_in

    return lambda token, keys, _, nonce: claims_in(token, keys, provider, nonce)


def test_nothing_in_a_request_says_where_the_browser_goes(browser: TestClient, issuer: str) -> None:
    asked = "next=https://evil.example&redirect_uri=https://evil.example&return=//evil.example&sign-in=x"
    for headers in ({}, {"x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}):
        answer = browser.get(f"{API}/oidc/login?{asked}", headers=headers)
        assert answer.headers["location"].startswith(f"{issuer}/oauth2/authorize?")
        assert "evil" not in answer.headers["location"]
        answer = browser.get(f"{API}/oidc/callback?{asked}&code=1&state=2", headers=headers)
        assert answer.headers["location"] == "/?sign-in=again"
    assert browser.get(f"{API}/oidc/login", headers={"host": "evil.example"}).status_code == 421


def test_who_calls_the_page_by_another_name_signs_in_under_its_own(browser: TestClient, issuer: str) -> None:
    answer = browser.get(f"{API}/oidc/login", headers={"host": "localhost"})
    assert answer.headers["location"] == f"{ADDRESS}{API}/oidc/login?moved=true"
    assert "set-cookie" not in answer.headers
    again = browser.get(f"{API}/oidc/login?moved=true", headers={"host": "localhost"})
    assert again.headers["location"].startswith(issuer), "and goes round in no circle"


def test_while_the_provider_is_away_a_password_still_works(store: Store, tmp_path: Path) -> None:
    browser = browser_of(store, tmp_path, "http://127.0.0.1:9")
    assert browser.get(f"{API}/login").json()["oidc"] == "127.0.0.1"
    refused(browser, store, f"{API}/oidc/login", "away")
    assert browser.post(f"{API}/login", json={"user": "kim", "password": PASSWORD}).status_code == 200
    assert who(browser) == ("kim", "admin")


def test_without_accounts_there_is_the_provider_alone(tmp_path: Path, issuer: str) -> None:
    browser = browser_of(store_of(tmp_path), tmp_path, issuer, name="the plant's")
    ways = browser.get(f"{API}/login").json()
    assert ways["password"] is False and ways["oidc"] == "the plant's"
    assert browser.get(f"{API}/incidents").status_code == 401


def test_without_a_provider_there_is_nothing_to_go_to(store: Store) -> None:
    client = client_of(store, sessions=Sessions(store.database))
    assert client.get(f"{API}/login").json() == {"password": True, "oidc": None}
    for path in ("login", "callback?code=1&state=2"):
        assert client.get(f"{API}/oidc/{path}").status_code == 404
