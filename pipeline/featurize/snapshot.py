"""A sensor's state as bytes and back: the same state gives the same bytes, and nothing but such bytes is accepted.

Layout: magic, 8 bytes of header length (little-endian), header (JSON with sorted keys: feature set, numbers, and
name, type and shape of each array), the arrays' bytes in the header's order, SHA-256 of everything before. Tables are
written in order of use, rings oldest first, and what follows from something else (hash indexes, counts of the 2 s
window) not at all: so the bytes do not depend on how the state came to be.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import RefusedState
from pipeline.featurize import kdd
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.kdd import FILLED, HEAD, LENGTH, NEXT, OVERFLOWED, CountWindow, TimeWindow
from pipeline.featurize.profiles import Profiles
from pipeline.featurize.sensor import BOUNDS, SensorState, advance
from pipeline.featurize.tables import EVICTED, KEY, Table, in_order_of_use, with_keys
from pipeline.featurize.windows import TABLES, Bounds, Windows, new_windows, refilled
from schemas.fields import arrow_schema

MAGIC = b"FOREBAY-SENSOR-1\n"
RING_ARRAYS = ("service", "src_port", "flags")
_DIGEST_BYTES = hashlib.sha256().digest_size
_TYPES = ("<i8", "<u8", "<f8", "<i4", "|u1")

Array = npt.NDArray[Any]
Numbers = dict[str, int]
Arrays = dict[str, Array]


def snapshot(state: SensorState) -> bytes:
    """The state as bytes; the state stays usable."""
    numbers, arrays = _windows_out(state.windows)
    numbers |= {"latest_us": state.latest_us, "hurried": state.hurried}
    arrays["waiting"] = _batch_out(state.waiting)
    contiguous = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    header = {
        "feature_set": FEATURE_SET.name,
        "feature_hash": FEATURE_SET.hash,
        "numbers": numbers,
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in contiguous.items()],
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    body = b"".join((MAGIC, len(text).to_bytes(8, "little"), text, *(array.tobytes() for array in contiguous.values())))
    return body + hashlib.sha256(body).digest()


def restore(saved: bytes, bounds: Bounds = BOUNDS) -> SensorState:
    """The state in `saved`.

    Raises RefusedState where the bytes are not a whole snapshot, or are one of another feature set.
    """
    header, payload = _opened(saved)
    got = (header["feature_set"], header["feature_hash"])
    if got != (FEATURE_SET.name, FEATURE_SET.hash):
        raise RefusedState(
            f"sensor state: got feature set {got[0]} {got[1]}, expected {FEATURE_SET.name} {FEATURE_SET.hash}; "
            "run the version that wrote it, or start these sensors with empty state"
        )
    try:
        arrays: Arrays = {}
        start = 0
        for name, type_name, shape in header["arrays"]:
            if type_name not in _TYPES:
                raise ValueError(f"array {name} of type {type_name}")
            size = math.prod(shape) * np.dtype(type_name).itemsize
            arrays[name] = np.frombuffer(payload[start : start + size], type_name).reshape(shape).copy()
            start += size
        if start != len(payload):
            raise ValueError(f"{len(payload) - start} bytes too many")
        numbers: Numbers = header["numbers"]
        windows = _windows_in(numbers, arrays, bounds)
        return SensorState(_batch_in(arrays["waiting"]), numbers["latest_us"], windows, numbers["hurried"])
    except (KeyError, ValueError, TypeError, pa.ArrowException, OSError) as error:
        raise _refused(saved, repr(error)) from error


def _refused(saved: bytes, got: str) -> RefusedState:
    return RefusedState(
        f"sensor state of {len(saved)} bytes: got {got}, expected a snapshot with its digest; "
        "restore an older one, or start with empty state and replay"
    )


def _opened(saved: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and array bytes of a snapshot whose digest holds."""
    start = len(MAGIC) + 8
    if len(saved) < start + _DIGEST_BYTES or not saved.startswith(MAGIC):
        raise _refused(saved, "no snapshot")
    body = memoryview(saved)[:-_DIGEST_BYTES]
    if hashlib.sha256(body).digest() != saved[-_DIGEST_BYTES:]:
        raise _refused(saved, "bytes that differ from their digest")
    end = start + int.from_bytes(saved[len(MAGIC) : start], "little")
    try:
        header = json.loads(bytes(body[start:end]))
        _ = header["feature_set"], header["feature_hash"]
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(saved, f"a header that is none ({error!r})") from error
    return header, body[end:]


