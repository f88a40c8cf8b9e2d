"""CSV and TSV lines cut into cells in one compiled pass; each line is judged by itself."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.contracts.raw import MAX_RECORD_BYTES
from pipeline.ingest.compiled import compiled
from pipeline.ingest.reasons import COLUMNS, NOT_UTF8, TOO_BIG
from pipeline.ingest.scan.cells import BARE, Bytes, Cells, Ints, blank_cells
from pipeline.ingest.scan.lines import Lines
from pipeline.ingest.scan.utf8 import valid_utf8

COMMA, TAB, QUOTE, BLANK = 44, 9, 34, 32


@compiled
def _unset(text: Bytes, first: int, last: int, separator: int) -> bool:
    if last == first:
        return True
    if separator != TAB:
        return False
    if last - first == 1:
        return bool(text[first] == 45)  # Zeek's "-"
    # Zeek's "(empty)"
    return bool(last - first == 7 and text[first] == 40 and text[first + 1] == 101 and text[last - 1] == 41)


@compiled
def _scan(
    text: Bytes,
    record_starts: Ints,
    record_ends: Ints,
    separator: int,
    trim: bool,
    wanted: Ints,
    starts: Ints,
    ends: Ints,
    kinds: Bytes,
    problem: Bytes,
) -> None:
    for row in range(len(record_starts)):
        offset = record_starts[row]
        end = record_ends[row]
        if end - offset > MAX_RECORD_BYTES:
            problem[row] = TOO_BIG
            continue
        if not valid_utf8(text, offset, end):
            problem[row] = NOT_UTF8
            continue
        field = 0
        while True:
            first = offset
            if separator == COMMA and offset < end and text[offset] == QUOTE:
                # A quoted field; a doubled quote inside stays doubled: no field of ours holds one.
                offset += 1
                while offset < end and (text[offset] != QUOTE or (offset + 1 < end and text[offset + 1] == QUOTE)):
                    offset += 2 if text[offset] == QUOTE else 1
                last = min(offset, end)
                first += 1
                offset += 1
                if offset < end and text[offset] != separator:
                    field = -1
                    break
                if offset > end:
                    field = -1
                    break
            else:
                while offset < end and text[offset] != separator:
                    offset += 1
                last = offset
            while trim and first < last and text[first] == BLANK:
                first += 1
            while trim and last > first and text[last - 1] == BLANK:
                last -= 1
            if field < len(wanted) and wanted[field] >= 0 and not _unset(text, first, last, separator):
                starts[wanted[field], row] = first
                ends[wanted[field], row] = last
                kinds[wanted[field], row] = BARE
            field += 1
            if offset >= end:
                break
            offset += 1
        if field != len(wanted):
            problem[row] = COLUMNS
            for column in range(len(kinds)):
                starts[column, row], ends[column, row], kinds[column, row] = 0, 0, 0


def scan_delimited(
    lines: Lines, separator: int, header: Sequence[str], names: Sequence[str], trim: bool = False
) -> Cells:
    """Cells of CSV (`separator` COMMA) or Zeek TSV (TAB) lines.

    `header` names the fields of a line, `names` the wanted columns. A line with another number of fields is a reject.
    `trim` takes blanks around a field off. Empty fields, and Zeek's `-` and `(empty)`, are absent.
    """
    column = {name: index for index, name in enumerate(names)}
    wanted: npt.NDArray[np.int64] = np.array([column.get(name, -1) for name in header], np.int64)
    cells = blank_cells(lines.text, lines.starts, lines.ends, len(names))
    _scan(
        lines.text,
        lines.starts,
        lines.ends,
        separator,
        trim,
        wanted,
        cells.starts,
        cells.ends,
        cells.kinds,
        cells.problem,
    )
    return cells
