"""Dates as 11/3/2023: whether the day or the month comes first is a fact about the whole file, not about a row.

One row whose second number is above 12 proves that months come first, one whose first number is that days do. Ingest
reads each row by itself, days first: where months come first the rows are rewritten.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.contracts.date_order import DateOrder
from pipeline.contracts.raw import CICFLOWMETER_CSV
from pipeline.errors import BadData
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.scan.lines import cut_lines

# With what stands between its numbers; a spreadsheet may write points or hyphens, and the year with two digits.
_DATE = re.compile(rb"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?=[ T]|$)")
_MONTHS = 12
# The program is of 2016.
_CENTURY = b"20"
Columns = tuple[str, ...]


class _Date(NamedTuple):
    """A date in a row of some table: where it begins in the row, and its parts."""

    columns: Columns
    row: int
    start: int
    found: re.Match[bytes]

    @property
    def pair(self) -> tuple[int, int]:
        """Its first two numbers."""
        return int(self.found[1]), int(self.found[3])

    def day_first(self, order: DateOrder) -> bytes:
        """The date as ingest reads it."""
        first, _, second, year = self.found.groups()
        day, month = (second, first) if order is DateOrder.MONTH else (first, second)
        return day + b"/" + month + b"/" + (year if len(year) > 2 else _CENTURY + year)


def in_day_order(
    path: Path | str, tables: Mapping[Columns, list[bytes]], order: DateOrder | None
) -> tuple[dict[Columns, list[bytes]], list[str]]:
    """Rows of CICFlowMeter by their columns, with days first in their dates, and what there is to say about it.

    BadData where rows prove both orders, or another one than `order`.
    """
    dates = [date for columns, rows in tables.items() for date in _dates(rows, columns)]
    proofs = [next((date for date in dates if date.pair[at] > _MONTHS), None) for at in (0, 1)]
    proven = {kind for kind, proof in zip((DateOrder.DAY, DateOrder.MONTH), proofs, strict=True) if proof}
    wanted = proven | {order} if order else proven
    if len(wanted) > 1:
        shown = " and ".join(proof.found[0].decode() for proof in proofs if proof)
        raise BadData(
            f"{path}: got dates as {shown}, expected {order.value if order else 'the day or the month'} first in all; "
            "split the file, or correct --date-order"
        )
    notes = []
    if dates and not wanted:
        notes = [
            f"dates as {dates[0].found[0].decode()} are read day first: no row says which; --date-order month reads "
            "the month first"
        ]
    elif wanted == {DateOrder.MONTH} and not order:
        notes = ["months come first in its dates: some of them have no other meaning"]
    ordered = {columns: list(rows) for columns, rows in tables.items()}
    for date in dates:
        row = tables[date.columns][date.row]
        end = date.start + len(date.found[0])
        new = date.day_first(next(iter(wanted), DateOrder.DAY))
        ordered[date.columns][date.row] = row[: date.start] + new + row[end:]
    return ordered, notes


def _dates(rows: list[bytes], header: Columns) -> Iterator[_Date]:
    known = FORMATS[CICFLOWMETER_CSV]
    lines = cut_lines(rows)
    cells = known.scan(lines, header)
    column = known.columns.index("Timestamp")
    text = cells.text
    begins = [0]
    for row in rows:
        begins.append(begins[-1] + len(row))
    cuts = zip(lines.message.tolist(), cells.starts[column].tolist(), cells.ends[column].tolist(), strict=True)
    for row_number, start, end in cuts:
        date = _DATE.match(text[start:end].tobytes()) if end > start else None
        if date:
            yield _Date(header, row_number, start - begins[row_number], date)
