"""Rows of the page's store: text that every database takes, and statements for any number of values."""

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.tools.triage.database import Connection, Row, Value

MAX_VALUES = 500
"""Values in one statement."""


def storable(text: str) -> str:
    """Text as PostgreSQL takes it, which has no room for the character NUL."""
    return text.replace("\x00", "\\x00")


def select_in(connection: Connection, sql: str, values: Iterable[Value], before: Sequence[Value] = ()) -> list[Row]:
    """The rows of a statement with `IN ({})`, for any number of values; `before` are those of what stands before it."""
    listed, rows = list(values), []
    for start in range(0, len(listed), MAX_VALUES):
        part = listed[start : start + MAX_VALUES]
        rows += connection.execute(sql.format(", ".join("?" * len(part))), [*before, *part])
    return rows


def pairs_in(connection: Connection, sql: str, values: Iterable[str]) -> dict[str, Any]:
    """The same as a dictionary, of a statement that asks for two columns."""
    return {str(key): value for key, value in select_in(connection, sql, values)}
