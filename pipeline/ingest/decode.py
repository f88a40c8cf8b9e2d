"""Raw messages in, flows and rejects out: many messages of one format in one compiled pass.

Every record becomes exactly one row of one of the two; nothing in a record or a header raises.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.raw import Framing, SourceInfo
from pipeline.contracts.uids import RAW_POSITION
from pipeline.ingest.community_id import community_ids
from pipeline.ingest.draft import Draft
from pipeline.ingest.formats.export_numbers import COLUMNS as NUMBERS
from pipeline.ingest.formats.marks import NEAR_MISSES
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.messages import Messages
from pipeline.ingest.plausible import bound
from pipeline.ingest.reasons import CODES, REASONS
from pipeline.ingest.scan.cells import Cells, Ints, LocalClock, blank_cells
from pipeline.ingest.scan.lines import Lines, cut_lines, record_ids
from pipeline.runtime.wire import batches
from schemas.fields import arrow_schema
from schemas.sources import source_of

# Bytes that a reject retains of its record: enough for people to read, and a bound on the message's size.
MAX_REJECT_RECORD_BYTES = 65_536


class Decoded(NamedTuple):
    """n records of m messages, as flows and rejects.

    A record's ordinal is its index among all records of the messages, from 0; both batches are in that order.
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
    members: Ints  # index of each of its messages among all
    columns: dict[str, pa.Array]  # identity and origin, a row a record


def decode_messages(messages: Messages, max_future_us: int) -> Decoded:
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
    for part, numbers in zip(parts, ordinals, strict=True):
        sizes[numbers] = part.lines.ends - part.lines.starts
    good = [part.draft.problem == 0 for part in parts]
    flows, flow_ordinals = _in_order(
        "flow",
        [_flows(messages, part, rows) for part, rows in zip(parts, good, strict=True)],
        [numbers[rows] for numbers, rows in zip(ordinals, good, strict=True)],
    )
    rejects, reject_ordinals = _in_order(
        "reject",
        [_rejects(messages, part, ~rows) for part, rows in zip(parts, good, strict=True)],
        [numbers[~rows] for numbers, rows in zip(ordinals, good, strict=True)],
    )
    return Decoded(flows, flow_ordinals, rejects, reject_ordinals, bounds, sizes)


def _formats(messages: Messages) -> list[Ints]:
    """The indices of the messages that hold records, by format: what can be decoded in one pass."""
    kinds: dict[tuple[str, tuple[str, ...], str, str], int] = {}
    kind_of = [
        -1
        if source.marks
        else kinds.setdefault((source.content_type, source.columns, source.fault, source.time_zone), len(kinds))
        for source in messages.sources
    ]
    kind = np.where(messages.sizes > 0, np.array(kind_of, np.int64)[messages.source], -1)
    indices_of = [np.flatnonzero(kind == number) for number in range(len(kinds))]
    return [indices for indices in indices_of if len(indices)]


def _in_order(schema: str, parts: list[pa.RecordBatch], ordinals: list[Ints]) -> tuple[pa.RecordBatch, Ints]:
    """The batches as one, by ordinal."""
    if not parts:
        return batches.empty(schema), np.zeros(0, np.int64)
    if len(parts) == 1:
        return parts[0], ordinals[0]
    joined = np.concatenate(ordinals)
    order = np.argsort(joined, kind="stable")
    return pa.concat_batches(parts).take(pa.array(order)), joined[order]


def _decode_part(messages: Messages, members: Ints, max_future_us: int) -> _Part:
    """Decode the messages `members`, which are of one format."""
    chosen = messages if len(members) == len(messages) else messages.at(members)
    source = chosen.sources[chosen.source[0]]
    if source.framing is Framing.WHOLE:
        lines = _whole(chosen)
    else:
        lines = cut_lines(chosen.payloads, strip_tabs=source.framing is not Framing.TABBED_LINES)
    columns = _identity(chosen, lines)
    draft = _draft(source, lines, columns["ingest_ts_us"].to_numpy())
    bound(draft, source.content_type)
    if "end_ts_us" in draft.columns:
        latest_us = columns["ingest_ts_us"].to_numpy() + max_future_us
        end_column = FORMATS[source.content_type].end_column
        draft.reject(draft.columns["end_ts_us"].to_numpy() > latest_us, "future", "end_ts_us", end_column)
    return _Part(lines, draft, members, columns)


def _whole(messages: Messages) -> Lines:
    """Messages of an unknown format: one record each."""
    text = np.frombuffer(b"".join(messages.payloads), np.uint8)
    ends = np.cumsum(messages.sizes)
    count = len(messages)
    ones, numbers = np.ones(count, np.int64), np.arange(count)
    return Lines(text, np.concatenate(([0], ends[:-1])), ends, numbers, np.zeros(count, np.int32), ones)


