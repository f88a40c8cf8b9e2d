"""What stands between the cells of a table: semicolons of a spreadsheet, tabs, bars. In `raw` there are commas."""

import csv
import io
import re
from collections.abc import Sequence

COMMA, SEMICOLON, TAB, BAR = ",", ";", "\t", "|"
SEPARATORS = (COMMA, SEMICOLON, TAB, BAR)
# Where semicolons separate, a number has a comma where others have a point.
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+([eE][+-]?\d+)?")


def cells_of(line: bytes, separator: str) -> list[str]:
    """The cells of a header, blanks and quotes around them taken off."""
    return [name.strip(' "\r') for name in line.decode("utf-8", "replace").split(separator)]


def with_commas(rows: Sequence[bytes], separator: str) -> list[bytes]:
    """Rows whose cells commas separate; a cell that has one itself is quoted, a decimal comma is a point."""
    if separator == COMMA:
        return list(rows)
    mark = separator.encode()
    return [
        row.replace(mark, b",") if b"," not in row and b'"' not in row else _with_commas(row, separator) for row in rows
    ]


def _with_commas(row: bytes, separator: str) -> bytes:
    text = row.decode("utf-8", "surrogateescape")
    cells = next(csv.reader([text], delimiter=separator), []) if '"' in text else text.split(separator)
    if separator == SEMICOLON:
        cells = [cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell.strip()) else cell for cell in cells]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue().encode("utf-8", "surrogateescape")
