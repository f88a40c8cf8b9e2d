"""Decoded records packed into the messages of `flows` and `rejects`: contiguous raw ranges, none left out."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipeline.contracts.baseline_commands import BaselineCommand
from pipeline.contracts.envelope import FlowsFacts, SensorName
from pipeline.contracts.lateness import StatedLateness
from pipeline.contracts.raw import SourceInfo
from pipeline.errors import BadData
from pipeline.ingest.decode import Decoded
from pipeline.ingest.messages import Messages
from pipeline.ingest.scan.cells import Ints

# Raw bytes and fixed-width columns behind one flows message, and record bytes in one rejects message: both stay below
# the 8 MiB that a message may have.
MAX_FLOWS_BYTES = 4_194_304
ROW_BYTES = 400
MAX_REJECT_BYTES = 4_194_304
MAX_MARKS = 256
"""Ends and ticks that one range ends with: as many as sensors may send in a partition."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One flows message and the rejects of its range, perhaps none, in batches that fit a message each."""

    partition: int
    key: str | None  # site/sensor, if all its records are of one sensor
    flows: pa.RecordBatch
    rejects: tuple[pa.RecordBatch, ...]
    facts: FlowsFacts
    traceparents: tuple[bytes, ...]  # of its raw messages, different ones, the first one first
    timestamp_us: int  # of its first raw message
    misread: bool = False  # it ends with a command that is none


def pack(messages: Messages, decoded: Decoded, flows_rows: int) -> Iterator[Packed]:
    """Cut what `messages` became into flows messages of at most `flows_rows` records each.

    `messages` are ordered by partition, then offset, and are those that `decoded` came from. Every message lies in the
    ranges of its partition, also one that holds no record; a range ends after a mark, or after several that follow one
    another: a message costs every stage behind as much as dozens of rows.
    """
    bytes_before = np.zeros(len(decoded.sizes) + 1, np.int64)
    np.cumsum(decoded.sizes + ROW_BYTES, out=bytes_before[1:])
    marks = np.flatnonzero(messages.of_sources([source.marks for source in messages.sources]))
    turns = np.flatnonzero(np.diff(messages.partition)) + 1
    for first, end in pairwise([0, *turns.tolist(), len(messages)]):
        marks_here = marks[np.searchsorted(marks, first) : np.searchsorted(marks, end)].tolist()
        yield from _pack_partition(messages, decoded, flows_rows, bytes_before, marks_here, first, end)


def _pack_partition(
    messages: Messages, decoded: Decoded, flows_rows: int, bytes_before: Ints, marks: list[int], first: int, end: int
) -> Iterator[Packed]:
    bounds = decoded.bounds
    at, record = first, int(bounds[first])  # message, and ordinal of the next record
    while at < end:
        while marks and marks[0] < at:
            marks.pop(0)
        heaviest = int(np.searchsorted(bytes_before, bytes_before[record] + MAX_FLOWS_BYTES, "right")) - 1
        stop = max(min(record + flows_rows, heaviest), record + 1)
        if marks and bounds[marks[0]] <= stop:
            last, stop = _last_mark(messages, marks), int(bounds[marks[0]])
        elif bounds[end] <= stop:
            last, stop = end - 1, int(bounds[end])
        else:
            last = int(np.searchsorted(bounds, stop - 1, "right")) - 1
        yield _packed(messages, decoded, at, last, record, stop)
        # The last message continues in the next range where it has records left.
        at = last + 1 if stop >= bounds[last + 1] else last
        record = stop


def _last_mark(messages: Messages, marks: list[int]) -> int:
    """The message that a range ends with, of those that are marks from here on: the first, or further ends and ticks
    that follow it at once, each of another sensor, so that nothing depends on their order.
    """
    last, named = marks[0], set[tuple[str, str]]()
    for mark in marks[:MAX_MARKS]:
        source = messages.sources[messages.source[mark]]
        sensor = source.site, source.sensor
        if mark > last + 1 or source.fault or source.commands or sensor in named:
            break
        named.add(sensor)
        last = mark
    return last


def _packed(messages: Messages, decoded: Decoded, first: int, last: int, record: int, stop: int) -> Packed:
    """The range from message `first`, ordinal `record`, to message `last`, ordinal `stop` (exclusive)."""
    flows = _slice(decoded.flows, decoded.flow_ordinals, record, stop)
    rejects = _slice(decoded.rejects, decoded.reject_ordinals, record, stop)
    sources = [messages.sources[number] for number in np.unique(messages.source[first : last + 1]).tolist()]
    sensors = {(source.site, source.sensor) for source in sources}
    only = next(iter(sensors)) if len(sensors) == 1 else ("", "")
    mark = messages.sources[messages.source[last]]
    marks = _marks(messages, first, last)
    commands, misread = _commands(mark, messages.payloads[last])
    base, offsets, partition = decoded.bounds, messages.offset, int(messages.partition[first])
    return Packed(
        partition,
        f"{only[0]}/{only[1]}" if all(only) else None,
        flows,
        tuple(_within_size(rejects)),
        FlowsFacts(
            raw_partition=partition,
            first=(int(offsets[first]), record - int(base[first])),
            last=(int(offsets[last]), max(0, stop - 1 - int(base[last]))),
            records=stop - record,
            rejected=rejects.num_rows,
            ended=tuple((source.site, source.sensor) for source in marks if source.ends),
            silent=tuple((source.site, source.sensor) for source in marks if source.ticks),
            commands=commands,
            lateness=_lateness(messages, first, last) if any(each.lateness_us is not None for each in sources) else (),
        ),
        tuple(dict.fromkeys(filter(None, messages.traceparents[first : last + 1]))),
        int(messages.timestamp_us[first]),
        misread,
    )


def _marks(messages: Messages, first: int, last: int) -> list[SourceInfo]:
    """The marks that a range ends with, in raw order."""
    marks = []
    while last >= first and (source := messages.sources[messages.source[last]]).marks and not source.fault:
        marks.append(source)
        last -= 1
    return marks[::-1]


def _lateness(messages: Messages, first: int, last: int) -> tuple[StatedLateness, ...]:
    """Which lateness the records of a range state, by sensor, where that changes; in raw order."""
    numbers = messages.source[first : last + 1]
    said, changes = dict[SensorName, int | None](), list[StatedLateness]()
    for at in [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist()]:
        source = messages.sources[numbers[at]]
        sensor = source.site, source.sensor
        if not source.marks and not source.fault and said.get(sensor) != source.lateness_us:
            said[sensor] = source.lateness_us
            changes.append(StatedLateness(*sensor, int(messages.offset[first + at]), source.lateness_us))
    return tuple(changes)


def _commands(mark: SourceInfo, payload: bytes) -> tuple[tuple[BaselineCommand, ...], bool]:
    """The command a range ends with, if it does, and whether what should be one is none."""
    if mark.fault or not mark.commands:
        return (), False
    try:
        return (BaselineCommand.read(payload, mark.site, mark.sensor),), False
    except BadData:
        return (), True


def _slice(batch: pa.RecordBatch, ordinals: Ints, record: int, stop: int) -> pa.RecordBatch:
    first, last = np.searchsorted(ordinals, (record, stop))
    return batch.slice(int(first), int(last - first))


def _within_size(rejects: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Rejects in batches whose records fit one message."""
    sizes = np.cumsum(rejects["record_size"].to_numpy().clip(max=65_536) + 1024)
    first = 0
    while first < rejects.num_rows:
        before = int(sizes[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(sizes, before + MAX_REJECT_BYTES, "right")))
        yield rejects.slice(first, last - first)
        first = last
