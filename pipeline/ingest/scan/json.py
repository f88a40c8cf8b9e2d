"""NDJSON cut into cells in one compiled pass: the whole syntax is checked, only wanted keys are stored.

Each record is judged by itself: what stands before or after it in a block cannot change its outcome.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.contracts.raw import MAX_RECORD_BYTES
from pipeline.ingest.reasons import DUPLICATE_KEY, NOT_JSON, NOT_UTF8, TOO_BIG, TOO_DEEP
from pipeline.ingest.scan.cells import (
    ARRAY,
    ESCAPED,
    FALSE,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    TRUE,
    Bytes,
    Cells,
    blank_cells,
)
from pipeline.ingest.scan.lines import Lines
from pipeline.ingest.scan.utf8 import valid_utf8

Keys = npt.NDArray[np.uint64]
Columns = npt.NDArray[np.int64]

MAX_DEPTH = 32
_OFFSET = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_LEVEL = 0xFF  # between two keys of a path; occurs in no UTF-8 text
_FIRST = 0xFE  # the first element of an array
# Bytes that end nothing inside a string: ASCII but control characters, quotes and backslashes.
_PLAIN = np.array([32 <= byte < 128 and byte not in (34, 92) for byte in range(256)])


def _path_key(path: Sequence[str]) -> int:
    key = _OFFSET
    for level, name in enumerate(path):
        raw = bytes([_FIRST]) if name == "[0]" else (b"" if level == 0 else bytes([_LEVEL])) + name.encode()
        for byte in raw:
            key = (key ^ byte) * _PRIME & 0xFFFFFFFFFFFFFFFF
    return key


def key_table(paths: Mapping[tuple[str, ...], int]) -> tuple[Keys, Columns]:
    """A hash table from paths of keys to columns; "[0]" in a path is an array's first element."""
    size = 1 << max(4, (4 * len(paths)).bit_length())
    keys, columns = np.zeros(size, np.uint64), np.full(size, -1, np.int64)
    for path, column in paths.items():
        slot = _path_key(path) & (size - 1)
        while keys[slot]:
            slot = (slot + 1) & (size - 1)
        keys[slot], columns[slot] = _path_key(path), column
    return keys, columns


@njit(cache=True)
def _column(key: Any, keys: Keys, columns: Columns) -> int:
    mask = np.uint64(len(keys) - 1)
    slot = np.uint64(key) & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return int(columns[slot])
        slot = (slot + np.uint64(1)) & mask
    return -1


@njit(cache=True)
def _string_end(text: Bytes, offset: int, end: int) -> tuple[int, bool, bool]:
    """Offset of the closing quote (-1: malformed), whether there are escapes, whether there is non-ASCII."""
    escaped = False
    foreign = False
    while offset < end:
        byte = text[offset]
        if _PLAIN[byte]:
            offset += 1
            continue
        if byte == 34:
            return offset, escaped, foreign
        if byte < 32:
            return -1, escaped, foreign
        if byte >= 128:
            foreign = True
        elif byte == 92:
            escaped = True
            offset += 1
            if offset >= end:
                return -1, escaped, foreign
            byte = text[offset]
            if byte == 117:
                if offset + 4 >= end:
                    return -1, escaped, foreign
                for at in range(offset + 1, offset + 5):
                    digit = text[at]
                    if not (48 <= digit <= 57 or 65 <= digit <= 70 or 97 <= digit <= 102):
                        return -1, escaped, foreign
                offset += 4
            elif byte not in (34, 92, 47, 98, 102, 110, 114, 116):
                return -1, escaped, foreign
        offset += 1
    return -1, escaped, foreign


