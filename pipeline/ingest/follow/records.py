"""The bytes of a file that grows, cut into records: whole ones only, header lines taken out and remembered."""

import re
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from pipeline.contracts.raw import (
    BYTE_ORDER_MARK,
    CICFLOWMETER_CSV,
    CONTENT_TYPES,
    GOFLOW2_JSON,
    IPFIXCOL2_JSON,
    MAX_RECORD_BYTES,
    NFDUMP_CSV,
    NFDUMP_JSON,
    PMACCT_JSON,
    SURICATA_EVENTS,
    SURICATA_JSON,
    ZEEK_ICS_LOGS,
    ZEEK_JSON,
    ZEEK_TSV,
    tabbed,
)
from pipeline.ingest.files.guess import HEAD_BYTES, guess, is_array, may_be_header, table_of
from pipeline.ingest.files.near_miss import kind_of_file
from pipeline.ingest.files.separators import cells_of, with_commas
from pipeline.ingest.files.summary import LINES_BELOW, SUMMARY, is_summary_for_people
from pipeline.ingest.follow.position import Layout
from pipeline.ingest.formats.marks import NETFLOW_EVENT, OTHER_LOG
from pipeline.ingest.formats.own_marks import records_in

_EVENTS = tuple(name.encode() for name in SURICATA_EVENTS)
_EVENT_TYPE = re.compile(rb'"event_type"\s*:\s*"([^"]*)"')
_LOG_NAME = re.compile(rb'"_path"\s*:\s*"([^"]+)"')
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}"]', re.DOTALL)
_END_OF_DOS = b"\x1a"
_ZEROS = re.compile(rb"(?<=\n)\x00+|\A\x00+|\x00+\Z")
_LINE_ENDS = bytes.maketrans(b"\n\r\t", b"   ")
# A date before a time of day; no address looks like it.
_DATE = re.compile(rb"\b(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?= +\d{1,2}:\d\d)")
_MONTHS = 12
# Between the objects of an array.
_BETWEEN = b" \t\r\n,[]"


# Events of EVE that need no further look: no other format has them.
_OTHER_EVENTS = frozenset(
    b"alert anomaly dhcp dns drop fileinfo ftp ftp_data http http2 ike krb5 mdns metadata mqtt netflow nfs pgsql quic "
    b"rdp rfb sip smb smtp snmp ssh stats tftp tls".split()
)
# What a record of each format of JSON has that is of that format plainly; others are parsed and judged.
_SIGNS: dict[str, bytes] = {
    ZEEK_JSON: b'"conn_state":',
    SURICATA_JSON: b'"event_type":',
    GOFLOW2_JSON: b'"time_flow_start_ns":',
    NFDUMP_JSON: b'"in_packets"',
    PMACCT_JSON: b'"port_src":',
    IPFIXCOL2_JSON: b'"iana:',
}
_SIGNS |= {f"zeek-{log}+json": b"\n" for log in ZEEK_ICS_LOGS}  # none: each is judged


class Run(NamedTuple):
    """Records that follow one another and have the same columns."""

    content_type: str
    columns: tuple[str, ...]
    records: list[bytes]


class Cut(NamedTuple):
    """What a piece of a file holds.

    `consumed` bytes were understood; what follows is half a record, and is read again with more. `inside`: they end
    inside a record that is too long.
    """

    runs: list[Run]
    consumed: int
    layout: Layout
    inside: bool
    skipped: int


def layout_of(head: bytes, content_type: str | None, whole: bool) -> Layout | None:
    """The layout of a file that begins with `head`; None where it cannot be recognised.

    `whole` says that nothing follows; then, or beyond HEAD_BYTES, it will not be recognised later either.
    """
    if kind_of_file(head):  # also archives that are not unpacked here
        return None
    kind = content_type or guess(head) or _mixed(head)
    if kind is None or (b"\n" not in head and not whole and not is_array(head)):
        return None
    return Layout(
        kind,
        months_first=kind == CICFLOWMETER_CSV and months_first(head),
        separator="," if kind.endswith("+csv") else "\t",
        array=kind.endswith("+json") and is_array(head),
    )


