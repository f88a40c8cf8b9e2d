"""What only logs of industrial protocols need, read from cells by compiled code: codes, lists, DNP3 objects."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ingest.compiled import compiled
from pipeline.ingest.scan.cells import ARRAY, BARE, ESCAPED, NUMBER, STRING, Bytes, Ints, Kinds
from pipeline.ingest.scan.scalars import MALFORMED, OK, OUT_OF_RANGE, Statuses, readable
from schemas.fields import ARROW_TYPES

_QUOTE, _COMMA, _BACKSLASH = 34, 44, 92
_START, _STOP, _COUNT, _RANGE_CODE, _INDEX = (
    np.frombuffer(name, np.uint8) for name in (b"start", b"stop", b"count", b"range_code", b"index")
)
_MOST = 2**32 - 1


@compiled
def read_code(text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, most: int, values: Ints, statuses: Statuses) -> None:
    """Whole numbers from 0 to `most`, decimal or hexadecimal behind 0x."""
    for row in range(len(starts)):
        values[row] = -1
        statuses[row] = readable(kinds[row])
        if statuses[row] != OK:
            continue
        offset, end = starts[row], ends[row]
        base = 10
        if end - offset > 2 and text[offset] == 48 and (text[offset + 1] | 32) == 120:
            base = 16
            offset += 2
        value = 0
        digits = end - offset
        if digits == 0:
            statuses[row] = MALFORMED
        for at in range(offset, end):
            byte = text[at]
            if 48 <= byte <= 57:
                digit = byte - 48
            elif base == 16 and 97 <= (byte | 32) <= 102:
                digit = (byte | 32) - 87
            else:
                statuses[row] = MALFORMED
                break
            value = min(value * base + digit, most + 1)
        if statuses[row] == OK:
            if value > most:
                statuses[row] = OUT_OF_RANGE
            else:
                values[row] = value


@compiled
def list_lengths(text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, lengths: Ints) -> None:
    """How many elements each cell's list has: `1,2,3`, or a JSON array of numbers; 0 where there is none."""
    for row in range(len(starts)):
        lengths[row] = 0
        first, last = starts[row], ends[row]
        if kinds[row] == ARRAY:
            first, last = first + 1, last - 1
            while first < last and text[first] <= 32:
                first += 1
        elif kinds[row] not in (BARE, STRING, ESCAPED, NUMBER):
            continue
        if last > first:
            lengths[row] = 1
            for offset in range(first, last):
                lengths[row] += text[offset] == _COMMA


@compiled
def contains_any(
    text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, words: Bytes, word_ends: Ints, contains: npt.NDArray[np.bool_]
) -> None:
    """Which JSON arrays of texts hold one of `words`, which stand one behind another, each with its quotes."""
    for row in range(len(starts)):
        contains[row] = False
        if kinds[row] != ARRAY:
            continue
        first = 0
        for word in range(len(word_ends)):
            length = word_ends[word] - first
            for offset in range(starts[row], ends[row] - length + 1):
                same = True
                for at in range(length):
                    if text[offset + at] != words[first + at]:
                        same = False
                        break
                contains[row] = contains[row] or same
            first = word_ends[word]


@compiled
def _is(text: Bytes, first: int, last: int, name: Bytes) -> bool:
    if last - first != len(name):
        return False
    same = True
    for at in range(len(name)):
        same = same and text[first + at] == name[at]
    return same


@compiled
def object_ranges(
    text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, low: Ints, high: Ints, quantity: Ints, seen: Ints
) -> None:
    """Points that each JSON list of DNP3 objects names: least and greatest index, and how many; -1 where none.

    An object has `start`, `stop` and `count` (`start` and `stop` mean something with range codes 0 to 5), and its
    `points` an `index` each. The JSON is known to be valid. `seen` is a buffer for four numbers.
    """
    for row in range(len(starts)):
        low[row], high[row], quantity[row] = -1, -1, -1
        if kinds[row] != ARRAY:
            continue
        depth = 0
        total = 0
        offset, end = starts[row], ends[row]
        while offset < end:
            byte = text[offset]
            if byte == 123 or byte == 91:
                depth += 1
                if depth == 2:
                    seen[:] = -1
            elif byte == 125 or byte == 93:
                if depth == 2 and seen[2] > 0:
                    total += seen[2]
                    if 0 <= seen[3] <= 5 and 0 <= seen[0] <= seen[1]:
                        low[row] = seen[0] if low[row] < 0 else min(low[row], seen[0])
                        high[row] = max(high[row], seen[1])
                depth -= 1
            elif byte == _QUOTE:
                first = offset + 1
                offset = first
                while text[offset] != _QUOTE:
                    offset += 2 if text[offset] == _BACKSLASH else 1
                last = offset
                after = offset + 1
                while after < end and text[after] <= 32:
                    after += 1
                if after < end and text[after] == 58 and (depth == 2 or depth == 4):
                    after += 1
                    while after < end and text[after] <= 32:
                        after += 1
                    value = -1
                    while after < end and 48 <= text[after] <= 57:
                        value = min(max(value, 0) * 10 + text[after] - 48, _MOST)
                        after += 1
                    if depth == 4:
                        if _is(text, first, last, _INDEX) and value >= 0:
                            low[row] = value if low[row] < 0 else min(low[row], value)
                            high[row] = max(high[row], value)
                    elif _is(text, first, last, _START):
                        seen[0] = value
                    elif _is(text, first, last, _STOP):
                        seen[1] = value
                    elif _is(text, first, last, _COUNT):
                        seen[2] = value
                    elif _is(text, first, last, _RANGE_CODE):
                        seen[3] = value
            offset += 1
        if total > 0:
            quantity[row] = min(total, _MOST)


@compiled
def _ascending(
    columns: Ints, with_counts: bool, values: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int32]
) -> None:
    width, rows = columns.shape
    at = 0
    for row in range(rows):
        last = -1
        while True:
            least = -1
            count = 0
            for column in range(width):
                value = columns[column, row]
                if value > last:
                    if least < 0 or value < least:
                        least, count = value, 1
                    elif value == least:
                        count += 1
            if least < 0:
                break
            values[at] = least
            at += 1
            if with_counts:
                values[at] = count
                at += 1
            last = least
        offsets[row + 1] = at


def distinct(columns: Ints, with_counts: bool) -> pa.ListArray:
    """Each row's different values, ascending, as a list; null where there is none.

    Parameters
    ----------
    columns : (width, n) values from 0 to 2³² - 1, -1 for none; the width is small.
    with_counts : whether each value is followed by how often it stands in the row.
    """
    width, rows = columns.shape
    values = np.empty(width * rows * (2 if with_counts else 1), np.uint32)
    offsets = np.zeros(rows + 1, np.int32)
    _ascending(columns, with_counts, values, offsets)
    none = np.diff(offsets) == 0
    mask = pa.array(none) if none.any() else None
    flat = pa.array(values[: offsets[-1]])
    return pa.ListArray.from_arrays(pa.array(offsets), flat, ARROW_TYPES["list<uint32>"], mask=mask)
