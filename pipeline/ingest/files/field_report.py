"""What a file's flows have in each field of the flow table: how often, from where, which values."""

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import load
from schemas.sources import Source, source_of

MAX_FREQUENT = 3
# What is not in a record at all: its offset in the log, and what the message's headers say.
_OF_THE_MESSAGE = {"raw_partition", "raw_offset", "raw_index", "source_record", "site", "sensor", "ingest_ts_us"}
_POSITION = re.compile(r"^raw\[\d+\]@\d+/\d+: ")


@dataclass(frozen=True, slots=True)
class FieldReport:
    """One field of n flows.

    `origin` is the source's own field, "=x" a constant, "derived", "message", or "" where the source does not have it.
    Numbers have `least` and `greatest`, lists those of their lengths; `frequent` are other values with their counts,
    most frequent first.
    """

    field: str
    origin: str
    unit: str
    rows: int  # that have it
    null_share: float
    least: float | int | None = None
    greatest: float | int | None = None
    frequent: tuple[tuple[Any, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ReasonReport:
    """Rejects of one reason: how many, and the first one's position in the file and detail."""

    reason: str
    count: int
    source_record: int | None
    detail: str


def _origin(source: Source, name: str) -> str:
    if name in _OF_THE_MESSAGE:
        return "message"
    if name in ("record_id", "quality"):
        return "derived"
    if name == "source_type":
        return f"={source.name}"
    origin = source.origin(name)
    return origin.source if origin else ""


def _frequent(values: pa.Array) -> tuple[tuple[Any, int], ...]:
    counted = pc.value_counts(values)
    order = pc.sort_indices(counted.field("counts"), sort_keys=[("", "descending")])[:MAX_FREQUENT]
    return tuple((row["values"], row["counts"]) for row in counted.take(order).to_pylist())


def field_report(flows: pa.RecordBatch, content_type: str) -> list[FieldReport]:
    """A report a field of the flow table, in its order.

    `content_type` is empty where there are no flows; of several formats, with commas, `origin` names each.
    """
    sources = [source_of(kind) for kind in content_type.split(", ") if kind]
    units = {field.name: field.unit for field in load("flow").fields}
    reports = []
    for name, column in zip(flows.schema.names, flows.columns, strict=True):
        reported = column.drop_null()
        least, greatest = None, None
        frequent: tuple[tuple[Any, int], ...] = ()
        if len(reported):
            if pa.types.is_list(column.type):
                reported = pc.list_value_length(reported)
            if pa.types.is_integer(reported.type) or pa.types.is_floating(reported.type):
                ends = pc.min_max(reported).as_py()
                least, greatest = ends["min"], ends["max"]
            else:
                frequent = _frequent(reported)
        share = column.null_count / len(column) if len(column) else 0.0
        rows = len(column) - column.null_count
        origin = " / ".join(dict.fromkeys(filter(None, (_origin(source, name) for source in sources))))
        reports.append(FieldReport(name, origin, units[name], rows, share, least, greatest, frequent))
    return reports


def reason_report(rejects: pa.RecordBatch) -> list[ReasonReport]:
    """A report a reason, most rejects first; equally many in order of first appearance.

    Details have no position in `raw`: these records are not there.
    """
    counted = pc.value_counts(rejects["reason"])
    order = pc.sort_indices(counted.field("counts"), sort_keys=[("", "descending")])
    reports = []
    for row in counted.take(order).to_pylist():
        first = rejects.slice(pc.index(rejects["reason"], row["values"]).as_py(), 1).to_pylist()[0]
        detail = _POSITION.sub("", first["detail"])
        reports.append(ReasonReport(row["values"], row["counts"], first["source_record"], detail))
    return reports
