"""Accounts: passwords are hashed, wrong ones are counted, roles hold on every route, sessions end."""

import os
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher, Type
from typer.testing import CliRunner

from pipeline.errors import Misconfigured, Usage
from pipeline.tools.cli.triage import app
from pipeline.tools.http_server import is_loopback
from pipeline.tools.system.identity import identity_of
from pipeline.tools.system.record import NAME, Phase, SystemRecord, write
from pipeline.tools.triage.accounts import MAX_FAILURES, PATIENCE_S, ROLES, Accounts, Failures
from pipeline.tools.triage.database import open_database
from pipeline.tools.triage.serving import Request, require_guarded
from pipeline.tools.triage.sessions import ABSOLUTE_US, IDLE_US, Sessions
from pipeline.tools.triage.store import Store
from pipeline.tools.triage.tables import prepare
from tests.tools.triage.pages import TestClient, alert, client_of, rows_in, store_of

API = "/api/v1"
PASSWORD = "correct horse battery"


class Clock:
    """A wall clock that a test turns."""

    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_of(tmp_path, [alert(1)])
    accounts = Accounts(store.database)
    for role in ROLES:
        accounts.add(role, role, PASSWORD)
    return store


@pytest.fixture
def client(store: Store, clock: Clock) -> TestClient:
    return client_of(store, sessions=Sessions(store.database, clock))


def login(client: TestClient, user: str, password: str = PASSWORD) -> Any:
    answer = client.post(f"{API}/login", json={"user": user, "password": password})
    if answer.status_code == 200:
        client.headers["x-csrf-token"] = answer.json()["csrf"]
    return answer


def test_signing_in_and_out(client: TestClient) -> None:
    assert client.get(f"{API}/session").json()["login"] is True
    answer = login(client, "analyst")
    assert (answer.status_code, answer.json()["role"]) == (200, "analyst")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie and "secure" not in cookie
    assert client.get(f"{API}/incidents").status_code == 200
    assert client.post(f"{API}/logout", json={}).json() == {"login": True}
    assert client.get(f"{API}/incidents").status_code == 401


def test_under_tls_the_cookie_is_secure(store: Store) -> None:
    client = client_of(store, sessions=Sessions(store.database), tls=True)
    cookie = login(client, "viewer").headers["set-cookie"]
    assert cookie.startswith("__Host-forebay=") and "Secure" in cookie


def test_neither_passwords_nor_tokens_are_stored(client: TestClient, store: Store) -> None:
    token = login(client, "admin").cookies["forebay"]
    stored = str([rows_in(store.database, table) for table in ("accounts", "sessions", "audit")])
    assert "$argon2id$" in stored and PASSWORD not in stored and token not in stored


def test_a_hash_is_as_costly_as_recommended(product_hasher: PasswordHasher) -> None:
    """The second recommended option of RFC 9106: three passes over 64 MiB in four lanes."""
    assert product_hasher.type is Type.ID
    assert (product_hasher.time_cost, product_hasher.memory_cost, product_hasher.parallelism) == (3, 65_536, 4)


def test_a_role_holds_on_every_route(client: TestClient) -> None:
    allowed = {"viewer": 403, "analyst": 403, "admin": 200}
    for role, status in allowed.items():
        login(client, role)
        assert client.get(f"{API}/audit").status_code == status
        assert client.get(f"{API}/incidents").status_code == 200
        body = {"verdict": "none of them", "scope": None, "expires_s": None, "note": ""}
        judged = client.post(f"{API}/incidents/{1:032x}/verdicts", json=body).status_code
        assert judged == (403 if role == "viewer" else 400)


