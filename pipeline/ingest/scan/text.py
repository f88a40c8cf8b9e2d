"""Text cells as Arrow string columns, copied by compiled code; JSON escapes are resolved on the way."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ingest.compiled import compiled, inlined
from pipeline.ingest.scan.cells import ESCAPED, Bytes, Cells, Ints, Kinds
from pipeline.ingest.scan.scalars import MALFORMED, MISSING, OK, Statuses, readable
from pipeline.ingest.scan.words import byte_at

MAX_TEXT_BYTES = 1024


@compiled
def _hex4(text: Bytes, offset: int) -> int:
    value = 0
    for at in range(offset, offset + 4):
        byte = text[at]
        value = value * 16 + (byte - 48 if byte <= 57 else (byte | 32) - 87)
    return value


@compiled
def _put_utf8(out: Bytes, at: int, point: int) -> int:
    if point < 0x80:
        out[at] = point
        return at + 1
    if point < 0x800:
        out[at] = 0xC0 | point >> 6
        out[at + 1] = 0x80 | point & 0x3F
        return at + 2
    if point < 0x10000:
        out[at] = 0xE0 | point >> 12
        out[at + 1] = 0x80 | point >> 6 & 0x3F
        out[at + 2] = 0x80 | point & 0x3F
        return at + 3
    out[at] = 0xF0 | point >> 18
    out[at + 1] = 0x80 | point >> 12 & 0x3F
    out[at + 2] = 0x80 | point >> 6 & 0x3F
    out[at + 3] = 0x80 | point & 0x3F
    return at + 4


@inlined
def _copy(text: Bytes, offset: int, end: int, out: Bytes, at: int) -> int:
    """Copy a text without escapes and return where it ends; -1 where it has control characters."""
    controls = False  # looked at in the end only: without a way out the loop takes many bytes at once
    for index in range(end - offset):
        byte = byte_at(text, offset + index)
        controls |= (byte < 32) | (byte == 127)
        out[np.uint64(at + index)] = byte
    return -1 if controls else at + end - offset


@compiled
def _copy_escaped(text: Bytes, offset: int, end: int, out: Bytes, at: int) -> int:
    """Copy a text and return where it ends; -1 where it has control characters or half a surrogate pair."""
    while offset < end:
        byte = text[offset]
        if byte == 92:
            offset += 1
            byte = text[offset]
            if byte == 117:
                point = _hex4(text, offset + 1)
                offset += 5
                if 0xD800 <= point <= 0xDBFF and offset + 6 <= end and text[offset] == 92 and text[offset + 1] == 117:
                    low = _hex4(text, offset + 2)
                    if not 0xDC00 <= low <= 0xDFFF:
                        return -1
                    point = 0x10000 + ((point - 0xD800) << 10) + low - 0xDC00
                    offset += 6
                elif 0xD800 <= point <= 0xDFFF:
                    return -1
                if point < 32 or point == 127:
                    return -1
                at = _put_utf8(out, at, point)
                continue
            if byte != 34 and byte != 92 and byte != 47:
                return -1  # \b \f \n \r \t
        elif byte < 32 or byte == 127:
            return -1
        out[at] = byte
        at += 1
        offset += 1
    return at


@compiled
def _gather(
    text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, out: Bytes, offsets: npt.NDArray[np.int32], statuses: Statuses
) -> None:
    at = 0
    for row in range(len(starts)):
        statuses[row] = OK if kinds[row] == ESCAPED else readable(kinds[row])
        if statuses[row] == OK:
            if starts[row] == ends[row]:
                statuses[row] = MISSING
            elif ends[row] - starts[row] > MAX_TEXT_BYTES:
                statuses[row] = MALFORMED
            else:
                if kinds[row] == ESCAPED:
                    stop = _copy_escaped(text, starts[row], ends[row], out, at)
                else:
                    stop = _copy(text, starts[row], ends[row], out, at)
                if stop < 0:
                    statuses[row] = MALFORMED
                else:
                    at = stop
        offsets[row + 1] = at


def string_array(data: Bytes, offsets: npt.NDArray[np.int32], valid: npt.NDArray[np.bool_]) -> pa.StringArray:
    """An Arrow string column from its parts; `data` must be UTF-8."""
    bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.StringArray.from_buffers(len(valid), pa.py_buffer(offsets), pa.py_buffer(data), bitmap)


def text_column(cells: Cells, column: int) -> tuple[pa.StringArray, Statuses]:
    """One column as text, and a status a row: MISSING (null) where absent or empty, MALFORMED where refused.

    Refused are values that are no text or number, texts over 1024 bytes, and control characters.
    """
    starts, ends, kinds = cells.starts[column], cells.ends[column], cells.kinds[column]
    lengths = ends - starts
    out = np.empty(int(lengths[lengths <= MAX_TEXT_BYTES].sum()), np.uint8)
    offsets = np.zeros(cells.rows + 1, np.int32)
    statuses = np.zeros(cells.rows, np.uint8)
    _gather(cells.text, starts, ends, kinds, out, offsets, statuses)
    return string_array(out[: offsets[-1]], offsets, statuses == OK), statuses
