"""Where a replay reads: the flows of a topic partition, or an archive's closed files, in their recorded order.

Both give steps. A step of the topic is a `flows` message, whose features are yet to be computed. One of the archive
holds rows with the features they had, in the order in which they were released: on time by event time, ties as
everywhere, late ones where the watermark they met stood.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from confluent_kafka import TopicPartition

from pipeline.archive import snapshot
from pipeline.archive.closed_rows import FollowedRows
from pipeline.archive.manifest import ClosedFile
from pipeline.archive.snapshot import PartitionSnapshot
from pipeline.archive.streams import FLOWS, LATE
from pipeline.contracts.envelope import FlowsFacts, RowsFacts, SensorWatermark
from pipeline.errors import RefusedState
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.runtime.wire.batches import widened
from pipeline.runtime.wire.messages import read
from pipeline.settings import Settings
from schemas.fields import arrow_schema

READ_S = 600.0


class FlowsStep(NamedTuple):
    """A message of `flows`: its offset, its rows (schema `flow`) and its facts."""

    position: int
    rows: pa.RecordBatch
    facts: FlowsFacts


class ArchivedStep(NamedTuple):
    """A step of an archive: its number, its rows (schema `scored`), and what holds of them."""

    position: int
    rows: pa.RecordBatch
    facts: RowsFacts


Step: TypeAlias = FlowsStep | ArchivedStep


def flows_ends(settings: Settings, partitions: int) -> tuple[tuple[int, int], ...]:
    """End offset of each partition of `flows` now."""
    return tuple(sorted(tail.ends(settings, settings.topics.flows, range(partitions)).items()))


def flows_first(settings: Settings, partition: int) -> int:
    """The first offset that topic `flows` still has."""
    reader = clients.reader(settings, "replay")
    try:
        return int(reader.get_watermark_offsets(TopicPartition(settings.topics.flows, partition), timeout=30)[0])
    finally:
        reader.close()


def flows(settings: Settings, partition: int, position: int, end: int) -> Iterator[FlowsStep]:
    """The messages of a partition of `flows` from an offset to the end, in offset order, committed ones only."""
    topic = settings.topics.flows
    # What retention takes away meanwhile must not be skipped silently.
    reader = clients.reader(settings, "replay", **tail.EOF_EVENTS, **{"auto.offset.reset": "error"})
    try:
        reader.assign([TopicPartition(topic, partition, position)])
        for message in tail.read_to(reader, topic, {partition: end}, READ_S):
            offset = message.offset() or 0
            if offset >= end:
                return
            rows, facts = read(message.value() or b"", FlowsFacts, clients.position_of(message))
            yield FlowsStep(offset, rows, facts)
    finally:
        reader.close()


def _snapshot_of(archive: StorageLike, partition: int, manifests: int) -> PartitionSnapshot:
    """A partition with at least so many manifests; RefusedState where its chain is broken, or shorter than it was."""
    closed = snapshot.read_partition(archive, partition)
    if closed.problem:
        raise RefusedState(f"{closed.problem} (`forebay archive verify` says more)")
    if len(closed.manifests) < manifests:
        raise RefusedState(
            f"{open_storage(archive).uri}: partition {partition} has {len(closed.manifests)} manifests, expected "
            f"{manifests}, as when the replay started; restore the archive, or start another --run"
        )
    return closed


def archive_ends(archive: StorageLike) -> tuple[tuple[int, int], ...]:
    """How many manifests each partition has now; RefusedState where a chain is broken."""
    ends = []
    for partition_files in snapshot.read(archive):
        if partition_files.problem:
            raise RefusedState(f"{partition_files.problem} (`forebay archive verify` says more)")
        ends.append((partition_files.partition, len(partition_files.manifests)))
    return tuple(ends)


def archived(
    archive: StorageLike,
    partition: int,
    position: int,
    manifests: int,
    bounds_us: tuple[int | None, int | None] = (None, None),
) -> Iterator[ArchivedStep]:
    """The accepted and late rows of a partition's closed files, sensor after sensor; a step is at most a file.

    bounds_us: files that end before the first or start at the second or later are left out.
    """
    number, closed = 0, _snapshot_of(archive, partition, manifests)
    stored = _Stored(FollowedRows(archive, closed), {})
    for sensor, stretches in stretches_of(closed, manifests, bounds_us).items():
        for stretch in stretches:
            for first in range(len(stretch.files) + 1):
                if number >= position:
                    step = stretch.step(stored, sensor, first, number, partition)
                    if step is not None:
                        yield step
                number += 1


def archived_by_sensor(
    archive: StorageLike, partition: int, manifests: int, bounds_us: tuple[int | None, int | None] = (None, None)
) -> list[Iterator[ArchivedStep]]:
    """The same, an iterator a sensor; what is read of one does not wait for another. Numbers are a sensor's own."""
    closed = _snapshot_of(archive, partition, manifests)

    def steps(sensor: tuple[str, str], stretches: list[_Stretch]) -> Iterator[ArchivedStep]:
        stored = _Stored(FollowedRows(archive, closed), {})  # its own: what it read last of a pack is not another's
        for stretch in stretches:
            for first in range(len(stretch.files) + 1):
                step = stretch.step(stored, sensor, first, first, partition)
                if step is not None:
                    yield step

    return [steps(*group) for group in stretches_of(closed, manifests, bounds_us).items()]


def archived_rows(
    archive: StorageLike, partition: int, manifests: int, bounds_us: tuple[int | None, int | None] = (None, None)
) -> tuple[int, int]:
    """How many rows these are, as the manifests say, and how many more there were before they were purged."""
    closed = _snapshot_of(archive, partition, manifests)
    stretches = (stretch for some in stretches_of(closed, manifests, bounds_us).values() for stretch in some)
    rows = [0, 0]
    for entry in (entry for stretch in stretches for entry in (*stretch.files, *stretch.late)):
        rows[closed.locations[entry.path].purged] += entry.rows
    return rows[0], rows[1]


