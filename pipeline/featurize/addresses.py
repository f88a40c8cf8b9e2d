"""Addresses as numbers: a stable 64-bit key for every string, and what kind of address it is.

The key is FNV-1a over the UTF-8 bytes, finished with splitmix64's mixer: the same in every process and on every
machine, so that state saved by one worker means the same to the next.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.compiled import compiled, mix64

UNICAST, MULTICAST, BROADCAST, UNSPECIFIED = 0, 1, 2, 3

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)


_NOTHING = np.zeros(1, np.int32)


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
    if colons == 5 and length == 17:
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


def address_keys(column: pa.StringArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """Keys (n,) uint64 and kinds (n,) uint8 of a column of n addresses; a null counts as the empty string."""
    if column.null_count:
        column = column.fill_null("")
    keys = np.empty(len(column), np.uint64)
    kinds = np.empty(len(column), np.uint8)
    _, offset_bytes, text_bytes = column.buffers()
    has_offsets = offset_bytes is not None and offset_bytes.size  # an empty column may have none
    offsets = np.frombuffer(offset_bytes, np.int32, len(column) + 1, column.offset * 4) if has_offsets else _NOTHING
    text = np.frombuffer(text_bytes, np.uint8) if text_bytes is not None and text_bytes.size else np.zeros(1, np.uint8)
    _keys(text, offsets, keys, kinds)
    return keys, kinds
