"""How a message lies in bytes: its columns and its facts under LZ4, and behind them where each of these frames is.

    schema | rows | schema | rows | facts | table | count | FBY2

    schema, rows  together an Arrow IPC stream of one batch; the batches' columns side by side are the message's
    facts         of the message itself, JSON
    table         of each frame its bytes and the bytes of what is in it, two 32-bit numbers
    count         of frames, one byte; numbers are little-endian

Kafka does not compress such a message again: its broker unpacks what is compressed to look at it, and every hop would
pack what the hop before has packed. So a message whose rows are those of another, with columns more, takes that one's
frames over as they are: score's for the archive has two schemas, all others have one.

A schema is the same in nearly all messages of a topic, and costs more to write and to read than a few rows do. So it
is made once and read once, and names, types and nullability are all there is in it: what a field means and its unit
are in `schemas/`.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import pyarrow as pa

from pipeline.errors import BadData
from pipeline.runtime.wire import arrow_metadata
from pipeline.runtime.wire.by_schema import MAX_SCHEMAS, BySchema
from schemas.fields import arrow_schema

MARK = b"FBY2"
"""What a message ends with."""
PLAIN_MARK = b"FBY1"
"""What a message of before there were frames ends with: an Arrow stream, facts, their length, this. One of before that
ends with its stream, and its facts are metadata of its schema.
"""
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
"""Of all frames of a message: far more than its rows have. LZ4 would make two gigabytes of what Kafka takes."""
_LENGTH_BYTES = 4
_ENTRY = struct.Struct("<II")
_LZ4 = "lz4"
"""Frames as LZ4's own tools write them."""
MAX_SCHEMA_BYTES = 65_536
"""Of the schemas of a message, which are known once they are read: the largest of ours has 5 kB."""
MAX_DESCRIBED = 1_024
"""Columns, parts of columns and notes of a schema: the largest of ours has 90 columns, and had 122 notes once."""


class Frame(NamedTuple):
    """Bytes under LZ4, and how many they are."""

    packed: bytes | memoryview
    size: int


class Columns(NamedTuple):
    """Columns of a message: an Arrow stream of one batch in two frames."""

    schema: Frame
    rows: Frame


class Framed(NamedTuple):
    """A message's parts."""

    columns: tuple[Columns, ...]
    facts: Frame

    @property
    def size(self) -> int:
        """The bytes of all that is in its frames."""
        return self.facts.size + sum(schema.size + rows.size for schema, rows in self.columns)


def frame(data: bytes | pa.Buffer) -> Frame:
    """Bytes under LZ4."""
    return Frame(pa.compress(data, _LZ4, asbytes=True), len(data))


def unpacked(packed: Frame) -> pa.Buffer:
    """What is in a frame, in memory of its own; OSError where it is no frame, or of another size than it says.

    As a stream, which says how much came: `pyarrow.decompress` takes the size it is told, and where there is less the
    rest is what was in memory before.
    """
    with pa.CompressedInputStream(pa.BufferReader(packed.packed), _LZ4) as stream:
        data = stream.read_buffer(packed.size + 1)
    if len(data) != packed.size:
        raise OSError(f"got {'more' if len(data) > packed.size else len(data)} bytes in a frame of {packed.size}")
    return data


def columns_of(batch: pa.RecordBatch) -> Columns:
    """A batch's columns; equal columns give equal bytes, whatever metadata their schema has."""
    return Columns(_schema_frames(batch.schema), frame(batch.serialize()))


def _schema_frame(schema: pa.Schema) -> Frame:
    bare = pa.schema([pa.field(field.name, field.type, field.nullable) for field in schema])
    return frame(bare.serialize())


_schema_frames = BySchema(_schema_frame, with_metadata=False)


def framed(columns: Sequence[Columns], facts: Frame) -> bytes:
    """A message."""
    frames = [*(each for pair in columns for each in pair), facts]
    table = [_ENTRY.pack(len(each.packed), each.size) for each in frames]
    return b"".join((*(each.packed for each in frames), *table, bytes((len(frames),)), MARK))


def taken_apart(payload: bytes) -> Framed | None:
    """The parts of a message; None where it is none of this kind. No frame has been looked at."""
    table_end = len(payload) - len(MARK) - 1
    if table_end < 0 or not payload.endswith(MARK):
        return None
    table = table_end - payload[table_end] * _ENTRY.size
    if table < 0:
        return None
    entries = list(_ENTRY.iter_unpack(payload[table:table_end]))
    ends = list(accumulate(packed for packed, _ in entries))
    if len(entries) < 3 or len(entries) % 2 == 0 or ends[-1] != table:
        return None
    view = memoryview(payload)
    starts = (0, *ends[:-1])
    frames = [Frame(view[start:end], size) for start, end, (_, size) in zip(starts, ends, entries, strict=True)]
    pairs = zip(frames[:-1:2], frames[1:-1:2], strict=True)
    return Framed(tuple(Columns(schema, rows) for schema, rows in pairs), frames[-1])


