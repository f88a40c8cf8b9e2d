"""Requests and answers of the Open Inference Protocol v2, from bytes and to bytes: JSON, and its binary extension.

In the extension a body is a JSON document, whose length a header says, and after it the tensors' bytes, row by row,
little-endian, in the order in which the document names them. Text is BYTES: four bytes of length, then UTF-8.
"""

import reprlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from pipeline.errors import BadData
from schemas.model_manifest import ORIGIN, POOLED

Floats = npt.NDArray[np.float32]
Column = npt.NDArray[Any] | list[str]

ROWS, ORIGIN_INPUT = "rows", "origin"
# Outputs, in their order: the protocol's name of each kind, and what it says.
OUTPUTS = {
    "score": ("FP32", "in [0, 1), how unlike normal"),
    "novelty": ("FP32", "-log10 of the share of the origin's quiet flows at least so unusual"),
    "p_value": ("FP32", "share of the origin's quiet flows with at least this score"),
    "suspect": ("BOOL", "p_value is at or below the origin's alert level"),
    "class": ("BYTES", "the likeliest class by the classifier alone"),
    "known": ("BOOL", "whether the row lies where that class is known"),
    "probability": ("FP32", "calibrated, of the likeliest class"),
    "calibration": ("BYTES", "what measured the row: its origin's own, else its site's, else the pooled one, *"),
}
MAX_ID = 256
PIECE = 16_384
"""Numbers of JSON that become an array at once: 1 ms of a core."""
MISSING = f"JSON has no NaN: send {ROWS} as bytes or in Arrow where a feature is missing"
_BRIEF = reprlib.Repr()  # of what nests as deep as JSON may, Python's own words are an error
_BRIEF.maxstring = 120


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that is asked for."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class Inference:
    """A request for scores.

    Attributes
    ----------
    rows : (n, F) float32
    names : distinct origins
    number : (n,) which of them each row is from
    """

    id: str
    rows: Floats
    names: npt.NDArray[np.str_]
    number: npt.NDArray[np.int64]
    outputs: tuple[Wanted, ...]
    feature_hash: str | None


def request_of(body: bytes, json_bytes: int | None, width: int) -> Inference:
    """A request's body; BadData where it is none.

    json_bytes : of the JSON document in it, where the header says so; None: it is nothing else
    width : columns of a row
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise BadData(
            f"Inference-Header-Content-Length: got {json_bytes}, expected at most the body's {len(body)} bytes"
        )
    head, binary = (body, b"") if json_bytes is None else (body[:json_bytes], body[json_bytes:])
    document = object_of(_json(head), "body")
    tensors = _Tensors(binary)
    for entry in _list(document, "inputs"):
        tensors.read(object_of(entry, "inputs"))
    tensors.expect_end()
    rows = tensors.rows(width)
    names, number = tensors.origins(len(rows))
    given_id, outputs, feature_hash = options_of(document)
    return Inference(given_id, rows, names, number, outputs, feature_hash)


def options_of(document: Mapping[str, Any]) -> tuple[str, tuple[Wanted, ...], str | None]:
    """What a request says beside its inputs: its id, the outputs asked for, and the features' hash."""
    parameters = object_of(document.get("parameters", {}), "parameters")
    given_id = document.get("id", "")
    if not isinstance(given_id, str) or len(given_id) > MAX_ID:
        raise BadData(f"id: got {_shown(given_id)}, expected text of {MAX_ID} characters at most")
    feature_hash = parameters.get("feature_hash")
    if feature_hash is not None and not isinstance(feature_hash, str):
        raise BadData(f"parameters.feature_hash: got {_shown(feature_hash)}, expected text")
    return given_id, _wanted(document, parameters), feature_hash


def answer_of(request: Inference, columns: Mapping[str, Column], model: str, version: str) -> tuple[bytes, int | None]:
    """An answer's body, and the bytes of JSON in it, None where it is nothing else."""
    entries, parts = [], []
    for wanted in request.outputs:
        column = columns[wanted.name]
        kind, _ = OUTPUTS[wanted.name]
        entry: dict[str, Any] = {"name": wanted.name, "datatype": kind, "shape": [len(column)]}
        if wanted.binary:
            part = _bytes_of(column) if isinstance(column, list) else column.tobytes()
            entry["parameters"] = {"binary_data_size": len(part)}
            parts.append(part)
        else:
            entry["data"] = column
        entries.append(entry)
    document = {"model_name": model, "model_version": version, "outputs": entries}
    if request.id:
        document["id"] = request.id
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    binary = any(wanted.binary for wanted in request.outputs)
    return b"".join([head, *parts]), len(head) if binary else None