def _mixed(head: bytes) -> str | None:
    """The format of a file that has several of Zeek's other logs in its first bytes: flows may follow."""
    if len(head) < HEAD_BYTES or is_array(head):
        return None
    kinds = (each for line in head[:HEAD_BYTES].split(b"\n")[:-1] if b"{" in line for each in records_in(line.strip()))
    names = {found[1] for kind, record in kinds if kind == OTHER_LOG and (found := _LOG_NAME.search(record))}
    return ZEEK_JSON if len(names) > 1 else None


def recognisable_later(head: bytes, whole: bool) -> bool:
    """Whether a file that was not recognised may be, once it has more bytes."""
    return not whole and len(head) < HEAD_BYTES


def known_type(content_type: str) -> bool:
    """Whether a content-type is one that ingest reads."""
    return content_type in CONTENT_TYPES


def cut(
    layout: Layout,
    data: bytes,
    inside: bool = False,
    final: bool = False,
    judged: bool = False,
    named: bool = False,
) -> Cut:
    """Cut what follows in a file; `final`: nothing will follow `data`, so that a last line without an end is one.

    `judged`: JSON is judged a record at a time, so that a file may mix formats and logs, in wrappers too; `named`: the
    settings say what the records are, and only wrappers are taken off.
    """
    size = len(data)
    if inside:
        following = data.find(b"\n") + 1
        if not following:
            return Cut([], size, layout, not final, 0)
        data = data[following:]
    # Where a file is truncated under a writer that does not append, the system fills what is missing with zeros.
    data = data.lstrip(b"\0").removeprefix(BYTE_ORDER_MARK)
    before = size - len(data)
    if layout.array:
        records, consumed = _objects(data, final)
    else:
        consumed = len(data) if final else data.rfind(b"\n") + 1
        block = data[:consumed]
        if BYTE_ORDER_MARK[:1] in block:  # one byte is found faster
            block = block.replace(b"\n" + BYTE_ORDER_MARK, b"\n")
        if b"\0" in block:
            block = _ZEROS.sub(b"", block)
        blanks = b" \r" if tabbed(layout.content_type) else b" \r\t"
        records = [record for line in block.split(b"\n") if (record := line.strip(blanks))]
        if records and records[-1] == _END_OF_DOS:
            records.pop()
    if not consumed and len(data) > MAX_RECORD_BYTES:
        return Cut([_run(layout, [data[: MAX_RECORD_BYTES + 1]])], size, layout, not layout.array, 0)
    if consumed > MAX_RECORD_BYTES:
        records = [record[: MAX_RECORD_BYTES + 1] for record in records]
    runs, layout, skipped = _runs(layout, records, judged, named)
    return Cut([run for run in runs if run.records], before + consumed, layout, False, skipped)


def _runs(layout: Layout, records: list[bytes], judged: bool, named: bool) -> tuple[list[Run], Layout, int]:
    kind = layout.content_type
    if judged and kind in _SIGNS:
        return _judged(layout, records, named)
    if kind == SURICATA_JSON:
        events = [record for record in records if _is_read(record)]
        return [_run(layout, events)], layout, len(records) - len(events)
    if tabbed(kind):
        return _tabbed(layout, records)
    if kind.endswith("+csv"):
        return _csv(layout, records)
    return [_run(layout, records)], layout, 0


def _run(layout: Layout, records: list[bytes]) -> Run:
    return Run(layout.content_type, layout.columns, records)


def _judged(layout: Layout, records: list[bytes], named: bool) -> tuple[list[Run], Layout, int]:
    """Records by their own marks; those of other logs are left out, what is of no kind is for ingest to reject."""
    kind = layout.content_type
    if kind != SURICATA_JSON and _are_plain(kind, records):
        return [_run(layout, records)], layout, 0
    judged: list[tuple[str, bytes]] = []
    skipped = 0
    for record in records:
        plain = _is_plain_event(record) if kind == SURICATA_JSON else _are_plain(kind, [record])
        if plain is None:
            skipped += 1
        elif plain:
            judged.append((kind, record))
        else:
            for own, inner in records_in(record):
                if own in (OTHER_LOG, NETFLOW_EVENT) and (not named or kind == SURICATA_JSON):
                    skipped += 1
                else:
                    judged.append((own if own in CONTENT_TYPES and not named else kind, inner))
    runs = [Run(own, (), [record for _, record in group]) for own, group in groupby(judged, lambda each: each[0])]
    return runs, layout, skipped


