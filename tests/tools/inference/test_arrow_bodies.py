"""Bodies that are Arrow streams: what they say, and what is none, whatever it claims of itself."""

import json
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData
from pipeline.runtime.wire.batches import matrix_column
from pipeline.tools.inference.arrow_bodies import MAX_METADATA_BYTES, request_of_stream, stream_of
from pipeline.tools.inference.tensors import OUTPUTS, Column
from tests.tools.inference.arrow import batch_of, schema_of_shared_parts, stream

WIDTH = 3
ROWS = np.array([[1, 2.5, 3], [4, 5, 6]], np.float32)
PLAIN = batch_of(ROWS, ["plant/a", "plant/b"])


def column(name: str, values: Any, rows: np.ndarray = ROWS) -> pa.RecordBatch:
    """The rows, with another column beside or instead of them."""
    return pa.record_batch({"rows": matrix_column(rows), name: values})


def test_rows_and_origins() -> None:
    got = request_of_stream(stream(PLAIN), WIDTH)
    assert got.rows.tobytes() == ROWS.tobytes() and got.rows.dtype == np.float32
    assert got.names[got.number].tolist() == ["plant/a", "plant/b"]
    assert [wanted.name for wanted in got.outputs] == list(OUTPUTS) and (got.id, got.feature_hash) == ("", None)
    alone = request_of_stream(stream(batch_of(ROWS)), WIDTH)
    assert alone.names[alone.number].tolist() == ["*", "*"]
    large = request_of_stream(stream(column("origin", pa.array(["a", "a"], pa.large_string()))), WIDTH)
    assert large.names[large.number].tolist() == ["a", "a"]


def test_what_stands_beside_the_columns() -> None:
    says = {"id": "7", "outputs": [{"name": "class"}], "parameters": {"feature_hash": "ab"}}
    got = request_of_stream(stream(PLAIN, says), WIDTH)
    assert (got.id, got.feature_hash, [wanted.name for wanted in got.outputs]) == ("7", "ab", ["class"])


def test_a_data_frames_notes_in_the_metadata_are_let_be() -> None:
    noted = PLAIN.replace_schema_metadata({"pandas": json.dumps({"index_columns": [], "columns": ["x" * 4_000]})})
    assert len(request_of_stream(stream(noted), WIDTH).rows) == 2


def test_an_answer_has_a_column_an_output() -> None:
    got = request_of_stream(stream(PLAIN, {"id": "7", "outputs": [{"name": "class"}, {"name": "suspect"}]}), WIDTH)
    columns: dict[str, Column] = {"class": ["mitm", "Übel"], "suspect": np.array([True, False])}
    with pa.ipc.open_stream(stream_of(got, columns, "igan", "1")) as reader:
        answer = reader.read_all()
    assert answer.to_pydict() == {"class": ["mitm", "Übel"], "suspect": [True, False]}
    says = json.loads(answer.schema.metadata[b"forebay"])
    assert says == {"id": "7", "model_name": "igan", "model_version": "1"}


