"""The same store in a real PostgreSQL: the same rows as in SQLite, for two servers at once too."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.verdicts import undo_record
from pipeline.errors import Misconfigured
from pipeline.tools.triage.accounts import Accounts
from pipeline.tools.triage.database import Unavailable, open_database
from pipeline.tools.triage.sessions import Sessions
from pipeline.tools.triage.store import ALERTS, Store
from pipeline.tools.triage.verdict_rows import incidents_in_reach
from tests.patience import PATIENCE_S
from tests.tools.triage.pages import alert, client_of, documents_in, rows_in, store_of
from tests.tools.triage.test_routes import API, HOSTILE, some_alerts
from tests.tools.triage.test_store import TABLES, messages
from tests.tools.triage.test_verdict_rows import ALERTS as SAME
from tests.tools.triage.test_verdict_rows import verdict

PROGRAMS = [shutil.which("initdb"), shutil.which("postgres")]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not all(PROGRAMS), reason="not proven: a store in PostgreSQL; no initdb and postgres here"),
]
USER = next((name for name in ("postgres", "nobody") if name in {each.pw_name for each in pwd.getpwall()}), None)


def _as_user() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    return {"user": USER, "group": pwd.getpwnam(USER).pw_gid} if os.getuid() == 0 and USER is not None else {}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL that lives as long as these tests; its socket lies in its own folder."""
    folder = Path(tempfile.mkdtemp(prefix="forebay-pg-"))
    try:
        if os.getuid() == 0 and USER is not None:
            shutil.chown(folder, USER)
        options: dict[str, Any] = {**_as_user(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        initdb, postgres = map(str, PROGRAMS)
        made = ["-D", str(folder / "data"), "-U", "forebay", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([initdb, *made], check=True, cwd=folder, **options)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        served = ["-D", str(folder / "data"), "-k", str(folder), "-p", str(port), "-h", "127.0.0.1", "-F"]
        process = subprocess.Popen([postgres, *served], cwd=folder, **options)
        try:
            url = f"postgresql://forebay@127.0.0.1:{port}/postgres"
            _wait(url)
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would wait for all who are connected
            process.wait(PATIENCE_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str) -> None:
    database = open_database(Path(), url)
    for _ in range(150):
        try:
            with database.reading() as connection:
                connection.execute("SELECT 1")
            database.close()
            return
        except Unavailable:
            time.sleep(0.2)
    raise AssertionError("PostgreSQL does not answer")


@pytest.fixture
def store(server: str) -> Iterator[Store]:
    made = Store(open_database(Path(), server), rebuild=True)
    with made.database.writing() as connection:
        for table in ("accounts", "sessions", "audit"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608
    yield made
    made.database.close()


def test_it_holds_what_sqlite_holds(store: Store, tmp_path: Path) -> None:
    came = [*some_alerts(), alert(99, HOSTILE, (HOSTILE, "10.0.0.1"), message=HOSTILE, title=HOSTILE, site=HOSTILE)]
    other = store_of(tmp_path)
    for each in (store, other):
        for start in range(0, len(came), 3):
            each.take(messages(ALERTS, came[start : start + 3], start))
    for table in TABLES:
        assert rows_in(store.database, table) == rows_in(other.database, table)


def test_it_answers_what_sqlite_answers(store: Store, tmp_path: Path) -> None:
    store.take_alerts(some_alerts())
    ours, theirs = client_of(store), client_of(store_of(tmp_path, some_alerts()))
    for path in (
        "incidents", "incidents?q=REGISTERS", "incidents?sort=-severity&limit=2", "incidents?asset=10.0.0.2&state=open",
        "incidents?technique=T0846&page=yes", f"incidents/{4:032x}", "incidents/0000", "sites", "sensors",
    ):  # fmt: skip
        answers = [each.get(f"{API}/{path}").json() for each in (ours, theirs)]
        for answer in answers:
            answer.pop("at_us", None)  # when it was asked
        assert answers[0] == answers[1], path


def test_verdicts_do_what_they_do_in_sqlite(store: Store, tmp_path: Path) -> None:
    other = store_of(tmp_path, SAME)
    store.take_alerts(SAME)
    given = verdict(1, scope={"kind": "asset", "address": "10.0.0.1"})
    for record in (given, verdict(3, "tp", at_us=2_000), undo_record(given, "bo", 3_000)):
        reached = []
        for each in (store, other):
            with each.database.reading() as connection:
                reached.append(incidents_in_reach(connection, [record]))
            each.take_verdict(record)
        assert reached[0] == reached[1] and reached[0]
        assert documents_in(store.database) == documents_in(other.database)


def test_two_servers_that_read_the_same_topics_write_each_message_once(store: Store, server: str) -> None:
    other = Store(open_database(Path(), server))
    came = messages(ALERTS, [alert(at, "left", first_us=at * 60_000_000) for at in range(1, 60)])
    errors: list[BaseException] = []

    def read(reader: Store) -> None:
        try:
            for start in range(0, len(came), 7):
                reader.take(came[start : start + 7])
        except BaseException as error:  # for the assertion below
            errors.append(error)

    threads = [threading.Thread(target=read, args=(each,)) for each in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    positions = [row[0] for row in rows_in(store.database, "changes")]
    assert positions == sorted(set(positions)) and store.positions(ALERTS) == {0: 59}
    members = [each["uid"] for text in documents_in(store.database).values() for each in json.loads(text)["members"]]
    assert len(members) == len(set(members)) == 59
    other.database.close()


def test_accounts_and_sessions_are_shared(store: Store, server: str) -> None:
    Accounts(store.database).add("ann", "admin", "correct horse battery")
    one = client_of(store, sessions=Sessions(store.database))
    assert one.post(f"{API}/login", json={"user": "ann", "password": "correct horse battery"}).status_code == 200
    other = Store(open_database(Path(), server))
    two = client_of(other, sessions=Sessions(other.database))
    two.cookies = one.cookies
    assert two.get(f"{API}/audit").json()["audit"][0]["action"] == "login"
    other.database.close()


def test_a_server_that_is_away_is_an_answer(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.database = open_database(tmp_path, "postgresql://nobody@127.0.0.1:9/none")
    answer = client_of(store).get(f"{API}/incidents")
    assert answer.status_code == 503 and "postgresql" in answer.json()["error"]["where"]


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(Misconfigured, match="postgresql://"):
        open_database(Path(), "mysql://x/y")