def _are_plain(kind: str, records: list[bytes]) -> bool:
    """Whether records are plainly of a format: flat, not renamed, each with the format's sign; sure where it is so."""
    text, count = b"\n".join(records), len(records)
    objects = text.count(b"{")
    return (
        text.count(_SIGNS[kind]) == count
        and (objects == count or (objects == 2 * count and text.count(b'"id":{') == count))
        and all(record[0] == ord("{") for record in records)
        and b'"_path"' not in text
    )


def _is_plain_event(record: bytes) -> bool | None:
    """Whether a record is plainly an event of EVE that is read; None where it is one that is not."""
    found = _EVENT_TYPE.search(record)
    if found is None or not record.startswith(b"{") or record.count(b"{", 0, found.start()) != 1:
        return False
    return True if found[1] in _EVENTS else None if found[1] in _OTHER_EVENTS else False


def _is_read(record: bytes) -> bool:
    """Whether an event of an EVE file is one that is read; what has no type is for ingest to reject."""
    if b'"event_type":"flow"' in record:
        return True
    found = _EVENT_TYPE.search(record)
    return found is None or found[1] in _EVENTS


def _tabbed(layout: Layout, records: list[bytes]) -> tuple[list[Run], Layout, int]:
    """Rows of a Zeek log; its lines that begin with # are remembered, and columns that change begin another run."""
    runs, rows = [], []
    for record in records:
        if not record.startswith(b"#"):
            rows.append(record)
            continue
        said = _header(layout, record)
        if said != layout:
            runs.append(_run(layout, _with_own_marks(layout, rows)))
            layout, rows = said, []
    runs.append(_run(layout, _with_own_marks(layout, rows)))
    return runs, layout, 0


def _header(layout: Layout, line: bytes) -> Layout:
    """What a line that begins with # adds to what is known of the file."""
    line = line.rstrip(b"\r")
    if line.startswith(b"#separator"):
        try:
            mark = line[len(b"#separator") :].strip(b" ").decode("unicode_escape")
        except UnicodeError:
            return layout
        return replace(layout, separator=mark or "\t", unset="-", empty="(empty)")
    name, _, value = line.decode("utf-8", "replace").partition(layout.separator)
    if name == "#fields":
        return replace(layout, columns=tuple(value.split(layout.separator)))
    if name == "#unset_field":
        return replace(layout, unset=value)
    return replace(layout, empty=value) if name == "#empty_field" else layout


def _with_own_marks(layout: Layout, rows: list[bytes]) -> list[bytes]:
    """Other separators and marks than Zeek's own become Zeek's own: a message cannot say what they are."""
    if (layout.separator, layout.unset, layout.empty) == ("\t", "-", "(empty)"):
        return rows
    separator = layout.separator.encode("utf-8", "replace")
    marks = {layout.unset.encode(): b"-", layout.empty.encode(): b"(empty)"}
    return [b"\t".join([marks.get(cell, cell) for cell in row.rstrip(b"\r").split(separator)]) for row in rows]