@given(st.lists(st.lists(st.floats(width=32), min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=9))
def test_rows_arrive_bit_by_bit_whatever_they_are(values: list[list[float]]) -> None:
    """NaN and infinities too, and from an odd address."""
    rows = np.array(values, np.float32)
    body = stream(batch_of(rows))
    assert request_of_stream(body, WIDTH).rows.tobytes() == rows.tobytes()
    odd: Any = memoryview(b"x" + body)[1:]
    got = request_of_stream(odd, WIDTH).rows
    assert got.tobytes() == rows.tobytes() and got.flags.aligned and got.flags.c_contiguous


def fixed(values: pa.Array, width: int = WIDTH) -> pa.RecordBatch:
    return pa.record_batch({"rows": pa.FixedSizeListArray.from_arrays(values, width)})


FLAT = pa.array(ROWS.ravel())
BAD: dict[str, tuple[Any, str]] = {
    "no rows": (pa.record_batch({"origin": ["a"]}), "columns: got origin, expected rows"),
    "no columns": (pa.record_batch({}), "columns: got none"),
    "another column": (column("site", ["a", "b"]), "columns: got rows, site"),
    "rows twice": (
        pa.RecordBatch.from_arrays([matrix_column(ROWS)] * 2, ["rows", "rows"]),
        "each once",
    ),
    "another width": (batch_of(np.zeros((2, 4), np.float32)), r"rows: got a column of .*\[4\], expected .*\[3\]"),
    "doubles": (fixed(FLAT.cast(pa.float64())), "rows: got a column of .*double"),
    "lists of any length": (pa.record_batch({"rows": [[1.0, 2.0, 3.0]]}), "rows: got a column of list"),
    "a column a feature": (pa.record_batch({"rows": FLAT}), "rows: got a column of float"),
    "a tensor of an extension": (
        pa.record_batch({"rows": pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS)}),
        "rows: got a column of extension",
    ),
    "a null": (fixed(pa.array([1, None, 3], pa.float32())), "rows: got nulls, expected numbers; NaN"),
    "a null row": (
        pa.record_batch({"rows": pa.array([[1, 2, 3], None], pa.list_(pa.float32(), WIDTH))}),
        "rows: got nulls",
    ),
    "no row": (batch_of(np.zeros((0, WIDTH), np.float32)), "rows: got no row, expected one at least"),
    "an origin that is null": (column("origin", ["a", None]), "origin: got nulls"),
    "an origin of a dictionary": (
        column("origin", pa.array(["a", "b"]).dictionary_encode()),
        "origin: got a column of dictionary.*; cast it",
    ),
    "an origin in views": (
        column("origin", pa.array(["a", "b"], pa.string_view())),
        "origin: got a column of string_v",
    ),
    "an origin of bytes": (column("origin", pa.array([b"a", b"b"])), "origin: got a column of binary"),
    "an origin with markup": (column("origin", ["a", "<b>/a"]), "origin: got '<b>/a'"),
    "a long origin": (column("origin", ["x" * 1_000_000, "a"]), "origin: got 'xxx"),
}


@pytest.mark.parametrize(("batch", "says"), BAD.values(), ids=BAD)
def test_columns_that_are_no_rows(batch: pa.RecordBatch, says: str) -> None:
    with pytest.raises(BadData, match=says) as caught:
        request_of_stream(stream(batch), WIDTH)
    assert "expected" in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "says",
    [[1], {"id": 7}, {"outputs": [{"name": "verdict"}]}, {"outputs": {}, "id": "x" * 300}, {"parameters": []}],
)
def test_a_document_beside_the_columns_that_is_none(says: Any) -> None:
    with pytest.raises(BadData, match="expected"):
        request_of_stream(stream(PLAIN, says), WIDTH)
    with pytest.raises(BadData, match="metadata forebay: got"):
        request_of_stream(stream(PLAIN.replace_schema_metadata({"forebay": "{"})), WIDTH)


