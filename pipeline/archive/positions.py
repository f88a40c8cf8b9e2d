"""Raw positions of many files, returned in order without holding more than the files that overlap."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.archive.paths import Position

Ints = npt.NDArray[np.int64]


def positions_of(rows: pa.Table | pa.RecordBatch) -> tuple[Ints, Ints]:
    """Offsets and indexes of all records that rows stand for: their own, in their order, then those of `raw_also`."""
    offsets, indexes = (rows.column(name).to_numpy().astype(np.int64) for name in ("raw_offset", "raw_index"))
    if "raw_also" not in rows.schema.names or rows.column("raw_also").null_count == len(rows):
        return offsets, indexes
    also = np.asarray(pc.list_flatten(rows.column("raw_also")).to_numpy(), np.int64).reshape(-1, 2)
    return np.concatenate((offsets, also[:, 0])), np.concatenate((indexes, also[:, 1]))


class PositionBlock(NamedTuple):
    """Raw positions sorted by (offset, index), and the number of the sensor or file that holds each."""

    offsets: Ints
    indexes: Ints
    holders: Ints


class Source(NamedTuple):
    """A file: its lowest position, and how to read all of them."""

    first: Position
    read: Callable[[], PositionBlock]


class Positions:
    """The positions of all sources in order: call `below` with growing bounds."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = sorted(sources, key=lambda source: source.first, reverse=True)
        self._read: list[PositionBlock] = []

    def in_order(self) -> Iterator[PositionBlock]:
        """All positions, in order, as many at a time as are known without reading the next source."""
        while self._sources:
            self._read.append(self._sources.pop().read())
            yield self.below(self._sources[-1].first[0] if self._sources else None)

    def below(self, offset: int | None) -> PositionBlock:
        """All positions not returned yet whose offset lies below this one (None: all), sorted."""
        while self._sources and (offset is None or self._sources[-1].first[0] < offset):
            self._read.append(self._sources.pop().read())
        whole = join(self._read)
        cut = len(whole.offsets) if offset is None else int(np.searchsorted(whole.offsets, offset, "left"))
        self._read = [PositionBlock(*(column[cut:] for column in whole))]
        return PositionBlock(*(column[:cut] for column in whole))


def join(parts: Iterable[PositionBlock]) -> PositionBlock:
    """Several lists of positions as one, sorted."""
    several = [part for part in parts if len(part.offsets)]
    if not several:
        none = np.empty(0, np.int64)
        return PositionBlock(none, none, none)
    joined = PositionBlock(*(np.concatenate(columns) for columns in zip(*several, strict=True)))
    order = np.lexsort((joined.indexes, joined.offsets))
    return PositionBlock(*(column[order] for column in joined))


def doubled(block: PositionBlock) -> npt.NDArray[np.bool_]:
    """Marks the positions that repeat the one before; `block` is sorted."""
    again = np.zeros(len(block.offsets), bool)
    again[1:] = (np.diff(block.offsets) == 0) & (np.diff(block.indexes) == 0)
    return again


def missing_before(block: PositionBlock) -> Ints:
    """How many indexes of the same raw message are missing directly before each of sorted, distinct positions."""
    if not len(block.offsets):
        return block.offsets
    same = np.concatenate(([False], np.diff(block.offsets) == 0))
    before = np.where(same, np.concatenate(([-1], block.indexes[:-1])), -1)
    return np.asarray(block.indexes - before - 1, np.int64)
