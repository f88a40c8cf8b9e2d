"""Tables for people."""

from collections.abc import Collection
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipeline.runtime.terminal import printable


def table(columns: list[str], rows: list[list[Any]], omitted: Collection[str] = ()) -> Table:
    """A plain table, numbers to the right, some columns left out; nothing in it is markup."""
    shown = [index for index, column in enumerate(columns) if column not in omitted]
    columns, rows = [columns[index] for index in shown], [[row[index] for index in shown] for row in rows]
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        number = bool(rows) and all(
            isinstance(row[index], int | float) and not isinstance(row[index], bool) for row in rows
        )
        made.add_column(escape(column), justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(plain(value)) for value in row))
    return made


def plain(value: Any) -> str:
    """A value as text that does nothing to a terminal."""
    if value is None:
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return printable(text)