def test_what_is_no_stream_of_one_batch() -> None:
    plain = stream(PLAIN)
    schema_alone = PLAIN.schema.serialize().to_pybytes()
    file = pa.BufferOutputStream()
    with pa.ipc.new_file(file, PLAIN.schema) as writer:
        writer.write_batch(PLAIN)
    batch_alone = PLAIN.serialize().to_pybytes()
    for body, says in (
        (b"", "got no schema"),
        (b"\0", "in 1 bytes"),
        (b'{"inputs": []}', "got 7b22696e at byte 0"),
        (file.getvalue().to_pybytes(), "got 4152524f at byte 0"),
        (schema_alone, "got a schema and no record batch"),
        (schema_alone * 2, "got a schema, expected"),
        (batch_alone, "got a record batch as its first message"),
        (stream(PLAIN, batches=2), "got a second message after the record batch"),
        (plain + plain, "bytes after its end"),
        (plain + b"\0", "got 1 bytes after its end"),
        (stream(PLAIN, use_legacy_format=True), "at byte 0"),
        (stream(PLAIN, metadata_version=pa.ipc.MetadataVersion.V4), "metadata of an earlier version than 5"),
    ):
        with pytest.raises(BadData, match=says) as caught:
            request_of_stream(body, WIDTH)
        assert "expected an Arrow IPC stream: a schema, one record batch, and its end" in str(caught.value)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_batch_is_refused_before_it_is_unpacked(codec: str) -> None:
    """A quarter of a gigabyte in some kilobytes."""
    zeros = np.zeros((2**26 // WIDTH, WIDTH), np.float32)
    body = stream(batch_of(zeros), compression=codec)
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        with pytest.raises(BadData, match=r"got a compressed record batch, .* write it without compression"):
            request_of_stream(body, WIDTH)
    finally:
        pa.set_memory_pool(before)
    assert len(body) < 2**21 and (pool.max_memory() or 0) < 2**20


def test_a_large_description_is_not_read() -> None:
    """Its tables may be shared, so that they describe more than would fit the memory: its size alone decides."""
    wide = pa.record_batch({f"{number}" * 40: [1.0] for number in range(300)})
    with pytest.raises(BadData, match="bytes that describe a schema or batch at byte 0, expected 16,384 at most"):
        request_of_stream(stream(wide), WIDTH)


def test_what_a_schema_describes_is_counted_before_it_is_made() -> None:
    """A long name that 40,000 parts of columns share: 14 KB would become half a gigabyte."""
    few = schema_of_shared_parts(2, 3, 4)
    part = pa.field("xxxx", pa.bool_(), nullable=False)
    assert pa.ipc.read_schema(pa.py_buffer(few)).types == [pa.struct([part] * 3)] * 2
    with pytest.raises(BadData, match="columns: got , , expected rows"):
        request_of_stream(few, WIDTH)
    many = schema_of_shared_parts(200, 200, 12_000)
    assert len(many) < MAX_METADATA_BYTES
    for body in (many, schema_of_shared_parts(65, 0, 4), schema_of_shared_parts(8, 8, 4)):
        with pytest.raises(BadData, match="more than 64 columns, parts of columns and notes, expected the columns"):
            request_of_stream(body, WIDTH)
    noted = PLAIN.replace_schema_metadata({f"{number}": "" for number in range(63)})
    with pytest.raises(BadData, match="more than 64"):
        request_of_stream(stream(noted), WIDTH)


@pytest.mark.parametrize("size", [-1, -(2**31), 1, 8, MAX_METADATA_BYTES, 2**31 - 1])
@pytest.mark.parametrize("of_batch", [False, True])
def test_a_size_that_is_another(size: int, of_batch: bool) -> None:
    body = bytearray(stream(PLAIN))
    at = len(PLAIN.schema.serialize()) if of_batch else 0
    struct.pack_into("<i", body, at + 4, size)
    with pytest.raises(BadData, match="expected"):
        request_of_stream(bytes(body), WIDTH)


def test_a_stream_that_is_cut_off_is_refused_wherever() -> None:
    body = stream(PLAIN)
    whole = request_of_stream(body, WIDTH)
    for size in range(len(body)):
        try:
            got = request_of_stream(body[:size], WIDTH)
        except BadData:
            continue
        assert size == len(body) - 8  # the end's mark may be left out
        assert np.array_equal(got.rows, whole.rows) and got.names.tolist() == whole.names.tolist()


@given(st.data())
def test_changed_bytes_are_refused_or_read_as_rows(data: st.DataObject) -> None:
    body = bytearray(stream(PLAIN, {"id": "7"}))
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=4)):
        body[at] = data.draw(st.integers(0, 255))
    try:
        got = request_of_stream(bytes(body), WIDTH)
    except BadData as error:
        assert len(str(error)) < 500
    else:
        assert got.rows.shape[1] == WIDTH and 1 <= len(got.rows) <= len(body) and len(got.number) == len(got.rows)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(noise: bytes) -> None:
    for body in (noise, struct.pack("<Ii", 0xFFFF_FFFF, len(noise)) + noise):
        with pytest.raises(BadData, match="expected"):
            request_of_stream(body, WIDTH)
