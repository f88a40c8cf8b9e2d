"""Records cut into cells: a key is foreseen from the records before, which must decide nothing."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.ingest.reasons import DUPLICATE_KEY, NOT_JSON, NOT_UTF8
from pipeline.ingest.scan.cells import ARRAY, ESCAPED, FALSE, NULL, NUMBER, OBJECT, STRING, TRUE
from pipeline.ingest.scan.json import key_table, scan_json
from pipeline.ingest.scan.lines import cut_lines
from tests.examples import examples

# Some begin alike, some are the same inside another object, some are as long as one, two or three words.
KEYS = ("a", "ab", "b", "é", 'q"', "id.orig_h", "id.orig_p", "seven_7", "eight__8", "a_key_of_sixteen", "x" * 23)
PATHS = [("a",), ("ab",), ("b",), ("b", "a"), ("b", "b"), ("a", "[0]"), ("a", "[0]", "b"), ("id.orig_h",)]
PATHS += [(key,) for key in KEYS[6:]] + [("b", key) for key in KEYS[5:]]
TABLE = key_table({path: column for column, path in enumerate(PATHS)})
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.text('ab\\"\n/é\x7f', max_size=30),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=len(KEYS))
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")])
# Few shapes that come again and again, so that keys are foreseen, rightly and wrongly.
SHAPES = st.lists(OBJECTS, min_size=1, max_size=3).flatmap(lambda some: st.lists(st.sampled_from(some), max_size=9))


def cells_of(lines: Sequence[bytes]) -> list[tuple[int, list[tuple[int, bytes]]]]:
    """Of each record its problem, and of each wanted path its kind and text."""
    cells = scan_json(cut_lines([b"\n".join(lines)]), TABLE, len(PATHS))
    return [
        (
            int(cells.problem[row]),
            [(int(cells.kinds[column, row]), cells.bytes_of(column, row)) for column in range(len(PATHS))],
        )
        for row in range(cells.rows)
    ]


def at(document: Any, path: Sequence[str]) -> Any:
    """The value at a path, `...` where there is none."""
    for name in path:
        if name == "[0]":
            document = document[0] if isinstance(document, list) and document else ...
        else:
            document = document.get(name, ...) if isinstance(document, dict) else ...
    return document


def cell(value: Any, separators: tuple[str, str], ascii_only: bool) -> tuple[int, bytes]:
    """The plain oracle of one cell."""
    if value is ...:
        return 0, b""
    if value is None or isinstance(value, bool):
        return {None: NULL, True: TRUE, False: FALSE}[value], b""
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()
    if isinstance(value, str):
        return (ESCAPED if b"\\" in text else STRING), text[1:-1]
    return (OBJECT if isinstance(value, dict) else ARRAY if isinstance(value, list) else NUMBER), text


@given(SHAPES, SEPARATORS, st.booleans())
@example([{"a": 1, "b": {"a": 2}}, {"b": {"a": 2}, "a": 1}, {"a": 1}, {"a": 1, "b": {"b": {}}}], (",", ":"), True)
@settings(max_examples=examples(100), deadline=None)
def test_cells_are_what_a_plain_reader_finds(
    records: list[dict[str, Any]], separators: tuple[str, str], ascii_only: bool
) -> None:
    lines = [json.dumps(record, separators=separators, ensure_ascii=ascii_only).encode() for record in records]
    for record, (problem, cells) in zip(records, cells_of(lines), strict=True):
        assert problem == 0
        assert cells == [cell(at(record, path), separators, ascii_only) for path in PATHS]


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """Records of few shapes; in some a few bytes are others, too many or lacking."""
    lines = [json.dumps(record, ensure_ascii=False).encode() for record in draw(SHAPES)]
    for index in range(len(lines)):
        for _ in range(draw(st.integers(0, 2))):
            line = lines[index]
            first = draw(st.integers(0, len(line)))
            put = draw(st.sampled_from([b"", b'"', b"\\", b"{", b"}", b",", b":", b" ", b"0", b"\x1f", b"\xc3"]))
            lines[index] = line[:first] + put + line[first + draw(st.integers(0, 2)) :]
    return [line for line in lines if line.strip(b" \t\r")]


@given(damaged())
@settings(max_examples=examples(75), deadline=None)
def test_each_record_is_judged_by_itself(lines: list[bytes]) -> None:
    together = cells_of(lines)
    assert together == [cells_of([line])[0] for line in lines]
    for line, (problem, _) in zip(lines, together, strict=True):
        assert (problem in (NOT_JSON, NOT_UTF8)) == (not well_formed(line)), line


def well_formed(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode()), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("again", [b'{"b":1,"a":2,"a":3}', b'{"a":2,"a":2}', b'{"b":{"a":1,"a":1}}'])
def test_a_key_that_comes_twice_is_found_where_it_was_foreseen(again: bytes) -> None:
    problems = [problem for problem, _ in cells_of([again, b'{"b":1,"a":2}', again, again])]
    assert problems == [DUPLICATE_KEY, 0, DUPLICATE_KEY, DUPLICATE_KEY]


def test_keys_beyond_what_is_remembered_are_read_too() -> None:
    record = {**{f"key {number}": number for number in range(1000)}, "a": 1}
    line = json.dumps(record).encode()
    assert [cells[0] for _, cells in cells_of([line, line])] == [(NUMBER, b"1")] * 2
