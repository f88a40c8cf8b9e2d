"""A file of CSV or of Zeek's TSV: its header found and read, rows cut, what is no row left out."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.contracts.date_order import DateOrder
from pipeline.contracts.raw import (
    ARGUS_CSV,
    CICFLOWMETER_CSV,
    CONTENT_TYPES,
    MAX_RECORD_BYTES,
    NFDUMP_CSV,
    ZEEK_TSV,
    tabbed,
)
from pipeline.errors import BadData
from pipeline.ingest.files.date_order import in_day_order
from pipeline.ingest.files.guess import HEAD_BYTES, kind_of_log, may_be_header, table_of
from pipeline.ingest.files.labels import strip_columns
from pipeline.ingest.files.other_tools import kind_of_header
from pipeline.ingest.files.separators import COMMA, SEPARATORS, cells_of, with_commas
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.files.summary import without_summary
from pipeline.ingest.formats.marks import OTHER_LOG
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.scan.lines import cut_lines
from pipeline.runtime.terminal import printable
from schemas.sources import source_of

# A header stands in one of the first lines: programs and shells write text before it.
_HEAD_LINES = 1_000
_MAX_NAME = 60
# No row has the names of so many columns in it.
_SAME_NAMES = 3
# Columns that every conn log has by default; a filter may leave them out.
_USUAL = (
    *("service", "duration", "orig_bytes", "resp_bytes", "conn_state", "missed_bytes", "history"),
    *("orig_pkts", "resp_pkts"),
)


def table_kind(path: Path | str, data: bytes) -> str:
    """The content-type of a table by its header; empty where it is none. BadData where it is known and not read."""
    tsv: dict[bytes, bytes] = {}
    for line in data[:HEAD_BYTES].split(b"\n")[:_HEAD_LINES]:
        line = line.strip(b" \r")
        if line.startswith(b"{"):
            return ""
        if line.startswith((b"#fields", b"#path")):
            word = b"#path" if line.startswith(b"#path") else b"#fields"
            # What follows the word is the file's separator.
            tsv.setdefault(word, line[len(word) :])
        elif line and not line.startswith(b"#"):
            if b"#fields" in tsv:
                break
            if kind := table_of(line).content_type:
                return kind
            for separator in SEPARATORS:
                if sentence := kind_of_header(set(cells_of(line, separator))):
                    raise BadData(f"{path}: got {sentence}")
    return _kind_of_log(path, tsv) if tsv else ""


def _kind_of_log(path: Path | str, tsv: dict[bytes, bytes]) -> str:
    """The content-type of a Zeek log: a name that is known decides, then the columns."""
    name = tsv.get(b"#path", b"")[1:].decode("utf-8", "replace")
    fields = tsv.get(b"#fields", b"").decode("utf-8", "replace")
    found = kind_of_log(name, fields[1:].split(fields[:1]) if fields else ())
    if found in CONTENT_TYPES:
        return found
    if found == OTHER_LOG:
        log = f"the Zeek log {printable(name, _MAX_NAME)}" if name else "a Zeek log"
        raise BadData(f"{path}: got {log}, which holds no flows and counts no operations; send conn.log")
    return ""


def read_table(path: Path | str, kind: str, data: bytes, date_order: DateOrder | None = None) -> SourceSet:
    """The rows of a table, a part for each different header."""
    records = _lines(data, kind)
    return _zeek_tsv(path, kind, records) if tabbed(kind) else _csv(path, kind, records, date_order)


def _lines(data: bytes, kind: str) -> list[bytes]:
    lines = cut_lines([data], not tabbed(kind))
    # One byte more than a record may have: still `too_big` for ingest, and Kafka takes the message.
    ends = np.minimum(lines.ends, lines.starts + MAX_RECORD_BYTES + 1)
    return [data[start:end] for start, end in zip(lines.starts.tolist(), ends.tolist(), strict=True)]


def _names(line: bytes) -> tuple[str, ...]:
    """The names in a header; a second column of a name gets a number."""
    header: list[str] = []
    for name in cells_of(line, COMMA):
        again = sum(name == other.partition("#")[0] for other in header)
        header.append(f"{name}#{again + 1}" if again else name)
    return tuple(header)


def _csv(path: Path | str, kind: str, records: list[bytes], date_order: DateOrder | None) -> SourceSet:
    """Rows below a header, without what nfdump writes at the end; below a header that differs they are another part."""
    found = (row for row, line in enumerate(records[:_HEAD_LINES]) if table_of(line).content_type == kind)
    head = next(found, 0)
    notes = [f"the first {head} lines are no records: the header is behind them"] if head else []
    rows = records[head:]
    known = {name for separator in SEPARATORS for name in cells_of(rows[0], separator)}
    tables = [row for row, line in enumerate(rows) if may_be_header(line) and _is_header(line, known)]
    parts: dict[tuple[str, ...], tuple[list[bytes], list[int]]] = {}
    number = 0
    for begin, end in pairwise([*(tables or [0]), len(rows)]):
        columns, below = _table(path, kind, rows[begin:end], begin + head)
        chosen, numbers = parts.setdefault(columns, ([], []))
        chosen += below
        numbers += range(number, number + len(below))
        number += len(below)
    if len(parts) > 1:
        notes.append(f"{len(parts)} different headers: the rows below each are read by its names")
    if kind == CICFLOWMETER_CSV:
        ordered, said = in_day_order(path, {columns: chosen for columns, (chosen, _) in parts.items()}, date_order)
        parts = {columns: (ordered[columns], numbers) for columns, (_, numbers) in parts.items()}
        notes += said
    files = []
    for columns, (chosen, numbers) in parts.items():
        stripped, names = strip_columns(chosen, columns, ",")
        files.append(SourceFile(kind, tuple(names), stripped, np.array(numbers, np.int64)))
    return SourceSet.of(files, notes, len(records) - number - 1)


def _is_header(line: bytes, names: set[str]) -> bool:
    """Whether a line is a header: that of a table that is read, or one that has several of the first one's names."""
    if table_of(line).content_type:
        return True
    return any(len(names.intersection(cells_of(line, separator)) - {""}) >= _SAME_NAMES for separator in SEPARATORS)


