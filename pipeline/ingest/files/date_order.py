"""Dates as 11/3/2023: whether the day or the month comes first is a fact about the whole file, not about a row.

One row whose second number is above 12 proves that months come first, one whose first number is that days do. Ingest
reads each row by itself, days first: where months come first the rows are rewritten.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.contracts.date_order import DateOrder
from pipeline.contracts.raw import CICFLOWMETER_CSV
from pipeline.errors import BadData
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.scan.lines import cut_lines

_DATE = re.compile(rb"(\d{1,2})/(\d{1,2})(?=/\d{4})")
_MONTHS = 12


def in_day_order(
    path: Path | str, rows: list[bytes], header: tuple[str, ...], order: DateOrder | None
) -> tuple[list[bytes], list[str]]:
    """Rows of CICFlowMeter with days first, and what there is to say about it.

    BadData where rows prove both orders, or another one than `order`.
    """
    dates = _dates(rows, header)
    pairs = [(int(date[1]), int(date[2])) for _, _, date in dates]
    proven = {DateOrder.DAY for first, _ in pairs if first > _MONTHS}
    proven |= {DateOrder.MONTH for _, second in pairs if second > _MONTHS}
    wanted = proven | {order} if order else proven
    if len(wanted) > 1:
        both = [next(date[0] for _, _, date in dates if int(date[at]) > _MONTHS) for at in (1, 2) if _any(pairs, at)]
        shown = " and ".join(text.decode() for text in both)
        raise BadData(
            f"{path}: got dates as {shown}, expected {order.value if order else 'the day or the month'} first in all; "
            "split the file, or correct --date-order"
        )
    if not pairs or wanted == {DateOrder.DAY}:
        return rows, []
    if not wanted:
        text = dates[0][2][0].decode()
        return rows, [
            f"dates as {text} are read day first: no row says which; --date-order month reads the month first"
        ]
    swapped = list(rows)
    for row, start, date in dates:
        end = start + len(date[0])
        swapped[row] = rows[row][:start] + date[2] + b"/" + date[1] + rows[row][end:]
    return swapped, [] if order else ["months come first in its dates: some of them have no other meaning"]


def _any(pairs: Sequence[tuple[int, int]], at: int) -> bool:
    return any(pair[at - 1] > _MONTHS for pair in pairs)


def _dates(rows: list[bytes], header: tuple[str, ...]) -> list[tuple[int, int, re.Match[bytes]]]:
    """Of each row that has such a date: the row, where the date begins in it, and its two numbers."""
    known = FORMATS[CICFLOWMETER_CSV]
    lines = cut_lines(rows)
    cells = known.scan(lines, header)
    column = known.columns.index("Timestamp")
    text = cells.text
    begins = [0]
    for row in rows:
        begins.append(begins[-1] + len(row))
    found = []
    places = zip(lines.message.tolist(), cells.starts[column].tolist(), cells.ends[column].tolist(), strict=True)
    for row, start, end in places:
        date = _DATE.match(text[start:end].tobytes()) if end > start else None
        if date:
            found.append((row, start - begins[row], date))
    return found
