"""Arrow streams as a client writes them."""

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
