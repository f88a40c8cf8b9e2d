"""Texts read eight bytes at a time: the plain loops say the same, at every offset and before every end."""

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.scan.lines import cut_lines, record_ids
from pipeline.ingest.scan.words import digits_end, plain_end, same_bytes
from pipeline.runtime.hashing import GOLDEN, mix64
from tests.examples import examples

WORD = (1 << 64) - 1
BYTES = st.one_of(st.integers(0, 255), st.sampled_from([0, 31, 32, 33, 34, 35, 47, 48, 57, 58, 91, 92, 93, 127, 128]))
TEXTS = st.lists(BYTES, max_size=20).map(bytes) | st.lists(st.integers(48, 58), max_size=40).map(bytes)


def first_at(text: bytes, offset: int, ends: Callable[[int], bool]) -> int:
    return next((at for at in range(offset, len(text)) if ends(text[at])), len(text))


@given(TEXTS)
@settings(max_examples=examples(200), deadline=None)
def test_ends(text: bytes) -> None:
    array = np.frombuffer(text, np.uint8)
    for offset in range(len(text)):
        plain = first_at(text, offset, lambda byte: byte < 32 or byte >= 128 or byte in b'"\\')
        digits = first_at(text, offset, lambda byte: not 48 <= byte <= 57)
        for end in range(offset, len(text) + 1):
            assert min(plain_end(array, offset, end), end) == min(plain, end)
            assert digits_end(array, offset, end) == min(digits, end)


@given(st.lists(st.integers(0, 1), min_size=2, max_size=60).map(bytes), st.data())
@settings(max_examples=examples(200), deadline=None)
def test_same_bytes(text: bytes, data: st.DataObject) -> None:
    one = data.draw(st.integers(0, len(text) - 2))
    other = data.draw(st.integers(one + 1, len(text) - 1))
    size = data.draw(st.integers(1, len(text) - other))
    array = np.frombuffer(text, np.uint8)
    assert same_bytes(array, one, other, size) == (text[one : one + size] == text[other : other + size])
    assert same_bytes(array, one, one, size)


def plain_id(record: bytes) -> int:
    mixed = len(record) * int(GOLDEN) & WORD ^ 0xCBF29CE484222325
    for first in range(0, len(record), 8):
        mixed = (mixed ^ int.from_bytes(record[first : first + 8], "little")) * 0x9FB21C651E98DF25 & WORD
        mixed ^= mixed >> 32
    return int(mix64(np.array([mixed], np.uint64))[0])


@given(st.lists(st.text("ab0{}", min_size=1, max_size=40).map(str.encode), min_size=1, max_size=7))
@settings(max_examples=examples(200), deadline=None)
def test_record_ids(records: list[bytes]) -> None:
    assert record_ids(cut_lines(records)).tolist() == [plain_id(record) for record in records]
