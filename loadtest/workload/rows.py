"""Rows of a message between stages, read as docs/formats.md has it: by a customer, with nothing of the system's."""

import struct

import pyarrow as pa

_MARK = b"FBY2"
_ENTRY_BYTES = 8


def rows_of(payload: bytes) -> pa.RecordBatch:
    """All columns of a message; ValueError where the bytes are none."""
    if not payload.endswith(_MARK):
        raise ValueError(
            f"message of {len(payload)} bytes: got {payload[-4:]!r} at its end, expected {_MARK!r}; a stage of an "
            "earlier version wrote it, or something else did"
        )
    try:
        return _rows(payload)
    except (IndexError, OSError, pa.ArrowException, struct.error, ValueError) as error:
        raise ValueError(f"message of {len(payload)} bytes: got {error!r}, expected frames that hold rows") from error


def _rows(payload: bytes) -> pa.RecordBatch:
    table_end = len(payload) - len(_MARK) - 1
    table_at = table_end - _ENTRY_BYTES * payload[table_end]
    table = payload[max(0, table_at) : table_end]
    frames, at = list[bytes](), 0
    for packed, size in struct.iter_unpack("<II", table):
        part = pa.BufferReader(payload[at : at + packed])
        frames.append(pa.CompressedInputStream(part, "lz4").read(size))
        at += packed
    if at != table_at or len(frames) < 3:
        raise ValueError(f"{len(frames)} frames in {at} of {table_at} bytes")
    columns = dict[str, pa.Array]()
    for schema, rows in zip(frames[:-1:2], frames[1:-1:2], strict=True):
        batch = pa.ipc.read_record_batch(pa.py_buffer(rows), pa.ipc.read_schema(pa.py_buffer(schema)))
        columns |= zip(batch.schema.names, batch.columns, strict=True)
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
