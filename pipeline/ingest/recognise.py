"""Which kind of record each JSON record is, judged by its own marks: a stream or a file may mix logs.

The marks and the rules are data (formats/marks.py). What comes before or after a record changes nothing.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.formats.marks import (
    INSIDE,
    INSIDE_PATHS,
    KINDS,
    MARK_COLUMNS,
    MARK_OF,
    MARKS,
    NETFLOW_EVENT,
    OTHER_LOG,
    OTHER_WRAPPER,
    OTHER_WRAPPERS,
    PATHS,
    RULES,
    WORDS,
    WRAPPER_PATHS,
    Path,
)
from pipeline.ingest.scan.cells import ABSENT, ESCAPED, STRING, Cells
from pipeline.ingest.scan.json import Columns, Keys, key_table, scan_json
from pipeline.ingest.scan.lines import Lines
from pipeline.ingest.scan.text import text_column

Mask = npt.NDArray[np.bool_]

# Names of other logs are for people: enough records to see which they are, however long the file is.
_NAMED_RECORDS = 100_000
_FIRST_KEY, _KEY_BYTES = re.compile(rb'\{\s*"([^"\\]+)"'), 80


class MarkTable(NamedTuple):
    """What is scanned for: the marks, then `fields`, a column each."""

    table: tuple[Keys, Columns]
    columns: int
    fields: dict[Path, int]

    @classmethod
    def of(cls, fields: Mapping[str, Path] | None = None) -> "MarkTable":
        """The marks and the paths of further fields that the caller wants to see."""
        paths = {**PATHS, **OTHER_WRAPPERS, **INSIDE_PATHS}
        columns = MARK_COLUMNS
        wanted = dict.fromkeys((fields or {}).values())
        for path in wanted:
            if path not in paths:
                paths[path] = columns
                columns += 1
        return cls(key_table(paths), columns, {path: paths[path] for path in wanted})


class Recognised(NamedTuple):
    """n records: `kind` (n,) is an index into KINDS; `cells` has the marks' columns, and those of the fields."""

    kind: npt.NDArray[np.int16]
    cells: Cells

    def of_kind(self, kind: str) -> Mask:
        """(n,) which records are of a kind."""
        mask: Mask = self.kind == KINDS.index(kind)
        return mask

    def other_logs(self) -> Counter[str]:
        """How many records of which other logs there are, by the name that the records have; "" where none has it."""
        rows = self.of_kind(OTHER_LOG) | self.of_kind(NETFLOW_EVENT)
        rows[np.flatnonzero(rows)[_NAMED_RECORDS:]] = False
        cells = self.cells.of(rows)
        path, event = (text_column(cells, PATHS[(key,)])[0] for key in ("_path", "event_type"))
        names = pc.coalesce(path, event)
        wrapped = names.is_null().to_numpy(zero_copy_only=False) & (cells.kinds[OTHER_WRAPPER] != ABSENT)
        counted = pc.value_counts(pc.fill_null(names.filter(pa.array(~wrapped)), ""))
        counts = Counter({entry["values"].as_py(): entry["counts"].as_py() for entry in counted})
        # The name of a log that wraps its record is the record's first key.
        for row in np.flatnonzero(wrapped).tolist():
            start = cells.record_starts[row]
            key = _FIRST_KEY.match(cells.text[start : start + _KEY_BYTES].tobytes())
            counts[key[1].decode("utf-8", "replace") if key else ""] += 1
        return counts


PLAIN = MarkTable.of()


def recognise(lines: Lines, table: MarkTable = PLAIN) -> Recognised:
    """The kind of every record; of one that is no JSON object, or has a mark twice, that of no known record."""
    cells = scan_json(lines, table.table, table.columns)
    marks = _marks(cells)
    kind = np.zeros(cells.rows, np.int16)
    for rule in reversed(RULES):  # so that the first rule that fits decides
        fits = np.ones(cells.rows, np.bool_)
        for need in rule.needs:
            fits &= np.logical_or.reduce([marks[mark] for mark in need.split("|")])
        for mark in rule.without:
            fits &= ~marks[mark]
        kind[fits] = KINDS.index(rule.kind)
    return Recognised(kind, cells)


def _marks(cells: Cells) -> dict[str, Mask]:
    """(n,) for each mark, and each test of a mark's value, which records have it."""
    present = cells.kinds[: OTHER_WRAPPER + 1] != ABSENT
    of = np.array(MARK_OF)
    marks: dict[str, Mask] = {
        name: np.logical_or.reduce(present[:OTHER_WRAPPER][of == number]) for number, name in enumerate(MARKS)
    }
    marks["other wrapper"] = present[OTHER_WRAPPER]
    texts: dict[Path, pa.StringArray] = {}
    for name, (path, words) in WORDS.items():
        if path not in texts:
            texts[path] = text_column(cells, PATHS[path])[0]
        marks[name] = pc.is_in(texts[path], pa.array(words)).to_numpy(zero_copy_only=False)
    for path in WRAPPER_PATHS:
        column, name = PATHS[path], ".".join(path)
        kinds, starts = cells.kinds[column], cells.starts[column]
        texts_here = (kinds == STRING) | (kinds == ESCAPED)
        if texts_here.any():
            texts_here &= cells.text[np.where(texts_here, starts, 0)] == ord("{")
        marks[f"{name} text"] = texts_here
    for path, column in INSIDE.items():
        marks[f"{'.'.join(path)} object"] = cells.kinds[column] != ABSENT
    return marks


def wrapped_text(document: Mapping[str, Any]) -> str:
    """The text in a shipper's document, of the first of its fields that has one; empty where none has."""
    for path in WRAPPER_PATHS:
        value: Any = document
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, str):
            return value
    return ""
