"""SQL over an archive, closed files and open rows: views `flows`, `late` and `rejects` in DuckDB, read-only."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb

from pipeline.archive import snapshot
from pipeline.archive.snapshot import PartitionSnapshot
from pipeline.archive.streams import REJECTS, TABLES
from pipeline.archive.upkeep import open_rows
from pipeline.archive.upkeep.open_rows import OpenTables
from pipeline.errors import Failed, Usage
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.runtime.storage.storage import Storage
from pipeline.runtime.wire.batches import empty
from pipeline.settings import Settings

ALLOWED = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
MEMORY = "2GB"
ATTEMPTS = 3
"""Files that compaction has replaced are deleted after a while: a query that started before is tried again."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a query reads: the files that hold closed files' rows, of each table, with their feature sets' hashes; how
    many rows these are; the open rows, None where they are not asked for; and of which closed files the rows in each
    file are, with how many these are, by SHA-256.
    """

    files: dict[str, dict[str, str]]
    closed_rows: int
    open: OpenTables | None
    members: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def closed_files(self) -> int:
        """How many files are read."""
        return sum(len(files) for files in self.files.values())


def read_contents(archive: StorageLike, settings: Settings | None = None) -> Contents:
    """What an archive holds at this moment: closed files, and with `settings`, which say where its topics are, open
    rows: of each partition those of the same manifest, and what has come since.

    Rows that retention has purged are not there; files that are missing are left out: `verify` names them.
    """
    storage = open_storage(archive)
    lacking: set[str] | None = None
    for _attempt in range(ATTEMPTS):
        snapshots, segments = _snapshots(storage, settings is not None)
        there = {name for table in TABLES for name in storage.names(table)}
        wanted = {state.locations[entry.path].file for state in snapshots for entry in state.readable}
        before, lacking = lacking, wanted - there
        if not lacking or lacking == before:
            break  # all there, or missing for good; else they were replaced between the two listings
    files: dict[str, dict[str, str]] = {table: {} for table in TABLES}
    members: dict[str, dict[str, int]] = {}
    closed_rows = 0
    for state in snapshots:
        for entry in state.readable:
            where = state.locations[entry.path]
            if where.file in there:
                files[entry.table][where.file] = entry.feature_hash
                members.setdefault(where.file, {})[entry.sha256] = entry.rows
                closed_rows += entry.rows
    if settings is None:
        return Contents(files, closed_rows, None, members)
    archived = {state.partition: state.last.progress for state in snapshots if state.last is not None}
    open_rows.add_tail(settings, archived, segments)
    return Contents(files, closed_rows, segments, members)


def _snapshots(storage: Storage, with_open: bool) -> tuple[list[PartitionSnapshot], OpenTables]:
    """Each partition at one manifest, and the open rows that these manifests list."""
    listed = OpenTables()
    snapshots = snapshot.read(storage)
    if with_open:
        snapshots = [open_rows.add_segments(storage, state, listed) for state in snapshots]
    return snapshots, listed


def connect(archive: StorageLike, contents: Contents | None = None) -> duckdb.DuckDBPyConnection:
    """A database with a view per table over an archive's contents, by default its closed files; it can read those and
    nothing else.
    """
    storage = open_storage(archive)
    contents = contents if contents is not None else read_contents(storage)
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": MEMORY,
            "threads": "2",
        }
    )
    storage.register_duckdb(connection)
    for table in TABLES:
        _view(connection, storage, table, contents)
    allowed = ", ".join(f"'{_quoted(storage.url(table))}/'" for table in TABLES)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _view(connection: duckdb.DuckDBPyConnection, archive: Storage, table: str, contents: Contents) -> None:
    """A view of a table's files (their feature sets by name) and open rows: one part for each feature set, whose files
    hold one matrix.

    No rows of today's columns come first: what an earlier version's files lack is null.
    """
    connection.register(f"no_{table}", empty("reject" if table == REJECTS else "scored"))
    parts = [f"SELECT * FROM no_{table}"]  # noqa: S608
    files = contents.files[table]
    for feature_hash in sorted(set(files.values())):
        names = [f"'{_quoted(archive.url(name))}'" for name, digest in files.items() if digest == feature_hash]
        how = "hive_partitioning = false, union_by_name = true"
        parts.append(f"SELECT * FROM read_parquet([{', '.join(names)}], {how})")  # noqa: S608
    for number, rows in enumerate(open_rows.tables(contents.open.batches[table]) if contents.open is not None else ()):
        connection.register(f"open_{table}_{number}", rows)
        parts.append(f"SELECT * FROM open_{table}_{number}")  # noqa: S608
    connection.execute(f"CREATE VIEW {table} AS {' UNION ALL BY NAME '.join(parts)}")


def _quoted(url: str) -> str:
    return url.replace("'", "''")


def run(archive: StorageLike, sql: str, limit: int, settings: Settings | None = None) -> dict[str, Any]:
    """One SELECT's result: `columns`, `types`, `rows` (at most `limit`), `truncated`; how much was asked:
    `closed_rows`, `closed_files`, `open_rows` (None without `settings`), `not_read`. Usage names what is wrong with the
    SQL.
    """
    for _attempt in range(ATTEMPTS - 1):
        with suppress(duckdb.IOException):
            return _run(archive, sql, limit, settings)
    try:
        return _run(archive, sql, limit, settings)
    except duckdb.IOException as error:
        raise Failed(f"query: {str(error).strip()}; `forebay archive verify` says what is wrong") from error


def _run(archive: StorageLike, sql: str, limit: int, settings: Settings | None) -> dict[str, Any]:
    contents = read_contents(archive, settings)
    with connect(archive, contents) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in ALLOWED:
                kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
                raise Usage(f"query: got {kinds}, expected one SELECT; views: {', '.join(TABLES)}")
            result = connection.execute(statements[0])
            rows = result.fetchmany(limit + 1)
            described = result.description or []
        except duckdb.IOException:
            raise
        except duckdb.Error as error:
            raise Usage(f"query: {str(error).strip()}\nviews: {', '.join(TABLES)}; columns: DESCRIBE flows") from error
    return {
        "columns": [column[0] for column in described],
        "types": [str(column[1]) for column in described],
        "rows": [_plain(row) for row in rows[:limit]],
        "truncated": len(rows) > limit,
        "closed_rows": contents.closed_rows,
        "closed_files": contents.closed_files,
        "open_rows": contents.open.rows if contents.open is not None else None,
        "not_read": contents.open.not_read if contents.open is not None else [],
    }


def _plain(values: Iterable[Any]) -> list[Any]:
    """A row as JSON can hold it."""
    return [_value(value) for value in values]


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else str(value)
    if isinstance(value, float):
        return value  # NaN and infinities become null in JSON
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list | tuple):
        return _plain(value)
    if isinstance(value, dict):
        return {str(name): _value(inner) for name, inner in value.items()}
    return str(value)
