"""Arrow record batches on the wire: a message's rows, with the message's own facts as JSON.

A reader's columns are views of what was unpacked at once. How a message lies in bytes is in `framing`.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from pipeline.errors import BadData, SchemaMismatch
from pipeline.runtime.wire import framing
from pipeline.runtime.wire.by_schema import BySchema
from schemas.fields import arrow_schema, load

META_KEY = b"forebay"
CONTENT_TYPE = "application/vnd.forebay.rows"
_NAMED, _NAMED_CHARACTERS = 20, 80
"""Columns that an error names, and how much of each one's name: a foreign message's may be many and long."""
BLANK_ROWS = 16_384
"""Columns of nulls of up to so many rows are views of one: most formats lack half of the fields."""
_UNREADABLE = (
    pa.ArrowException,
    StopIteration,
    EOFError,  # where a batch should be, the stream ends
    KeyError,
    OSError,
    struct.error,  # an Arrow message that is cut short
    UnicodeDecodeError,  # a column's name
    orjson.JSONDecodeError,
)
"""What reading bytes raises that are no message."""


Facts: TypeAlias = Mapping[str, object] | framing.Frame
"""What a message states of itself; packed, where several messages state it."""


def packed_facts(meta: Mapping[str, object]) -> framing.Frame:
    """Facts for several messages."""
    return framing.frame(orjson.dumps(meta, option=orjson.OPT_SORT_KEYS))


def encode(batch: pa.RecordBatch, meta: Facts) -> bytes:
    """The batch, without dictionaries, and its facts as a message; equal input gives equal bytes."""
    return _message([framing.columns_of(batch)], meta)


def encode_beside(payload: bytes, batch: pa.RecordBatch, meta: Facts) -> bytes:
    """The batch and its facts as a message, where all rows and some columns are those of the message `payload`.

    Its columns are taken over as they lie there, and only others are written.
    """
    framed = framing.taken_apart(payload)
    if framed is None:  # of before there were frames
        return encode(batch, meta)
    there = framing.column_names(framed.columns)
    added = batch.select([name for name in batch.schema.names if name not in there])
    return _message([*framed.columns, framing.columns_of(added)], meta)


def _message(columns: Sequence[framing.Columns], meta: Facts) -> bytes:
    return framing.framed(columns, meta if isinstance(meta, framing.Frame) else packed_facts(meta))


def decode(
    payload: bytes, schema_name: str, max_bytes: int | None = framing.MAX_UNPACKED_BYTES
) -> tuple[pa.RecordBatch, dict[str, Any]]:
    """The batch and facts in a message.

    Nullable columns that the message lacks, since an earlier version wrote it, are null. Raises BadData where the bytes
    are no such message, SchemaMismatch where the columns are not `schema_name`'s.

    max_bytes : what is unpacked has no more; None where the bytes are the reader's, and not from a topic
    """
    try:
        batch, facts = _parts(payload, schema_name, max_bytes)
        batch.validate(full=True)  # what lies behind an offset that leads elsewhere ends the process
        meta = orjson.loads(facts)
        known = framing.declared(batch.schema, schema_name)
        if known is None:
            batch = widened(batch, schema_name)
            expect(batch.schema, schema_name)
            known = framing.declared(batch.schema, schema_name)
        if known is not None and batch.schema.metadata != known.metadata:
            # An earlier version wrote it: what fields are said to mean is this one's, or the archive would close files.
            batch = pa.RecordBatch.from_arrays(batch.columns, schema=known)
    except _UNREADABLE as error:
        raise BadData(
            f"message of {len(payload)} bytes: got {error!r}, expected rows of '{schema_name}' with facts"
        ) from error
    return batch, meta


def unpacked_bytes(payload: bytes) -> int:
    """How many bytes a message has in memory, by what it says itself."""
    framed = framing.taken_apart(payload)
    return len(payload) if framed is None else framed.size


def _parts(payload: bytes, schema_name: str, max_bytes: int | None) -> tuple[pa.RecordBatch, bytes]:
    """The batch in a message, and its facts as JSON."""
    framed = framing.taken_apart(payload)
    if framed is not None:
        if max_bytes is not None and framed.size > max_bytes:
            raise BadData(
                f"message of {len(payload)} bytes: got {framed.size} bytes unpacked, expected at most {max_bytes}"
            )
        return _side_by_side(framed.columns, schema_name), framing.unpacked(framed.facts).to_pybytes()
    facts = framing.plain_facts(payload)
    reader = pa.BufferReader(payload)
    schema = framing.schema_of(pa.ipc.read_message(reader))
    batch = framing.batch_of(pa.ipc.read_message(reader), schema)
    return batch, (batch.schema.metadata or {})[META_KEY] if facts is None else facts


def _side_by_side(columns: Sequence[framing.Columns], schema_name: str) -> pa.RecordBatch:
    """The columns as one batch."""
    schemas, places = framing.reading(columns, schema_name)
    batch, *others = [
        framing.batch_of(pa.ipc.read_message(framing.unpacked(each.rows)), schema)
        for each, schema in zip(columns, schemas, strict=True)
    ]
    for more, where in zip(others, places, strict=True):
        for place, field, column in zip(where, more.schema, more.columns, strict=True):
            batch = batch.add_column(place, field, column)
    return batch


def widened(rows: pa.RecordBatch | pa.Table, schema_name: str) -> pa.RecordBatch | pa.Table:
    """Rows that an earlier version wrote, with the nullable columns of `schema_name` that they lack, all null.

    As they are where they lack none, or one that may not be null.
    """
    widening = _widenings(schema_name)(rows.schema)
    if widening is None:
        return rows
    columns = [rows.column(at) if isinstance(at, int) else nulls(len(rows), at) for at in widening.columns]
    return type(rows).from_arrays(columns, schema=widening.schema)


class _Widening(NamedTuple):
    """What rows of a schema become: the schema, and of each column where it is, or its type where it is lacking."""

    schema: pa.Schema
    columns: tuple[int | pa.DataType, ...]


@cache
def _widenings(schema_name: str) -> BySchema["_Widening | None"]:
    return BySchema(partial(_widening, schema_name=schema_name), with_metadata=True)


def _widening(schema: pa.Schema, schema_name: str) -> _Widening | None:
    """How to widen rows of this schema; None where they stay as they are."""
    wanted, at = arrow_schema(schema_name), {name: number for number, name in enumerate(schema.names)}
    if all(field.name in at for field in wanted) or not all(field.name in at or field.nullable for field in wanted):
        return None
    fields = [schema.field(at[field.name]) if field.name in at else field for field in wanted]
    fields += [field for field in schema if field.name not in wanted.names]
    columns = tuple(at.get(field.name, field.type) for field in fields)
    return _Widening(pa.schema(fields, metadata=schema.metadata), columns)


def nulls(rows: int, kind: pa.DataType) -> pa.Array:
    """A column of nulls; up to BLANK_ROWS rows it takes no memory of its own, for all of a type share it."""
    return _blank(kind).slice(0, rows) if rows <= BLANK_ROWS else pa.nulls(rows, kind)


@cache
def _blank(kind: pa.DataType) -> pa.Array:
    return pa.nulls(BLANK_ROWS, kind)


def expect(schema: pa.Schema, schema_name: str) -> None:
    """SchemaMismatch, field by field, unless the columns are `schema_name`'s (a feature matrix may follow)."""
    wanted = arrow_schema(schema_name)
    got = schema
    if len(got) == len(wanted) + 1 and got.field(len(wanted)).name == "features":
        got = got.remove(len(wanted))
    if got.equals(wanted):
        return
    kinds = [{field.name: field for field in each} for each in (got, wanted)]
    differing = [
        f"{name[:_NAMED_CHARACTERS]}: got {fields[0].type if fields[0] else 'nothing'}, "
        f"expected {fields[1].type if fields[1] else 'nothing'}"
        for name in dict.fromkeys([*wanted.names, *got.names])
        for fields in [[each.get(name) for each in kinds]]
        if fields[0] is None or fields[1] is None or not fields[0].equals(fields[1])
    ]
    more = [f"{len(differing) - _NAMED} more"] if len(differing) > _NAMED else []
    raise SchemaMismatch(
        f"columns are not those of '{schema_name}' version {load(schema_name).version}: "
        f"{'; '.join([*differing[:_NAMED], *more]) or 'same columns in another order'}; run the same version everywhere"
    )