@njit(cache=True)
def _number_end(text: Bytes, offset: int, end: int) -> int:
    """Offset after a number in JSON's grammar, -1 where it is none."""
    if offset < end and text[offset] == 45:
        offset += 1
    if offset >= end or not 48 <= text[offset] <= 57:
        return -1
    if text[offset] == 48:
        offset += 1
    else:
        while offset < end and 48 <= text[offset] <= 57:
            offset += 1
    if offset < end and text[offset] == 46:
        offset += 1
        if offset >= end or not 48 <= text[offset] <= 57:
            return -1
        while offset < end and 48 <= text[offset] <= 57:
            offset += 1
    if offset < end and (text[offset] == 101 or text[offset] == 69):
        offset += 1
        if offset < end and (text[offset] == 43 or text[offset] == 45):
            offset += 1
        if offset >= end or not 48 <= text[offset] <= 57:
            return -1
        while offset < end and 48 <= text[offset] <= 57:
            offset += 1
    return offset


@njit(cache=True)
def _literal(text: Bytes, offset: int, end: int) -> tuple[int, int]:
    """Offset after true, false or null, and its kind; -1 where it is none of them."""
    if offset + 4 <= end:
        if text[offset] == 116 and text[offset + 1] == 114 and text[offset + 2] == 117 and text[offset + 3] == 101:
            return offset + 4, TRUE
        if text[offset] == 110 and text[offset + 1] == 117 and text[offset + 2] == 108 and text[offset + 3] == 108:
            return offset + 4, NULL
    false = offset + 5 <= end and text[offset] == 102 and text[offset + 1] == 97 and text[offset + 2] == 108
    if false and text[offset + 3] == 115 and text[offset + 4] == 101:
        return offset + 5, FALSE
    return -1, NULL


@njit(cache=True)
def _scan_record(
    text: Bytes,
    offset: int,
    end: int,
    keys: Keys,
    columns: Columns,
    row: int,
    starts: Columns,
    ends: Columns,
    kinds: Bytes,
    levels: Keys,
    arrays: Bytes,
    holders: Columns,
) -> int:
    """Cut one record; the index of the reason where it cannot be cut, 0 where it can.

    `levels`, `arrays` and `holders` are buffers for each open container's path, whether it is an array, and the column
    it is wanted for. The cell of a container spans all of it.
    """
    begin = offset
    depth = 0
    path = np.uint64(_OFFSET)  # of the value that comes next
    want_value = True  # else a comma or an end
    may_close = False  # right after an opening bracket
    foreign = False
    doubled = False
    if offset >= end or text[offset] != 123:
        return NOT_JSON
    while True:
        while offset < end and (text[offset] == 32 or text[offset] == 9 or text[offset] == 13):
            offset += 1
        if offset >= end:
            return NOT_JSON
        byte = text[offset]
        if want_value and depth > 0 and arrays[depth] == 0 and not (may_close and byte == 125):
            # A key and its colon come first.
            if byte != 34:
                return NOT_JSON
            path = levels[depth]
            if depth > 1:
                path = (path ^ np.uint64(_LEVEL)) * np.uint64(_PRIME)
            stop = offset + 1
            while stop < end and _PLAIN[text[stop]]:
                path = (path ^ np.uint64(text[stop])) * np.uint64(_PRIME)
                stop += 1
            if stop >= end or text[stop] != 34:
                # Escapes or letters beyond ASCII in it: what is hashed so far stands.
                first = stop
                stop, _, key_foreign = _string_end(text, first, end)
                if stop < 0:
                    return NOT_JSON
                foreign = foreign or key_foreign
                for at in range(first, stop):
                    path = (path ^ np.uint64(text[at])) * np.uint64(_PRIME)
            offset = stop + 1
            while offset < end and (text[offset] == 32 or text[offset] == 9 or text[offset] == 13):
                offset += 1
            if offset >= end or text[offset] != 58:
                return NOT_JSON
            offset += 1
            while offset < end and (text[offset] == 32 or text[offset] == 9 or text[offset] == 13):
                offset += 1
            if offset >= end:
                return NOT_JSON
            byte = text[offset]
            may_close = False
        elif want_value and depth > 0 and arrays[depth] == 1:
            path = (levels[depth] ^ np.uint64(_FIRST)) * np.uint64(_PRIME) if may_close else np.uint64(0)
        if want_value and not (may_close and (byte == 125 or byte == 93) and (byte == 93) == (arrays[depth] == 1)):
            first = offset
            last = offset
            if byte == 34:
                stop, escaped, text_foreign = _string_end(text, offset + 1, end)
                if stop < 0:
                    return NOT_JSON
                foreign = foreign or text_foreign
                first, last = offset + 1, stop
                kind = ESCAPED if escaped else STRING
                offset = stop + 1
            elif byte == 123 or byte == 91:
                kind = OBJECT if byte == 123 else ARRAY
                offset += 1
            elif byte == 45 or 48 <= byte <= 57:
                offset = _number_end(text, offset, end)
                kind, last = NUMBER, offset
            else:
                # A literal has no text of its own: null must not look like a value.
                offset, kind = _literal(text, offset, end)
            if offset < 0:
                return NOT_JSON
            column = _column(path, keys, columns) if depth > 0 else -1
            if column >= 0:
                doubled = doubled or kinds[column, row] != 0
                starts[column, row], ends[column, row], kinds[column, row] = first, last, kind
            may_close = False
            if kind in (OBJECT, ARRAY):
                depth += 1
                if depth > MAX_DEPTH:
                    return TOO_DEEP
                levels[depth] = path
                arrays[depth] = kind == ARRAY
                holders[depth] = column
                may_close = True
            else:
                want_value = False
            continue
        if byte == 44 and not want_value:
            offset += 1
            want_value = True
            continue
        if (byte == 93) != (arrays[depth] == 1) or (byte != 93 and byte != 125):
            return NOT_JSON
        offset += 1
        if holders[depth] >= 0:
            ends[holders[depth], row] = offset
        depth -= 1
        want_value = False
        may_close = False
        if depth == 0:
            break
    while offset < end and (text[offset] == 32 or text[offset] == 9 or text[offset] == 13):
        offset += 1
    if offset != end:
        return NOT_JSON
    if foreign and not valid_utf8(text, begin, end):
        return NOT_UTF8
    return DUPLICATE_KEY if doubled else 0