def _csv(layout: Layout, records: list[bytes]) -> tuple[list[Run], Layout, int]:
    """Rows below a header; a second header, and what nfdump writes below its table, are no records."""
    runs: list[Run] = []
    rows: list[bytes] = []
    skipped = 0
    if not layout.columns:
        # A program may write text before its header; where none is known the first line is one.
        heads = (row for row, record in enumerate(records) if table_of(record).content_type == layout.content_type)
        skipped = next(heads, 0)
        records = records[skipped:]
    of_nfdump, of_cicflowmeter = layout.content_type == NFDUMP_CSV, layout.content_type == CICFLOWMETER_CSV
    for record in records:
        if layout.passing_over:
            layout, skipped = replace(layout, passing_over=layout.passing_over - 1), skipped + 1
        elif not layout.columns or (may_be_header(record) and table_of(record).content_type == layout.content_type):
            runs.append(_run(layout, with_commas(rows, layout.separator)))
            layout, rows = _with_columns(layout, record), []
        elif of_nfdump and record.strip() == SUMMARY:
            layout, skipped = replace(layout, passing_over=LINES_BELOW), skipped + 1
        elif of_nfdump and is_summary_for_people(record):
            skipped += 1
        else:
            rows.append(in_day_order(record, layout.months_first) if of_cicflowmeter else record)
    runs.append(_run(layout, with_commas(rows, layout.separator)))
    return runs, layout, skipped


def months_first(head: bytes) -> bool:
    """Whether dates of CICFlowMeter have the month first: one among the first rows has no other meaning."""
    dates = [(int(first), int(second)) for first, _, second, _ in _DATE.findall(head)]
    return any(second > _MONTHS for _, second in dates) and all(first <= _MONTHS for first, _ in dates)


def in_day_order(row: bytes, months: bool) -> bytes:
    """A row of CICFlowMeter with the date as ingest reads it: day, month and a year of four digits, with slashes."""
    return _DATE.sub(rb"\3/\1/\4" if months else rb"\1/\3/\4", row, count=1)


def _with_columns(layout: Layout, header: bytes) -> Layout:
    """The layout with a header's names; the second column of a name gets a number, as a message needs it."""
    separator = table_of(header).separator
    columns: list[str] = []
    counts: dict[str, int] = {}
    for name in cells_of(header, separator):
        counts[name] = counts.get(name, 0) + 1
        columns.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return replace(layout, columns=tuple(columns), separator=separator)


def _objects(data: bytes, final: bool) -> tuple[list[bytes], int]:
    """The whole objects of an array, each on one line, and the bytes up to the end of the last one."""
    records: list[bytes] = []
    depth, start, consumed = 0, 0, 0
    for token in _TOKEN.finditer(data):
        mark = token[0]
        if mark == b'"':
            break  # a string that is not whole yet
        if mark == b"{":
            start = token.start() if depth == 0 else start
            depth += 1
        elif mark == b"}" and depth:
            depth -= 1
            if depth == 0:
                consumed = token.end()
                records.append(data[start:consumed].translate(_LINE_ENDS))
    if not final:
        return records, consumed
    rest = data[consumed:].strip(_BETWEEN).translate(_LINE_ENDS)
    return ([*records, rest] if rest else records), len(data)


# ---- when it happened

_TIMES = {
    SURICATA_JSON: (re.compile(rb'"timestamp"\s*:\s*"([^"]+)"'), 1.0),
    GOFLOW2_JSON: (re.compile(rb'"time_flow_end_ns"\s*:\s*"?(\d+)'), 1e-9),
}
_ZEEK_TIME = (re.compile(rb'"ts"\s*:\s*"?([^",}]+)'), 1.0)
_DURATION = re.compile(rb'"duration"\s*:\s*([0-9.]+)')


def event_time_s(run: Run, index: int) -> float | None:
    """About when a record of a run happened; None where that is not known at a glance.

    It only decides which of several files that wait is read first.
    """
    kind, record = run.content_type, run.records[index]
    try:
        if tabbed(kind):
            cells = dict(zip(run.columns, record.split(b"\t"), strict=False))
            lasted = cells.get("duration", b"-") if kind == ZEEK_TSV else b"-"
            return float(cells["ts"]) + (0.0 if lasted == b"-" else float(lasted))
        pattern, unit_s = _ZEEK_TIME if kind.startswith("zeek-") else _TIMES[kind]
        found = pattern.search(record)
        if found is None:
            return None
        lasts = _DURATION.search(record) if kind.startswith("zeek-") else None
        return _seconds(found[1]) * unit_s + (float(lasts[1]) if lasts else 0.0)
    except (ValueError, KeyError, OverflowError):
        return None


def _seconds(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text.decode("ascii", "replace")).timestamp()
