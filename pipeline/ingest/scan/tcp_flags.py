"""TCP flags in the forms that flow exporters write: a number, 0x1b, ...AP.SF, or a list of names."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.ingest.compiled import compiled
from pipeline.ingest.scan.cells import ARRAY, BARE, STRING, Bytes, Ints, Kinds
from pipeline.ingest.scan.scalars import MALFORMED, OK, Statuses, readable

_MAX_BITS = 0xFFFF  # IPFIX's tcpControlBits has the header's other bits above the flags


@compiled
def _bit(letter: Any) -> int:
    """The flag of a letter, small or capital: FIN, SYN, RST, PSH, ACK, URG, ECE, CWR; 0 where it is none."""
    lower = letter | 32
    if lower == 102:
        return 1
    if lower == 115:
        return 2
    if lower == 114:
        return 4
    if lower == 112:
        return 8
    if lower == 97:
        return 16
    if lower == 117:
        return 32
    if lower == 101:
        return 64
    if lower == 99:
        return 128
    return 0


@compiled
def _names(text: Bytes, offset: int) -> int:
    """Flags of a JSON array of names, by their first letters; -1 where it holds anything else."""
    flags = 0
    offset += 1
    while text[offset] != 93:
        byte = text[offset]
        if byte == 34:
            bit = _bit(text[offset + 1])
            if bit == 0:
                return -1
            flags |= bit
            offset += 1
            while text[offset] != 34:
                if text[offset] == 92:
                    return -1
                offset += 1
        elif byte != 44 and byte != 32 and byte != 9 and byte != 13:
            return -1
        offset += 1
    return flags


@compiled
def _number(text: Bytes, offset: int, end: int, base: int) -> int:
    value = 0
    for at in range(offset, end):
        byte = text[at]
        if 48 <= byte <= 57:
            digit = int(byte) - 48
        elif base == 16 and 97 <= (byte | 32) <= 102:
            digit = int(byte | 32) - 87
        else:
            return -1
        value = value * base + digit
        if value > _MAX_BITS:
            return -1
    return value if offset < end else -1


@compiled
def _letters(text: Bytes, offset: int, end: int) -> int:
    if offset == end or end - offset > 8:
        return -1
    flags = 0
    for at in range(offset, end):
        bit = _bit(text[at])
        if bit == 0 and text[at] != 46:
            return -1
        flags |= bit
    return flags


@compiled
def read_tcp_flags(
    text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, values: npt.NDArray[np.uint64], statuses: Statuses
) -> None:
    """The eight flags as one byte; bits above them (reserved, data offset) are left out."""
    for row in range(len(starts)):
        values[row] = 0
        first, last = starts[row], ends[row]
        if kinds[row] == ARRAY:
            flags = _names(text, first)
        else:
            statuses[row] = readable(kinds[row])
            if statuses[row] != OK:
                continue
            if last - first > 2 and text[first] == 48 and (text[first + 1] | 32) == 120:
                flags = _number(text, first + 2, last, 16)
            else:
                flags = _number(text, first, last, 10)
            if flags < 0 and kinds[row] in (BARE, STRING):
                flags = _letters(text, first, last)
        if flags < 0:
            statuses[row] = MALFORMED
        else:
            values[row], statuses[row] = flags & 0xFF, OK
