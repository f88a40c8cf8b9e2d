"""A sensor's state as bytes and back: the same state gives the same bytes, and nothing but such bytes is accepted.

Layout: magic, 8 bytes of header length (little-endian), header (JSON with sorted keys: feature set, numbers, and
name, type and shape of each array), the arrays' bytes in the header's order, SHA-256 of everything before. Tables are
written in order of use, rings oldest first, and what follows from something else (hash indexes, counts of the 2 s
window) not at all: so the bytes do not depend on how the state came to be.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.lateness import UNSTATED_US
from pipeline.errors import RefusedState
from pipeline.featurize.baseline.saved import baseline_in, baseline_out
from pipeline.featurize.baseline.sensor_baseline import no_baseline
from pipeline.featurize.computations import COMPUTATIONS
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.ordering.buffer import Waiting
from pipeline.featurize.ordering.clocks import NO_WATERMARK, Clock
from pipeline.featurize.sensor import BOUNDS, SensorState
from pipeline.featurize.windows.bounded_tables import Bounds
from pipeline.featurize.windows.calendars import ORDINARY
from pipeline.featurize.windows.saved import Arrays, Numbers, windows_in, windows_out
from pipeline.runtime.wire.batches import widened
from schemas.fields import arrow_schema

MAGIC = b"FOREBAY-SENSOR-1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_BASELINE = "+baseline"
"""What stands for a calendar's name in the names of a baseline's arrays; no calendar is called so."""
_TYPES = ("<i8", "<u8", "<f8", "<f4", "<i4", "|u1")

Array = npt.NDArray[Any]
Saved = TypeVar("Saved")


def snapshot(state: SensorState) -> bytes:
    """The state as bytes; the state stays usable."""
    numbers: Numbers = {**_clock_out(state.clock), "hurried": state.released_early}
    arrays: Arrays = {}
    computation = COMPUTATIONS[state.feature_set.name]
    # Without calendars there is one set of windows, which is written even where no flow has come yet.
    for calendar, windows in {ORDINARY: None, **state.windows}.items():
        calendar_numbers, calendar_arrays = windows_out(
            computation.empty() if windows is None else windows, computation.tables
        )
        numbers |= {_of_calendar(calendar, name): number for name, number in calendar_numbers.items()}
        arrays |= {_of_calendar(calendar, name): array for name, array in calendar_arrays.items()}
    arrays["waiting"] = _batch_out(state.waiting.flows())
    arrays |= {_of_calendar(_BASELINE, name): array for name, array in baseline_out(state.baseline).items()}
    contiguous = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    header = {
        "feature_set": state.feature_set.name,
        "feature_hash": state.feature_set.hash,
        "numbers": numbers,
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in contiguous.items()],
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    body = b"".join((MAGIC, len(text).to_bytes(8, "little"), text, *(array.tobytes() for array in contiguous.values())))
    return body + hashlib.sha256(body).digest()


def restore(saved: bytes, bounds: Bounds = BOUNDS, feature_set: FeatureSet = FEATURE_SET) -> SensorState:
    """The state in `saved`.

    Raises RefusedState where the bytes are not a whole snapshot, or are one of another feature set.
    """
    header, payload = _opened(saved)
    got = (header["feature_set"], header["feature_hash"])
    if got != (feature_set.name, feature_set.hash):
        raise RefusedState(
            f"sensor state: got feature set {got[0]} {got[1]}, expected {feature_set.name} {feature_set.hash}; "
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
        computation = COMPUTATIONS[feature_set.name]
        windows = {}
        # States from before there were baselines have none.
        baseline = (
            baseline_in(saved_baseline) if (saved_baseline := _of_one_calendar(arrays, _BASELINE)) else no_baseline()
        )
        for calendar in sorted({_split(name)[0] for name in arrays} - {_BASELINE}):
            calendar_numbers, calendar_arrays = _of_one_calendar(numbers, calendar), _of_one_calendar(arrays, calendar)
            windows[calendar] = windows_in(
                calendar_numbers, calendar_arrays, computation.empty(), computation.tables, bounds
            )
        waiting = Waiting.of(_batch_in(arrays["waiting"]))
        return SensorState(waiting, _clock_in(numbers), windows, numbers["hurried"], feature_set, baseline)
    except (KeyError, ValueError, TypeError, pa.ArrowException, OSError) as error:
        raise _refused(saved, repr(error)) from error


def _clock_out(clock: Clock) -> Numbers:
    """A sensor's clock; of a lateness that its messages state nothing where they never stated one."""
    numbers: Numbers = {"latest_us": clock.latest_us, "passed_us": clock.passed_us}
    if clock.stated_at_us != NO_WATERMARK:
        numbers |= {"lateness_us": clock.stated_us, "lateness_at_us": clock.stated_at_us}
    return numbers


def _clock_in(numbers: Numbers) -> Clock:
    """The clock in a state; in one from before sources had a lateness the watermark is where their site's puts it."""
    return Clock(
        numbers["latest_us"],
        numbers.get("passed_us", NO_WATERMARK),
        numbers.get("lateness_us", UNSTATED_US),
        numbers.get("lateness_at_us", NO_WATERMARK),
    )


def _of_calendar(calendar: str, name: str) -> str:
    return name if calendar == ORDINARY else f"{calendar}:{name}"


def _split(name: str) -> tuple[str, str]:
    """The calendar and the name within it."""
    calendar, colon, inner = name.partition(":")
    return (calendar, inner) if colon else (ORDINARY, name)


def _of_one_calendar(saved: Mapping[str, Saved], calendar: str) -> dict[str, Saved]:
    """What was saved of one calendar's windows, by the names it has there."""
    return {_split(name)[1]: value for name, value in saved.items() if _split(name)[0] == calendar}


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
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return np.frombuffer(sink.getvalue(), np.uint8)


def _batch_in(stream: Array) -> pa.RecordBatch:
    with pa.ipc.open_stream(pa.py_buffer(stream.tobytes())) as reader:
        batch = widened(reader.read_next_batch(), "flow")
    if not batch.schema.equals(arrow_schema("flow")):
        raise ValueError("waiting flows with other columns")
    return batch
