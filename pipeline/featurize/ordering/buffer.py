"""Batches of flows side by side, and the flows of a sensor that wait to be released.

A message's flows stay in the message's own memory. A flow that waits is known by its keys and its index alone, so it is
copied once, when it is released, however many messages it waits through.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.ordering import pairing
from schemas.fields import arrow_schema

# Sensors' waiting flows lie in no more batches than this; then they are copied into one.
MAX_BATCHES = 64
# Rows held in memory for each row that waits: one waiting flow must not hold a message of thousands.
MAX_ROWS_PER_WAITING = 4
# Keys of so many flows, 200 kB, are shared by the sensors that wait. Of more, nobody holds the arrays who has less than
# one flow in MAX_ROWS_PER_WAITING: else each of 256 quiet sensors would hold those of another message.
MAX_SHARED_KEYS = 4_096
# Rows copied for each that is wanted, of several batches: a copy of whole columns costs a half of one row by row. So
# many are copied whatever is wanted, for picking rows costs as much as to copy some hundred, however few they are.
MAX_ROWS_PER_WANTED = 2
FEW_ROWS = 128

Ints = npt.NDArray[np.int64]


class Keys(NamedTuple):
    """What n flows are ordered by, each field an array of n, the most significant one last.

    kind: WHOLE, HALF or ICS (pairing.py); it says which may have to wait, and between two raw positions never decides.
    """

    kind: pairing.Kinds
    raw_index: npt.NDArray[np.int32]
    raw_offset: Ints
    raw_partition: npt.NDArray[np.int32]
    record_id: npt.NDArray[np.uint64]
    end_us: Ints

    def at(self, indices: Ints) -> "Keys":
        """The keys of the flows at these indices."""
        return Keys(*(key[indices] for key in self))  # type: ignore[arg-type]  # each is of its own type


def concatenated(keys: Sequence[Keys]) -> Keys:
    """Several flows' keys one after the other."""
    return Keys(*(np.concatenate(columns) for columns in zip(*keys, strict=True)))


_COLUMNS = ("raw_index", "raw_offset", "raw_partition", "record_id", "end_ts_us")


def keys_of(flows: pa.RecordBatch) -> Keys:
    """The keys of a batch of the `flow` schema."""
    return Keys(pairing.kinds_of(flows), *(flows.column(name).to_numpy() for name in _COLUMNS))


