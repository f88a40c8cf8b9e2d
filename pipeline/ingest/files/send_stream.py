"""Standard input into `raw` while it comes: what `tail -F conn.log | forebay flow send -` gives, a second later.

What was read within a second is sorted by end time, unless it is to be sent in arrival order; nothing waits longer.
A pipe cannot be read again: who needs each record exactly once lets `forebay flow follow` read the file itself.
"""

import io
import os
import select
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np

from pipeline.contracts.raw import DELIMITED, SURICATA_JSON, ZEEK_JSON, tabbed
from pipeline.errors import BadData, Failed
from pipeline.ingest.files.guess import is_array
from pipeline.ingest.files.json_file import KNOWN, left_out, recognised_records
from pipeline.ingest.files.labels import strip_columns
from pipeline.ingest.files.near_miss import kind_of_file
from pipeline.ingest.files.read_bytes import ZIP, ZSTD
from pipeline.ingest.files.reading import parse_source
from pipeline.ingest.files.send import FLUSH_S, Deliveries, Output, Plan, Progress, Sent
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.files.unpack import BZIP2, GZIP, XZ
from pipeline.ingest.follow.position import Layout
from pipeline.ingest.follow.records import Run, cut, layout_of, recognisable_later
from pipeline.ingest.formats.registry import FORMATS
from pipeline.runtime.kafka import clients
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry
from pipeline.settings import Settings
from schemas.sources import source_of

# What came within so long is sent at once, and sorted: a record waits no longer for others.
GATHER_S = 1.0
# Or so many bytes: some 25,000 records.
GATHER_BYTES = 8_388_608
_READ_BYTES = 1_048_576
# A request to stop is heard within so long.
_WAIT_S = 0.1
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def comes_as_it_is_written() -> bool:
    """Whether standard input is a pipe of records: no file, which is read whole, nothing packed, and no array."""
    stream = sys.stdin.buffer
    if not isinstance(stream, io.BufferedReader):
        return False
    try:
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return False
    except OSError:
        return False
    head = stream.peek(len(XZ))
    if not head or head.startswith((GZIP, ZIP, BZIP2, XZ, ZSTD)) or is_array(head):
        return False
    # What is no text in UTF-8, and a file that is known and not read, is refused or converted as a whole.
    if b"\r" in head and b"\n" not in head:
        return False
    return b"\0" not in head and not head.startswith(_UTF16) and not kind_of_file(head)