def matrix(batch: pa.RecordBatch, column: str = "features") -> npt.NDArray[np.float32]:
    """The FixedSizeList<float32>[F] column as (rows, F), without a copy."""
    lists = batch.column(column)
    if not pa.types.is_fixed_size_list(lists.type):
        raise SchemaMismatch(f"column {column}: got {lists.type}, expected FixedSizeList<float32>")
    width = lists.type.list_size
    flat = lists.values.slice(lists.offset * width, len(lists) * width)
    values: npt.NDArray[np.float32] = flat.to_numpy(zero_copy_only=True)
    return values.reshape(len(lists), width)


def taken(batch: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """The rows of these indices; a view where they lie one behind the other, else a copy."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return batch.slice(int(rows[0]), len(rows))
    return batch.take(pa.array(rows))


def filled(batch: pa.RecordBatch, column: str, missing: float) -> npt.NDArray[Any]:
    """A column of numbers as (rows,) of its own dtype, `missing` where null."""
    values = batch.column(column)
    if values.null_count == len(values) and len(values):
        return np.full(len(values), missing, values.type.to_pandas_dtype())
    if values.null_count:
        values = values.fill_null(missing)
    numbers: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers


def matrix_column(values: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """A (rows, F) matrix as a FixedSizeList<float32>[F] column; a C-contiguous one is not copied."""
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
    item = pa.field("item", pa.float32(), nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(item, values.shape[1]))


@cache
def empty(schema_name: str, features: int = 0) -> pa.RecordBatch:
    """A batch of that schema with no rows."""
    schema = arrow_schema(schema_name, features)
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def blank_row(schema_name: str, values: Mapping[str, object] = MappingProxyType({})) -> pa.RecordBatch:
    """One made-up row of that schema, without features: for what is to be loaded and compiled before a real one comes.

    values: of columns; of the others, null where they may be, else zero, "" or True.
    """
    plain: dict[str, object] = {"string": "", "binary": b"", "bool": True}

    def column(field: pa.Field) -> pa.Array:
        if field.name == "features":
            return matrix_column(np.zeros((1, 0), np.float32))
        if field.nullable and field.name not in values:
            return pa.nulls(1, field.type)
        return pa.array([values.get(field.name, plain.get(str(field.type), 0))], field.type)

    schema = arrow_schema(schema_name)
    return pa.RecordBatch.from_arrays([column(field) for field in schema], schema=schema)
