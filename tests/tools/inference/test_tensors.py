"""Bodies of the Open Inference Protocol: what its documents and its binary extension say, and what is none."""

import math
import struct
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData
from pipeline.tools.inference.tensors import OUTPUTS, Column, Inference, answer_of, request_of

WIDTH = 3
ROWS = {"name": "rows", "datatype": "FP32", "shape": [2, WIDTH], "data": [1, 2.5, 3, 4, 5, 6]}


def read(document: object, binary: bytes | None = None) -> Inference:
    head = orjson.dumps(document)
    return request_of(head + (binary or b""), None if binary is None else len(head), WIDTH)


def bytes_of(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def test_a_document() -> None:
    origin = {"name": "origin", "datatype": "BYTES", "shape": [2], "data": ["plant/a", "plant/b"]}
    got = read({"id": "7", "inputs": [origin, ROWS], "outputs": [{"name": "score"}]})
    assert got.id == "7" and got.rows.tolist() == [[1, 2.5, 3], [4, 5, 6]] and got.rows.dtype == np.float32
    assert got.names[got.number].tolist() == ["plant/a", "plant/b"]
    assert [(wanted.name, wanted.binary) for wanted in got.outputs] == [("score", False)]
    nested = read({"inputs": [{**ROWS, "data": [[1, 2.5, 3], [4, 5, 6]]}]})
    assert nested.rows.tolist() == got.rows.tolist() and nested.names[nested.number].tolist() == ["*", "*"]
    assert [wanted.name for wanted in nested.outputs] == list(OUTPUTS)


def test_the_binary_extension_as_its_page_has_it() -> None:
    """The inputs' bytes follow the document in its order; each output says how it wants to be answered."""
    rows = np.arange(6, dtype="<f4").reshape(2, WIDTH)
    names = bytes_of(b"plant/a")
    document = {
        "inputs": [
            {"name": "origin", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(names)}},
            {"name": "rows", "datatype": "FP32", "shape": [2, WIDTH], "parameters": {"binary_data_size": 24}},
        ],
        "outputs": [{"name": "class", "parameters": {"binary_data": True}}, {"name": "suspect"}],
        "parameters": {"binary_data_output": False},
    }
    got = read(document, names + rows.tobytes())
    assert np.array_equal(got.rows, rows) and got.names[got.number].tolist() == ["plant/a"] * 2
    columns: dict[str, Column] = {"class": ["mitm", "Übel"], "suspect": np.array([True, False])}
    body, json_bytes = answer_of(got, columns, "igan", "1")
    assert json_bytes is not None and body[json_bytes:] == bytes_of(b"mitm", "Übel".encode())
    says = orjson.loads(body[:json_bytes])
    assert says["outputs"] == [
        {"name": "class", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 17}},
        {"name": "suspect", "datatype": "BOOL", "shape": [2], "data": [True, False]},
    ]


def test_all_outputs_as_bytes() -> None:
    got = read({"inputs": [ROWS], "parameters": {"binary_data_output": True}})
    columns: dict[str, Column] = {
        name: ["a", "b"] if kind == "BYTES" else np.zeros(2, {"FP32": np.float32, "BOOL": np.bool_}[kind])
        for name, (kind, _) in OUTPUTS.items()
    }
    body, json_bytes = answer_of(got, columns, "igan", "1")
    sizes = [each["parameters"]["binary_data_size"] for each in orjson.loads(body[:json_bytes])["outputs"]]
    assert sizes == [8, 8, 8, 2, 10, 2, 8, 10] and len(body) == (json_bytes or 0) + sum(sizes)


@given(st.lists(st.lists(st.floats(width=32), min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=9))
def test_bytes_are_rows_bit_by_bit(values: list[list[float]]) -> None:
    rows = np.array(values, np.float32)
    entry = {"name": "rows", "datatype": "FP32", "shape": list(rows.shape)}
    got = read({"inputs": [{**entry, "parameters": {"binary_data_size": rows.nbytes}}]}, rows.tobytes())
    assert got.rows.tobytes() == rows.tobytes()
    if all(math.isfinite(value) for row in values for value in row):
        assert np.array_equal(read({"inputs": [{**entry, "data": values}]}).rows, rows)


def changed(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{**ROWS, **changes}]}


