"""Messages joined into one buffer and cut into records, one per line; blank lines are skipped."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.ingest.compiled import compiled, inlined, mix64
from pipeline.ingest.scan.cells import Bytes, Ints
from pipeline.ingest.scan.words import byte_at, whole_word
from pipeline.runtime.hashing import GOLDEN


class Lines(NamedTuple):
    """n records of m messages: where each stands in `text`, and which message it came in."""

    text: Bytes
    starts: Ints  # (n,)
    ends: Ints  # (n,) exclusive; without the line's end and surrounding blanks
    message: Ints  # (n,) index of the message
    raw_index: npt.NDArray[np.int32]  # (n,) position inside the message, from 0
    counts: Ints  # (m,) records of each message


@compiled
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


@inlined
def _begun(size: int) -> Any:
    return np.uint64(size) * GOLDEN ^ np.uint64(0xCBF29CE484222325)


@inlined
def _mixed(mixed: Any, word: Any) -> Any:
    mixed = (mixed ^ word) * np.uint64(0x9FB21C651E98DF25)
    return mixed ^ mixed >> np.uint64(32)


@inlined
def _ended(text: Bytes, offset: int, end: int, mixed: Any) -> Any:
    """The hash of a record of which what stands before `offset` is mixed."""
    while offset + 8 <= end:
        mixed = _mixed(mixed, whole_word(text, offset))
        offset += 8
    if offset < end:
        word = np.uint64(0)
        for shift in range(end - offset):
            word |= np.uint64(byte_at(text, offset + shift)) << np.uint64(8 * shift)
        mixed = _mixed(mixed, word)
    return mix64(mixed)


@compiled
def _hash(text: Bytes, starts: Ints, ends: Ints, ids: npt.NDArray[np.uint64]) -> None:
    """Two records side by side: a step waits for the one before, but not for the other record's."""
    pairs = len(starts) // 2
    for pair in range(pairs):
        row, other = 2 * pair, 2 * pair + 1
        one, two = starts[row], starts[other]
        first, second = _begun(ends[row] - one), _begun(ends[other] - two)
        for _ in range(min(ends[row] - one, ends[other] - two) // 8):
            first, second = _mixed(first, whole_word(text, one)), _mixed(second, whole_word(text, two))
            one, two = one + 8, two + 8
        ids[row], ids[other] = _ended(text, one, ends[row], first), _ended(text, two, ends[other], second)
    for row in range(2 * pairs, len(starts)):
        ids[row] = _ended(text, starts[row], ends[row], _begun(ends[row] - starts[row]))


def record_ids(lines: Lines) -> npt.NDArray[np.uint64]:
    """Content hash of each record's bytes, (n,) uint64: the same in every process and on every machine.

    Eight bytes at a time, little-endian, multiplied and folded; finished with splitmix64's mixer. It breaks ties and
    names nothing, so it need not resist an attacker.
    """
    ids = np.empty(len(lines.starts), np.uint64)
    _hash(lines.text, lines.starts, lines.ends, ids)
    return ids
