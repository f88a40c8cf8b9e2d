"""A file, or a folder of one sensor's, decoded as if it had gone through Kafka: same functions, order, positions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from pipeline.contracts.date_order import DateOrder
from pipeline.contracts.raw import source_info_of
from pipeline.errors import BadData
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.files.field_report import reason_report
from pipeline.ingest.files.read_bytes import MAX_FILE_BYTES
from pipeline.ingest.files.reading import read_source
from pipeline.ingest.files.remarks import remarks
from pipeline.ingest.files.source_file import SourceFile
from pipeline.ingest.files.source_set import SourceSet
from pipeline.ingest.messages import Messages
from pipeline.runtime.terminal import printable
from schemas.fields import arrow_schema

_ROWS_AT_ONCE = 65_536
_SHOWN_DETAIL = 400


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a file's records became: `records` = flows + rejects; `skipped` records are of other logs, or interim.

    `content_type` is that of all its records; of several formats, all of them with commas. `unread` are files of a
    folder that are of no known format, `notes` sentences about the file as a whole.
    """

    flows: pa.RecordBatch
    rejects: pa.RecordBatch
    content_type: str
    site: str
    sensor: str
    records: int
    skipped: int
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def require_flows(self) -> None:
        """BadData where there is no flow: why, and what most of the records lack."""
        if not self.flows.num_rows and not self.records:
            why = "; ".join((*self.notes, *self.unread)) or "they hold no record"
            raise BadData(f"{self.site}/{self.sensor}: got no flow, expected some: {printable(why, _SHOWN_DETAIL)}")
        if not self.flows.num_rows:
            most = reason_report(self.rejects)[0]
            raise BadData(
                f"{self.site}/{self.sensor}: got no flow in {self.records:,} records, expected some; {most.count:,} "
                f"are rejected for {most.reason}: {printable(most.detail, _SHOWN_DETAIL)}"
            )


def stem(path: Path | str) -> str:
    """The default name of the sensor: the file's name without its endings."""
    return "stdin" if str(path) == "-" else Path(path).name.split(".")[0] or "file"


def decode_file(
    path: Path | str,
    *,
    content_type: str | None = None,
    site: str = "default",
    sensor: str | None = None,
    arrival_order: bool = False,
    ingest_ts_us: int,
    max_future_us: int,
    max_bytes: int = MAX_FILE_BYTES,
    date_order: DateOrder | None = None,
    time_zone: str = "",
) -> Decoded:
    """Flows (schema `flow`) and rejects (schema `reject`) of a file or folder, both in the order they would be sent.

    raw_partition is 0, raw_offset the order sent (by end time unless `arrival_order`), raw_index 0, source_record the
    index among the file's data rows. `ingest_ts_us` is the time of decoding: a flow further ahead of it than
    `max_future_us` is a reject. BadData where the file cannot be read, its format cannot be recognised, or it
    has more than `max_bytes`, unpacked.
    """
    source = read_source(path, content_type, max_bytes, date_order, time_zone)
    if not arrival_order:
        source = source.by_end_time()
    return decode_source(source, site, sensor or stem(path), ingest_ts_us, max_future_us)


def decode_source(source: SourceSet, site: str, sensor: str, ingest_ts_us: int, max_future_us: int) -> Decoded:
    """The records of an open file as flows and rejects, in their order there."""
    sources = [
        source_info_of(
            file.content_type.encode(), _columns(file), site.encode(), sensor.encode(), file.time_zone.encode()
        )
        for file in source.files
    ]
    numbers, records = source.numbers.astype("<u8"), source.records
    flows: list[pa.RecordBatch] = []
    rejects: list[pa.RecordBatch] = []
    for first in range(0, len(records), _ROWS_AT_ONCE):
        part = records[first : first + _ROWS_AT_ONCE]
        last, count = first + len(part), len(part)
        messages = Messages(
            np.zeros(count, np.int32),
            np.arange(first, last),
            np.full(count, ingest_ts_us),
            sources,
            source.which[first:last].astype(np.int64),
            part,
            np.fromiter(map(len, part), np.int64, count),
            [number.tobytes() for number in numbers[first:last]],
            [None] * count,
        )
        decoded = decode_messages(messages, max_future_us)
        flows.append(decoded.flows)
        rejects.append(decoded.rejects)
    all_flows = _concatenated(flows, "flow")
    return Decoded(
        all_flows,
        _concatenated(rejects, "reject"),
        ", ".join(source.content_types),
        site,
        sensor,
        len(source),
        source.skipped,
        source.unread,
        (*source.notes, *remarks(all_flows)),
    )


def _columns(source: SourceFile) -> bytes | None:
    return orjson.dumps(source.columns) if source.columns else None


def _concatenated(batches: list[pa.RecordBatch], schema: str) -> pa.RecordBatch:
    wanted = arrow_schema(schema)
    return pa.concat_batches([pa.RecordBatch.from_pylist([], schema=wanted), *batches])
