"""A closed file's rows as Iceberg can hold them: it has no unsigned numbers and no lists of one length."""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.archive import paths
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.streams import REJECTS
from pipeline.errors import RefusedState
from schemas.fields import arrow_schema

ARCHIVE_FILE, ARCHIVE_DATE, TIME = "archive_file", "archive_date", "ts"
WIDE = ("record_id",)
"""Unsigned 64-bit numbers that use all their bits; the others count something, and stay below 2**63."""
ALWAYS = frozenset({"raw_partition", "raw_offset", "raw_index", ARCHIVE_FILE})
"""Columns that every row of every version has; only these are required."""

ADDED = (
    pa.field(ARCHIVE_FILE, pa.string(), metadata={"doc": "Closed file of the archive whose row it is."}),
    pa.field(ARCHIVE_DATE, pa.date32(), metadata={"doc": "That file's day; null where it holds rows of many days."}),
    pa.field(TIME, pa.timestamp("us", "UTC"), metadata={"doc": "end_ts_us as a timestamp; of rejects ingest_ts_us."}),
)


def iceberg_type(name: str, arrow_type: pa.DataType) -> pa.DataType:
    """The Arrow type a column has in the table.

    >>> iceberg_type("src_port", pa.uint16()), iceberg_type("fwd_bytes", pa.uint64())
    (DataType(int32), DataType(int64))
    >>> iceberg_type("record_id", pa.uint64())
    Decimal128Type(decimal128(20, 0))
    """
    if pa.types.is_list(arrow_type) or pa.types.is_fixed_size_list(arrow_type):
        inner = arrow_type.value_field
        return pa.list_(pa.field("element", iceberg_type(inner.name, inner.type), nullable=inner.nullable))
    if pa.types.is_uint64(arrow_type):
        return pa.decimal128(20, 0) if name in WIDE else pa.int64()
    if pa.types.is_uint32(arrow_type):
        return pa.int64()
    return pa.int32() if pa.types.is_uint8(arrow_type) or pa.types.is_uint16(arrow_type) else arrow_type


def table_schema(table: str) -> pa.Schema:
    """The columns of a new table: those of this version's rows, and `ADDED`."""
    return _schema(arrow_schema("reject") if table == REJECTS else arrow_schema("scored", 1))


def _schema(source: pa.Schema) -> pa.Schema:
    fields = [field.with_type(iceberg_type(field.name, field.type)) for field in source]
    return pa.schema([field.with_nullable(field.name not in ALWAYS) for field in (*fields, *ADDED)])


def convert(rows: pa.Table, entry: ClosedFile) -> pa.Table:
    """A closed file's rows, value for value; RefusedState where a number does not fit."""
    schema, columns = _schema(rows.schema), []
    for field in rows.schema:
        try:
            columns.append(rows.column(field.name).cast(schema.field(field.name).type))
        except pa.ArrowInvalid as error:
            raise RefusedState(
                f"{entry.path}: column {field.name} ({error}), expected values below 2**63; it cannot be copied into "
                "an Iceberg table"
            ) from error
    stamps = rows.column("ingest_ts_us" if entry.table == REJECTS else "end_ts_us")
    columns += [
        pa.repeat(entry.path, len(rows)),
        pa.repeat(pa.scalar(day(entry), pa.date32()), len(rows)),
        pc.cast(stamps, pa.timestamp("us", "UTC")),
    ]
    return pa.table(columns, schema=schema)


def day(entry: ClosedFile) -> date | None:
    """The day in a closed file's name; RefusedState where it is none."""
    named = paths.date_of(entry.path)
    try:
        return None if named == paths.MIXED else date.fromisoformat(named)
    except ValueError as error:
        raise RefusedState(f"{entry.path}: got date {named!r}, expected YYYY-MM-DD or {paths.MIXED}") from error