def _batch_out(batch: pa.RecordBatch) -> Array:
    own = batch.take(pa.array(np.arange(len(batch))))  # of a slice, only the slice
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, own.schema) as writer:
        writer.write_batch(own)
    return np.frombuffer(sink.getvalue(), np.uint8)


def _batch_in(stream: Array) -> pa.RecordBatch:
    with pa.ipc.open_stream(pa.py_buffer(stream.tobytes())) as reader:
        batch = reader.read_next_batch()
    if not batch.schema.equals(arrow_schema("flow")):
        raise ValueError("waiting flows with other columns")
    return batch


def _windows_out(windows: Windows) -> tuple[Numbers, Arrays]:
    time, newest, usual = windows
    numbers = {"overflowed": int(time.queued[OVERFLOWED]), "began_us": int(usual.began_us[0])}
    head, length = int(time.queued[HEAD]), int(time.queued[LENGTH])
    arrays: Arrays = {"time.queue": time.queue[(head + np.arange(length)) % len(time.queue)]}
    places = _ring_places(newest.all_ring[None])[1]
    for name in ("all_dst", "all_service", "all_flags"):
        arrays[f"newest.{name}"] = getattr(newest, name)[places]
    for kept in TABLES:
        table: Table = getattr(getattr(windows, kept.part), kept.field)
        if kept.part == "time":
            continue  # they follow from the queue
        numbers[f"{kept.part}.{kept.field}.evicted"] = int(table.cells[0, EVICTED])
        entries = in_order_of_use(table)
        arrays[f"{kept.part}.{kept.field}"] = table.cells[entries, KEY]
        beside = {name: getattr(getattr(windows, kept.part), name)[entries] for name in kept.beside}
        if kept.part == "newest":
            rows, places = _ring_places(beside["ring"])
            for name in RING_ARRAYS:
                beside[name] = beside[name][rows, places]
        arrays.update({f"{kept.part}.{name}": array for name, array in beside.items()})
    rings = arrays["newest.ring"]
    rings[:, NEXT] = rings[:, FILLED] % kdd.RING
    return numbers, arrays


def _ring_places(rings: Array) -> tuple[Array, Array]:
    """Row and place of every flow in these rings, ring by ring, oldest first."""
    filled = rings[:, FILLED].astype(np.int64)
    rows = np.repeat(np.arange(len(rings)), filled)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(filled) - filled, filled)
    return rows, (np.repeat(rings[:, NEXT] - filled, filled) + nth) % kdd.RING


def _windows_in(numbers: Numbers, arrays: Arrays, bounds: Bounds) -> Windows:
    empty = new_windows()
    parts: dict[str, dict[str, Any]] = {part: fields._asdict() for part, fields in empty._asdict().items()}
    for kept in TABLES:
        if kept.part == "time":
            continue
        keys = arrays[f"{kept.part}.{kept.field}"]
        parts[kept.part][kept.field] = with_keys(keys, numbers[f"{kept.part}.{kept.field}.evicted"])
        for name in kept.beside:
            model = parts[kept.part][name]
            values = np.zeros((max(len(keys), 1) + 1, *model.shape[1:]), model.dtype)
            if kept.part == "newest" and name in RING_ARRAYS:
                rows, places = _ring_places(arrays["newest.ring"])
                values[1 + rows, places] = arrays[f"newest.{name}"]
            else:
                values[1 : len(keys) + 1] = arrays[f"{kept.part}.{name}"]
            parts[kept.part][name] = values
    filled = len(arrays["newest.all_dst"])
    for name in ("all_dst", "all_service", "all_flags"):
        parts["newest"][name][:filled] = arrays[f"newest.{name}"]
    parts["newest"]["all_ring"][:] = (filled % kdd.RING, filled)
    parts["profiles"]["began_us"][0] = numbers["began_us"]
    windows = Windows(TimeWindow(**parts["time"]), CountWindow(**parts["newest"]), Profiles(**parts["profiles"]))
    windows = refilled(windows, arrays["time.queue"], bounds)
    windows.time.queued[OVERFLOWED] = numbers["overflowed"]
    return windows


def compile_ahead() -> None:
    """Compile all that this room compiles, if it is not yet: some fifteen seconds, kept beside the sources."""
    schema = arrow_schema("flow")
    nothing = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    restore(snapshot(advance(SensorState.empty(), nothing, False, 0, most_waiting=-1)[0]))