class Pool:
    """Different batches of the `flow` schema side by side: row r of batch b has the index starts[b] + r.

    Sensors whose flows wait in the same messages share a tuple of them: what a pool costs hardly grows with sensors.
    """

    def __init__(self, waiting: Iterable["Waiting"], *batches: pa.RecordBatch) -> None:
        """All batches of what waits, and these after them."""
        held = {id(each.batches): each.batches for each in waiting}
        different = {id(batch): batch for together in (*held.values(), batches) for batch in together}
        self.batches = list(different.values())
        self.starts = np.cumsum([0, *map(len, self.batches)])
        self._start_of: dict[int, int] = dict(zip(different, self.starts.tolist(), strict=False))
        self._starts_of = {
            key: np.array([self.start_of(batch) for batch in together], np.int64) for key, together in held.items()
        }

    def start_of(self, batch: pa.RecordBatch) -> int:
        """The index of the first row of a batch, one of the pool's."""
        return self._start_of[id(batch)]

    def indices_of(self, waiting: "Waiting") -> Ints:
        """Where a sensor's waiting flows are, in their order; it is among those the pool was made of."""
        indices: Ints = self._starts_of[id(waiting.batches)][waiting.batch] + waiting.row
        return indices

    def batch_of(self, indices: Ints) -> Ints:
        """(n,) the number of the batch that each index lies in."""
        return np.searchsorted(self.starts, indices, "right") - 1

    def rows(self, indices: Ints, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """The rows at these indices, in this order, in memory of their own: laid out alike wherever they lay."""
        of = self.batch_of(indices)
        numbers = np.unique(of).tolist()
        if len(numbers) <= 1:
            number = numbers[0] if numbers else len(self.batches) - 1
            return self._batch(number, columns).take(pa.array(indices - self.starts[number]))
        place, parts, size = np.empty(len(indices), np.int64), [], 0
        for number in numbers:
            at = np.flatnonzero(of == number)
            part, rows = _part(self._batch(number, columns), indices[at] - self.starts[number])
            place[at] = size + rows
            parts.append(part)
            size += len(part)
        return pa.concat_batches(parts).take(pa.array(place))

    def _batch(self, number: int, columns: Sequence[str] | None) -> pa.RecordBatch:
        return self.batches[number] if columns is None else self.batches[number].select(list(columns))


def _part(batch: pa.RecordBatch, rows: Ints) -> tuple[pa.RecordBatch, Ints]:
    """Some of a batch's rows, these among them, and where these are there: a view, unless most would be others."""
    first, end = int(rows.min()), int(rows.max()) + 1
    if end - first > max(FEW_ROWS, MAX_ROWS_PER_WANTED * len(rows)):
        return batch.take(pa.array(rows)), np.arange(len(rows))
    return batch.slice(first, end - first), rows - first


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sensor's flows that wait, in event-time order: their keys, and the batch and row each lies in.

    lowest: offset and index of the lowest raw position, None without flows.
    """

    keys: Keys
    batches: tuple[pa.RecordBatch, ...]
    batch: Ints
    row: Ints
    lowest: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.batch)

    @classmethod
    def of(cls, flows: pa.RecordBatch) -> "Waiting":
        """All flows of a batch in event-time order."""
        count = len(flows)
        return _all_waiting(keys_of(flows), (flows,), np.zeros(count, np.int64), np.arange(count), [0, count])[0]

    @classmethod
    def none(cls) -> "Waiting":
        """No flows."""
        return _NONE

    def flows(self) -> pa.RecordBatch:
        """The flows, in event-time order, copied."""
        return _copied(Pool([self]), [self]) if len(self) else NO_FLOWS


def _copied(pool: Pool, sensors: Sequence[Waiting]) -> pa.RecordBatch:
    """The flows of these sensors, who have some, one sensor after the other, in memory of their own."""
    return pool.rows(np.concatenate([pool.indices_of(waiting) for waiting in sensors]))


def tight(sensors: Sequence[Waiting]) -> list[Waiting]:
    """The same flows of sensors; those in messages that hold many rows that no longer wait are copied.

    Those of sensors that share their messages are in one batch then: they came together, and will leave together. Six
    flows of three sensors in two messages, of which B is held for two rows of a thousand:

        sensor   left   left   top    top    top    quiet
        batch    A      A      A      A      B      B         before
        batch    A      A      new    new    new    own       after: B is freed
    """
    pool = Pool(sensors)
    waits = np.zeros(len(pool.batches), np.int64)
    sharing = dict[int, list[Waiting]]()
    for waiting in sensors:
        if len(waiting):
            sharing.setdefault(id(waiting.batches), []).append(waiting)
    for together in sharing.values():
        of = pool.batch_of(np.concatenate([pool.indices_of(waiting) for waiting in together]))
        waits += np.bincount(of, minlength=len(waits))
    sparse = (np.diff(pool.starts) > MAX_ROWS_PER_WAITING * waits).tolist()
    moved = {id(batch) for batch, is_sparse in zip(pool.batches, sparse, strict=True) if is_sparse}
    copied = {
        key: iter(_copies(pool, together))
        for key, together in sharing.items()
        if any(id(batch) in moved for batch in together[0].batches)
    }
    return [
        next(copied[id(waiting.batches)]) if len(waiting) and id(waiting.batches) in copied else waiting
        for waiting in sensors
    ]


def _copies(pool: Pool, sensors: Sequence[Waiting]) -> list[Waiting]:
    """What waits of these sensors, who have some, in one batch of its own."""
    bounds = np.cumsum([0, *map(len, sensors)])
    keys, batch = concatenated([waiting.keys for waiting in sensors]), np.zeros(bounds[-1], np.int64)
    return _all_waiting(keys, (_copied(pool, sensors),), batch, np.arange(bounds[-1]), bounds.tolist())


def waiting_in(pool: Pool, keys: Keys, indices: Ints, bounds: Ints) -> list[Waiting]:
    """Sensors' flows that remain waiting: at these indices of a pool, sensor by sensor in event-time order.

    keys: theirs; bounds (k + 1,): where each sensor's begin, and where they end.
    """
    if not len(indices):
        return [_NONE] * (len(bounds) - 1)
    of = pool.batch_of(indices)
    numbers, batch = np.unique(of, return_inverse=True)
    if len(numbers) > MAX_BATCHES:
        batches = (pool.rows(indices),)
        batch, row = np.zeros(len(indices), np.int64), np.arange(len(indices))
    else:
        batches, row = tuple(pool.batches[number] for number in numbers.tolist()), indices - pool.starts[of]
    return _all_waiting(keys, batches, batch, row, bounds.tolist())


def _all_waiting(
    keys: Keys, batches: tuple[pa.RecordBatch, ...], batch: Ints, row: Ints, bounds: list[int]
) -> list[Waiting]:
    """What waits of sensors whose flows lie in these batches, which they share; keys are copied where they are few."""
    sizes = np.diff(bounds)
    having = np.flatnonzero(sizes)
    starts = np.array(bounds)[having]
    offset = np.minimum.reduceat(keys.raw_offset, starts) if len(having) else starts
    is_lowest = keys.raw_offset == np.repeat(offset, sizes[having])
    index = np.where(is_lowest, keys.raw_index, np.iinfo(np.int32).max)
    lowest = zip(offset.tolist(), np.minimum.reduceat(index, starts).tolist() if len(having) else (), strict=True)
    waiting = []
    for start, end in pairwise(bounds):
        if end == start:
            waiting.append(_NONE)
            continue
        is_few = len(batch) > max(MAX_SHARED_KEYS, MAX_ROWS_PER_WAITING * (end - start))
        theirs = [key[start:end].copy() if is_few else key[start:end] for key in keys]
        of_batch, of_row = batch[start:end], row[start:end]
        if is_few:
            of_batch, of_row = of_batch.copy(), of_row.copy()
        waiting.append(Waiting(Keys(*theirs), batches, of_batch, of_row, next(lowest)))  # type: ignore[arg-type]
    return waiting


NO_FLOWS = pa.RecordBatch.from_arrays(
    [pa.array([], field.type) for field in arrow_schema("flow")], schema=arrow_schema("flow")
)
_NONE = Waiting(keys_of(NO_FLOWS), (), np.zeros(0, np.int64), np.zeros(0, np.int64), None)
