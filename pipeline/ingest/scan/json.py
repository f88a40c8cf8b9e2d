"""NDJSON cut into cells in one compiled pass: the whole syntax is checked, only wanted keys are stored.

Each record is judged by itself: what stands before or after it in a block cannot change its outcome.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contracts.raw import MAX_RECORD_BYTES
from pipeline.ingest.compiled import compiled, inlined
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
from pipeline.ingest.scan.words import byte_at, digits_end, plain_end, same_bytes

Keys = npt.NDArray[np.uint64]
Columns = npt.NDArray[np.int64]

MAX_DEPTH = 32
_OFFSET = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_LEVEL = 0xFF  # between two keys of a path; occurs in no UTF-8 text
_FIRST = 0xFE  # the first element of an array
# Keys that were read, by the last bits of their path's hash: most records have the keys of the one before in the same
# order, and to compare a key with the one that followed then costs less than to hash it. Kept of each are: where it
# stood; how many bytes are from its quote to its value (0: some are not ASCII, it is never foreseen); the hash before
# it and with it; its column; the place of the key that came next. The first key of a record follows _KNOWN.
_KNOWN = 256
_START, _SIZE, _BEFORE, _PATH, _COLUMN, _FOLLOWING = range(6)


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


@inlined
def _column(key: Any, keys: Keys, columns: Columns) -> int:
    mask = np.uint64(len(keys) - 1)
    slot = np.uint64(key) & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return int(columns[slot])
        slot = (slot + np.uint64(1)) & mask
    return -1


@inlined
def _string_end(text: Bytes, offset: int, end: int) -> tuple[int, bool, bool]:
    """Offset of the closing quote (-1: malformed), whether there are escapes, whether there is non-ASCII."""
    escaped = False
    foreign = False
    while True:
        offset = plain_end(text, offset, end)
        if offset >= end:
            return -1, escaped, foreign
        byte = byte_at(text, offset)
        if byte == 34:
            return offset, escaped, foreign
        if byte < 32:
            return -1, escaped, foreign
        if byte >= 128:
            foreign = True
            offset += 1
            continue
        escaped = True
        offset = _escape_end(text, offset + 1, end)
        if offset < 0:
            return -1, escaped, foreign


@compiled
def _escape_end(text: Bytes, offset: int, end: int) -> int:
    """Offset after an escape whose backslash stands before `offset`, -1 where it is none."""
    if offset >= end:
        return -1
    byte = text[offset]
    if byte != 117:
        return offset + 1 if byte in (34, 92, 47, 98, 102, 110, 114, 116) else -1
    if offset + 4 >= end:
        return -1
    for at in range(offset + 1, offset + 5):
        digit = text[at]
        if not (48 <= digit <= 57 or 65 <= digit <= 70 or 97 <= digit <= 102):
            return -1
    return offset + 5


@inlined
def _number_end(text: Bytes, offset: int, end: int) -> int:
    """Offset after a number in JSON's grammar, -1 where it is none."""
    if offset < end and byte_at(text, offset) == 45:
        offset += 1
    first = offset
    offset = digits_end(text, first, end)
    if offset == first or (offset > first + 1 and byte_at(text, first) == 48):
        return -1
    if offset < end and byte_at(text, offset) == 46:
        first = offset + 1
        offset = digits_end(text, first, end)
        if offset == first:
            return -1
    if offset < end and (byte_at(text, offset) | 32) == 101:
        offset += 1
        if offset < end and (byte_at(text, offset) == 43 or byte_at(text, offset) == 45):
            offset += 1
        first = offset
        offset = digits_end(text, first, end)
        if offset == first:
            return -1
    return offset


@compiled
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


@inlined
def _blanks_end(text: Bytes, offset: int, end: int) -> int:
    while offset < end:
        byte = byte_at(text, offset)
        if byte > 32 or (byte != 32 and byte != 9 and byte != 13):
            break
        offset += 1
    return offset


@inlined
def _value(text: Bytes, offset: int, end: int) -> tuple[int, int, int, int, bool]:
    """Offset after a value (-1: malformed), where its text begins and ends, its kind, whether there is non-ASCII.

    Of an object or an array only the bracket is read.
    """
    byte = byte_at(text, offset)
    if byte == 34:
        stop, escaped, foreign = _string_end(text, offset + 1, end)
        return (stop + 1 if stop >= 0 else -1), offset + 1, stop, (ESCAPED if escaped else STRING), foreign
    if byte == 45 or 48 <= byte <= 57:
        stop = _number_end(text, offset, end)
        return stop, offset, stop, NUMBER, False
    if byte == 123 or byte == 91:
        return offset + 1, offset, offset, (OBJECT if byte == 123 else ARRAY), False
    # A literal has no text of its own: null must not look like a value.
    stop, kind = _literal(text, offset, end)
    return stop, offset, offset, kind, False


@compiled
def _fresh_key(
    text: Bytes, offset: int, end: int, before: Any, known: Columns, last: Any, keys: Keys, columns: Columns
) -> tuple[int, Any, bool]:
    """What `_key` returns of a key that is not the one foreseen; it is foreseen the next time."""
    stop, _, foreign = _string_end(text, offset + 1, end)
    if stop < 0:
        return -1, last, foreign
    path = before
    for at in range(offset + 1, stop):
        path = (path ^ np.uint64(byte_at(text, at))) * np.uint64(_PRIME)
    colon = _blanks_end(text, stop + 1, end)
    if colon >= end or byte_at(text, colon) != 58:
        return -1, last, foreign
    value = _blanks_end(text, colon + 1, end)
    entry = np.int64(path & np.uint64(_KNOWN - 1))
    known[last, _FOLLOWING] = entry
    known[entry, _START], known[entry, _SIZE] = offset, 0 if foreign else value - offset
    known[entry, _BEFORE], known[entry, _PATH] = np.int64(before), np.int64(path)
    known[entry, _COLUMN] = _column(path, keys, columns)
    return value, entry, foreign


