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
from schemas.fields import arrow_schema

MARK = b"FBY2"
"""What a message ends with."""
PLAIN_MARK = b"FBY1"
"""What a message of before there were frames ends with: an Arrow stream, facts, their length, this. One of before that
ends with its stream, and its facts are metadata of its schema.
"""
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
"""Of a frame: far more than a message's rows have. LZ4 would make two gigabytes of what Kafka takes."""
_LENGTH_BYTES = 4
_PREFIX_BYTES = 8
"""Before an IPC message's metadata: a continuation, and the length of what follows."""
_ENTRY = struct.Struct("<II")
_MAX_FRAMES = 255
_LZ4 = pa.Codec("lz4")
"""Frames as LZ4's own tools write them."""
# Schemas of one process are few: its topics', with a feature set or two.
_MAX_SCHEMAS = 64
_MAX_SCHEMA_BYTES = 65_536


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


class Plain(NamedTuple):
    """Parts of a message of before there were frames: its schema as bytes, its batch and what follows, its facts."""

    schema: bytes
    rows: pa.Buffer
    facts: bytes


def frame(data: bytes | pa.Buffer) -> Frame:
    """Bytes under LZ4."""
    return Frame(_LZ4.compress(data, asbytes=True), len(data))


def unpacked(packed: Frame) -> pa.Buffer:
    """What is in a frame, in memory of its own; BadData where it would be too much, OSError where it is no frame."""
    if packed.size > MAX_UNPACKED_BYTES:
        raise BadData(f"a part of a message has {packed.size} bytes unpacked, expected at most {MAX_UNPACKED_BYTES}")
    return _LZ4.decompress(packed.packed, decompressed_size=packed.size)


def columns_of(batch: pa.RecordBatch) -> Columns:
    """A batch's columns; equal columns give equal bytes, whatever metadata their schema has."""
    return Columns(_schema_frame(batch.schema), frame(batch.serialize()))


def _schema_frame(schema: pa.Schema) -> Frame:
    for known, made in _written:
        if known.equals(schema):  # at once where it is the same object, as `arrow_schema` gives it
            return made
    bare = pa.schema([pa.field(field.name, field.type, field.nullable) for field in schema])
    made = frame(bare.serialize())
    if len(_written) >= _MAX_SCHEMAS:
        _written.clear()
    _written.append((schema, made))
    return made


_written: list[tuple[pa.Schema, Frame]] = []


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


def plain_parts(payload: bytes) -> Plain | None:
    """The parts of a message of before there were frames; None where it is none of that kind.

    Nothing but the facts' length has been looked at.
    """
    end = len(payload) - len(PLAIN_MARK) - _LENGTH_BYTES
    if end < _PREFIX_BYTES or not payload.endswith(PLAIN_MARK):
        return None
    facts = end - int.from_bytes(payload[end : end + _LENGTH_BYTES], "little")
    rows = _PREFIX_BYTES + int.from_bytes(payload[4:_PREFIX_BYTES], "little")
    if not rows <= facts:
        return None
    return Plain(payload[:rows], pa.py_buffer(payload)[rows:facts], payload[facts:end])


class Reading(NamedTuple):
    """How the batches of a message are read and put together.

    schemas : of each batch
    places : of each column of the batches behind the first, where it is put among those that are there already
    """

    schemas: tuple[pa.Schema, ...]
    places: tuple[tuple[int, ...], ...]


def reading(heads: tuple[Frame, ...], schema_name: str) -> Reading:
    """How batches with these schemas become one of `schema_name`, its columns under what this version declares of them.

    Columns that it does not have come last. Raises BadData, pa.ArrowException, OSError where the bytes are no schemas.
    """
    known = tuple(Frame(bytes(head.packed), head.size) for head in heads)
    small = sum(head.size for head in known) <= _MAX_SCHEMA_BYTES
    return (_reading if small else _reading.__wrapped__)(known, schema_name)


@lru_cache(maxsize=_MAX_SCHEMAS)
def _reading(heads: tuple[Frame, ...], schema_name: str) -> Reading:
    bare = [pa.ipc.read_schema(unpacked(head)) for head in heads]
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


def _as_declared(schema: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The schema with what this version says of its fields; as it is where one of them is not among `wanted`."""
    names = schema.names
    if len(set(names)) < len(names) or not set(names) <= set(wanted.names):
        return schema
    declared_fields = pa.schema([wanted.field(name) for name in names], metadata=wanted.metadata)
    return declared_fields if schema.equals(declared_fields) else schema


def column_names(columns: Sequence[Columns]) -> frozenset[str]:
    """The names of a message's columns."""
    return _names(tuple(Frame(bytes(each.schema.packed), each.schema.size) for each in columns))


@lru_cache(maxsize=_MAX_SCHEMAS)
def _names(heads: tuple[Frame, ...]) -> frozenset[str]:
    return frozenset(name for head in heads for name in pa.ipc.read_schema(unpacked(head)).names)


def read_schema(head: bytes, schema_name: str) -> pa.Schema:
    """The schema that a stream begins with; that of `schema_name` where its columns are those, as they are declared.

    Raises pa.ArrowException, OSError where the bytes are no schema.
    """
    return (_read_schema if len(head) <= _MAX_SCHEMA_BYTES else _read_schema.__wrapped__)(head, schema_name)


@lru_cache(maxsize=_MAX_SCHEMAS)
def _read_schema(head: bytes, schema_name: str) -> pa.Schema:
    schema = pa.ipc.read_schema(pa.py_buffer(head))
    return declared(schema, schema_name) or schema


def declared(schema: pa.Schema, schema_name: str) -> pa.Schema | None:
    """The schema as this version has it, features included; None where the columns are not those."""
    last = schema.field(len(schema) - 1).type if len(schema) else None
    wanted = arrow_schema(schema_name, last.list_size if isinstance(last, pa.FixedSizeListType) else 0)
    return wanted if schema.equals(wanted) else None
