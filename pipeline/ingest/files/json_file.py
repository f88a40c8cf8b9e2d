"""A file of JSON: each record recognised by its own marks, shippers' wrappers looked through, other logs left out."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from pipeline.contracts.raw import CONTENT_TYPES, MAX_RECORD_BYTES, SURICATA_JSON
from pipeline.errors import BadData
from pipeline.ingest.files.labels import strip_keys
from pipeline.ingest.files.other_tools import kind_of_record
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.formats.marks import KINDS, NEAR_MISSES, NETFLOW_EVENT, OTHER_LOG, OTHER_ZEEK_LOGS, PMACCT_MARKS
from pipeline.ingest.intake.records import innermost, levels_of
from pipeline.ingest.recognise import PLAIN, wrapped_text
from pipeline.ingest.scan.json_array import one_a_line
from pipeline.runtime.terminal import printable

# Records are scanned for more than a hundred marks, 17 bytes each: of so many bytes of records at once.
_BLOCK_BYTES = 8 << 20
_FLOW_EVENT = re.compile(rb'"event_type"\s*:\s*"flow"')
_EVENT = re.compile(rb'"event_type"\s*:')
# A line of a log of Zeek, or of CSV: many cells.
_TABLE_LINE = re.compile(r"[^\t{]*(\t[^\t]*){8}|[^,{]*(,[^,]*){8}")
# Records that are looked at to see what a file is that is not read.
_LOOKED_AT = 100
_SHOWN_LOGS = 6
_UNKNOWN_BESIDE = (
    "in a stream it cannot be known whether flow events have what they count; in suricata.yaml switch on type flow, or "
    "send the file itself"
)
# Logs that hold flows, which another log has too.
_REPEATING = {
    "netflow": "flow events have what they count",
    "conn_long": "they are interim counts, and conn.log has the last ones",
}
_MAX_NAME = 60
KNOWN = (
    "expected flow records of Zeek, Suricata, Argus, nfdump, GoFlow2, ipfixcol2, pmacct, ICSFlow or CICFlowMeter "
    f"(docs/sources.md); --format names one of {', '.join(kind for kind in CONTENT_TYPES if 'zeek' not in kind)}, "
    "zeek-conn+json, zeek-conn+tsv"
)
# Kinds by number: whether it is a format that is read.
_READ = np.array([kind in CONTENT_TYPES for kind in KINDS])
_UNKNOWN, _OTHER_LOG = KINDS.index(""), KINDS.index(OTHER_LOG)


def read_json(path: Path | str, data: bytes, content_type: str | None) -> SourceSet:
    """The records of a file of JSON, a part each format; BadData where none of them is known.

    A record that is of no known kind goes with those before it, or the first ones behind it: it becomes a reject that
    says what is wrong. Where `content_type` is given all are of that format but events of EVE that are never read.
    """
    found = recognised_records(one_a_line(data), content_type)
    kinds, others = found.kinds, found.other_logs
    if not _READ[kinds].any():
        raise BadData(f"{path}: got {_without_flows(path, found)}")
    notes = left_out(others)
    for kind, sentence in NEAR_MISSES.items():
        count = int((kinds == KINDS.index(kind)).sum())
        if count:
            notes.append(f"{count:,} records are {sentence}")
    return SourceSet.of(found.parts(""), notes, found.skipped)


class FoundRecords(NamedTuple):
    """Records out of JSON, wrappers taken off: the kind of each, its bytes, and how many are of which other logs."""

    kinds: npt.NDArray[np.int16]  # (n,) index into KINDS
    records: list[bytes]
    other_logs: Counter[str]

    @property
    def skipped(self) -> int:
        """How many records are of other logs."""
        return int((self.kinds == _OTHER_LOG).sum())

    def parts(self, presumed: str) -> list[SourceFile]:
        """A part each format; `presumed` is that of records before the first one that is known, if none is."""
        other = self.kinds == _OTHER_LOG
        kinds = _with_neighbours(self.kinds, presumed)
        parts = []
        for number in dict.fromkeys(kinds[~other].tolist()):
            numbers = np.flatnonzero((kinds == number) & ~other)
            records = strip_keys([self.records[row] for row in numbers.tolist()])
            parts.append(SourceFile(KINDS[number], (), records, numbers))
        return parts


def recognised_records(data: bytes, content_type: str | None, presumed_beside: bool = False) -> FoundRecords:
    """The records in JSON, one a line or in wrappers; where `content_type` is given, all are of that.

    Netflow events of Suricata are flows only where nothing of it is a flow event, which `presumed_beside` says of what
    is a part of a stream: else they would count twice.
    """
    kinds, records, others = _records(data)
    netflow = kinds == KINDS.index(NETFLOW_EVENT)
    if netflow.any():
        events = np.flatnonzero(kinds == KINDS.index(SURICATA_JSON)).tolist()
        beside = (presumed_beside and content_type is None) or any(_FLOW_EVENT.search(records[row]) for row in events)
        kinds[netflow] = _OTHER_LOG if beside else KINDS.index(SURICATA_JSON)
        if not beside:
            del others["netflow"]
    if content_type is not None:
        forced = kinds != _OTHER_LOG if content_type == SURICATA_JSON else np.ones(len(kinds), np.bool_)
        kinds[forced] = KINDS.index(content_type)
        others = others if content_type == SURICATA_JSON else Counter()
    return FoundRecords(kinds, records, others)


def left_out(others: Counter[str], whole: bool = True) -> list[str]:
    """The notes about records of other logs, if there are any; not `whole`: of a stream, which has no end."""
    alien = Counter({name: count for name, count in others.items() if name not in _REPEATING})
    notes = [f"{named(alien)} are left out: they hold no flows and count no operations"] if alien else []
    for name, sentence in _REPEATING.items():
        if others[name]:
            why = sentence if whole or name != "netflow" else _UNKNOWN_BESIDE
            notes.append(f"{named(Counter({name: others[name]}))} are left out: {why}")
    return notes


def named(logs: Counter[str]) -> str:
    """Records by the log they are of, for people."""
    parts: list[str] = []
    for name, count in logs.most_common(_SHOWN_LOGS):
        what = "" if parts else " record" if count == 1 else " records"
        parts.append(f"{count:,}{what} of {printable(name, _MAX_NAME) or 'a log that does not say its name'}")
    return ", ".join(parts) + (" and others" if len(logs) > _SHOWN_LOGS else "")


def _records(data: bytes) -> tuple[npt.NDArray[np.int16], list[bytes], Counter[str]]:
    """Every record's kind and bytes, and how many of which other logs there are."""
    kinds: list[npt.NDArray[np.int16]] = [np.zeros(0, np.int16)]
    records: list[bytes] = []
    others: Counter[str] = Counter()
    for block in _blocks(data):
        levels = levels_of([block], PLAIN)
        found = innermost(levels)
        for level in levels:
            others += level.recognised.other_logs()
        text = found.text.tobytes()
        # One byte more than a record may have: still `too_big` for ingest, and Kafka takes the message.
        ends = np.minimum(found.ends, found.starts + MAX_RECORD_BYTES + 1)
        records += [text[start:end] for start, end in zip(found.starts.tolist(), ends.tolist(), strict=True)]
        kinds.append(found.kind)
    return np.concatenate(kinds), records, others