def _draft(source: SourceInfo, lines: Lines, sent_us: Ints) -> Draft:
    """Scan and normalise; where the headers make that impossible, a draft whose rows are all rejected."""
    if source.fault:
        near = NEAR_MISSES.get(source.content_type)
        return _refused(lines, source.fault, f"{source.got}: {near}" if near else source.got)
    known = FORMATS[source.content_type]
    lacking = known.lacking(source.columns)
    if lacking:
        return _refused(lines, "columns", f"header columns without {', '.join(lacking)}")
    cells = known.scan(lines, source.columns)
    clock = LocalClock(source.time_zone, sent_us) if source.time_zone else None
    return known.normalise(cells._replace(clock=clock))


def _refused(lines: Lines, reason: str, got: str) -> Draft:
    cells: Cells = blank_cells(lines.text, lines.starts, lines.ends, 0)
    draft = Draft(cells, ())
    draft.reject(np.ones(cells.rows, np.bool_), reason, f"got {got}", expected=REASONS[reason])
    return draft


def _identity(messages: Messages, lines: Lines) -> dict[str, pa.Array]:
    """Where each record stood and where it came from."""
    of = lines.message
    which = pa.array(messages.source[of])
    return {
        "raw_partition": pa.array(messages.partition[of]),
        "raw_offset": pa.array(messages.offset[of]),
        "raw_index": pa.array(lines.raw_index),
        "source_record": _source_records(messages.source_records, lines),
        "site": pa.array([source.site for source in messages.sources], pa.string()).take(which),
        "sensor": pa.array([source.sensor for source in messages.sources], pa.string()).take(which),
        "ingest_ts_us": pa.array(messages.timestamp_us[of]),
    }


def _source_records(headers: list[bytes | None], lines: Lines) -> pa.Array:
    """Positions in the file; null where a message has none, or not one a record."""
    if not any(headers):
        return pa.nulls(len(lines.starts), pa.int64())
    sizes = np.array([len(header or b"") for header in headers], np.int64)
    fitting = (sizes == 8 * lines.counts) & (sizes > 0)
    numbers = np.full(len(lines.starts), -1, np.int64)
    if fitting.any():
        joined = b"".join([header or b"" for header, fits in zip(headers, fitting.tolist(), strict=True) if fits])
        numbers[fitting[lines.message]] = np.frombuffer(joined, "<u8").astype(np.int64)
    return pa.array(numbers, mask=numbers < 0)


def _flows(messages: Messages, part: _Part, rows: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    schema = arrow_schema("flow")
    source = messages.sources[messages.source[part.members[0]]]
    if not rows.any():
        return batches.empty("flow")
    columns = {**part.columns, **part.draft.columns, "record_id": pa.array(record_ids(part.lines))}
    count = len(rows)
    constants = _constants(source.content_type)
    for name, blank in _blanks().items():
        if name not in columns:
            value = constants.get(name)
            if value is not None:
                columns[name] = pa.repeat(value, count)
            else:
                columns[name] = blank.slice(0, count) if count <= len(blank) else pa.nulls(count, blank.type)
    columns["community_id"] = community_ids(columns, part.draft.columns.get("community_id"))
    batch = pa.RecordBatch.from_arrays([columns[name] for name in _blanks()], schema=schema)
    return batch if rows.all() else batch.filter(pa.array(rows))


@cache
def _blanks() -> dict[str, pa.Array]:
    """A column of nulls for each field of the flow table, in its order; fields of one type share it."""
    return {field.name: batches.nulls(batches.BLANK_ROWS, field.type) for field in arrow_schema("flow")}


@cache
def _constants(content_type: str) -> dict[str, pa.Scalar]:
    """Fields that are the same in all flows of a format."""
    schema = arrow_schema("flow")
    constants = source_of(content_type).constants
    return {name: pa.scalar(value, schema.field(name).type) for name, value in constants.items()}


def _rejects(messages: Messages, part: _Part, rows: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """Rejected records with reason and position; a loop over rejects only, each needs a text of its own."""
    if not rows.any():
        return batches.empty("reject")
    schema = arrow_schema("reject")
    where = np.flatnonzero(rows)
    chosen = pa.array(where)
    columns = {name: column.take(chosen) for name, column in part.columns.items()}
    text, starts, ends = part.lines.text, part.lines.starts, part.lines.ends
    codes = [CODES[index] for index in part.draft.problem[where]]
    positions = zip(*(columns[name].to_pylist() for name in RAW_POSITION), strict=True)
    details = [
        f"raw[{partition}]@{offset}/{index}: {part.draft.detail(row)}"
        for row, (partition, offset, index) in zip(where.tolist(), positions, strict=True)
    ]
    records = [text[starts[row] : min(ends[row], starts[row] + MAX_REJECT_RECORD_BYTES)].tobytes() for row in where]
    numbers = messages.source[part.members[part.lines.message[where]]].tolist()
    content_types = [messages.sources[number].content_type for number in numbers]
    columns |= {
        **{name: part.draft.columns[name].take(chosen) for name in NUMBERS if name in part.draft.columns},
        "content_type": pa.array(content_types, pa.string()),
        "reason": pa.array(codes, pa.string()),
        "detail": pa.array(details, pa.string()),
        "record": pa.array(records, pa.binary()),
        "record_size": pa.array(ends[where] - starts[where]),
    }
    columns |= {name: pa.nulls(len(where), schema.field(name).type) for name in NUMBERS if name not in columns}
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