class _Tensors:
    """The inputs of a request, as they are read."""

    def __init__(self, binary: bytes) -> None:
        self._binary, self._at = binary, 0
        self._shape: dict[str, list[int]] = {}
        self._data: dict[str, Any] = {}

    def read(self, entry: Mapping[str, Any]) -> None:
        """One entry of `inputs`."""
        name, kinds = entry.get("name"), {ROWS: "FP32", ORIGIN_INPUT: "BYTES"}
        if not isinstance(name, str) or name not in kinds:
            raise BadData(f"inputs: got {_shown(name)}, expected {ROWS} and perhaps {ORIGIN_INPUT}")
        if name in self._data:
            raise BadData(f"inputs: got {name} twice, expected it once")
        if entry.get("datatype") != kinds[name]:
            raise BadData(f"{name}.datatype: got {_shown(entry.get('datatype'))}, expected {kinds[name]}")
        shape = entry.get("shape")
        if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
            raise BadData(f"{name}.shape: got {_shown(shape)}, expected a list of sizes")
        parameters = object_of(entry.get("parameters", {}), f"{name}.parameters")
        size = parameters.get("binary_data_size")
        if (size is None) == ("data" not in entry):
            raise BadData(f"{name}: got both or neither of data and parameters.binary_data_size, expected one")
        self._shape[name] = shape
        self._data[name] = entry["data"] if size is None else self._taken(name, size)

    def _taken(self, name: str, size: object) -> bytes:
        rest = len(self._binary) - self._at
        if type(size) is not int or not 0 <= size <= rest:
            raise BadData(
                f"{name}.parameters.binary_data_size: got {_shown(size)}, expected at most the {rest} bytes that follow"
            )
        part = self._binary[self._at : self._at + size]
        self._at += size
        return part

    def expect_end(self) -> None:
        """BadData where bytes are left that no input names."""
        if self._at != len(self._binary):
            raise BadData(f"body: got {len(self._binary) - self._at} bytes more, expected only what inputs name")

    def rows(self, width: int) -> Floats:
        """(n, F)."""
        if ROWS not in self._data:
            raise BadData(f"inputs: got no {ROWS}, expected it, FP32 [n, {width}]")
        shape, data = self._shape[ROWS], self._data[ROWS]
        if len(shape) != 2 or shape[1] != width or shape[0] < 1:
            raise BadData(f"{ROWS}.shape: got {_shown(shape)}, expected [n, {width}], n from 1 on")
        if isinstance(data, bytes):
            if len(data) != 4 * shape[0] * width:
                raise BadData(f"{ROWS}: got {len(data)} bytes, expected {4 * shape[0] * width} for {_shown(shape)}")
            return np.frombuffer(data, "<f4").reshape(shape[0], width).astype(np.float32, copy=False)
        return _numbers(data, shape[0], width)

    def origins(self, count: int) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
        """The distinct origins, and (n,) which of them each row is from; the pooled one where none is given."""
        if ORIGIN_INPUT not in self._data:
            return pooled(count)
        data, shape = self._data[ORIGIN_INPUT], self._shape[ORIGIN_INPUT]
        texts = _texts(data) if isinstance(data, bytes) else data
        if not isinstance(texts, list) or shape not in ([1], [count]) or len(texts) != shape[0]:
            raise BadData(f"{ORIGIN_INPUT}: got shape {_shown(shape)}, expected [1] or [{count}] with as many texts")
        known: dict[str, int] = {}
        number = [known.setdefault(_origin(text), len(known)) for text in texts]
        return np.array(list(known)), np.broadcast_to(np.array(number, np.int64), (count,))


def pooled(count: int) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """The origin of rows that name none, and (n,) that each row is from it."""
    return np.array([POOLED]), np.zeros(count, np.int64)


def distinct_origins(texts: Iterable[object]) -> npt.NDArray[np.str_]:
    """Origins as they are named; BadData where one is none."""
    return np.array([_origin(text) for text in texts])


