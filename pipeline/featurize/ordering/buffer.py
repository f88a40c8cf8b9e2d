"""Batches of flows side by side, and the flows of a sensor that wait to be released.

A message's flows stay in the message's own memory. A flow that waits is known by its keys and its index alone, so it is
copied once, when it is released, however many messages it waits through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.fields import arrow_schema

# A sensor's waiting flows lie in no more batches than this; then they are copied into one.
MAX_BATCHES = 64
# Rows held in memory for each row that waits: one waiting flow must not hold a message of thousands.
MAX_ROWS_PER_WAITING = 4
# Runs of rows that are gathered run by run; for more of them it is cheaper to gather batch by batch and sort back.
MAX_RUNS = 64

Ints = npt.NDArray[np.int64]


class Keys(NamedTuple):
    """What n flows are ordered by, each field an array of n, the most significant one last."""

    raw_index: npt.NDArray[np.int32]
    raw_offset: Ints
    raw_partition: npt.NDArray[np.int32]
    record_id: npt.NDArray[np.uint64]
    end_us: Ints

    def at(self, indices: Ints) -> "Keys":
        """The keys of the flows at these indices."""
        return Keys(*(key[indices] for key in self))  # type: ignore[arg-type]  # each is of its own type

    def concatenated(self, others: "Keys") -> "Keys":
        """These flows' keys and the others' after them."""
        return Keys(*(np.concatenate((key, other)) for key, other in zip(self, others, strict=True)))  # type: ignore[arg-type]


_COLUMNS = ("raw_index", "raw_offset", "raw_partition", "record_id", "end_ts_us")


def keys_of(flows: pa.RecordBatch) -> Keys:
    """The keys of a batch of the `flow` schema."""
    return Keys(*(flows.column(name).to_numpy() for name in _COLUMNS))


class Pool:
    """Batches of the `flow` schema side by side: row r of batch b has the index starts[b] + r."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self.batches = batches
        self.starts = np.cumsum([0, *map(len, batches)])

    def batch_of(self, indices: Ints) -> Ints:
        """(n,) the number of the batch that each index lies in."""
        return np.searchsorted(self.starts, indices, "right") - 1

    def rows(self, indices: Ints, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """The rows at these indices, in this order; a view where the indices are consecutive."""
        batches = self.batches if columns is None else [batch.select(list(columns)) for batch in self.batches]
        if not len(indices):
            return batches[-1].slice(0, 0)
        of = self.batch_of(indices)
        cuts = np.flatnonzero(np.diff(of)) + 1
        if len(cuts) < MAX_RUNS:
            runs = np.split(indices, cuts)
            numbers = of[np.concatenate(([0], cuts))].tolist()
            parts = [rows_at(batches[n], run - self.starts[n]) for n, run in zip(numbers, runs, strict=True)]
            return _concatenated(parts)
        order = np.argsort(of, kind="stable")
        numbers, firsts = np.unique(of[order], return_index=True)
        runs = np.split(indices[order], firsts[1:])
        parts = [rows_at(batches[n], run - self.starts[n]) for n, run in zip(numbers.tolist(), runs, strict=True)]
        back = np.empty(len(indices), np.int64)
        back[order] = np.arange(len(indices))
        return _concatenated(parts).take(pa.array(back))


def _concatenated(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def rows_at(flows: pa.RecordBatch, indices: Ints) -> pa.RecordBatch:
    """The rows at these indices, in this order; a view where the indices are consecutive."""
    if len(indices) == 0:
        return flows.slice(0, 0)
    first = int(indices[0])
    if int(indices[-1]) - first + 1 == len(indices) and np.array_equal(indices, np.arange(first, first + len(indices))):
        return flows.slice(first, len(indices))
    return flows.take(pa.array(indices))


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
        """No flows."""
        return _NONE

    def flows(self) -> pa.RecordBatch:
        """The flows, in event-time order, copied."""
        if not self.batches:
            return NO_FLOWS
        pool = Pool(self.batches)
        flows = pool.rows(pool.starts[self.batch] + self.row)
        return flows.take(pa.array(np.arange(len(flows))))  # of a view, only its own rows

    def compact(self) -> "Waiting":
        """The same in one batch, so that the messages the flows came with can be freed."""
        return Waiting(self.keys, (self.flows(),), np.zeros(len(self), np.int64), np.arange(len(self)))

    def tight(self) -> "Waiting":
        """The same, compact if it holds many rows that no longer wait: for a sensor that sends nothing for a while."""
        return self.compact() if sum(map(len, self.batches)) > MAX_ROWS_PER_WAITING * len(self) else self

    @property
    def lowest(self) -> tuple[int, int] | None:
        """Offset and index of the lowest raw position that waits."""
        if not len(self):
            return None
        offset = int(self.keys.raw_offset.min())
        return offset, int(self.keys.raw_index[self.keys.raw_offset == offset].min())


def waiting_in(pool: Pool, keys: Keys, indices: Ints) -> Waiting:
    """Flows that remain waiting: at these indices of a pool, in event-time order; `keys` are theirs."""
    if not len(indices):
        return _NONE
    of = pool.batch_of(indices)
    numbers, batch = np.unique(of, return_inverse=True)
    batches = tuple(pool.batches[number] for number in numbers.tolist())
    waiting = Waiting(keys, batches, batch.astype(np.int64), indices - pool.starts[of])
    return waiting.compact() if len(batches) > MAX_BATCHES else waiting


NO_FLOWS = pa.RecordBatch.from_arrays(
    [pa.array([], field.type) for field in arrow_schema("flow")], schema=arrow_schema("flow")
)
_NONE = Waiting.of(NO_FLOWS)
