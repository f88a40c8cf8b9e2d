"""Flows where they came to lie, and those of a sensor that wait for their turn.

A message's flows stay in the message's own memory. What waits is only told apart by its keys and its place, so a flow
is copied once, when it goes on, however many messages it waits through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.fields import arrow_schema

MOST_BATCHES = 64  # a sensor's waiting flows lie in no more; then they are copied into one
MOST_HELD = 4  # rows held for each that waits
MOST_RUNS = 64  # stretches of rows in one batch that are gathered one by one

Ints = npt.NDArray[np.int64]


class Keys(NamedTuple):
    """What n flows are ordered by, each field an array of n, the most telling last."""

    raw_index: npt.NDArray[np.int32]
    raw_offset: Ints
    raw_partition: npt.NDArray[np.int32]
    record_id: npt.NDArray[np.uint64]
    end_us: Ints

    def at(self, places: Ints) -> "Keys":
        """The keys of the flows at these places."""
        return Keys(*(key[places] for key in self))  # type: ignore[arg-type]  # each is of its own type

    def and_then(self, others: "Keys") -> "Keys":
        """These flows' keys and the others' after them."""
        return Keys(*(np.concatenate((own, other)) for own, other in zip(self, others, strict=True)))  # type: ignore[arg-type]


_COLUMNS = ("raw_index", "raw_offset", "raw_partition", "record_id", "end_ts_us")


def keys_of(flows: pa.RecordBatch) -> Keys:
    """The keys of a batch of the `flow` schema."""
    return Keys(*(flows.column(name).to_numpy() for name in _COLUMNS))


class Pool:
    """Batches of the `flow` schema side by side: row r of batch b has the place starts[b] + r."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self.batches = batches
        self.starts = np.cumsum([0, *map(len, batches)])

    def batch_of(self, places: Ints) -> Ints:
        """(n,) the number of the batch that each place lies in."""
        return np.searchsorted(self.starts, places, "right") - 1

    def rows(self, places: Ints, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """The rows at these places, in this order; where they stand side by side, a view."""
        batches = self.batches if columns is None else [batch.select(list(columns)) for batch in self.batches]
        if not len(places):
            return batches[-1].slice(0, 0)
        of = self.batch_of(places)
        turns = np.flatnonzero(np.diff(of)) + 1
        if len(turns) < MOST_RUNS:
            runs = np.split(places, turns)
            numbers = of[np.concatenate(([0], turns))].tolist()
            return _one([rows_at(batches[n], run - self.starts[n]) for n, run in zip(numbers, runs, strict=True)])
        order = np.argsort(of, kind="stable")
        numbers, firsts = np.unique(of[order], return_index=True)
        runs = np.split(places[order], firsts[1:])
        parts = [rows_at(batches[n], run - self.starts[n]) for n, run in zip(numbers.tolist(), runs, strict=True)]
        back = np.empty(len(places), np.int64)
        back[order] = np.arange(len(places))
        return _one(parts).take(pa.array(back))


def _one(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def rows_at(flows: pa.RecordBatch, places: Ints) -> pa.RecordBatch:
    """The rows at these places, in this order; where they stand side by side, a view."""
    if len(places) == 0:
        return flows.slice(0, 0)
    first = int(places[0])
    if int(places[-1]) - first + 1 == len(places) and np.array_equal(places, np.arange(first, first + len(places))):
        return flows.slice(first, len(places))
    return flows.take(pa.array(places))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sensor's flows that wait, in event-time order: their keys, and the batch and row each lies in."""

    keys: Keys
    batches: tuple[pa.RecordBatch, ...]
    batch: Ints
    row: Ints

    def __len__(self) -> int:
        return len(self.batch)

    @classmethod
    def of(cls, flows: pa.RecordBatch) -> "Waiting":
        """All flows of a batch in event-time order."""
        count = len(flows)
        batches = (flows,) if count else ()
        return cls(keys_of(flows), batches, np.zeros(count, np.int64), np.arange(count))

    @classmethod
    def none(cls) -> "Waiting":
        """Nothing that waits."""
        return _NONE

    def flows(self) -> pa.RecordBatch:
        """The flows, in event-time order, in memory of their own."""
        if not self.batches:
            return NO_FLOWS
        pool = Pool(self.batches)
        flows = pool.rows(pool.starts[self.batch] + self.row)
        return flows.take(pa.array(np.arange(len(flows))))  # of a view, only what is seen

    def compact(self) -> "Waiting":
        """The same in one batch, so that the messages the flows came with can go."""
        return Waiting(self.keys, (self.flows(),), np.zeros(len(self), np.int64), np.arange(len(self)))

    def tight(self) -> "Waiting":
        """The same, compact if it holds much that others have left: for a sensor that is not heard for a while."""
        return self.compact() if sum(map(len, self.batches)) > MOST_HELD * len(self) else self

    @property
    def lowest(self) -> tuple[int, int] | None:
        """Offset and index of the lowest raw position that waits."""
        if not len(self):
            return None
        offset = int(self.keys.raw_offset.min())
        return offset, int(self.keys.raw_index[self.keys.raw_offset == offset].min())


def left_in(pool: Pool, keys: Keys, places: Ints) -> Waiting:
    """Flows that stay: at these places of a pool, in event-time order; `keys` are theirs."""
    if not len(places):
        return _NONE
    of = pool.batch_of(places)
    numbers, batch = np.unique(of, return_inverse=True)
    batches = tuple(pool.batches[number] for number in numbers.tolist())
    waiting = Waiting(keys, batches, batch.astype(np.int64), places - pool.starts[of])
    return waiting.compact() if len(batches) > MOST_BATCHES else waiting


NO_FLOWS = pa.RecordBatch.from_arrays(
    [pa.array([], field.type) for field in arrow_schema("flow")], schema=arrow_schema("flow")
)
_NONE = Waiting.of(NO_FLOWS)
