"""Which of the known formats some bytes are, recognised by their first lines."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.contracts.raw import (
    ARGUS_CSV,
    CICFLOWMETER_CSV,
    CONTENT_TYPES,
    ICSFLOW_CSV,
    NFDUMP_CSV,
    SURICATA_JSON,
)
from pipeline.ingest.files.separators import COMMA, SEPARATORS, cells_of
from pipeline.ingest.formats.marks import NETFLOW_EVENT, OTHER_LOG, PMACCT_MARKS
from pipeline.ingest.formats.own_marks import kind_of, records_in

HEAD_BYTES = 65_536
_LINES = 1_000
_SPREAD = re.compile(rb"\{[ \r]*\n")
_EVENT = re.compile(rb'"event_type"\s*:')
_PMACCT_MARK = re.compile(rb'"event_type"\s*:\s*"(' + "|".join(PMACCT_MARKS).encode() + rb')"')


def guess(head: bytes) -> str | None:
    """The content-type of a file that begins with `head`; None where it is none of the known ones.

    Of JSON it is that of the first record that is read; a file of EVE may begin with events that are not.
    """
    head = head.removeprefix(b"\xef\xbb\xbf")[:HEAD_BYTES]
    if is_array(head):
        # Compiled, and so imported when there is an array: a follower of files is to stay small.
        from pipeline.ingest.scan.json_array import split_objects

        return next(filter(None, map(_of_json, split_objects(head))), None)
    name = ""
    for number, line in enumerate(line.strip() for line in head.split(b"\n")):
        if number >= _LINES and b"{" not in line:  # only records say themselves what they are
            continue
        if line.startswith(b"#"):
            # What follows the word is the file's separator.
            word, mark, value = line[:5], line[5:6], line[6:].decode("utf-8", "replace")
            if word == b"#path" and mark:
                name = value
            elif line.startswith(b"#fields") and len(line) > len(b"#fields"):
                separator = chr(line[len(b"#fields")])
                kind = kind_of_log(name, line.decode("utf-8", "replace").split(separator)[1:])
                return kind if kind in CONTENT_TYPES else None
        elif kind := table_of(line).content_type or (_of_json(line) if b"{" in line else ""):
            return kind
    return None


def kind_of_log(name: str, columns: Iterable[str]) -> str:
    """What a Zeek log in TSV is, a content-type or another of KINDS: a name that is known decides, then the columns."""
    # conn_long's columns are those of a connection, and who has that log alone has its last counts (files/interim.py).
    named = {"_path": name} if name and name != "conn_long" else {}
    kind = kind_of({**dict.fromkeys(filter(None, columns), 1), "ts": 1, **named})
    return kind.removesuffix("+json") + "+tsv" if kind.startswith("zeek-") and kind.endswith("+json") else kind


# What begins as a header does, not as a row: a first cell of letters, or an empty one.
_HEADING = re.compile(rb'[\s"]*([A-Za-z%#][^\d,;|\t:]*)?[,;|\t]')


class Table(NamedTuple):
    """What a header says: the content-type, empty where it is that of no table that is read, and the separator."""

    content_type: str
    separator: str


def table_of(header: bytes) -> Table:
    """The table whose header a line is."""
    for separator in SEPARATORS:
        if separator.encode() in header and (kind := kind_of_columns(set(cells_of(header, separator)))):
            return Table(kind, separator)
    return Table("", COMMA)


def may_be_header(line: bytes) -> bool:
    """Whether a line of CSV may be a header: a cheap test, for every row."""
    return _HEADING.match(line) is not None


def kind_of_columns(names: set[str]) -> str | None:
    """The content-type of a CSV by the names in its header; None where it is none that is read."""
    if {"sAddress", "rAddress", "protocol", "start", "end"} <= names:
        return ICSFLOW_CSV
    lower = {name.lower() for name in names}
    if {"ts", "td", "sa", "da", "pr"} <= lower or {"firstseen", "srcaddr", "dstaddr", "proto"} <= lower:
        return NFDUMP_CSV
    if {"starttime", "stime"} & lower and {"dstaddr", "daddr"} & lower and {"srcaddr", "saddr"} & lower:
        return ARGUS_CSV
    if "flow duration" in lower and {"tot fwd pkts", "total fwd packets", "total fwd packet"} & lower:
        return CICFLOWMETER_CSV
    return None


def is_array(data: bytes) -> bool:
    """Whether JSON is an array, or objects over several lines, not an object a line."""
    head = data[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith(b"[") or _SPREAD.match(head) is not None


def _of_json(line: bytes) -> str:
    """The content-type of the records in a line of JSON; empty where they are of none that is read."""
    for kind, record in records_in(line):
        if kind in CONTENT_TYPES:
            return kind
        if kind in (OTHER_LOG, NETFLOW_EVENT) and _EVENT.search(record) and not _PMACCT_MARK.search(record):
            return SURICATA_JSON
    return ""
