"""Addresses as numbers: a stable 64-bit key for every string, and what kind of address it is.

The key is FNV-1a over the UTF-8 bytes, finished with splitmix64's mixer: the same in every process and on every
machine, so that state saved by one worker means the same to the next.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.compiled import compiled, mix64
from pipeline.runtime import hashing

UNICAST, MULTICAST, BROADCAST, UNSPECIFIED = 0, 1, 2, 3

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)


_NOTHING = np.zeros(1, np.int32)
_NO_ADDRESS = hashing.mix64(np.array([_FNV_OFFSET]))[0]
"""The key of the empty string."""


@compiled
def _is_mac(text: npt.NDArray[np.uint8], start: int, end: int, colons: int) -> bool:
    """Whether an address with so many colons is a MAC: 2001:3:f4b:d800:: has five of them and 17 characters too."""
    return colons == 5 and end - start == 17 and text[start + 2] == 58


@compiled
def _kind(text: npt.NDArray[np.uint8], start: int, end: int) -> int:
    """Kind of one address: IPv4 dotted, IPv6 or MAC with colons, all in lower case."""
    length = end - start
    colons, dots, digits, zeros, fs, value = 0, 0, 0, 0, 0, 0
    for index in range(start, end):
        byte = text[index]
        if byte == 58:  # ':'
            colons += 1
        elif byte == 46:  # '.'
            dots += 1
        else:
            digits += 1
            zeros += byte == 48
            fs += byte == 102
            if dots == 0 and 48 <= byte <= 57:
                value = value * 10 + (byte - 48)
    if digits == zeros:
        return 3  # 0.0.0.0, ::, 00:00:00:00:00:00, nothing
    if _is_mac(text, start, end, colons):
        if digits == fs:
            return 2
        second = text[start + 1]
        nibble = second - 48 if second <= 57 else second - 87
        return 1 if nibble & 1 else 0
    if colons >= 2:
        return 1 if length > 2 and text[start] == 102 and text[start + 1] == 102 else 0
    if dots == 3:
        if value == 255 or (
            text[end - 4] == 46 and text[end - 3] == 50 and text[end - 2] == 53 and text[end - 1] == 53
        ):
            return 2
        return 1 if 224 <= value <= 239 else 0
    return 0


@compiled
def _keys(
    text: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int32],
    keys: npt.NDArray[np.uint64],
    kinds: npt.NDArray[np.uint8],
) -> None:
    for row in range(len(keys)):
        key = _FNV_OFFSET
        for index in range(offsets[row], offsets[row + 1]):
            key = (key ^ np.uint64(text[index])) * _FNV_PRIME
        keys[row] = mix64(key)
        kinds[row] = _kind(text, offsets[row], offsets[row + 1])


@compiled
def _is_outside_ip4(first: int, second: int) -> bool:
    """Whether an address of IPv4 that begins with these two bytes is public."""
    return not (
        first in (0, 10, 127)
        or first >= 224
        or (first == 100 and 64 <= second < 128)
        or (first == 169 and second == 254)
        or (first == 172 and 16 <= second < 32)
        or (first == 192 and second == 168)
        or (first == 198 and 18 <= second < 20)
    )


@compiled
def _is_outside(text: npt.NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether one address is public: of IPv4 all but 0/8, 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12, 192.168/16,
    198.18/15 and from 224 on; of IPv6 all but ::, ::1, fe80::/10, fc00::/7 and ff00::/8 (RFC 6890), and of ::ffff:0/96
    what is public of IPv4. A MAC is not.
    """
    colons, dots, first_colon, after_colon = 0, 0, end, start
    for index in range(start, end):
        if text[index] == 58:
            colons += 1
            first_colon = min(first_colon, index)
            after_colon = index + 1
        elif text[index] == 46:
            dots += 1
    if dots == 3:
        first, second, part = 0, 0, 0
        for index in range(after_colon, end):
            byte = text[index]
            if byte == 46:
                part += 1
            elif part == 0:
                first = first * 10 + (byte - 48)
            elif part == 1:
                second = second * 10 + (byte - 48)
        return bool(_is_outside_ip4(first, second))
    if colons < 2 or _is_mac(text, start, end, colons):
        return False
    if first_colon == start:
        return _is_outside_zeros(text, start, end, after_colon)
    if text[start] != 102 or first_colon - start != 4:  # f, a group of four digits
        return True
    second = text[start + 1]
    third = text[start + 2]
    is_link_local = second == 101 and (third == 56 or third == 57 or third == 97 or third == 98)
    return not (second == 99 or second == 100 or second == 102 or is_link_local)


@compiled
def _is_outside_zeros(text: npt.NDArray[np.uint8], start: int, end: int, last_group: int) -> bool:
    """The same of an address that begins with ::, such as ::1 and ::ffff:a00:1."""
    if end - start == 2 or (end - start == 3 and text[start + 2] == 49):
        return False
    mapped, colon = 0, last_group - 1
    for index in range(4):
        mapped += end - start > 7 and text[start + 2 + index] == 102
    if mapped < 4 or text[start + 6] != 58 or colon <= start + 6:
        return True
    value = 0
    for index in range(start + 7, colon):
        byte = text[index]
        if byte == 58:  # three groups behind ::ffff
            return True
        value = value * 16 + (byte - 48 if byte <= 57 else byte - 87)
    return bool(_is_outside_ip4(value >> 8, value & 255))


@compiled
def _outside(text: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int32], is_outside: npt.NDArray[np.bool_]) -> None:
    for row in range(len(is_outside)):
        is_outside[row] = _is_outside(text, offsets[row], offsets[row + 1])


def _text(column: pa.StringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Bytes of a column without nulls, and where each value begins."""
    _, offset_bytes, text_bytes = column.buffers()
    has_offsets = offset_bytes is not None and offset_bytes.size  # an empty column may have none
    offsets = np.frombuffer(offset_bytes, np.int32, len(column) + 1, column.offset * 4) if has_offsets else _NOTHING
    text = np.frombuffer(text_bytes, np.uint8) if text_bytes is not None and text_bytes.size else np.zeros(1, np.uint8)
    return text, offsets


def outside(column: pa.StringArray) -> npt.NDArray[np.bool_]:
    """(n,) whether an address is public; a null is not."""
    is_outside = np.empty(len(column), np.bool_)
    _outside(*_text(column.fill_null("") if column.null_count else column), is_outside)
    return is_outside


def address_keys(column: pa.StringArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """Keys (n,) uint64 and kinds (n,) uint8 of a column of n addresses; a null counts as the empty string."""
    if column.null_count == len(column):
        return np.full(len(column), _NO_ADDRESS), np.full(len(column), UNSPECIFIED, np.uint8)
    if column.null_count:
        column = column.fill_null("")
    keys = np.empty(len(column), np.uint64)
    kinds = np.empty(len(column), np.uint8)
    text, offsets = _text(column)
    _keys(text, offsets, keys, kinds)
    return keys, kinds