ORIGIN = {"name": "origin", "datatype": "BYTES", "shape": [1], "data": ["plant/a"]}
BAD: dict[str, object] = {
    "no object": [1],
    "no inputs": {},
    "no rows": {"inputs": [ORIGIN]},
    "rows twice": {"inputs": [ROWS, ROWS]},
    "another name": changed(name="flows"),
    "a name of another type": changed(name=["rows"]),
    "another type": changed(datatype="FP64"),
    "no shape": changed(shape=None),
    "true as a size": changed(shape=[True, WIDTH]),
    "another width": changed(shape=[1, WIDTH + 1]),
    "no row": changed(shape=[0, WIDTH], data=[]),
    "a huge shape": changed(shape=[2**31 - 1, WIDTH]),
    "a shape that is too large": changed(shape=[2**40, WIDTH]),
    "too few numbers": changed(data=[1, 2, 3]),
    "rows of several lengths": changed(data=[[1, 2, 3], [4, 5]]),
    "text as numbers": changed(data=["1", "2", "3", "4", "5", "6"]),
    "truth as numbers": changed(data=[True] * 6),
    "nothing as a number": changed(data=[None] * 6),
    "objects as numbers": changed(data=[{}] * 6),
    "an object as data": changed(data={"a": 1}),
    "bytes that are not there": changed(data=None, parameters={"binary_data_size": 24}),
    "both": changed(parameters={"binary_data_size": 0}),
    "parameters that are none": changed(parameters=[]),
    "an origin with markup": {"inputs": [ROWS, {**ORIGIN, "data": ["<b>/a"]}]},
    "an origin with a bidi character": {"inputs": [ROWS, {**ORIGIN, "data": ["a\u202eb"]}]},
    "an origin that is no text": {"inputs": [ROWS, {**ORIGIN, "data": [7]}]},
    "three origins for two rows": {"inputs": [ROWS, {**ORIGIN, "shape": [3], "data": ["a", "b", "c"]}]},
    "an id that is no text": {"id": 7, "inputs": [ROWS]},
    "a long id": {"id": "x" * 300, "inputs": [ROWS]},
    "an output that is none": {"inputs": [ROWS], "outputs": [{"name": "verdict"}]},
    "an output twice": {"inputs": [ROWS], "outputs": [{"name": "score"}, {"name": "score"}]},
    "outputs that are no list": {"inputs": [ROWS], "outputs": {"name": "score"}},
    "a flag that is none": {"inputs": [ROWS], "parameters": {"binary_data_output": 1}},
    "a hash that is none": {"inputs": [ROWS], "parameters": {"feature_hash": 1}},
}


@pytest.mark.parametrize("document", BAD.values(), ids=BAD)
def test_what_is_no_request(document: object) -> None:
    with pytest.raises(BadData, match=r"got .*expected"):
        read(document)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "1" * 400, "[" * 2_000])
def test_numbers_that_json_does_not_have(number: str) -> None:
    body = orjson.dumps(changed(shape=[1, WIDTH], data=[1, 2, 777])).decode().replace("777", number)
    with pytest.raises(BadData, match=r"got .*expected"):
        request_of(body.encode(), None, WIDTH)


def test_texts_of_several_lengths_take_no_more_memory_than_they_have() -> None:
    """numpy would make room for the longest in every place: here 20 GB."""
    texts = ["x" * 250_000, *([""] * 20_000)]
    for data in (texts, [texts, texts], [1.5, *texts]):
        tracemalloc.start()
        with pytest.raises(BadData, match=r"rows\.data: got .*str, expected 2 rows"):
            read({"inputs": [{**ROWS, "data": data}]})
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
        tracemalloc.stop()


@pytest.mark.parametrize("data", [[True, 2.0, 3, 4, 5, 6], [None] * 6, [[1, 2, 3], 4, 5, 6], [[[1]] * 3] * 2, [], "x"])
def test_what_is_no_number_is_none(data: object) -> None:
    with pytest.raises(BadData, match=r"rows\.data: got "):
        read({"inputs": [{**ROWS, "data": data}]})


@pytest.mark.parametrize("where", ['{"inputs":%s}', '{"inputs":[%s]}', '{"inputs":[],"id":%s}'])
def test_what_nests_deep_is_refused_in_words(where: str) -> None:
    deep = "[" * 1_000 + "]" * 1_000
    with pytest.raises(BadData, match="expected"):
        request_of((where % deep).encode(), None, WIDTH)


def test_numbers_too_large_for_single_precision_are_infinite() -> None:
    got = read(changed(data=[1e300, -1e300, 1e-300, 2**63, 0, -0.0]))
    assert got.rows.tolist()[0] == [float("inf"), float("-inf"), 0.0]


@pytest.mark.parametrize(
    "binary", [bytes(23), bytes(25), b"", bytes_of(b"plant/a")], ids=["short", "long", "none", "other"]
)
def test_bytes_that_do_not_fit_the_document(binary: bytes) -> None:
    entry = {"name": "rows", "datatype": "FP32", "shape": [2, WIDTH], "parameters": {"binary_data_size": 24}}
    with pytest.raises(BadData, match="expected"):
        read({"inputs": [entry]}, binary)


@pytest.mark.parametrize("size", [-1, 1.5, "24", True, 2**40])
def test_a_size_that_is_none(size: object) -> None:
    entry = {"name": "rows", "datatype": "FP32", "shape": [2, WIDTH], "parameters": {"binary_data_size": size}}
    with pytest.raises(BadData, match=r"rows\.parameters\.binary_data_size: got"):
        read({"inputs": [entry]}, bytes(24))


@given(st.binary(max_size=60))
def test_any_bytes_as_text_are_refused_or_read(noise: bytes) -> None:
    entry = {"name": "origin", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(noise)}}
    try:
        got = read({"inputs": [ROWS, entry]}, noise)
    except BadData as error:
        assert len(str(error)) < 400
    else:
        assert len(got.number) == 2


@given(st.binary(max_size=200), st.none() | st.integers(-5, 300))
def test_any_body_is_refused_in_words(body: bytes, json_bytes: int | None) -> None:
    with pytest.raises(BadData):
        request_of(body, json_bytes, WIDTH)