def _table(path: Path | str, kind: str, lines: list[bytes], line: int) -> tuple[tuple[str, ...], list[bytes]]:
    """The columns and rows of a header and what is below it; `line` is the header's number in the file, from 0."""
    got, separator = table_of(lines[0])
    where = f"{path}: line {line + 1}" if line else f"{path}"
    if got not in (kind, ""):
        raise BadData(
            f"{where}: got the header of {source_of(got).title} behind that of {source_of(kind).title}, expected one "
            "format; split the file there"
        )
    columns = _names(with_commas(lines[:1], separator)[0])
    lacking = FORMATS[kind].lacking(columns)
    if lacking:
        raise BadData(
            f"{where}: got a first line without {', '.join(lacking)}, expected the header of {source_of(kind).title}; "
            f"{_remedy(kind, lacking)}"
        )
    rows = without_summary(lines[1:]) if kind == NFDUMP_CSV else lines[1:]
    return columns, with_commas(rows, separator)


# ra's names of columns, where they are not those in its header.
_RA_NAMES = {"StartTime": "stime", "SrcAddr": "saddr", "DstAddr": "daddr", "SrcPkts": "spkts", "DstPkts": "dpkts"}
_RA_NAMES |= {"SrcBytes": "sbytes", "DstBytes": "dbytes"}


def _remedy(kind: str, lacking: Sequence[str]) -> str:
    if kind == ARGUS_CSV:
        asked = " ".join("+" + _RA_NAMES.get(name, name.lower()) for name in lacking)
        return f"ra -s {asked} adds these columns"
    return "write the file with these columns"


def _separator(path: Path | str, record: bytes) -> bytes:
    """What a Zeek log's line `#separator` says, in Python's escapes; a tab where it says nothing."""
    mark = record[len(b"#separator") :].strip(b" ")
    try:
        return mark.decode("unicode_escape").encode("latin-1") or b"\t"
    except UnicodeError as error:
        raise BadData(
            f"{path}: got #separator {mark[:40]!r}, expected a character such as \\x09 or ,; mend the line"
        ) from error


def _zeek_tsv(path: Path | str, kind: str, records: list[bytes]) -> SourceSet:
    """Data lines of a Zeek log; other separators and unset marks than Zeek's own become Zeek's own."""
    facts: dict[bytes, bytes] = {}
    separator = b"\t"
    rows: list[bytes] = []
    before = 0
    for record in records:
        if not record.startswith(b"#"):
            rows.append(record)
            before += b"#fields" not in facts
        elif record.startswith(b"#separator"):
            separator = _separator(path, record)
        else:
            name, _, value = record.partition(separator)
            if name == b"#fields" and facts.setdefault(name, value) != value:
                raise BadData(
                    f"{path}: got two different #fields lines, expected one; split the file where they differ"
                )
            facts[name] = value
    if b"#fields" not in facts:
        raise BadData(
            f"{path}: got no #fields line with tabs, expected the header of a Zeek log; send the file itself: copying "
            "from a terminal makes blanks of its tabs"
        )
    header = facts[b"#fields"].decode("utf-8", "replace").split(separator.decode("latin-1"))
    lacking = FORMATS[kind].lacking(tuple(header))
    if lacking:
        raise BadData(
            f"{path}: got #fields without {', '.join(lacking)}, expected those of {source_of(kind).title}; let the "
            "log's filter include them"
        )
    unset, empty = facts.get(b"#unset_field", b"-"), facts.get(b"#empty_field", b"(empty)")
    if separator != b"\t" or unset != b"-" or empty != b"(empty)":
        marks = {unset: b"-", empty: b"(empty)"}
        rows = [b"\t".join([marks.get(field, field) for field in row.split(separator)]) for row in rows]
    stripped, names = strip_columns(rows, header, "\t")
    absent = [name for name in _USUAL if name not in header] if kind == ZEEK_TSV else []
    notes = [f"the log has no {', '.join(absent)}: what its filter leaves out is null, or 0"] if absent else []
    return SourceSet.of([SourceFile(kind, tuple(names), stripped, np.arange(len(rows), dtype=np.int64))], notes)
