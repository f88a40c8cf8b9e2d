"""CSV files for spreadsheets: no cell begins as a formula does, none holds what is not printable."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.runtime.terminal import printable

FORMULA = ("=", "+", "-", "@")
"""What Excel, LibreOffice and Google Sheets take for the start of a formula. Tabs and line ends, after which they
would look again, are not printable."""
TEXT = "'"
"""Put before such a text; spreadsheets take it for a mark that text follows. Import takes it away again."""


def cell(value: Any) -> str:
    """A value as a cell that is nothing but text; white space in front does not hide a formula either."""
    text = "" if value is None else printable(str(value))
    return f"{TEXT}{text}" if text.lstrip().startswith((*FORMULA, TEXT)) else text


def plain(text: str) -> str:
    """A cell as it was before `cell`."""
    rest = text.removeprefix(TEXT)
    return rest if rest.lstrip().startswith((*FORMULA, TEXT)) else text


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows, one a line, under a line of column names."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(value) for value in row])
    return sink.getvalue()
