"""SQL over the closed files of an archive: views `flows`, `late` and `rejects` in DuckDB, read-only."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from pipeline.archive import paths, snapshot
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.streams import REJECTS, TABLES
from pipeline.errors import Usage
from pipeline.wire.batches import empty

ALLOWED = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
MEMORY = "2GB"


def connect(archive: Path) -> duckdb.DuckDBPyConnection:
    """A database with a view per table over the files that manifests list; it can read the archive and nothing else.

    Files that are gone (old ones may be deleted to forget them) are left out; `verify` names them.
    """
    listed = (entry for found in snapshot.read(archive) for entry in found.files)
    files = [entry for entry in listed if paths.within(archive, entry.path).exists()]
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": MEMORY,
            "threads": "2",
        }
    )
    for table in TABLES:
        _view(connection, archive, table, [entry for entry in files if entry.table == table])
    allowed = ", ".join(f"'{_quoted(archive.resolve() / table)}/'" for table in TABLES)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _view(connection: duckdb.DuckDBPyConnection, archive: Path, table: str, files: list[ClosedFile]) -> None:
    """A view of a table's files: one part for each feature set, whose files hold one matrix.

    No rows of today's columns come first: what an earlier version's files lack is null.
    """
    connection.register(f"no_{table}", empty("reject" if table == REJECTS else "scored"))
    parts = [f"SELECT * FROM no_{table}"]  # noqa: S608
    for feature_hash in sorted({entry.feature_hash for entry in files}):
        names = [
            f"'{_quoted(paths.within(archive.resolve(), entry.path))}'"
            for entry in files
            if entry.feature_hash == feature_hash
        ]
        how = "hive_partitioning = false, union_by_name = true"
        parts.append(f"SELECT * FROM read_parquet([{', '.join(names)}], {how})")  # noqa: S608
    connection.execute(f"CREATE VIEW {table} AS {' UNION ALL BY NAME '.join(parts)}")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def run(archive: Path, sql: str, limit: int) -> dict[str, Any]:
    """One SELECT's result: `columns`, `types`, `rows` (at most `limit`), `truncated`; Usage names what is wrong with
    the SQL.
    """
    with connect(archive) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in ALLOWED:
                kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
                raise Usage(f"query: got {kinds}, expected one SELECT; views: {', '.join(TABLES)}")
            found = connection.execute(statements[0])
            rows = found.fetchmany(limit + 1)
            described = found.description or []
        except duckdb.Error as error:
            raise Usage(f"query: {str(error).strip()}\nviews: {', '.join(TABLES)}; columns: DESCRIBE flows") from error
    return {
        "columns": [column[0] for column in described],
        "types": [str(column[1]) for column in described],
        "rows": [_plain(row) for row in rows[:limit]],
        "truncated": len(rows) > limit,
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