def _origin(text: object) -> str:
    if not isinstance(text, str) or not (text == POOLED or ORIGIN.fullmatch(text)):
        raise BadData(f"{ORIGIN_INPUT}: got {_shown(text)}, expected SITE/SENSOR, SITE or {POOLED}")
    return text


def _numbers(data: object, count: int, width: int) -> Floats:
    """Numbers of JSON, row by row, in one list or in one a row.

    In pieces: a thread that waits for the interpreter, the server's event loop, gets it between two.
    """
    rows = data if isinstance(data, list) else []
    of_lists = bool(rows) and all(type(row) is list for row in rows)
    step = max(1, PIECE // width) if of_lists else PIECE
    pieces = [rows[at : at + step] for at in range(0, len(rows), step)]
    # Before numpy sees it: among texts it makes room for the longest in every place.
    kinds: set[type] = set()
    for piece in pieces:
        kinds.update(map(type, chain.from_iterable(piece) if of_lists else piece))
    if not kinds or not kinds <= {int, float}:
        named = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
        remedy = f"; {MISSING}" if type(None) in kinds else ""
        raise BadData(f"{ROWS}.data: got {named}, expected {count} rows of {width} numbers{remedy}")
    sizes = set(map(len, rows)) if of_lists else set()
    if len(sizes) > 1:
        raise BadData(f"{ROWS}.data: got rows of several lengths, expected {count} of {width} numbers")
    shape = (len(rows), *sizes)
    if shape not in ((count * width,), (count, width)):
        kind = "int64" if kinds == {int} else "float64"
        raise BadData(f"{ROWS}.data: got {kind} {shape}, expected {count} rows of {width} numbers")
    result = np.empty(shape, np.float32)
    with np.errstate(over="ignore"):
        for number, piece in enumerate(pieces):
            result[number * step : number * step + len(piece)] = np.array(piece, np.float64)
    return result.reshape(count, width)


def _texts(data: bytes) -> list[str]:
    texts, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at) if at + 4 <= len(data) else (len(data),)
        if at + 4 + size > len(data):
            raise BadData(f"{ORIGIN_INPUT}: got its end at byte {len(data)}, expected {size} bytes of text from {at}")
        texts.append(data[at + 4 : at + 4 + size].decode("utf-8", "replace"))
        at += 4 + size
    return texts


def _bytes_of(texts: Iterable[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(part for text in encoded for part in (struct.pack("<I", len(text)), text))


def _wanted(document: Mapping[str, Any], parameters: Mapping[str, Any]) -> tuple[Wanted, ...]:
    """The outputs that are asked for: all of them where none is named."""
    by_default = _flag(parameters, "binary_data_output")
    if not document.get("outputs"):
        return tuple(Wanted(name, by_default) for name in OUTPUTS)
    wanted: dict[str, Wanted] = {}
    for each in _list(document, "outputs"):
        entry = object_of(each, "outputs")
        name = entry.get("name")
        if not isinstance(name, str) or name not in OUTPUTS or name in wanted:
            raise BadData(f"outputs: got {_shown(name)}, expected each of {', '.join(OUTPUTS)} once at most")
        of_output = object_of(entry.get("parameters", {}), f"{name}.parameters")
        wanted[name] = Wanted(name, _flag(of_output, "binary_data") if "binary_data" in of_output else by_default)
    return tuple(wanted.values())


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise BadData(f"parameters.{name}: got {_shown(value)}, expected true or false")
    return value


def _json(head: bytes) -> object:
    try:
        return orjson.loads(head)
    except orjson.JSONDecodeError as error:
        remedy = f"; {MISSING}" if b"NaN" in head else ""
        raise BadData(f"body: got {error}, expected a JSON document{remedy}") from error


def object_of(value: object, where: str) -> Mapping[str, Any]:
    """A JSON object; BadData where it is none."""
    if not isinstance(value, dict):
        raise BadData(f"{where}: got {_shown(value)}, expected an object")
    return value


def _list(document: Mapping[str, Any], name: str) -> Sequence[object]:
    value = document.get(name)
    if not isinstance(value, list):
        raise BadData(f"{name}: got {_shown(value)}, expected a list")
    return value


def _shown(value: object) -> str:
    return "nothing" if value is None else _BRIEF.repr(value)[:120]
