"""Messages joined into one buffer and cut into records, one per line; blank lines are skipped."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.ingest.scan.cells import Bytes, Ints
from pipeline.runtime.hashing import GOLDEN, mix64

_mix64: Callable[[np.uint64], np.uint64] = njit(mix64)  # type: ignore[assignment]  # for one number


class Lines(NamedTuple):
    """n records of m messages: where each stands in `text`, and which message it came in."""

    text: Bytes
    starts: Ints  # (n,)
    ends: Ints  # (n,) exclusive; without the line's end and surrounding blanks
    message: Ints  # (n,) index of the message
    raw_index: npt.NDArray[np.int32]  # (n,) position inside the message, from 0
    counts: Ints  # (m,) records of each message


@njit(cache=True)
def _cut(
    text: Bytes,
    breaks: Ints,
    bounds: Ints,
    strip_tabs: bool,
    starts: Ints,
    ends: Ints,
    message: Ints,
    index: Ints,
    counts: Ints,
) -> int:
    records = 0
    following = 0  # index into `breaks`, the offsets of all line ends
    for number in range(len(bounds) - 1):
        offset = bounds[number]
        stop = bounds[number + 1]
        if stop - offset >= 3 and text[offset] == 0xEF and text[offset + 1] == 0xBB and text[offset + 2] == 0xBF:
            offset += 3
        position = 0
        while offset < stop:
            while following < len(breaks) and breaks[following] < offset:
                following += 1
            end = min(stop, breaks[following]) if following < len(breaks) else stop
            first = offset
            last = end
            while first < last and (text[first] == 32 or text[first] == 13 or (strip_tabs and text[first] == 9)):
                first += 1
            while last > first and (
                text[last - 1] == 32 or text[last - 1] == 13 or (strip_tabs and text[last - 1] == 9)
            ):
                last -= 1
            if last > first:
                starts[records] = first
                ends[records] = last
                message[records] = number
                index[records] = position
                records += 1
                position += 1
            offset = end + 1
        counts[number] = position
    return records


def cut_lines(payloads: Sequence[bytes], strip_tabs: bool = True) -> Lines:
    """The records in `payloads`, in order.

    Blanks and carriage returns around a record do not belong to it, nor does a byte order mark before the first;
    `strip_tabs` is False where a tab is a separator.
    """
    joined = b"".join(payloads)
    text = np.frombuffer(joined, np.uint8)
    bounds = np.zeros(len(payloads) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, payloads), np.int64, len(payloads)), out=bounds[1:])
    # A record a message has mostly no line end; looking for one is a tenth of comparing each byte.
    breaks = np.flatnonzero(text == 10) if b"\n" in joined else np.zeros(0, np.int64)
    most = len(breaks) + len(payloads)
    starts, ends, message, index = (np.empty(most, np.int64) for _ in range(4))
    counts = np.zeros(len(payloads), np.int64)
    records = _cut(text, breaks, bounds, strip_tabs, starts, ends, message, index, counts)
    return Lines(text, starts[:records], ends[:records], message[:records], index[:records].astype(np.int32), counts)


@njit(cache=True)
def _hash(text: Bytes, starts: Ints, ends: Ints, ids: npt.NDArray[np.uint64]) -> None:
    for row in range(len(starts)):
        offset = starts[row]
        end = ends[row]
        mixed = np.uint64(end - offset) * GOLDEN ^ np.uint64(0xCBF29CE484222325)
        while offset + 8 <= end:
            # Written out so that the compiler makes one load of it.
            word = (
                np.uint64(text[offset])
                | np.uint64(text[offset + 1]) << np.uint64(8)
                | np.uint64(text[offset + 2]) << np.uint64(16)
                | np.uint64(text[offset + 3]) << np.uint64(24)
                | np.uint64(text[offset + 4]) << np.uint64(32)
                | np.uint64(text[offset + 5]) << np.uint64(40)
                | np.uint64(text[offset + 6]) << np.uint64(48)
                | np.uint64(text[offset + 7]) << np.uint64(56)
            )
            mixed = (mixed ^ word) * np.uint64(0x9FB21C651E98DF25)
            mixed ^= mixed >> np.uint64(32)
            offset += 8
        if offset < end:
            word = np.uint64(0)
            for shift in range(end - offset):
                word |= np.uint64(text[offset + shift]) << np.uint64(8 * shift)
            mixed = (mixed ^ word) * np.uint64(0x9FB21C651E98DF25)
            mixed ^= mixed >> np.uint64(32)
        ids[row] = _mix64(mixed)


def record_ids(lines: Lines) -> npt.NDArray[np.uint64]:
    """Content hash of each record's bytes, (n,) uint64: the same in every process and on every machine.

    Eight bytes at a time, little-endian, multiplied and folded; finished with splitmix64's mixer. It breaks ties and
    names nothing, so it need not resist an attacker.
    """
    ids = np.empty(len(lines.starts), np.uint64)
    _hash(lines.text, lines.starts, lines.ends, ids)
    return ids