@njit(cache=True)
def _scan(
    text: Bytes,
    record_starts: Columns,
    record_ends: Columns,
    keys: Keys,
    columns: Columns,
    starts: Columns,
    ends: Columns,
    kinds: Bytes,
    problem: Bytes,
) -> None:
    # A record that cannot be cut leaves no cells: what was read before the fault may be anything.
    levels = np.zeros(MAX_DEPTH + 1, np.uint64)
    arrays = np.zeros(MAX_DEPTH + 1, np.uint8)
    holders = np.full(MAX_DEPTH + 1, -1, np.int64)
    for row in range(len(record_starts)):
        if record_ends[row] - record_starts[row] > MAX_RECORD_BYTES:
            problem[row] = TOO_BIG
        else:
            problem[row] = _scan_record(
                text,
                record_starts[row],
                record_ends[row],
                keys,
                columns,
                row,
                starts,
                ends,
                kinds,
                levels,
                arrays,
                holders,
            )
        if problem[row]:
            for column in range(len(kinds)):
                starts[column, row], ends[column, row], kinds[column, row] = 0, 0, 0


def scan_json(lines: Lines, table: tuple[Keys, Columns], columns: int) -> Cells:
    """Cells of NDJSON records; `table` comes from `key_table`, `columns` is how many there are.

    A key spelt with escapes is not recognised: the record is judged as lacking it.
    """
    cells = blank_cells(lines.text, lines.starts, lines.ends, columns)
    _scan(lines.text, lines.starts, lines.ends, *table, cells.starts, cells.ends, cells.kinds, cells.problem)
    return cells
