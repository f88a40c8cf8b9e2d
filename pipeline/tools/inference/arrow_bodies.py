"""Requests and answers as Arrow IPC streams of one record batch: rows and origins in, a column an output out.

What a JSON body says beside its inputs (`id`, `outputs`, `parameters`) is a JSON document in the schema's metadata,
under `forebay`.

Nothing in a stream makes the server take much more memory than a body may have: the flatbuffers before columns are
small, and what a schema describes is counted before it is made (tables and texts in it may be shared, so that 14 KB
describe half a gigabyte); columns are views of the body, and a compressed batch is refused before it is unpacked.
"""

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from pipeline.errors import BadData
from pipeline.runtime.wire import arrow_metadata, batches
from pipeline.tools.inference.tensors import (
    ORIGIN_INPUT,
    OUTPUTS,
    ROWS,
    Column,
    Floats,
    Inference,
    distinct_origins,
    object_of,
    options_of,
    pooled,
)

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""What an IPC stream ends with: a continuation without metadata (Arrow's columnar format, "IPC streaming format")."""
MAX_METADATA_BYTES = 16_384
"""Of the flatbuffer that describes a schema or a batch; two columns and a data frame's notes take 2,000."""
MAX_DESCRIBED = 64
"""Columns, parts of columns and notes of a schema, each as often as it is named; `rows` and `origin` with notes of ours
and of a data frame are 5."""
CONTINUATION = 0xFFFF_FFFF
KINDS = {"FP32": pa.float32(), "BOOL": pa.bool_(), "BYTES": pa.string()}


def request_of_stream(body: bytes, width: int) -> Inference:
    """A request's body that is an Arrow stream; BadData where it is none.

    width : columns of a row
    """
    try:
        schema, batch = _one_batch(body, width)
    except (pa.ArrowException, EOFError, OSError, struct.error, UnicodeDecodeError) as error:
        raise _no_stream(f"{str(error)[:200]} in {len(body)} bytes") from error
    facts = (schema.metadata or {}).get(batches.META_KEY, b"{}")
    try:
        document = object_of(orjson.loads(facts), "metadata forebay")
    except orjson.JSONDecodeError as error:
        raise BadData(f"metadata forebay: got {error}, expected a JSON document") from error
    rows = _rows(batch)
    if ORIGIN_INPUT not in schema.names:
        names, number = pooled(len(rows))
    else:
        names, number = _origins(batch.column(ORIGIN_INPUT))
    given_id, outputs, feature_hash = options_of(document)
    return Inference(given_id, rows, names, number, outputs, feature_hash)


def stream_of(request: Inference, columns: Mapping[str, Column], model: str, version: str) -> bytes:
    """An answer's body: an Arrow stream of one batch with the outputs as its columns."""
    arrays = [pa.array(columns[wanted.name], KINDS[OUTPUTS[wanted.name][0]]) for wanted in request.outputs]
    facts = {"model_name": model, "model_version": version, **({"id": request.id} if request.id else {})}
    metadata = {batches.META_KEY: orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)}
    batch = pa.record_batch(arrays, [wanted.name for wanted in request.outputs], metadata=metadata)
    return b"".join((batch.schema.serialize(), batch.serialize(), END_OF_STREAM))


def _one_batch(body: bytes, width: int) -> tuple[pa.Schema, pa.RecordBatch]:
    """The schema and the only batch of a stream; its columns are views of the body, and valid."""
    reader = pa.BufferReader(body)
    message = _next_message(body, reader)
    if message is None or message.type != "schema":
        raise _no_stream("no schema" if message is None else f"a {message.type} as its first message")
    if not arrow_metadata.describes_at_most(MAX_DESCRIBED, bytes(message.metadata)):
        raise BadData(
            f"body: got a schema of more than {MAX_DESCRIBED} columns, parts of columns and notes, expected the "
            f"columns {ROWS} and {ORIGIN_INPUT} alone"
        )
    schema = pa.ipc.read_schema(message)
    _expect_columns(schema, width)
    message = _next_message(body, reader)
    if message is None or message.type != "record batch":
        raise _no_stream("a schema and no record batch" if message is None else f"a {message.type}")
    compressed = arrow_metadata.is_compressed(bytes(message.metadata))
    if compressed is None:
        raise _no_stream("metadata of an earlier version than 5")
    if compressed:
        raise BadData("body: got a compressed record batch, expected plain columns; write it without compression")
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate(full=True)
    if _next_message(body, reader) is not None:
        raise _no_stream("a second message after the record batch")
    if reader.tell() != len(body):
        raise _no_stream(f"{len(body) - reader.tell()} bytes after its end")
    return schema, batch


def _next_message(body: bytes, reader: pa.BufferReader) -> pa.ipc.Message | None:
    """The next message of a stream, None at its end."""
    at = reader.tell()
    if at == len(body):
        return None
    mark, size = struct.unpack_from("<Ii", body, at)
    if mark != CONTINUATION:
        raise _no_stream(f"{body[at : at + 4].hex()} at byte {at}")
    if size > MAX_METADATA_BYTES:
        raise BadData(
            f"body: got {size:,} bytes that describe a schema or batch at byte {at}, expected {MAX_METADATA_BYTES:,} "
            f"at most; send the columns {ROWS} and {ORIGIN_INPUT} alone"
        )
    try:
        return pa.ipc.read_message(reader)
    except EOFError:  # the mark of a stream's end
        return None


def _expect_columns(schema: pa.Schema, width: int) -> None:
    """BadData unless the columns are the inputs."""
    wanted = {
        ROWS: f"FixedSizeList<float32>[{width}]",
        ORIGIN_INPUT: "utf8 or large_utf8",
    }
    if ROWS not in schema.names or len(set(schema.names)) < len(schema) or not set(schema.names) <= set(wanted):
        got = ", ".join(schema.names[:10])[:120] or "none"
        raise BadData(f"columns: got {got}, expected {ROWS} ({wanted[ROWS]}) and perhaps {ORIGIN_INPUT}, each once")
    for field in schema:
        kind = field.type
        if field.name == ROWS:
            right = pa.types.is_fixed_size_list(kind) and (kind.list_size, kind.value_type) == (width, pa.float32())
        else:
            right = kind in (pa.string(), pa.large_string())
        if not right:
            raise BadData(
                f"{field.name}: got a column of {str(kind)[:120]}, expected {wanted[field.name]}; cast it before "
                "sending"
            )


def _rows(batch: pa.RecordBatch) -> Floats:
    """(n, F)."""
    if not len(batch):
        raise BadData(f"{ROWS}: got no row, expected one at least")
    lists = batch.column(ROWS)
    if lists.null_count or lists.flatten().null_count:
        raise BadData(f"{ROWS}: got nulls, expected numbers; NaN says that a feature is missing")
    # Where in the body a column lies is the sender's choice.
    values: Floats = np.require(batches.matrix(batch, ROWS), np.float32, ("C", "ALIGNED"))
    return values


def _origins(column: pa.Array) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """The distinct origins, and (n,) which of them each row is from."""
    if column.null_count:
        raise BadData(f"{ORIGIN_INPUT}: got nulls, expected a text a row")
    encoded = column.dictionary_encode()
    names = distinct_origins(encoded.dictionary.to_pylist())
    return names, encoded.indices.to_numpy().astype(np.int64)


def _no_stream(got: str) -> BadData:
    return BadData(f"body: got {got}, expected an Arrow IPC stream: a schema, one record batch, and its end")
