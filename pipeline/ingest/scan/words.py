"""Eight bytes of a text at a time, as one number, the first byte lowest: tests and searches without a branch a byte."""

from typing import Any

import numpy as np

from pipeline.ingest.compiled import inlined
from pipeline.ingest.scan.cells import Bytes

_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_BLANKS = np.uint64(0x2020202020202020)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_ZEROS = np.uint64(0x3030303030303030)
_BEYOND_NINE = np.uint64(0x7676767676767676)  # added to 10 or more it sets a byte's highest bit
_ONE = np.uint64(1)
_LAST = np.uint64(56)


@inlined
def byte_at(text: Bytes, offset: int) -> Any:
    """The byte at an offset that is not negative: without the test for that which each signed index costs."""
    return text[np.uint64(offset)]


@inlined
def whole_word(text: Bytes, offset: int) -> Any:
    """The eight bytes from `offset` on, all of which `text` must have; written out so that it becomes one load."""
    at = np.uint64(offset)
    return (
        np.uint64(text[at])
        | np.uint64(text[at + np.uint64(1)]) << np.uint64(8)
        | np.uint64(text[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(text[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(text[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(text[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(text[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(text[at + np.uint64(7)]) << np.uint64(56)
    )


@inlined
def word_at(text: Bytes, offset: int) -> Any:
    """The eight bytes from `offset` on, zeros after the end of `text`."""
    if offset + 8 <= len(text):
        return whole_word(text, offset)
    word = np.uint64(0)
    for shift in range(len(text) - offset):
        word |= np.uint64(byte_at(text, offset + shift)) << np.uint64(8 * shift)
    return word


@inlined
def _first(marks: Any) -> Any:
    """The first byte whose highest bit is set in `marks`, which has no other bits and at least one."""
    return np.int64(((marks ^ (marks - _ONE)) & _ONES) * _ONES >> _LAST) - 1


@inlined
def plain_end(text: Bytes, offset: int, end: int) -> int:
    """Offset of the first control character, quote, backslash or byte beyond ASCII; `end` or more where none is."""
    while offset < end:
        word = word_at(text, offset)
        # A borrow marks bytes after the first that is rightly marked: only that one is looked for.
        marks = (word | (word - _BLANKS) | ((word ^ _QUOTES) - _ONES) | ((word ^ _BACKSLASHES) - _ONES)) & _HIGH
        if marks:
            return int(offset + _first(marks))
        offset += 8
    return end


@inlined
def digits_end(text: Bytes, offset: int, end: int) -> int:
    """Offset after the decimal digits that begin at `offset`, at most `end`."""
    while offset < end:
        word = word_at(text, offset) ^ _ZEROS
        marks = ((word + _BEYOND_NINE) | word) & _HIGH  # a carry goes to bytes after the first that is marked
        if marks:
            return int(min(offset + _first(marks), end))
        offset += 8
    return end


@inlined
def same_bytes(text: Bytes, one: int, other: int, size: int) -> bool:
    """Whether the `size` bytes (one or more) at two offsets are the same."""
    while size > 8:
        if word_at(text, one) != word_at(text, other):
            return False
        one, other, size = one + 8, other + 8, size - 8
    return bool((word_at(text, one) ^ word_at(text, other)) << np.uint64(64 - 8 * size) == 0)