class RecordStream:
    """Records of standard input as they come; labels are taken out, and rows are numbered from 0."""

    def __init__(self, content_type: str | None = None, time_zone: str = "") -> None:
        self._stream = cast(io.BufferedReader, sys.stdin.buffer)
        self._named = content_type
        self._time_zone = time_zone
        self._layout = Layout()
        self._data = b""
        self._inside = self._begun = False
        self._checked: tuple[str, ...] | None = None
        self._rows = 0
        self.ended = False
        self.records = self.skipped = 0
        self.unread: tuple[str, ...] = ()
        self._others: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many records came."""
        return self.records

    @property
    def content_types(self) -> tuple[str, ...]:
        """The format, once it is known."""
        return (self._layout.content_type,) if self._layout.content_type else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to know about all that came."""
        return tuple(left_out(self._others, whole=False))

    def require_records(self) -> None:
        """BadData where all that came was left out: why."""
        if self.skipped and not self.records:
            raise BadData(f"-: got no record that is read, expected some: {'; '.join(self.notes) or 'a header alone'}")

    def gather(self, stop: Stop) -> list[SourceFile]:
        """What comes within a second of the first of it; nothing where nothing came for a while, or nothing whole."""
        until = time.monotonic() + _WAIT_S
        size = 0
        while not stop.requested and not self.ended and size < GATHER_BYTES:
            left = until - time.monotonic()
            if left <= 0:
                break
            # What was peeked at lies in the buffer, where the system does not see it.
            if self._begun and not select.select([self._stream], [], [], min(left, _WAIT_S))[0]:
                continue
            more: bytes = self._stream.read1(_READ_BYTES)
            until = time.monotonic() + GATHER_S if not size else until
            size += len(more)
            self._begun, self.ended, self._data = True, not more, self._data + more
        return list(self._files()) if size or self.ended else []

    def _files(self) -> Iterator[SourceFile]:
        if not self._layout.content_type and not self._recognise():
            return
        lines = self._layout
        if lines.content_type == SURICATA_JSON:  # events of other types are rows too: they count
            lines = replace(lines, content_type=ZEEK_JSON)
        while self._data:
            piece = cut(lines, self._data, self._inside, final=self.ended)
            self._data, self._inside = self._data[piece.consumed :], piece.inside
            self._layout = lines = replace(piece.layout, content_type=self._layout.content_type)
            if self._layout.content_type == SURICATA_JSON:
                lines = replace(lines, content_type=ZEEK_JSON)
            self.skipped += piece.skipped
            headed = any(run.columns for run in piece.runs)
            for run in piece.runs:
                yield from self._parts(run, headed)
            if not piece.consumed:
                break

    def _recognise(self) -> bool:
        layout = layout_of(self._data, self._named, self.ended) if self._data.strip() else None
        if layout is None:
            if self._data.strip() and not recognisable_later(self._data, self.ended):
                # What a whole file of this would be refused for is what is wrong here.
                parse_source("-", self._data)
                raise BadData(
                    "-: got an unrecognised format, expected a log with its header, where it has one, as from "
                    f"`tail -n +1 -F`; {KNOWN}"
                )
            return False
        self._layout = layout
        return True

    def _parts(self, run: Run, headed: bool) -> list[SourceFile]:
        """The records of a run, a part each format: JSON may mix them; `headed`: the header came, before it or after.

        What a program writes before its header becomes rejects.
        """
        kind, columns = self._layout.content_type, run.columns
        if kind not in DELIMITED:
            found = recognised_records(b"\n".join(run.records), self._named, presumed_beside=True)
            self._others += found.other_logs
            self.skipped += found.skipped
            rows, parts = len(found.kinds), found.parts(kind)
        else:
            if columns != self._checked and (columns or not headed):
                self._check(kind, columns)
            records, names = strip_columns(run.records, columns, "\t" if tabbed(kind) else ",")
            rows, parts = (
                len(records),
                [SourceFile(kind, tuple(names), records, np.arange(len(records), dtype=np.int64))],
            )
        parts = [replace(part, numbers=part.numbers + self._rows, time_zone=self._time_zone) for part in parts]
        self._rows += rows
        self.records += sum(len(part.records) for part in parts)
        return parts

    def _check(self, kind: str, columns: tuple[str, ...]) -> None:
        """BadData where a header lacks what the format cannot do without."""
        self._checked = columns
        if tabbed(kind) and not columns:
            raise BadData("-: got no #fields line, expected the header of a Zeek log first: `tail -n +1 -F` sends it")
        lacking = FORMATS[kind].lacking(columns) if kind.endswith("+csv") else []
        if lacking:
            raise BadData(
                f"-: got a header without {', '.join(lacking)}, expected that of {source_of(kind).title}; "
                "send the file with these columns"
            )


def send_stream(
    settings: Settings, telemetry: Telemetry, stop: Stop, stream: RecordStream, plan: Plan, progress: Progress
) -> Sent:
    """Send standard input as it comes, and the end mark once it ends; stopped before that, it sends no mark.

    Failed where Kafka refuses records.
    """
    started = time.monotonic()
    producer = clients.producer(settings, "send", **{"linger.ms": 5})
    deliveries = Deliveries()
    output: Output | None = None
    while not stop.requested and deliveries.error is None and not stream.ended:
        source = SourceSet.of(stream.gather(stop))
        if len(source):
            source = source if plan.arrival_order else source.by_end_time()
            output = Output(settings, producer, deliveries, source, plan, stop)
            with telemetry.span("send raw", sensor=f"{plan.site}/{plan.sensor}") as span:
                output.produce([*source.cuts(plan.pack).tolist(), len(source)], span.traceparent)
        producer.poll(0)
        progress(deliveries.records)
    finished = stream.ended and not stop.requested and deliveries.error is None
    if finished:
        output = output or Output(settings, producer, deliveries, SourceSet.of([]), plan, stop)
        output.mark(len(stream))
    left = producer.flush(FLUSH_S)
    if deliveries.error is not None or left:
        why = deliveries.error or f"{left} messages without an answer after {FLUSH_S:.0f} s"
        raise Failed(
            f"{settings.topics.raw} at {settings.bootstrap}: got {why} after {deliveries.records} records, expected "
            f"all {len(stream)} to be taken; a pipe cannot be read again: `forebay flow follow` can, where it is a file"
        )
    return Sent(deliveries.records, deliveries.messages, time.monotonic() - started, finished)
