"""Raw messages in, flows and rejects out: many messages of one format in one compiled pass.

Every record becomes exactly one row of one of the two; nothing in a record or a header raises.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ingest.cells import Cells, Ints, blank_cells
from pipeline.ingest.community_id import community_ids
from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import FORMATS
from pipeline.ingest.lines import Lines, cut_lines, record_ids
from pipeline.ingest.messages import RawMessage, Stream, tabbed
from pipeline.ingest.reasons import CODES, REASONS
from schemas.fields import arrow_schema
from schemas.sources import source_of

KEPT_BYTES = 65_536


class Decoded(NamedTuple):
    """n records of m messages, as flows and rejects.

    A record's ordinal is its place among all records of the messages, from 0; both batches are in that order.
    """

    flows: pa.RecordBatch
    flow_ordinals: Ints
    rejects: pa.RecordBatch
    reject_ordinals: Ints
    bounds: Ints  # (m + 1,) ordinal of each message's first record; the last one is n
    sizes: Ints  # (n,) bytes of each record


class _Part(NamedTuple):
    """The records of one format: what they became, and whose they are."""

    lines: Lines
    draft: Draft
    members: npt.NDArray[np.int64]  # index of each of its messages among all
    columns: dict[str, pa.Array]  # identity and origin, a row a record


def decode_messages(messages: Sequence[RawMessage], max_future_us: int) -> Decoded:
    """Flows (schema `flow`) and rejects (schema `reject`) of messages in raw order.

    A flow that ends more than `max_future_us` after its message was sent is a reject.
    """
    parts = [_decode_part(messages, members, max_future_us) for members in _formats(messages)]
    counts = np.zeros(len(messages) + 1, np.int64)
    for part in parts:
        counts[part.members + 1] = part.lines.counts
    bounds = np.cumsum(counts)
    ordinals = [bounds[part.members[part.lines.message]] + part.lines.raw_index for part in parts]
    sizes = np.zeros(bounds[-1], np.int64)
    for part, places in zip(parts, ordinals, strict=True):
        sizes[places] = part.lines.ends - part.lines.starts
    good = [part.draft.problem == 0 for part in parts]
    flows, flow_ordinals = _in_order(
        "flow",
        [_flows(messages, part, rows) for part, rows in zip(parts, good, strict=True)],
        [places[rows] for places, rows in zip(ordinals, good, strict=True)],
    )
    rejects, reject_ordinals = _in_order(
        "reject",
        [_rejects(messages, part, ~rows) for part, rows in zip(parts, good, strict=True)],
        [places[~rows] for places, rows in zip(ordinals, good, strict=True)],
    )
    return Decoded(flows, flow_ordinals, rejects, reject_ordinals, bounds, sizes)


def _formats(messages: Sequence[RawMessage]) -> list[list[int]]:
    """The numbers of the messages that hold records, by format: what can be decoded in one pass."""
    of_stream: dict[int, list[int]] = {}
    for number, message in enumerate(messages):
        of_stream.setdefault(id(message[3]), []).append(number)
    formats: dict[tuple[str, tuple[str, ...], str], list[int]] = {}
    for numbers in of_stream.values():
        stream = messages[numbers[0]].stream
        if not stream.marks:
            filled = [number for number in numbers if messages[number][4]]
            formats.setdefault((stream.content_type, stream.columns, stream.fault), []).extend(filled)
    return [sorted(numbers) for numbers in formats.values() if numbers]


def _in_order(schema: str, batches: list[pa.RecordBatch], ordinals: list[Ints]) -> tuple[pa.RecordBatch, Ints]:
    """The batches as one, by ordinal."""
    if not batches:
        wanted = arrow_schema(schema)
        return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in wanted], schema=wanted), np.zeros(
            0, np.int64
        )
    if len(batches) == 1:
        return batches[0], ordinals[0]
    places = np.concatenate(ordinals)
    order = np.argsort(places, kind="stable")
    return pa.concat_batches(batches).take(pa.array(order)), places[order]


def _decode_part(messages: Sequence[RawMessage], members: list[int], max_future_us: int) -> _Part:
    """Decode the messages `members`, which are of one format."""
    stream = messages[members[0]].stream
    payloads = [messages[member].payload for member in members]
    lines = _whole(payloads) if stream.fault == "content_type" else cut_lines(payloads, not tabbed(stream.content_type))
    draft = _draft(stream, lines)
    numbers = np.array(members, np.int64)
    columns = _identity(messages, members, lines)
    if "end_ts_us" in draft.columns:
        bound = columns["ingest_ts_us"].to_numpy() + max_future_us
        end_column = FORMATS[stream.content_type].end_column
        draft.reject(draft.columns["end_ts_us"].to_numpy() > bound, "future", "end_ts_us", end_column)
    return _Part(lines, draft, numbers, columns)


def _whole(payloads: Sequence[bytes]) -> Lines:
    """Messages of an unknown format: one record each."""
    text = np.frombuffer(b"".join(payloads), np.uint8)
    ends = np.cumsum([len(payload) for payload in payloads])
    ones, numbers = np.ones(len(payloads), np.int64), np.arange(len(payloads))
    return Lines(text, np.concatenate(([0], ends[:-1])), ends, numbers, np.zeros(len(payloads), np.int32), ones)


def _draft(stream: Stream, lines: Lines) -> Draft:
    """Scan and normalise; where the headers make that impossible, a draft whose rows are all rejected."""
    if stream.fault:
        return _refused(lines, stream.fault, stream.got)
    known = FORMATS[stream.content_type]
    lacking = known.lacking(stream.columns)
    if lacking:
        return _refused(lines, "columns", f"header columns without {', '.join(lacking)}")
    return known.normalise(known.scan(lines, stream.columns))


def _refused(lines: Lines, reason: str, got: str) -> Draft:
    cells: Cells = blank_cells(lines.text, lines.starts, lines.ends, 0)
    draft = Draft(cells, ())
    draft.reject(np.ones(cells.rows, np.bool_), reason, f"got {got}", expected=REASONS[reason])
    return draft


def _identity(messages: Sequence[RawMessage], members: list[int], lines: Lines) -> dict[str, pa.Array]:
    """Where each record stood and where it came from."""
    of = lines.message
    chosen = [messages[member] for member in members]
    partitions, offsets, timestamps = ([message[place] for message in chosen] for place in range(3))
    streams = [message.stream for message in chosen]
    sources = [message.source_records for message in chosen]
    distinct = {id(stream): stream for stream in streams}
    place = {key: number for number, key in enumerate(distinct)}
    which = np.array([place[id(stream)] for stream in streams], np.int64)[of]
    return {
        "raw_partition": pa.array(np.array(partitions, np.int32)[of]),
        "raw_offset": pa.array(np.array(offsets, np.int64)[of]),
        "raw_index": pa.array(lines.raw_index),
        "source_record": _source_records(sources, lines),
        "site": pa.array([stream.site for stream in distinct.values()]).take(pa.array(which)),
        "sensor": pa.array([stream.sensor for stream in distinct.values()]).take(pa.array(which)),
        "ingest_ts_us": pa.array(np.array(timestamps, np.int64)[of]),
    }


def _source_records(headers: list[bytes | None], lines: Lines) -> pa.Array:
    """Positions in the file; null where a message has none, or not one a record."""
    given = np.array([len(header or b"") for header in headers], np.int64)
    fitting = (given == 8 * lines.counts) & (given > 0)
    numbers = np.full(len(lines.starts), -1, np.int64)
    if fitting.any():
        joined = b"".join([header or b"" for header, fits in zip(headers, fitting.tolist(), strict=True) if fits])
        numbers[fitting[lines.message]] = np.frombuffer(joined, "<u8").astype(np.int64)
    return pa.array(numbers, mask=numbers < 0)


def _flows(messages: Sequence[RawMessage], part: _Part, rows: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    schema = arrow_schema("flow")
    stream = messages[part.members[0]].stream
    if not rows.any():
        return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    columns = {**part.columns, **part.draft.columns, "record_id": pa.array(record_ids(part.lines))}
    count = len(rows)
    constants = source_of(stream.content_type).constants
    for field in schema:
        if field.name not in columns:
            value = constants.get(field.name)
            columns[field.name] = pa.repeat(pa.scalar(value, field.type), count)
    columns["community_id"] = community_ids(columns, part.draft.columns.get("community_id"))
    batch = pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
    return batch if rows.all() else batch.filter(pa.array(rows))


def _rejects(messages: Sequence[RawMessage], part: _Part, rows: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """Rejected records with reason and position; a loop over rejects only, each needs a text of its own."""
    schema = arrow_schema("reject")
    where = np.flatnonzero(rows)
    chosen = pa.array(where)
    columns = {name: column.take(chosen) for name, column in part.columns.items()}
    text, starts, ends = part.lines.text, part.lines.starts, part.lines.ends
    codes = [CODES[index] for index in part.draft.problem[where]]
    positions = zip(*(columns[name].to_pylist() for name in ("raw_partition", "raw_offset", "raw_index")), strict=True)
    details = [
        f"raw[{partition}]@{offset}/{index}: {part.draft.detail(row)}"
        for row, (partition, offset, index) in zip(where.tolist(), positions, strict=True)
    ]
    records = [text[starts[row] : min(ends[row], starts[row] + KEPT_BYTES)].tobytes() for row in where]
    content_types = [messages[member].stream.content_type for member in part.members[part.lines.message[where]]]
    columns |= {
        "content_type": pa.array(content_types, pa.string()),
        "reason": pa.array(codes, pa.string()),
        "detail": pa.array(details, pa.string()),
        "record": pa.array(records, pa.binary()),
        "record_size": pa.array(ends[where] - starts[where]),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