@inlined
def _key(
    text: Bytes, offset: int, end: int, before: Any, known: Columns, last: Any, keys: Keys, columns: Columns
) -> tuple[int, Any, bool]:
    """Offset of the value of a key (-1: malformed), the key's entry in `known`, whether there is non-ASCII in it.

    `before` is the hash of the path that the key goes on, `last` the entry of the key before it. The same bytes after
    the same path are the same key: what is foreseen changes what is done, never what comes out.
    """
    entry = known[last, _FOLLOWING]
    size = known[entry, _SIZE]
    foreseen = size > 0 and np.uint64(known[entry, _BEFORE]) == before and offset + size < end
    if foreseen and same_bytes(text, known[entry, _START], offset, size):
        return offset + size, entry, False
    return _fresh_key(text, offset, end, before, known, last, keys, columns)


@compiled
def _outcome(text: Bytes, begin: int, offset: int, end: int, foreign: bool, doubled: bool) -> int:
    """The index of the reason of a record whose last bracket stands before `offset`."""
    if _blanks_end(text, offset, end) != end:
        return NOT_JSON
    if foreign and not valid_utf8(text, begin, end):
        return NOT_UTF8
    return DUPLICATE_KEY if doubled else 0


@inlined
def _scan_record(
    text: Bytes,
    begin: int,
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
    known: Columns,
) -> int:
    """Cut one record; the index of the reason where it cannot be cut, 0 where it can.

    `levels`, `arrays` and `holders` are buffers for each open container's path, whether it is an array, and the column
    it is wanted for; `known` are the keys of the records before. The cell of a container spans all of it.
    """
    if begin >= end or text[begin] != 123:
        return NOT_JSON
    offset = begin + 1
    depth = 1
    levels[1], arrays[1], holders[1] = np.uint64(_OFFSET), 0, -1
    in_array = False
    opened = True  # right after an opening bracket
    entry: Any = _KNOWN
    foreign = False
    doubled = False
    while True:
        offset = _blanks_end(text, offset, end)
        if offset >= end:
            return NOT_JSON
        byte = byte_at(text, offset)
        if not opened or byte != (93 if in_array else 125):
            if in_array:
                path = (levels[depth] ^ np.uint64(_FIRST)) * np.uint64(_PRIME) if opened else np.uint64(0)
                column = _column(path, keys, columns)
            else:
                if byte != 34:
                    return NOT_JSON
                offset, entry, key_foreign = _key(text, offset, end, levels[depth], known, entry, keys, columns)
                if offset < 0:
                    return NOT_JSON
                foreign = foreign or key_foreign
                path, column = np.uint64(known[entry, _PATH]), known[entry, _COLUMN]
                offset = _blanks_end(text, offset, end)
                if offset >= end:
                    return NOT_JSON
            offset, first, last, kind, text_foreign = _value(text, offset, end)
            if offset < 0:
                return NOT_JSON
            foreign = foreign or text_foreign
            if column >= 0:
                doubled = doubled or kinds[column, row] != 0
                starts[column, row], ends[column, row], kinds[column, row] = first, last, kind
            opened = kind in (OBJECT, ARRAY)
            if opened:
                depth += 1
                if depth > MAX_DEPTH:
                    return TOO_DEEP
                in_array = kind == ARRAY
                levels[depth] = path if in_array else (path ^ np.uint64(_LEVEL)) * np.uint64(_PRIME)
                arrays[depth], holders[depth] = in_array, column
                continue
            offset = _blanks_end(text, offset, end)
            if offset >= end:
                return NOT_JSON
            byte = byte_at(text, offset)
        while byte != 44:
            if byte != (93 if in_array else 125):
                return NOT_JSON
            offset += 1
            if holders[depth] >= 0:
                ends[holders[depth], row] = offset
            depth -= 1
            if depth == 0:
                return _outcome(text, begin, offset, end, foreign, doubled)
            in_array = arrays[depth] == 1
            offset = _blanks_end(text, offset, end)
            if offset >= end:
                return NOT_JSON
            byte = byte_at(text, offset)
        offset += 1
        opened = False


@compiled
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
    levels: Keys,
    arrays: Bytes,
    holders: Columns,
    known: Columns,
) -> None:
    # A record that cannot be cut leaves no cells: what was read before the fault may be anything.
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
                known,
            )
        if problem[row]:
            for column in range(len(kinds)):
                starts[column, row], ends[column, row], kinds[column, row] = 0, 0, 0


def scan_json(lines: Lines, table: tuple[Keys, Columns], columns: int) -> Cells:
    """Cells of NDJSON records; `table` comes from `key_table`, `columns` is how many there are.

    A key spelt with escapes is not recognised: the record is judged as lacking it.
    """
    cells = blank_cells(lines.text, lines.starts, lines.ends, columns)
    levels, arrays = np.empty(MAX_DEPTH + 1, np.uint64), np.empty(MAX_DEPTH + 1, np.uint8)
    holders, known = np.empty(MAX_DEPTH + 1, np.int64), np.zeros((_KNOWN + 1, _FOLLOWING + 1), np.int64)
    starts, ends, kinds, problem = cells.starts, cells.ends, cells.kinds, cells.problem
    keys, of_keys = table
    into = starts, ends, kinds, problem, levels, arrays, holders, known
    _scan(lines.text, lines.starts, lines.ends, keys, of_keys, *into)
    return cells
