"""How many bytes of strings and lists rows hold, against a plain loop: a file closes by it."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive.streams import bytes_between, varying_columns, varying_of

ROWS = st.lists(
    st.tuples(st.text(max_size=5) | st.none(), st.binary(max_size=5), st.lists(st.integers(0, 9), max_size=3)),
    max_size=8,
)


@given(ROWS, st.integers(0, 8))
def test_bytes_of_varying_length_are_counted(rows: list[tuple[str | None, bytes, list[int]]], skipped: int) -> None:
    types = {"text": pa.string(), "payload": pa.binary(), "units": pa.list_(pa.uint32()), "fixed": pa.int64()}
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
    columns.append([7] * len(rows))
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types.values(), strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(types)).slice(skipped)
    sizes = [len((text or "").encode()) + len(payload) + 4 * len(units) for text, payload, units in rows[skipped:]]
    varying = varying_of(batch, varying_columns(batch.schema))
    for start in range(len(sizes) + 1):
        for stop in range(start, len(sizes) + 1):
            assert bytes_between(varying, start, stop) == sum(sizes[start:stop])
