"""The page's database: a SQLite file of its own, or a PostgreSQL that several share; the same SQL for both."""

import queue
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import Failed, Misconfigured

POSTGRESQL = ("postgresql://", "postgres://")
MAX_CONNECTIONS = 16
"""More threads than that wait for one another; a SQLite file has one writer anyway."""
BUSY_S = 30.0
WRITERS_LOCK = 7_161_022
"""Of PostgreSQL's advisory locks the one that a writer holds: one writes at a time, as with SQLite."""
Value = str | int | float | bytes | None
Row = tuple[Any, ...]


class Unavailable(Failed):
    """The database does not answer now."""


class Connection(Protocol):
    """What queries need of a connection: SQL with `?` for each value."""

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run a statement; its rows, if it has any."""

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement for each row of values."""


class Driver(Protocol):
    """Opens connections of one database and knows how transactions start in it."""

    name: str
    begin_write: tuple[str, ...]
    begin_read: tuple[str, ...]

    def open(self) -> Any:
        """A connection that commits nothing by itself."""

    def wrap(self, raw: Any) -> Connection:
        """The same with `execute` and `execute_many`."""

    def is_lost(self, error: Exception) -> bool:
        """Whether the database is away, locked or full, which may pass."""


class SqliteConnection:
    """A connection to a SQLite file."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run a statement; its rows, if it has any."""
        return self._raw.execute(sql, values).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement for each row of values."""
        self._raw.executemany(sql, rows)


class SqliteDriver:
    """A file with a write-ahead log: who reads waits for nobody."""

    name = "sqlite"
    begin_write: tuple[str, ...] = ("BEGIN IMMEDIATE",)
    begin_read: tuple[str, ...] = ("BEGIN",)

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # it holds password hashes

    def open(self) -> sqlite3.Connection:
        """A connection that commits nothing by itself."""
        made = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-32768"):
            made.execute(f"PRAGMA {pragma}").close()
        return made

    def wrap(self, raw: Any) -> Connection:
        """The same with `execute` and `execute_many`."""
        return SqliteConnection(raw)

    def is_lost(self, error: Exception) -> bool:
        """Whether the file is locked, full or unreadable, which may pass."""
        return isinstance(error, sqlite3.OperationalError)


class PostgresConnection:
    """A connection to PostgreSQL."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run a statement; its rows, if it has any."""
        cursor = self._raw.execute(sql.replace("?", "%s"), values)
        rows: list[Row] = cursor.fetchall() if cursor.description is not None else []
        return rows

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement for each row of values."""
        with self._raw.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), rows)


class PostgresDriver:
    """A PostgreSQL by URL; writers take turns."""

    name = "postgresql"
    begin_write: tuple[str, ...] = ("BEGIN", f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")
    begin_read: tuple[str, ...] = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise Misconfigured(
                "--store: got a PostgreSQL and no package psycopg to reach it; in the checkout: pip install '.[triage]'"
            ) from error
        self._url, self._psycopg = url, psycopg

    def open(self) -> Any:
        """A connection that commits nothing by itself."""
        return self._psycopg.connect(self._url, autocommit=True, connect_timeout=10, application_name="forebay")

    def wrap(self, raw: Any) -> Connection:
        """The same with `execute` and `execute_many`."""
        return PostgresConnection(raw)

    def is_lost(self, error: Exception) -> bool:
        """Whether the server is away, which may pass."""
        return isinstance(error, self._psycopg.OperationalError | self._psycopg.InterfaceError)


class Database:
    """Connections for any thread, and transactions on them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.name = driver.name
        self._slots: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(MAX_CONNECTIONS):
            self._slots.put(None)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: all of it happens or nothing; one at a time."""
        with self._transaction(self._driver.begin_write) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database, however many queries it asks."""
        with self._transaction(self._driver.begin_read) as connection:
            yield connection

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while not self._slots.empty():
            raw = self._slots.get_nowait()
            if raw is not None:
                raw.close()

    @contextmanager
    def _transaction(self, begin: Sequence[str]) -> Iterator[Connection]:
        raw = self._slots.get()
        try:
            if raw is None:
                raw = self._driver.open()
            connection = self._driver.wrap(raw)
            for statement in begin:
                connection.execute(statement)
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            raw = self._abandoned(raw)
            if isinstance(error, Exception) and self._driver.is_lost(error):
                raise Unavailable(
                    f"the page's store ({self.name}): got {str(error).strip()}, expected an answer; "
                    "is its disk full, or its server away?"
                ) from error
            raise
        finally:
            self._slots.put(raw)

    def _abandoned(self, raw: Any) -> Any:
        """The connection after a rollback; None where it cannot be used any more."""
        if raw is None:
            return None
        try:
            self._driver.wrap(raw).execute("ROLLBACK")
        except Exception:  # whatever it is: a new connection is made
            with suppress(Exception):
                raw.close()
            return None
        return raw


def open_database(folder: Path, url: str | None) -> Database:
    """The database of this folder, or the one a URL names; Misconfigured, Unavailable where there is none."""
    if url is None:
        try:
            return Database(SqliteDriver(folder / "triage.sqlite"))
        except OSError as error:
            raise Misconfigured(
                f"--data {folder}: got {error.strerror}, expected a folder that can be written; name another"
            ) from error
    if not url.startswith(POSTGRESQL):
        raise Misconfigured("--store: got a URL of another kind, expected postgresql://USER@HOST/DATABASE")
    return Database(PostgresDriver(url))
