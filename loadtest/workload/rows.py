"""Rows of a message between stages, read as docs/formats.md has it: by a customer, with nothing of the system's."""

import struct

import pyarrow as pa

_MARK = b"FBY2"
_ENTRY_BYTES = 8


def rows_of(payload: bytes) -> pa.RecordBatch:
    """All columns of a message; ValueError where the bytes are none."""
    if not payload.endswith(_MARK):
        raise ValueError(f"message of {len(payload)} bytes: got {payload[-4:]!r} at its end, expected {_MARK!r}")
    table_end = len(payload) - len(_MARK) - 1
    table = payload[table_end - _ENTRY_BYTES * payload[table_end] : table_end]
    frames, at = list[bytes](), 0
    for packed, _size in struct.iter_unpack("<II", table):
        frames.append(pa.CompressedInputStream(pa.BufferReader(payload[at : at + packed]), "lz4").read())
        at += packed
    columns = dict[str, pa.Array]()
    for schema, rows in zip(frames[:-1:2], frames[1:-1:2], strict=True):
        batch = pa.ipc.read_record_batch(pa.py_buffer(rows), pa.ipc.read_schema(pa.py_buffer(schema)))
        columns |= zip(batch.schema.names, batch.columns, strict=True)
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
