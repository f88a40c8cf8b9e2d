"""Rows of many sensors' files: joined as if each had been sliced out, and filed as if each run had been looked at."""

from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.archive import pieces
from pipeline.archive.pairing import read_rejects, read_scored
from pipeline.archive.pieces import Piece, joined, parted
from pipeline.archive.streams import Limits, OpenFile, Streams, join
from tests.archive.plant import random_log, wire
from tests.contracts.facts import at
from tests.examples import examples

SCHEMA = pa.schema([("number", pa.int64()), ("text", pa.string()), ("pair", pa.list_(pa.float32(), 2))])


def batch(first: int, rows: int) -> pa.RecordBatch:
    numbers = range(first, first + rows)
    values = ([*numbers], [None if n % 3 else "x" * (n % 5) for n in numbers], [[n, -n] for n in numbers])
    return pa.RecordBatch.from_arrays([pa.array(v, f.type) for v, f in zip(values, SCHEMA, strict=True)], schema=SCHEMA)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.booleans(), st.data())
def test_joined_pieces_are_their_slices_one_behind_the_other(
    sizes: list[int], by_number: bool, data: st.DataObject
) -> None:
    batches = [batch(100 * number, size + 2).slice(1, size) for number, size in enumerate(sizes)]
    cuts = []
    for _ in range(data.draw(st.integers(1, 8))):
        of = data.draw(st.sampled_from(batches))
        start = data.draw(st.integers(0, len(of) - 1))
        cuts.append(Piece(of, start, data.draw(st.integers(start + 1, len(of))), None))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces, "ROWS_A_VIEW", 1_000 if by_number else 0)
        rows = joined(cuts, SCHEMA)
    assert rows.to_pylist() == [row for piece in cuts for row in piece.rows.to_pylist()]
    assert rows.schema.equals(SCHEMA)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans())
@settings(deadline=None)
def test_the_pieces_of_a_file_are_joined_in_raw_order(seed: int, pieces_of: list[int], by_number: bool) -> None:
    random, rows_of = Random(seed), list[list[dict[str, int]]]()
    cuts, file_of = list[Piece](), list[int]()
    for file, pieces_here in enumerate(pieces_of):
        rows = [{"raw_offset": n // 2, "raw_index": n % 2, "file": file} for n in range(3 * pieces_here)]
        random.shuffle(rows)
        of = pa.RecordBatch.from_pylist(rows)
        cuts += [Piece(of, 3 * number, 3 * number + 3, None) for number in range(pieces_here)]
        file_of += [file] * pieces_here
        rows_of.append(sorted(rows, key=position))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces, "ROWS_A_VIEW", 1_000 if by_number else 0)
        assert joined(cuts, cuts[0].batch.schema, file_of).to_pylist() == [row for rows in rows_of for row in rows]


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(1, 12))
def test_parts_are_in_order_and_bounded(sizes: list[int], most: int) -> None:
    parts = list(parted(sizes, int, most))
    assert [size for part in parts for size in part] == sizes
    assert all(part and (sum(part) <= most or len(part) == 1) for part in parts)


def position(row: dict[str, Any]) -> tuple[int, int]:
    return row["raw_offset"], row["raw_index"]


def state_of(files: list[OpenFile]) -> list[tuple[object, ...]]:
    return [
        (
            *(file.key, file.hour, file.rows, file.bytes),
            sorted((row for piece in file.pieces for row in piece.rows.to_pylist()), key=position),
            file.schema,
        )
        for file in files
    ]


@given(st.integers(0, 2**32), st.lists(st.integers(0, 40), max_size=6), st.sampled_from([3, 12, 1_000]))
@settings(max_examples=examples(20), deadline=None)
def test_a_run_that_is_taken_whole_is_filed_as_one_that_is_looked_at(seed: int, cuts: list[int], rows: int) -> None:
    """Also with rows of rejects between, and of files that close in the middle of a run."""
    topics = wire(random_log(Random(seed), 40, [("plant", name) for name in "abcd"]), cuts)
    batches = [read_scored(payload, at("archive"), None).rows for payload in topics.archive]
    rejects = [read_rejects(payload, at("rejects")) for payload in topics.rejects]
    quick, full = Streams(Limits(rows, 2_000)), Streams(Limits(rows, 2_000))
    full._takes_whole = lambda *_of_run: False  # type: ignore[method-assign]
    for number in range(max(len(batches), len(rejects))):
        for of in (batches, rejects):
            for taken in of[number : number + 1]:
                closed, expected = quick.add(taken), full.add(taken)
                join(closed)
                assert state_of(closed) == state_of(expected)
    join(quick.open.values())
    assert state_of([*quick.open.values()]) == state_of([*full.open.values()])