def _blocks(data: bytes) -> Iterator[bytes]:
    """Whole lines, about so many bytes at once."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at + _BLOCK_BYTES) + 1 or len(data)
        yield data[at:end]
        at = end


def _with_neighbours(kinds: npt.NDArray[np.int16], presumed: str) -> npt.NDArray[np.int16]:
    """Kinds; a record of none has that of the last record before it that is read, the first ones that of the first."""
    read = np.flatnonzero(_READ[kinds])
    if not len(read):
        return np.where(kinds == _UNKNOWN, KINDS.index(presumed), kinds).astype(np.int16)
    previous = np.maximum(np.searchsorted(read, np.arange(len(kinds)), "right") - 1, 0)
    return np.where(kinds == _UNKNOWN, kinds[read[previous]], kinds)


def _without_flows(path: Path | str, found: FoundRecords) -> str:
    """What a file holds that has no record that is read, and what to do."""
    counts, others = Counter(found.kinds.tolist()), found.other_logs
    near = [(counts[KINDS.index(kind)], sentence) for kind, sentence in NEAR_MISSES.items()]
    if max(near)[0]:
        return max(near)[1]
    if not others:
        return _unknown(found.records)
    rows = np.flatnonzero(found.kinds == _OTHER_LOG)[:_LOOKED_AT].tolist()
    if any(_EVENT.search(found.records[row]) for row in rows):
        remedy = "in suricata.yaml switch on type flow under outputs, eve-log, types"
        if all(name in PMACCT_MARKS for name in others):
            remedy = "these are what pmacct writes around its records, of which none came"
        return f"only {named(others)}, which hold no flows and count no operations; {remedy}"
    if others.keys() == {"conn_long"}:
        return "interim counts of connections that last (conn_long), of which conn.log has the last ones; send conn.log"
    name = next(iter(others)) or PurePath(str(path)).name.split(".")[0]
    if len(others) == 1 and name in OTHER_ZEEK_LOGS:
        return f"the Zeek log {name}, which holds no flows and counts no operations; send conn.log"
    if others.keys() == {""}:
        return "records of a Zeek log that holds no flows and counts no operations; send conn.log"
    return f"only {named(others)}, which hold no flows and count no operations; send Zeek's conn.log"


def _unknown(records: Sequence[bytes]) -> str:
    """What a file is of whose records none is known."""
    for record in records[:_LOOKED_AT]:
        try:
            document = orjson.loads(record)
        except orjson.JSONDecodeError:
            continue
        if sentence := kind_of_record(document):
            return sentence
        text = wrapped_text(document) if isinstance(document, dict) else ""
        if text.startswith("#") or _TABLE_LINE.match(text):
            return (
                "documents of a shipper that have lines of a table in them; jq -r .message FILE writes the table, and "
                "a source of intake reads them live with its format and columns"
            )
    return f"an unrecognised format, {KNOWN}"
