"""A file of flow records: opened, its format recognised, cut into records without header lines and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.raw import ARGUS_CSV, CONTENT_TYPES, DELIMITED, ICSFLOW_CSV, NFDUMP_CSV, SURICATA_JSON, tabbed
from pipeline.errors import BadData
from pipeline.ingest.files.guess import guess, is_array, other_log
from pipeline.ingest.files.labels import strip_columns, strip_keys
from pipeline.ingest.files.read_bytes import MAX_FILE_BYTES, read_bytes
from pipeline.ingest.formats import suricata, suricata_ics
from pipeline.ingest.formats.registry import FORMATS, end_times
from pipeline.ingest.reasons import MAX_RECORD_BYTES
from pipeline.ingest.scan.cells import Ints
from pipeline.ingest.scan.json_array import split_objects
from pipeline.ingest.scan.lines import cut_lines
from pipeline.ingest.scan.text import text_column
from schemas.sources import source_of, sources

KNOWN = "; ".join(f"{source.title} ({', '.join(source.content_types)})" for source in sources().values())


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The records of one file.

    `numbers` is each record's index among the file's data rows, from 0; `skipped` counts lines that are no records of
    the format (events of other types in an EVE file). An empty file has no content-type.
    """

    content_type: str
    columns: tuple[str, ...]
    records: list[bytes]
    numbers: Ints
    skipped: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all records."""
        return sum(map(len, self.records))

    def reordered(self, order: Ints) -> "SourceFile":
        """The same records in another order."""
        records = [self.records[index] for index in order.tolist()]
        return SourceFile(self.content_type, self.columns, records, self.numbers[order], self.skipped)

    def end_times_us(self) -> Ints:
        """When each record's flow ended; a record without a time takes that of the one before it."""
        if not self.records:
            return np.zeros(0, np.int64)
        lines = cut_lines(self.records, not tabbed(self.content_type))
        ends_us = np.zeros(len(self.records), np.int64)
        known = np.zeros(len(self.records), np.bool_)
        if not FORMATS[self.content_type].lacking(self.columns):
            times, valid = end_times(self.content_type, self.columns, lines)
            ends_us[lines.message[valid]], known[lines.message[valid]] = times[valid], True
        if not known.any():
            return ends_us
        first = int(np.argmax(known))
        previous = np.maximum.accumulate(np.where(known, np.arange(len(known)), first))
        carried: Ints = ends_us[previous]
        return carried

    def by_end_time(self) -> "SourceFile":
        """The records sorted by `end_times_us`; equal times keep their order."""
        return self.reordered(np.argsort(self.end_times_us(), kind="stable"))


def read_records(path: Path | str, content_type: str | None = None, max_bytes: int = MAX_FILE_BYTES) -> SourceFile:
    """The records of a file, in the file's order, labels taken out.

    BadData where the format is not given and cannot be recognised, where the header is missing, or where the file has
    more than `max_bytes`, unpacked.
    """
    if content_type is not None and content_type not in CONTENT_TYPES:
        raise BadData(f"format: got {content_type}, expected one of {', '.join(CONTENT_TYPES)}")
    data = read_bytes(path, max_bytes).removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        return SourceFile(content_type or "", (), [], np.zeros(0, np.int64))
    kind = content_type or guess(data)
    if kind is None:
        log = other_log(data)
        got = f"the Zeek log {log}, which holds no flows and counts no operations" if log else "an unrecognised format"
        raise BadData(f"{path}: got {got}, expected one of: {KNOWN}; --format names it")
    if kind == ARGUS_CSV and b"," not in (first := data.lstrip().partition(b"\n")[0]) and b"\t" in first:
        data = data.replace(b"\t", b",")  # ra -c of a tab
    records = _records(data, kind)
    if kind == SURICATA_JSON:
        return flow_events(records)
    if kind not in DELIMITED:
        return _source(kind, (), strip_keys(records))
    if kind.endswith("+csv"):
        return _csv(path, kind, records)
    return _zeek_tsv(path, kind, records)