def plain_facts(payload: bytes) -> bytes | None:
    """The facts of a message of before there were frames, an Arrow stream; None where it is none of that kind.

    Nothing but their length has been looked at.
    """
    end = len(payload) - len(PLAIN_MARK) - _LENGTH_BYTES
    if end < 0 or not payload.endswith(PLAIN_MARK):
        return None
    start = end - int.from_bytes(payload[end : end + _LENGTH_BYTES], "little")
    return payload[start:end] if start >= 0 else None


class Reading(NamedTuple):
    """How the batches of a message are read and merged.

    schemas : of each batch
    places : of each column of the batches behind the first, where it is put among those that are there already
    """

    schemas: tuple[pa.Schema, ...]
    places: tuple[tuple[int, ...], ...]


def reading(columns: Sequence[Columns], schema_name: str) -> Reading:
    """How batches with these schemas become one of `schema_name`, its columns under what this version declares of them.

    Columns that it does not have come last. Raises BadData where they are too large, pa.ArrowException, OSError,
    struct.error where they are no schemas.
    """
    heads = tuple(_hashable(each.schema) for each in columns)
    for got in (sum(head.size for head in heads), sum(len(head.packed) for head in heads)):
        if got > MAX_SCHEMA_BYTES:
            raise BadData(f"got schemas of {got} bytes, expected at most {MAX_SCHEMA_BYTES}")
    return _reading(heads, schema_name)


@lru_cache(maxsize=MAX_SCHEMAS)
def _reading(heads: tuple[Frame, ...], schema_name: str) -> Reading:
    bare = [_read_schema(head) for head in heads]
    lists = [field.type for schema in bare for field in schema if field.name == "features"]
    fixed = [kind.list_size for kind in lists if isinstance(kind, pa.FixedSizeListType)]
    wanted = arrow_schema(schema_name, fixed[0] if fixed else 0)
    order = {name: place for place, name in enumerate(wanted.names)}
    there = [order.get(name, len(order)) for name in bare[0].names]
    places = []
    for schema in bare[1:]:
        placed = []
        for name in schema.names:
            place = order.get(name, len(order))
            placed.append(sum(each <= place for each in there))
            there.append(place)
        places.append(tuple(placed))
    return Reading(tuple(_as_declared(schema, wanted) for schema in bare), tuple(places))


def column_names(columns: Sequence[Columns]) -> set[str]:
    """The names of a message's columns, which has been read."""
    return {name for each in columns for name in _read_schema(_hashable(each.schema)).names}


@lru_cache(maxsize=MAX_SCHEMAS)
def _read_schema(head: Frame) -> pa.Schema:
    return schema_of(pa.ipc.read_message(unpacked(head)))


def schema_of(message: pa.ipc.Message) -> pa.Schema:
    """The schema in an Arrow message; BadData where it describes more than a schema of ours."""
    if message.type == "schema" and not arrow_metadata.describes_at_most(MAX_DESCRIBED, bytes(message.metadata)):
        raise BadData(f"got a schema of more than {MAX_DESCRIBED} columns, parts of columns and notes, expected ours")
    return pa.ipc.read_schema(message)


def batch_of(message: pa.ipc.Message, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in an Arrow message; BadData where it is compressed, and so may have any size."""
    if message.type == "record batch" and arrow_metadata.is_compressed(bytes(message.metadata)) is not False:
        raise BadData("got a compressed record batch, or one of an earlier version of Arrow, expected plain columns")
    return pa.ipc.read_record_batch(message, schema)


def _hashable(head: Frame) -> Frame:
    return Frame(bytes(head.packed), head.size)


def _as_declared(schema: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The schema with what this version says of its fields; as it is where one of them is not among `wanted`."""
    names = schema.names
    if len(set(names)) < len(names) or not set(names) <= set(wanted.names):
        return schema
    declared_fields = pa.schema([wanted.field(name) for name in names], metadata=wanted.metadata)
    return declared_fields if schema.equals(declared_fields) else schema


def declared(schema: pa.Schema, schema_name: str) -> pa.Schema | None:
    """The schema as this version has it, features included; None where the columns are not those."""
    last = schema.field(len(schema) - 1).type if len(schema) else None
    wanted = arrow_schema(schema_name, last.list_size if isinstance(last, pa.FixedSizeListType) else 0)
    return wanted if schema.equals(wanted) else None
