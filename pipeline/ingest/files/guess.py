"""Which of the known formats some bytes are, recognised by their first lines."""

import re
from typing import Any, NamedTuple

import orjson

from pipeline.contracts.raw import (
    ARGUS_CSV,
    CICFLOWMETER_CSV,
    CONTENT_TYPES,
    GOFLOW2_JSON,
    ICSFLOW_CSV,
    IPFIXCOL2_JSON,
    NFDUMP_CSV,
    NFDUMP_JSON,
    PMACCT_JSON,
    SURICATA_JSON,
    ZEEK_JSON,
    ZEEK_TSV,
)
from pipeline.ingest.files.separators import COMMA, SEPARATORS, cells_of
from pipeline.ingest.formats.marks import PMACCT_MARKS
from pipeline.ingest.formats.own_marks import records_in
from pipeline.ingest.formats.zeek_guess import log_of_head

HEAD_BYTES = 65_536
_LINES = 50
# Keys that other Zeek logs with ts and uid do not have.
_CONN_ONLY = {"conn_state", "orig_pkts", "missed_bytes", "orig_ip_bytes", "history"}


def guess(head: bytes) -> str | None:
    """The content-type of a file that begins with `head`; None where it is none of the known ones."""
    if is_array(head):
        # Compiled, and so imported when there is an array: a follower of files is to stay small.
        from pipeline.ingest.scan.json_array import split_objects

        return next((kind for record in split_objects(head[:HEAD_BYTES]) if (kind := _of_json(record))), None)
    lines = [line.strip() for line in head.removeprefix(b"\xef\xbb\xbf")[:HEAD_BYTES].split(b"\n")[:_LINES]]
    for line in lines:
        if not line:
            continue
        if line.startswith(b"#"):
            if line.startswith(b"#fields"):
                # What follows the word is the file's separator.
                names = set(line.decode("utf-8", "replace").split(chr(line[7]))[1:]) if len(line) > 7 else set()
                return ZEEK_TSV if _is_conn(names) else None
            if line.startswith(b"#path") and line[6:] != b"conn":
                return _of_log(head)
            continue
        if line.startswith(b"{"):
            kind = _of_json(line)
            if kind := kind or (_of_log(line) if kind is not None else None):
                return kind
        elif kind := table_of(line).content_type:
            return kind
        if b"{" in line:
            for own, _ in records_in(line):
                if own in CONTENT_TYPES:
                    return own
    # A record alone may lack the columns that tell logs apart.
    return _of_log(head) if any(line.startswith(b"{") for line in lines) else None


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


def _of_log(head: bytes) -> str | None:
    """The content-type of another Zeek log than conn.log; None where it is none that is read."""
    name, form = log_of_head(head)
    kind = f"zeek-{name}+{form}"
    return kind if kind in CONTENT_TYPES else None


def other_log(head: bytes) -> str:
    """The name of the Zeek log that a file holds, where it is one that is not read; empty otherwise."""
    return log_of_head(head)[0] if guess(head) is None else ""


def is_array(data: bytes) -> bool:
    """Whether JSON is an array, not an object a line."""
    return data[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _is_conn(names: set[str]) -> bool:
    return {"ts", "id.orig_h", "id.resp_h"} <= names and bool(_CONN_ONLY & names)


def _of_json(line: bytes) -> str | None:
    """The content-type of one JSON record, empty where it is of no known format, None where it is no JSON."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(record, dict):
        return None
    collector = _of_collector(record)
    if collector:
        return collector
    if "event_type" in record:
        return "" if record["event_type"] in PMACCT_MARKS else SURICATA_JSON
    inner = record.get("conn", record)
    if not isinstance(inner, dict) or inner.get("_path", "conn") != "conn":
        return ""
    names = set(inner)
    if isinstance(inner.get("id"), dict):
        names |= {f"id.{name}" for name in inner["id"]}
    return ZEEK_JSON if _is_conn(names) else ""


def _of_collector(record: dict[str, Any]) -> str:
    """The content-type of a record that a collector of NetFlow or IPFIX wrote, empty where none did."""
    if "time_flow_start_ns" in record or {"sampler_address", "src_addr"} <= record.keys():
        return GOFLOW2_JSON
    if str(record.get("@type", "")).startswith("ipfix.") or any(key.startswith("iana:") for key in record):
        return IPFIXCOL2_JSON
    if "in_packets" in record and {"first", "t_first"} & record.keys():
        return NFDUMP_JSON
    counted = bool({"packets", "bytes"} & record.keys())
    return PMACCT_JSON if counted and {"ip_src", "ip_dst", "port_src", "writer_id"} & record.keys() else ""
