"""Arrow streams as a client writes them."""

import struct
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.runtime.wire.batches import matrix_column


def batch_of(rows: np.ndarray, origins: list[str] | None = None) -> pa.RecordBatch:
    """Rows, and perhaps their origins, as the columns of a request."""
    columns: dict[str, Any] = {"rows": matrix_column(rows)}
    return pa.record_batch(columns if origins is None else {**columns, "origin": origins})


def stream(batch: pa.RecordBatch, says: Any = None, batches: int = 1, **options: Any) -> bytes:
    """A batch, once or several times, as a stream; `says` is the document beside it."""
    if says is not None:
        batch = batch.replace_schema_metadata({"forebay": orjson.dumps(says)})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    written: bytes = out.getvalue().to_pybytes()
    return written


def schema_of_shared_parts(columns: int, parts: int, name_bytes: int) -> bytes:
    """A schema message in which every column is the same struct, every part of it the same field with a long name.

    Tables are written one after the other, offsets lead ahead; a vtable lies before its table.
    """
    written, waiting = bytearray(8), {0: "message"}
    placed: dict[str, int] = {}

    def table(name: str, /, **fields: tuple[int, str, Any]) -> None:
        """fields: number, format and value, in the order in which they lie; a value that is text is an offset to it."""
        at, where = 4, {}
        for number, kind, _ in fields.values():
            at += -at % struct.calcsize(kind)
            where[number] = at
            at += struct.calcsize(kind)
        written.extend(bytes(-len(written) % 2))
        slots = [where.get(number, 0) for number in range(max(where, default=-1) + 1)]
        written.extend(struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), at, *slots))
        vtable = len(written) - 4 - 2 * len(slots)
        written.extend(bytes(-len(written) % 8))
        placed[name] = start = len(written)
        written.extend(struct.pack("<i", start - vtable) + bytes(at - 4))
        for number, kind, value in fields.values():
            if isinstance(value, str):
                waiting[start + where[number]] = value
            else:
                struct.pack_into(f"<{kind}", written, start + where[number], value)

    def vector(name: str, entry: str, count: int) -> None:
        written.extend(bytes(-len(written) % 4))
        placed[name] = len(written)
        waiting.update({len(written) + 4 + 4 * number: entry for number in range(count)})
        written.extend(struct.pack("<I", count) + bytes(4 * count))

    schema, struct_type, boolean = 1, 13, 6
    table("message", size=(3, "q", 0), header=(2, "I", "schema"), version=(0, "h", 4), kind=(1, "B", schema))
    table("schema", fields=(1, "I", "columns"))
    vector("columns", "column", columns)
    table("column", type=(3, "I", "empty"), parts=(5, "I", "parts"), kind=(2, "B", struct_type))
    vector("parts", "part", parts)
    table("part", name=(0, "I", "name"), type=(3, "I", "empty"), kind=(2, "B", boolean))
    table("empty")
    written.extend(bytes(-len(written) % 4))
    placed["name"] = len(written)
    written.extend(struct.pack("<I", name_bytes) + b"x" * name_bytes + b"\0")
    written.extend(bytes(-len(written) % 8))
    for place, name in waiting.items():
        struct.pack_into("<I", written, place, placed[name] - place)
    return struct.pack("<Ii", 0xFFFF_FFFF, len(written)) + bytes(written)