def _records(data: bytes, kind: str) -> list[bytes]:
    """One record a line; of JSON that is an array, one an object."""
    if kind not in DELIMITED and is_array(data):
        return [record[: MAX_RECORD_BYTES + 1] for record in split_objects(data)]
    lines = cut_lines([data], not tabbed(kind))
    # One byte more than a record may have: still `too_big` for ingest, and Kafka takes the message.
    ends = np.minimum(lines.ends, lines.starts + MAX_RECORD_BYTES + 1)
    return [data[start:end] for start, end in zip(lines.starts.tolist(), ends.tolist(), strict=True)]


def _csv(path: Path | str, kind: str, records: list[bytes]) -> SourceFile:
    """Data lines below a header, without what nfdump writes at the end; a second column of a name gets a number."""
    header: list[str] = []
    for name in (name.strip(' "') for name in records[0].decode("utf-8", "replace").split(",")):
        again = sum(name == other.partition("#")[0] for other in header)
        header.append(f"{name}#{again + 1}" if again else name)
    lacking = FORMATS[kind].lacking(tuple(header)) if kind != ICSFLOW_CSV else []
    if lacking:
        raise BadData(
            f"{path}: got a first line without {', '.join(lacking)}, expected the header of {source_of(kind).title}; "
            "write the file with these columns"
        )
    rows, skipped = records[1:], 0
    if kind == NFDUMP_CSV and b"Summary" in rows[-3:]:
        skipped = rows[-3:][::-1].index(b"Summary") + 1
        rows = rows[: len(rows) - skipped]
    stripped, names = strip_columns(rows, header, ",")
    return _source(kind, names, stripped, skipped)


def _source(kind: str, columns: Sequence[str], records: list[bytes], skipped: int = 0) -> SourceFile:
    return SourceFile(kind, tuple(columns), records, np.arange(len(records), dtype=np.int64), skipped)


def flow_events(records: list[bytes]) -> SourceFile:
    """Only the events of an EVE file that are read, and what cannot be distinguished: that becomes rejects."""
    lines = cut_lines(records)
    cells = FORMATS[SURICATA_JSON].scan(lines, ())
    events, _ = text_column(cells, suricata.COLUMNS.index("event_type"))
    reported = events.is_valid().to_numpy(zero_copy_only=False) & (cells.problem == 0)
    other = reported & ~pc.is_in(events, pa.array(("flow", *suricata_ics.EVENTS))).to_numpy(zero_copy_only=False)
    retained = np.ones(len(records), np.bool_)
    retained[lines.message[other]] = False
    numbers = np.flatnonzero(retained)
    return SourceFile(
        SURICATA_JSON, (), strip_keys([records[number] for number in numbers.tolist()]), numbers, int((~retained).sum())
    )


def _separator(path: Path | str, record: bytes) -> bytes:
    """What a Zeek log's line `#separator` says, in Python's escapes; a tab where it says nothing."""
    mark = record[len(b"#separator") :].strip(b" ")
    try:
        return mark.decode("unicode_escape").encode("latin-1") or b"\t"
    except UnicodeError as error:
        raise BadData(
            f"{path}: got #separator {mark[:40]!r}, expected a character such as \\x09 or ,; mend the line"
        ) from error


def _zeek_tsv(path: Path | str, kind: str, records: list[bytes]) -> SourceFile:
    """Data lines of a Zeek log; other separators and unset marks than Zeek's own become Zeek's own."""
    facts: dict[bytes, bytes] = {}
    separator = b"\t"
    rows: list[bytes] = []
    for record in records:
        if not record.startswith(b"#"):
            rows.append(record)
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
        raise BadData(f"{path}: got no #fields line, expected the header of a Zeek log")
    header = facts[b"#fields"].decode("utf-8", "replace").split(separator.decode("latin-1"))
    unset, empty = facts.get(b"#unset_field", b"-"), facts.get(b"#empty_field", b"(empty)")
    if separator != b"\t" or unset != b"-" or empty != b"(empty)":
        marks = {unset: b"-", empty: b"(empty)"}
        rows = [b"\t".join([marks.get(field, field) for field in row.split(separator)]) for row in rows]
    stripped, names = strip_columns(rows, header, "\t")
    return _source(kind, names, stripped)
