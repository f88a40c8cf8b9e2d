"""What `verify` counts, per sensor, and the two ways to check positions: against topic `raw`, or the archive by
itself.
"""

from typing import Any

import numpy as np

from pipeline.archive.paths import Position
from pipeline.archive.positions import Ints, PositionBlock, Positions, doubled, missing_before
from pipeline.archive.snapshot import PartitionSnapshot
from pipeline.archive.upkeep import raw_counts
from pipeline.archive.upkeep.exporter_loss.merge import settled
from pipeline.contracts.envelope import SensorName
from pipeline.settings import Settings

MAX_PROBLEMS = 100
MAX_NAMED = 5
COLUMNS = ("sent", "accepted", "rejected", "late", "in_flight", "holes", "doubles", "unsent", "files", "given_up")
INDEX_BITS = 31


class Tally:
    """Counts per sensor, and the problems."""

    def __init__(self) -> None:
        self._counts: dict[SensorName, dict[str, int]] = {}
        self._stated: dict[SensorName, int] = {}
        self._unmarked: dict[tuple[int, SensorName], int] = {}  # per raw partition: records after the last mark
        self._sensors: list[SensorName] = []
        self._numbers: dict[SensorName, int] = {}
        self.problems: list[str] = []
        self.left_out = 0
        self.strays: list[str] = []

    def counts_of(self, sensor: SensorName) -> dict[str, int]:
        """A sensor's counts."""
        if sensor not in self._counts:
            self._counts[sensor] = dict.fromkeys(COLUMNS, 0)
            self._numbers[sensor] = len(self._sensors)
            self._sensors.append(sensor)
        return self._counts[sensor]

    def number(self, sensor: SensorName) -> int:
        """A number that stands for the sensor in arrays."""
        self.counts_of(sensor)
        return self._numbers[sensor]

    def add(self, name: str, holders: Ints, each: Ints | None = None) -> None:
        """Count one for each holder, or as many as `each` says."""
        for holder in np.unique(holders).tolist():
            mask = holders == holder
            self.counts_of(self._sensors[holder])[name] += int(mask.sum() if each is None else each[mask].sum())

    def mark(self, partition: int, window: raw_counts.RawWindow) -> None:
        """Note what end-of-source marks say was sent, and what each sender sent after its last one."""
        start = 0
        for mark in window.marks:
            self._since_mark(partition, window, start, mark.message)
            start = mark.message
            sender = window.senders[mark.message]
            self._unmarked[partition, sender] = 0
            self._stated[sender] = self._stated.get(sender, 0) + mark.records
        self._since_mark(partition, window, start, len(window.senders))

    def _since_mark(self, partition: int, window: raw_counts.RawWindow, start: int, stop: int) -> None:
        for sender, records in zip(window.senders[start:stop], window.records[start:stop].tolist(), strict=True):
            self._unmarked[partition, sender] = self._unmarked.get((partition, sender), 0) + records

    def check_marks(self) -> None:
        """Compare what the marks state with what `raw` holds, where all of a sensor's records come before a mark."""
        unfinished = {sender for (_partition, sender), records in self._unmarked.items() if records}
        for sender, stated in sorted(self._stated.items()):
            counted = self.counts_of(sender)["sent"]
            if sender not in unfinished and counted != stated:
                self.problem(
                    f"site {sender[0]!r}, sensor {sender[1]!r}: end-of-source marks state {stated} records, topic "
                    f"raw holds {counted}; {'lost' if stated > counted else 'doubled'} before they reached Kafka"
                )

    def problem(self, text: str) -> None:
        """Note something wrong."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)
        else:
            self.left_out += 1

    def name(self, what: str, partition: int, offsets: Ints, indexes: Ints) -> None:
        """Note positions something is wrong with, in order, as ranges; the first few by name."""
        if not len(offsets):
            return
        ranges = ranges_of(offsets, indexes)
        some = [
            f"{partition}@{first[0]}[{first[1]}]" + ("" if first == last else f" to {last[0]}[{last[1]}]")
            for first, last in ranges[:MAX_NAMED]
        ]
        more = f" and {len(ranges) - len(some)} more ranges" if len(ranges) > len(some) else ""
        self.problem(f"partition {partition}: {len(offsets)} {what}: raw {', '.join(some)}{more}")

    def table(self) -> list[dict[str, Any]]:
        """A row per sensor; `stated`: what its end-of-source marks say was sent, None without one."""
        return [
            {"site": site, "sensor": sensor, **counts, "stated": self._stated.get((site, sensor))}
            for (site, sensor), counts in sorted(self._counts.items())
            if any(counts.values())
        ]


def ranges_of(offsets: Ints, indexes: Ints) -> list[tuple[Position, Position]]:
    """Sorted positions as ranges, first and last: records one after another in a message, and on into the next."""
    inside = (np.diff(offsets) == 0) & (np.diff(indexes) == 1)
    into_next = (np.diff(offsets) == 1) & (indexes[1:] == 0)
    starts = np.flatnonzero(np.concatenate(([True], ~(inside | into_next))))
    ends = np.concatenate((starts[1:], [len(offsets)])) - 1
    return [
        ((int(offsets[first]), int(indexes[first])), (int(offsets[last]), int(indexes[last])))
        for first, last in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _below(offsets: Ints, indexes: Ints, bound: Position) -> Any:
    return (offsets < bound[0]) | ((offsets == bound[0]) & (indexes < bound[1]))


def _distinct(block: PositionBlock, partition: int, tally: Tally) -> PositionBlock:
    again = doubled(block)
    tally.add("doubles", block.holders[again])
    tally.name("positions in the archive twice", partition, block.offsets[again], block.indexes[again])
    return PositionBlock(*(column[~again] for column in block))


def check_alone(state: PartitionSnapshot, positions: Positions, tally: Tally) -> None:
    """Doubles, gaps inside raw messages, and the total against the record counts ingest wrote beside the flows."""
    bound, total = settled(state), 0
    for some in positions.in_order():
        block = _distinct(some, state.partition, tally)
        gaps = missing_before(block)
        gaps[~_below(block.offsets, block.indexes, bound)] = 0
        total += len(block.offsets)
        tally.add("sent", block.holders)
        tally.add("holes", block.holders, gaps)
        tally.name("gaps in the archive before", state.partition, block.offsets[gaps > 0], block.indexes[gaps > 0])
    if state.last is None:
        return
    progress = state.last.progress
    held_back = progress.records - total
    if held_back < 0 or (held_back and progress.frontier is None):
        tally.problem(
            f"partition {state.partition}: ingest counted {progress.records} records through raw {progress.through}, "
            f"the archive holds {total} positions, and featurize held back "
            f"{'nothing' if progress.frontier is None else f'from {progress.frontier} on'}"
        )


def check_against_raw(state: PartitionSnapshot, positions: Positions, settings: Settings, tally: Tally) -> None:
    """Every record of a `raw` partition against the archive: once below the frontier, at most once above it."""
    bound, start = settled(state), None
    for window in raw_counts.windows(settings, state.partition):
        begin = int(window.offsets[0]) if len(window.offsets) else window.end
        if start is None:
            # Older than what Kafka still has: counted as sent because the archive has it.
            start = begin
            old = _distinct(positions.below(begin), state.partition, tally)
            tally.add("sent", old.holders)
        _check_window(state.partition, window, begin, positions, bound, tally)
    rest = positions.below(None)
    if len(rest.offsets):
        tally.add("unsent", rest.holders)
        tally.name("positions that topic raw does not have", state.partition, rest.offsets, rest.indexes)


def _check_window(
    partition: int, window: raw_counts.RawWindow, begin: int, positions: Positions, bound: Position, tally: Tally
) -> None:
    tally.mark(partition, window)
    block = _distinct(positions.below(window.end), partition, tally)
    senders = np.array([tally.number(sender) for sender in window.senders], np.int64)
    total = int(window.records.sum())
    offset = np.repeat(window.offsets, window.records)
    index = np.arange(total) - np.repeat(np.cumsum(window.records) - window.records, window.records)
    expected = ((offset - begin) << INDEX_BITS) + index
    have = ((block.offsets - begin) << INDEX_BITS) + block.indexes
    known = np.isin(have, expected, assume_unique=True)
    tally.add("sent", block.holders[known])
    tally.add("unsent", block.holders[~known])
    tally.name("positions that topic raw does not have", partition, block.offsets[~known], block.indexes[~known])
    absent = ~np.isin(expected, have, assume_unique=True)
    sender = np.repeat(senders, window.records)[absent]
    offset, index = offset[absent], index[absent]
    hole = _below(offset, index, bound)
    tally.add("sent", sender)
    tally.add("holes", sender[hole])
    tally.add("in_flight", sender[~hole])
    tally.name("records sent that the archive does not have", partition, offset[hole], index[hole])
