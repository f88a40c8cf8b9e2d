"""What an Arrow message says of itself before anything is made of it: how much a schema describes, and compression.

pyarrow makes each column as often as a flatbuffer names it (tables in it may be shared, so that 14 KB describe half a
gigabyte), and unpacks a compressed batch without a bound. Fields are those of Arrow's format/Message.fbs and
Schema.fbs, by their numbers; Arrow has verified the flatbuffer.
"""

import struct

V5 = 4
"""Metadata's version, as flatbuffers number it; earlier ones say elsewhere that a batch is compressed."""


def describes_at_most(most: int, metadata: bytes) -> bool:
    """Whether a schema describes so many columns, parts of columns and notes, each as often as it is named.

    Message  2 header
    Schema   1 fields    2 notes (custom_metadata)
    Field    5 children  6 notes
    """
    header = _field(metadata, _followed(metadata, 0), 2)
    left = [] if header is None else [(_followed(metadata, header), 1, 2)]
    described = 0
    while left:
        table, children, notes = left.pop()
        at, count = _vector(metadata, table, children)
        described += count + _vector(metadata, table, notes)[1]
        if described > most:
            return False
        left += [(_followed(metadata, place), 5, 6) for place in range(at, at + 4 * count, 4)]
    return True


def is_compressed(metadata: bytes) -> bool | None:
    """Whether a record batch says that it is compressed; None where its metadata are of an earlier version.

    Message      0 version   1 kind of header   2 header   3 bytes of the body   4 metadata
    RecordBatch  0 length    1 nodes            2 buffers  3 compression
    """
    message = _followed(metadata, 0)
    version, header = _field(metadata, message, 0), _field(metadata, message, 2)
    if version is None or header is None or struct.unpack_from("<h", metadata, version)[0] != V5:
        return None
    return _field(metadata, _followed(metadata, header), 3) is not None


def _followed(metadata: bytes, at: int) -> int:
    """Where an offset in a flatbuffer leads to."""
    return at + int(struct.unpack_from("<I", metadata, at)[0])


def _vector(metadata: bytes, table: int, number: int) -> tuple[int, int]:
    """Where the entries of a vector in a flatbuffer's table begin, and how many there are."""
    place = _field(metadata, table, number)
    if place is None:
        return 0, 0
    at = _followed(metadata, place)
    return at + 4, int(struct.unpack_from("<I", metadata, at)[0])


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table lies, None where the table does not have it."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    place = 4 + 2 * number
    if place + 2 > struct.unpack_from("<H", metadata, vtable)[0]:
        return None
    (offset,) = struct.unpack_from("<H", metadata, vtable + place)
    return table + int(offset) if offset else None
