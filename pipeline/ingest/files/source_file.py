"""Records of one format out of a file, without header lines and labels."""

from dataclasses import dataclass

import numpy as np

from pipeline.contracts.raw import tabbed
from pipeline.ingest.draft import Mask
from pipeline.ingest.formats.registry import FORMATS, end_times
from pipeline.ingest.scan.cells import Ints
from pipeline.ingest.scan.lines import cut_lines


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The records of one format in one file.

    `numbers` is each record's index among the file's records, from 0: those of other formats, and those that are left
    out, count. An empty file has no content-type; records that are known and not read have one that ingest rejects.
    """

    content_type: str
    columns: tuple[str, ...]
    records: list[bytes]
    numbers: Ints
    time_zone: str = ""
    """Of times without an offset; empty: UTC."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all records."""
        return sum(map(len, self.records))

    def known_end_times_us(self) -> tuple[Ints, Mask]:
        """When each record's flow ended, and of which records that is known."""
        ends_us = np.zeros(len(self.records), np.int64)
        known = np.zeros(len(self.records), np.bool_)
        read = FORMATS.get(self.content_type)
        if self.records and read is not None and not read.lacking(self.columns):
            lines = cut_lines(self.records, not tabbed(self.content_type))
            times, valid = end_times(self.content_type, self.columns, lines, self.time_zone)
            ends_us[lines.message[valid]], known[lines.message[valid]] = times[valid], True
        return ends_us, known

    def end_times_us(self) -> Ints:
        """When each record's flow ended; a record without a time takes that of the one before it."""
        return carried(*self.known_end_times_us())


def carried(times_us: Ints, known: Mask) -> Ints:
    """Times; one that is not known is that of the record before it, of the first ones that of the first known."""
    if not known.any():
        return times_us
    first = int(np.argmax(known))
    previous = np.maximum.accumulate(np.where(known, np.arange(len(known)), first))
    filled: Ints = times_us[previous]
    return filled
