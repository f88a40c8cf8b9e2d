"""Records of a batch as messages of `raw`: many a message, each of one sensor and one format."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.ingest.compiled import compiled
from pipeline.ingest.formats.marks import KINDS
from pipeline.ingest.intake.origins import Names
from pipeline.ingest.intake.records import Records
from pipeline.ingest.scan.cells import Bytes, Ints

# A message of `raw` holds at most so many records and bytes: a share of what ingest decodes in one transaction, and
# well below the 8 MiB that our topics take.
MAX_RECORDS = 4_096
MAX_BYTES = 1_048_576


class RawPack(NamedTuple):
    """The value of one message of `raw`, and what its headers say."""

    site: str
    sensor: str
    content_type: str
    value: bytes
    records: int
    columns: tuple[str, ...] = ()
    """Of CSV and TSV: the fields of a line."""
    time_zone: str = ""
    lateness_us: int | None = None


def packs(records: Records, kept: Ints, sites: Names, sensors: Names, alone: Ints) -> Iterator[RawPack]:
    """The records at the indices `kept`, by sensor, then in their order; those of a sensor never overtake each other.

    A message holds records of one kind that follow one another at a sensor:

        record   sensor  kind              message
        0        a       zeek-conn+json    0
        1        b       zeek-conn+json    3
        2        a       zeek-conn+json    0
        3        a       zeek-modbus+json  1
        4        a       zeek-conn+json    2

    `alone` (KINDS,) is 1 for kinds of which a message is one record: those that ingest does not know.
    """
    site, sensor, kind = sites.code[kept], sensors.code[kept], records.kind[kept].astype(np.int64)
    order = np.lexsort((np.arange(len(kept)), sensor, site))
    site, sensor, kind, rows = site[order], sensor[order], kind[order], kept[order]
    starts, ends = records.starts[rows], records.ends[rows]
    breaks = np.ones(len(rows), np.uint8)
    breaks[1:] = (np.diff(site) != 0) | (np.diff(sensor) != 0) | (np.diff(kind) != 0) | (alone[kind[1:]] == 1)
    firsts = np.empty(len(rows) + 1, np.int64)
    firsts = firsts[: _cut(breaks, ends - starts, firsts) + 1]
    value = np.empty(int((ends - starts).sum()) + len(rows), np.uint8)
    bounds = np.zeros(len(firsts), np.int64)
    _join(records.text, starts, ends, firsts, value, bounds)
    for number, first in enumerate(firsts[:-1].tolist()):
        yield RawPack(
            sites.names[site[first]],
            sensors.names[sensor[first]],
            KINDS[kind[first]],
            value[bounds[number] : bounds[number + 1]].tobytes(),
            int(firsts[number + 1]) - first,
        )


@compiled
def _cut(breaks: Bytes, sizes: Ints, firsts: Ints) -> int:
    """Write the first record of each message, and the number of records at the end; how many messages there are."""
    count, size, first = 0, 0, 0
    for row in range(len(breaks)):
        if breaks[row] or row - first >= MAX_RECORDS or size + sizes[row] > MAX_BYTES:
            firsts[count] = row
            count, size, first = count + 1, 0, row
        size += sizes[row] + 1
    firsts[count] = len(breaks)
    return count


@compiled
def _join(text: Bytes, starts: Ints, ends: Ints, firsts: Ints, value: Bytes, bounds: Ints) -> None:
    """Write the records of each message with line ends between them, and where each message ends."""
    at = 0
    for number in range(len(firsts) - 1):
        for row in range(firsts[number], firsts[number + 1]):
            if row > firsts[number]:
                value[at] = 10
                at += 1
            for byte in range(starts[row], ends[row]):
                value[at] = text[byte]
                at += 1
        bounds[number + 1] = at