def stretches_of(
    partition_files: PartitionSnapshot, manifests: int, bounds_us: tuple[int | None, int | None]
) -> "dict[tuple[str, str], list[_Stretch]]":
    """The files of flows and late flows of each sensor, sensors by name, between two ends of its source each.

    Manifests from after the replay's start may have moved or purged rows, and are followed; they add none, and a purged
    file keeps its number, so that a resumed replay counts as before.
    """
    since_us, until_us = bounds_us
    whole = PartitionSnapshot(partition_files.partition, partition_files.manifests[:manifests])
    entries = [
        entry
        for entry in whole.files
        if entry.table in (FLOWS, LATE)
        and (since_us is None or entry.to_ts_us >= since_us)
        and (until_us is None or entry.from_ts_us < until_us)
    ]
    marks: dict[tuple[str, str], list[int]] = {}
    for manifest in whole.manifests:
        for site, name, offset in manifest.marks:
            marks.setdefault((site, name), []).append(offset)
    stretches: dict[tuple[str, str], list[_Stretch]] = {}
    for sensor in sorted({(entry.site, entry.sensor) for entry in entries}):
        sensor_entries = [entry for entry in entries if (entry.site, entry.sensor) == sensor]
        stretches[sensor] = list(_stretches(sensor_entries, marks.get(sensor, [])))
    return stretches


class _Stored(NamedTuple):
    """Where closed files' rows are read from."""

    followed: FollowedRows
    clocks: dict[str, tuple[int, int]]
    """Lowest and highest watermark that a late file's rows met."""

    def rows(self, entries: Iterable[ClosedFile]) -> Iterator[pa.Table]:
        """Those of each file that are still there."""
        tables = (self.followed.read(entry.path) for entry in entries)
        return (widened(table, "scored") for table in tables if table is not None)

    def came_within(self, late: Iterable[ClosedFile], since_us: int, until_us: int) -> Iterator[pa.Table]:
        """Late rows that met a watermark after the first and at or before the second; a file is read once, and
        after that only where it has some.
        """
        for entry in late:
            first_us, last_us = self.clocks.get(entry.path, (since_us + 1, until_us))
            if last_us <= since_us or first_us > until_us:
                continue
            for rows in self.rows([entry]):
                clock_us = rows.column("end_ts_us").to_numpy() + rows.column("late_by_us").to_numpy()
                self.clocks[entry.path] = int(clock_us.min()), int(clock_us.max())
                here = np.flatnonzero((clock_us > since_us) & (clock_us <= until_us))
                if len(here):
                    yield rows.take(pa.array(here))


class _Stretch(NamedTuple):
    """A sensor's files between two ends of its source: those of flows in the order they closed, and those late."""

    files: list[ClosedFile]
    late: list[ClosedFile]
    ended: bool

    def step(
        self, stored: _Stored, sensor: tuple[str, str], first: int, number: int, partition: int
    ) -> ArchivedStep | None:
        """The rows of file `first`, and the late ones that came while they did; one beyond the last file: the rest."""
        parts = list(stored.rows(self.files[first : first + 1]))
        since_us = self.files[first - 1].to_ts_us if first else -(2**62)
        until_us = self.files[first].to_ts_us if first < len(self.files) else 2**62
        parts += stored.came_within(self.late, since_us, until_us)
        last = first == len(self.files)
        ended = (sensor,) if last and self.ended else ()
        if not parts and not ended:
            return None
        if not parts:
            parts = [rows.slice(0, 0) for rows in islice(stored.rows((*self.files, *self.late)), 1)]
        if not parts:
            return None  # all of it was purged, so nothing is open that could end
        table = pa.concat_tables(parts)
        rows = _in_order(table)
        facts = RowsFacts(
            seq=number,
            raw_partition=partition,
            feature_set=_metadata(table, "feature_set"),
            feature_hash=_metadata(table, "feature_hash"),
            watermarks=() if last or not self.files else (SensorWatermark(*sensor, until_us),),
            ended=ended,
        )
        return ArchivedStep(number, rows, facts)


def _stretches(entries: list[ClosedFile], marks: list[int]) -> Iterator[_Stretch]:
    of = np.searchsorted(np.array(sorted(marks), np.int64), [entry.first[0] for entry in entries], "left")
    for number in range(len(marks) + 1):
        members = [entry for entry, at in zip(entries, of.tolist(), strict=True) if at == number]
        if members:
            on_time = [entry for entry in members if entry.table == FLOWS]
            yield _Stretch(on_time, [entry for entry in members if entry.table == LATE], number < len(marks))


def _metadata(table: pa.Table, name: str) -> str:
    return str((table.schema.metadata or {}).get(name.encode(), b"").decode())


def _in_order(table: pa.Table) -> pa.RecordBatch:
    """The rows in the order in which featurize releases flows: on time by (end, record_id, raw position), then late."""
    width = table.schema.field("features").type.list_size
    schema = arrow_schema("scored", width)
    offset, index, end_us, record_id, late_by_us = (
        table.column(name).to_numpy() for name in ("raw_offset", "raw_index", "end_ts_us", "record_id", "late_by_us")
    )
    late = late_by_us > 0
    # Late rows are in the order of `raw`, not of time.
    keys = (index, offset, np.where(late, np.uint64(0), record_id), np.where(late, 0, end_us), late)
    columns = table.take(pa.array(np.lexsort(keys))).combine_chunks().columns
    arrays = [
        (column.chunk(0) if column.num_chunks else pa.array([], field.type)).cast(field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