def test_a_session_ends_when_nobody_uses_it_and_after_a_day_of_work(client: TestClient, clock: Clock) -> None:
    login(client, "viewer")
    for _ in range(ABSOLUTE_US // (IDLE_US // 2)):
        assert client.get(f"{API}/sites").status_code == 200
        clock.us += IDLE_US // 2
    clock.us += 1
    assert client.get(f"{API}/sites").status_code == 401, "its longest time is over"
    login(client, "viewer")
    clock.us += IDLE_US + 1
    assert client.get(f"{API}/sites").status_code == 401


def test_an_account_taken_away_or_with_another_password_is_signed_out(client: TestClient, store: Store) -> None:
    accounts = Accounts(store.database)
    login(client, "viewer")
    accounts.set_password("viewer", "another long password")
    assert client.get(f"{API}/sites").status_code == 401
    login(client, "viewer", "another long password")
    accounts.remove("viewer")
    assert client.get(f"{API}/sites").status_code == 401
    assert login(client, "viewer", "another long password").status_code == 401


def test_wrong_passwords_are_counted_and_make_one_wait(client: TestClient) -> None:
    for _ in range(MAX_FAILURES):
        assert login(client, "admin", "wrong wrong wrong").status_code == 401
    refused = login(client, "admin")
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 60
    assert login(client, "analyst").status_code == 200, "another name from there may sign in"


def test_failures_pass_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = Failures()
    for _ in range(MAX_FAILURES):
        failures.failed("a", "1.2.3.4", 10.0)
    assert failures.wait_s("a", "1.2.3.4", 11.0) > 0 and failures.wait_s("a", "1.2.3.5", 11.0) == 0
    assert failures.wait_s("a", "1.2.3.4", 10.0 + PATIENCE_S) == 0
    monkeypatch.setattr("pipeline.tools.triage.accounts.MAX_KEPT", 10)
    for number in range(100):
        failures.failed(str(number), "1.2.3.6", 20.0)
    assert len(failures._times) <= 10 and failures.wait_s("new", "1.2.3.6", 21.0) > 0


def test_every_action_is_in_the_audit_log(client: TestClient) -> None:
    login(client, "viewer", "wrong wrong wrong")
    login(client, "viewer")
    client.get(f"{API}/audit")
    login(client, "admin")
    newest = client.get(f"{API}/audit?limit=4").json()["audit"]
    assert [(each["user"], each["action"], each["result"]) for each in newest] == [
        ("admin", "login", "done"),
        ("viewer", "GET /api/v1/audit", "refused"),
        ("viewer", "login", "done"),
        ("viewer", "login", "wrong name or password"),
    ]


@pytest.mark.parametrize(
    ("name", "role", "password", "says"),
    [
        ("", "viewer", PASSWORD, "name"),
        ("a b", "viewer", PASSWORD, "name"),
        ("a\x1b[31m", "viewer", PASSWORD, "name"),
        ("viewer", "viewer", PASSWORD, "which is there already"),
        ("new", "root", PASSWORD, "role"),
        ("new", "viewer", "short", "password"),
        ("new", "viewer", "x" * 257, "password"),
    ],
)
def test_accounts_that_cannot_be(store: Store, name: str, role: str, password: str, says: str) -> None:
    with pytest.raises(Usage, match=says):
        Accounts(store.database).add(name, role, password)


def test_accounts_on_the_command_line(tmp_path: Path) -> None:
    def run(*words: str, given: str = "") -> Any:
        return CliRunner().invoke(app, ["user", *words, "--data", str(tmp_path), "--json"], input=given)

    assert run("add", "ann", "--role", "admin", "--stdin", given=f"{PASSWORD}\n").exit_code == 0
    assert run("password", "ann", "--stdin", given="a longer password still\n").exit_code == 0
    listed = run("list")
    assert '"name":"ann","role":"admin"' in listed.stdout
    assert Accounts(open_database(tmp_path, None)).checked("ann", "a longer password still") is not None
    assert run("remove", "ann").exit_code == 0
    assert '"users":[]' in run("list").stdout
    assert isinstance(run("remove", "ann").exception, Usage)
    assert isinstance(run("add", "ann", "--role", "admin", "--stdin", given="short\n").exception, Usage)


def test_accounts_are_those_of_the_page_that_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(name: str) -> Any:
        words = ["user", "add", name, "--role", "viewer", "--stdin", "--json"]
        return CliRunner().invoke(app, words, input=f"{PASSWORD}\n")

    def names(folder: str) -> list[str]:
        return [account.name for account, _ in Accounts(open_database(tmp_path / "var" / folder, None)).every()]

    me = identity_of(os.getpid())
    assert me is not None
    monkeypatch.chdir(tmp_path)
    assert add("nobody-runs").exit_code == 0 and names("triage") == ["nobody-runs"]
    other, third = tmp_path / "var" / "dam", tmp_path / "var" / "mill"
    for folder in (other, third):
        folder.mkdir()
        (folder / NAME).write_bytes(b"{")  # damaged: none that runs
    write(other, SystemRecord(me, str(tmp_path), Phase.RUNNING, 5))
    assert add("of-dam").exit_code == 0 and names("dam-triage") == ["of-dam"]
    write(third, SystemRecord(me, str(tmp_path), Phase.RUNNING, 5))
    refused = add("of-which")
    assert isinstance(refused.exception, Misconfigured) and "var/dam-triage, var/mill-triage" in str(refused.exception)
    monkeypatch.setenv("FOREBAY_RUN_FOLDER", "var/mill")
    assert add("of-mill").exit_code == 0 and names("mill-triage") == ["of-mill"]


@pytest.mark.parametrize(
    ("host", "tls", "accounts", "says"),
    [
        ("0.0.0.0", False, True, "no certificate"),  # noqa: S104
        ("::", False, True, "no certificate"),
        ("192.0.2.1", True, False, "no account"),
        ("plant.example", False, False, "no certificate"),
        ("127.0.0.1", False, False, ""),
        ("192.0.2.1", True, True, ""),
    ],
)
def test_beyond_this_machine_nothing_is_served_without_tls_and_accounts(
    tmp_path: Path, host: str, tls: bool, accounts: bool, says: str
) -> None:
    database = open_database(tmp_path, None)
    prepare(database)
    if accounts:
        Accounts(database).add("ann", "viewer", PASSWORD)
    files = (tmp_path / "c.pem", tmp_path / "k.pem") if tls else (None, None)
    request = Request(host, 0, tmp_path, tls_cert=files[0], tls_key=files[1])
    if not says:
        require_guarded(request, database)
        return
    with pytest.raises(Misconfigured, match=says):
        require_guarded(request, database)


def test_what_loopback_is() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "")))  # noqa: S104
