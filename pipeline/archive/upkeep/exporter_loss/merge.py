"""Records of many files in the order they were recorded, without holding more than the files that overlap."""

from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np
import pyarrow as pa

from pipeline.archive.paths import Position
from pipeline.archive.snapshot import PartitionSnapshot
from pipeline.archive.upkeep.exporter_loss.records import NO_RECORDS, Ints, Records, concatenated, joined, records_of


def settled(snapshot: PartitionSnapshot) -> Position:
    """The position below which everything sent must be in the archive."""
    if snapshot.last is None or snapshot.last.progress.through is None:
        return (-1, 0)
    progress = snapshot.last.progress
    assert progress.through is not None  # noqa: S101
    beyond = (progress.through[0], progress.through[1] + 1)
    return min(progress.frontier, beyond) if progress.frontier is not None else beyond


class InOrder:
    """Records of one raw partition, returned in raw order, those of each file once."""

    def __init__(self) -> None:
        self._overlap = NO_RECORDS

    def between(
        self, tables: Iterable[pa.Table], passing: Iterable[Records], since: Position, until: Position
    ) -> Iterator[Records]:
        """All records from `since` on below `until`, in raw order.

        tables: rows of files not passed before, those with the lowest positions first; `passing`: records that are
        still in open files, and will be passed again. What lies beyond `until` is retained for the next call.
        """
        open_ones = joined(passing)
        aside = open_ones.at(~open_ones.below(since) & open_ones.below(until))
        overlap = [self._overlap]
        for table in tables:
            if not len(table):
                continue
            records = records_of(table)
            first = min(until, (int(records.offsets[0]), int(records.indexes[0])))
            whole = joined([*overlap, aside])
            yield whole.at(~whole.below(since) & whole.below(first))
            left, aside = joined(overlap), aside.at(~aside.below(first))
            overlap = [left.at(~left.below(first)), records]
        whole, left = joined([*overlap, aside]), joined(overlap)
        self._overlap = left.at(~left.below(until))
        yield whole.at(~whole.below(since) & whole.below(until))


def by_time(parts: list[Iterator[Records]]) -> Iterator[Records]:
    """Records of several raw partitions as one, by their messages' timestamps; each partition's in its raw order.

    A timestamp that jumps back does not undo that order: only the latest so far counts.
    """
    if len(parts) == 1:
        yield from parts[0]
        return
    waiting: dict[int, tuple[Records, Ints]] = {}
    reached = dict.fromkeys(range(len(parts)), -(1 << 62))
    going = set(reached)
    while going or waiting:
        slowest = min(going, key=lambda number: reached[number], default=None)
        if slowest is not None:
            records = next(parts[slowest], None)
            if records is None:
                going.discard(slowest)
            elif len(records.offsets):
                time = np.maximum.accumulate(np.maximum(records.at_us, reached[slowest]))
                reached[slowest] = int(time[-1])
                earlier = waiting.get(slowest)
                if earlier is not None:
                    records, time = concatenated(earlier[0], records), np.concatenate((earlier[1], time))
                waiting[slowest] = records, time
        bound = min((reached[number] for number in going), default=1 << 62)
        out, times = [], []
        for number, (records, time) in list(waiting.items()):
            ready = int(np.searchsorted(time, bound, "right"))
            out.append(records.at(np.arange(ready)))
            times.append(time[:ready])
            if ready == len(time):
                del waiting[number]
            else:
                waiting[number] = records.at(np.arange(ready, len(time))), time[ready:]
        if sum(map(len, times)):
            yield reduce(concatenated, out).at(np.argsort(np.concatenate(times), kind="stable"))
