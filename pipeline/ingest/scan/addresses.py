"""Addresses checked and written in one way by compiled code: IPv4, IPv6 (RFC 5952), MAC (lower case, colons)."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ingest.compiled import compiled, inlined
from pipeline.ingest.scan.cells import Bytes, Cells, Ints, Kinds
from pipeline.ingest.scan.scalars import MALFORMED, OK, Statuses, readable
from pipeline.ingest.scan.text import string_array

# Families: what an address is. NONE where there is none.
NONE, IP4, IP6, MAC = range(4)
_LONGEST = 39
_MAC_LENGTH = 17
_MAX_MACS = 32


@inlined
def _hex(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    if 97 <= (byte | 32) <= 102:
        return (byte | 32) - 87
    return -1


@inlined
def ip4_number(text: Bytes, offset: int, end: int) -> int:
    """Four decimal parts 0..255 without leading zeros as one number, -1 where it is no IPv4 address."""
    value, part, digits, parts = 0, 0, 0, 0
    for at in range(offset, end + 1):
        byte = text[at] if at < end else 46
        if byte == 46:
            if digits == 0 or part > 255:
                return -1
            value, part, digits, parts = value * 256 + part, 0, 0, parts + 1
        elif 48 <= byte <= 57 and not (digits > 0 and part == 0) and digits < 3:
            part, digits = part * 10 + byte - 48, digits + 1
        else:
            return -1
    return value if parts == 4 else -1


@compiled
def _mac(text: Bytes, offset: int, end: int) -> int:
    """Six pairs of hexadecimal digits between colons or dashes as one number, -1 where it is no MAC."""
    if end - offset != _MAC_LENGTH:
        return -1
    value = 0
    for at in range(_MAC_LENGTH):
        byte = text[offset + at]
        if at % 3 == 2:
            if byte != text[offset + 2] or (byte != 58 and byte != 45):
                return -1
        else:
            digit = _hex(byte)
            if digit < 0:
                return -1
            value = value * 16 + digit
    return value


@compiled
def ip6_groups(text: Bytes, offset: int, end: int, groups: Ints) -> bool:
    """Whether it is an IPv6 address; its eight groups into `groups`."""
    count, gap = 0, -1
    if end - offset >= 2 and text[offset] == 58 and text[offset + 1] == 58:
        gap = 0
        offset += 2
    while offset < end:
        stop = offset
        dotted = False
        while stop < end and text[stop] != 58:
            dotted = dotted or text[stop] == 46
            stop += 1
        if dotted:
            tail = ip4_number(text, offset, end)
            if stop != end or tail < 0 or count > 6:
                return False
            groups[count], groups[count + 1] = tail >> 16, tail & 0xFFFF
            count += 2
            break
        if not 1 <= stop - offset <= 4 or count >= 8:
            return False
        value = 0
        for at in range(offset, stop):
            digit = _hex(text[at])
            if digit < 0:
                return False
            value = value * 16 + digit
        groups[count] = value
        count += 1
        if stop == end:
            break
        offset = stop + 1
        if offset == end:
            return False
        if text[offset] == 58:
            if gap >= 0:
                return False
            gap = count
            offset += 1
    if gap < 0:
        return count == 8
    if count > 7:
        return False
    for back in range(count - gap):
        groups[7 - back] = groups[count - 1 - back]
    for at in range(gap, 8 - (count - gap)):
        groups[at] = 0
    return True


@compiled
def _put_hex(out: Bytes, at: int, value: int, shortest: int) -> int:
    digits = max(shortest, 1 + (value > 0xF) + (value > 0xFF) + (value > 0xFFF))
    for digit_index in range(digits):
        digit = value >> 4 * (digits - 1 - digit_index) & 0xF
        out[at + digit_index] = 48 + digit if digit < 10 else 87 + digit
    return at + digits


@compiled
def _put_mac(out: Bytes, at: int, value: int) -> int:
    for pair in range(6):
        if pair:
            out[at] = 58
            at += 1
        at = _put_hex(out, at, value >> 8 * (5 - pair) & 0xFF, 2)
    return at


@compiled
def _put_ip6(out: Bytes, at: int, groups: Ints) -> int:
    """RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as ::."""
    longest, gap = 1, -1
    run = 0
    for group in range(8):
        run = run + 1 if groups[group] == 0 else 0
        if run > longest:
            longest, gap = run, group - run + 1
    group = 0
    while group < 8:
        if group == gap:
            out[at], out[at + 1] = 58, 58
            at += 2
            group += longest
            continue
        if group > 0 and group != gap + longest:
            out[at] = 58
            at += 1
        at = _put_hex(out, at, groups[group], 1)
        group += 1
    return at


@compiled
def _normalise(
    text: Bytes,
    starts: Ints,
    ends: Ints,
    kinds: Kinds,
    out: Bytes,
    offsets: npt.NDArray[np.int32],
    families: Bytes,
    statuses: Statuses,
    groups: Ints,
) -> None:
    """`groups` is room for eight numbers."""
    at = 0
    for row in range(len(starts)):
        first, last = starts[row], ends[row]
        statuses[row] = readable(kinds[row])
        families[row] = NONE
        if statuses[row] == OK:
            if ip4_number(text, first, last) >= 0:
                families[row] = IP4
                for offset in range(first, last):
                    out[at] = text[offset]
                    at += 1
            else:
                mac = _mac(text, first, last)
                if mac >= 0:
                    families[row] = MAC
                    at = _put_mac(out, at, mac)
                elif ip6_groups(text, first, last, groups):
                    families[row] = IP6
                    at = _put_ip6(out, at, groups)
                else:
                    statuses[row] = MALFORMED
        offsets[row + 1] = at


@compiled
def _first_macs(
    text: Bytes,
    starts: Ints,
    ends: Ints,
    kinds: Kinds,
    out: Bytes,
    offsets: npt.NDArray[np.int32],
    counts: Bytes,
    statuses: Statuses,
    seen: Ints,
) -> None:
    """`seen` is room for as many MACs as are counted."""
    at = 0
    for row in range(len(starts)):
        offset, last = starts[row], ends[row]
        counts[row] = 0
        statuses[row] = readable(kinds[row])
        distinct = 0
        while statuses[row] == OK:
            mac = _mac(text, offset, min(offset + _MAC_LENGTH, last))
            if mac < 0:
                statuses[row] = MALFORMED
                break
            known = False
            for earlier in range(distinct):
                known = known or seen[earlier] == mac
            if not known:
                if distinct == _MAX_MACS:
                    statuses[row] = MALFORMED
                    break
                seen[distinct] = mac
                distinct += 1
            offset += _MAC_LENGTH
            if offset == last:
                break
            if text[offset] != 47:
                statuses[row] = MALFORMED
            offset += 1
        if statuses[row] == OK:
            counts[row] = distinct
            at = _put_mac(out, at, seen[0])
        offsets[row + 1] = at


def address_column(cells: Cells, column: int) -> tuple[pa.StringArray, Bytes, Statuses]:
    """One column as normalised addresses, the family and the status of each row.

    Leading zeros in IPv4 and IPv6 zones are refused: two readers could take them for two addresses.
    """
    out = np.empty(_LONGEST * cells.rows, np.uint8)
    offsets = np.zeros(cells.rows + 1, np.int32)
    families, statuses = np.zeros(cells.rows, np.uint8), np.zeros(cells.rows, np.uint8)
    where = cells.starts[column], cells.ends[column], cells.kinds[column]
    _normalise(cells.text, *where, out, offsets, families, statuses, np.empty(8, np.int64))
    return string_array(out[: offsets[-1]], offsets, statuses == OK), families, statuses


def mac_column(cells: Cells, column: int) -> tuple[pa.StringArray, Bytes, Statuses]:
    """The first MAC of each `mac[/mac...]` cell, how many different ones there are (at most 32), and the status."""
    out = np.empty(_MAC_LENGTH * cells.rows, np.uint8)
    offsets = np.zeros(cells.rows + 1, np.int32)
    counts, statuses = np.zeros(cells.rows, np.uint8), np.zeros(cells.rows, np.uint8)
    where = cells.starts[column], cells.ends[column], cells.kinds[column]
    _first_macs(cells.text, *where, out, offsets, counts, statuses, np.empty(_MAX_MACS, np.int64))
    return string_array(out[: offsets[-1]], offsets, statuses == OK), counts, statuses
