"""How a message lies in bytes: an Arrow stream of one batch, and behind its end the message's own facts.

    schema | batch | end of stream | facts, JSON | their length, 4 bytes | FBY1
    an Arrow IPC stream, to all that read it     | what such readers leave alone

The schema is the same in nearly all messages of a topic, and costs more to write and to read than a few rows do. So it
is made once and read once, and names, types and nullability are all there is in it: what a field means and its unit
are in `schemas/`.
"""

from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from schemas.fields import arrow_schema

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""What an IPC stream ends with: a continuation without metadata (Arrow's columnar format, "IPC streaming format")."""
MARK = b"FBY1"
"""What a message ends with. One of before ends with its stream, and its facts are metadata of its schema."""
_LENGTH_BYTES = 4
_PREFIX_BYTES = 8
"""Before an IPC message's metadata: a continuation, and the length of what follows."""
# Schemas of one process are few: its topics', with a feature set or two.
_MAX_SCHEMAS = 64
_MAX_SCHEMA_BYTES = 65_536


class Framed(NamedTuple):
    """A message's parts: its stream's schema as bytes, its batch and what follows, its facts as JSON."""

    schema: bytes
    rows: pa.Buffer
    facts: bytes


def schema_bytes(schema: pa.Schema) -> bytes:
    """The first bytes of a stream with these columns; equal columns give equal bytes, whatever metadata they have."""
    for known, known_bytes in _written:
        if known.equals(schema):  # at once where it is the same object, as `arrow_schema` gives it
            return known_bytes
    bare = pa.schema([pa.field(field.name, field.type, field.nullable) for field in schema])
    made: bytes = bare.serialize().to_pybytes()
    if len(_written) >= _MAX_SCHEMAS:
        _written.clear()
    _written.append((schema, made))
    return made


_written: list[tuple[pa.Schema, bytes]] = []


def framed(schema: bytes, batch: pa.RecordBatch, facts: bytes) -> bytes:
    """A message; the batch is laid out in memory of its own size: a stream that grows is copied each time."""
    length = len(facts).to_bytes(_LENGTH_BYTES, "little")
    return b"".join((schema, batch.serialize(), END_OF_STREAM, facts, length, MARK))


def taken_apart(payload: bytes) -> Framed | None:
    """The parts of a message; None where it is none of this kind. Nothing but the facts' length has been looked at."""
    end = len(payload) - len(MARK) - _LENGTH_BYTES
    if end < _PREFIX_BYTES or not payload.endswith(MARK):
        return None
    facts = end - int.from_bytes(payload[end : end + _LENGTH_BYTES], "little")
    rows = _PREFIX_BYTES + int.from_bytes(payload[4:_PREFIX_BYTES], "little")
    if not rows <= facts:
        return None
    return Framed(payload[:rows], pa.py_buffer(payload)[rows:facts], payload[facts:end])


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
