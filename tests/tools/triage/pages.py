"""A page on a store of its own, and alerts for it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from pipeline.tools.triage.app import application
from pipeline.tools.triage.database import Database, open_database
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.sessions import LocalUser
from pipeline.tools.triage.store import Store
from tests.contracts.test_incident_joining import alert as joinable

with catch_warnings():
    simplefilter("ignore")  # it asks for another package than the one whose requests it sends
    from fastapi.testclient import TestClient as TestClient

ADDRESS = "http://127.0.0.1"


def alert(uid: int, sensor: str = "left", *talks: tuple[str, str], message: str = "says", **changed: Any) -> Any:
    """An alert with all that the store reads."""
    made = joinable(uid, sensor, talks or (("10.0.0.9", "10.0.1.1"),), **changed)
    made["message"] = message
    made["unmapped"]["class"] = changed.get("klass", "unknown")
    if "attacks" in changed:
        made["attacks"] = changed["attacks"]
    return made


def store_of(folder: Path, alerts: Iterable[Mapping[str, Any]] = ()) -> Store:
    """A store in a folder, with alerts of a file."""
    store = Store(open_database(folder, None))
    store.take_alerts(alerts)
    return store


def client_of(store: Store, **page: Any) -> TestClient:
    """A browser on the page of a store, as the local user."""
    given = {"sessions": LocalUser(), **page}
    return TestClient(application(Page(store, **given)), base_url=ADDRESS, raise_server_exceptions=False)


def documents_in(database: Database) -> dict[str, str]:
    """All documents of a store, by uid."""
    with database.reading() as connection:
        return {str(uid): str(text) for uid, text in connection.execute("SELECT uid, document FROM documents")}


def rows_in(database: Database, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table, sorted."""
    with database.reading() as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}"))  # noqa: S608
