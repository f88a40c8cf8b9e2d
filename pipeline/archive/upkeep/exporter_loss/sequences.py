"""What is missing between the sequence numbers of an exporter, taken in the order its records were recorded.

All records of a packet carry the packet's number, modulo 2^32. What the next packet's number should be depends on
what is counted: one more where packets are counted, as many more as this packet had records where records are. Both
are followed here; the protocol says which of them holds, unless the numbers themselves show the other.

- Records one after another with the same number are a run. A run whose number is REORDERED or more away from the
  number before, or that starts the counting again, is a break; what follows a break is believed once BELIEVED runs
  in a row belong together, so that a straggler is neither a loss nor a restart.
- Numbers ahead, by at most MAX_AHEAD, continue the same counting: what lies between is missing until it comes. Other
  breaks are resets: the exporter has restarted, and nothing is known of what lies between.
- In any order, a number counts as long as it is within twice REORDERED of the highest one; later it is a straggler.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

WRAP = 1 << 32
REORDERED = 4_096
MAX_AHEAD = 1 << 28
RESTART_BELOW, FALL = 64, 512  # a number below the one, after one higher by the other: the exporter has restarted
BELIEVED = 3
MAX_RANGES = 1_000
BLOCK = 65_536
_COUNTING_SPAN = 1 << 46  # more than a block's numbers can run through in one counting

Ints = npt.NDArray[np.int64]
_NONE = np.empty(0, np.int64)


class Range(NamedTuple):
    """Missing numbers: both ends modulo 2^32, how many, and when the packet after them was sent on."""

    first: int
    last: int
    missing: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Gaps:
    """Everything missing, and the newest MAX_RANGES of its ranges."""

    missing: int = 0
    count: int = 0
    ranges: tuple[Range, ...] = ()

    def extended(self, first: Ints, count: Ints, until_us: Ints) -> "Gaps":
        """These gaps and those where `count` is above 0."""
        there = np.flatnonzero(count > 0)
        newest = there[-MAX_RANGES:]
        last = first[newest] + count[newest] - 1
        columns = (first[newest] % WRAP, last % WRAP, count[newest], until_us[newest])
        ranges = [Range(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        retained = (*self.ranges, *ranges)[-MAX_RANGES:]
        return Gaps(self.missing + int(count[there].sum()), self.count + len(there), retained)


class Packets(NamedTuple):
    """Numbers: how many records came with each, when the first of them was sent on, and in which counting each is."""

    numbers: Ints
    records: Ints
    at_us: Ints
    counting: Ints

    def where(self, rows: npt.NDArray[np.bool_] | slice) -> "Packets":
        """The packets of these rows."""
        return Packets(*(column[rows] for column in self))

    def concatenated(self, others: "Packets") -> "Packets":
        """These packets, then the others."""
        return Packets(*(np.concatenate(columns) for columns in zip(self, others, strict=True)))


NO_PACKETS = Packets(_NONE, _NONE, _NONE, _NONE)


@dataclass(frozen=True, slots=True)
class Sequence:
    """An exporter's numbers so far."""

    packets: Gaps = field(default_factory=Gaps)  # where packets are counted
    flows: Gaps = field(default_factory=Gaps)  # where records are
    like_packets: int = 0  # packets of several records whose successor is one more ...
    like_flows: int = 0  # ... and those whose successor is as many more as they have records
    records: int = 0
    runs: int = 0
    resets: int = 0
    stragglers: int = 0  # runs
    doubted: Packets = NO_PACKETS  # runs after a break that are not believed yet
    pending: Packets = NO_PACKETS  # positions that more records may come to, sorted; the first is settled
    last: int | None = None  # position of the last run believed

    @property
    def mixed(self) -> bool:
        """Whether these are no one exporter's numbers: they jump so often that nothing follows from a jump."""
        jumps = self.resets + self.stragglers
        return jumps > 8 and jumps * 32 > self.runs


def count(sequence: Sequence, numbers: Ints, at_us: Ints) -> Sequence:
    """The sequence after more records: their numbers, 0..2^32-1, and times, (n,) each, in the order recorded.

    However records are cut into calls, what comes out is the same.
    """
    for first in range(0, len(numbers), BLOCK):
        block = slice(first, first + BLOCK)
        sequence = _count(sequence, numbers[block], at_us[block])
    return sequence


def _count(sequence: Sequence, numbers: Ints, at_us: Ints) -> Sequence:
    every = len(numbers)
    ones = Packets(numbers, np.ones(every, np.int64), at_us, np.zeros(every, np.int64))
    known = len(sequence.doubted.numbers)
    runs = _collapsed(sequence.doubted.concatenated(ones))
    before = runs.numbers[:1] if sequence.last is None else np.array([sequence.last % WRAP])
    # The last call's last run, of which more comes: it is counted already.
    continued = int(sequence.last is not None and not known and runs.numbers[0] == before[0])
    step = _signed(np.diff(runs.numbers, prepend=before))
    breaks = (np.abs(step) >= REORDERED) | _restarts(runs.numbers, step)
    breaks[0] |= known > 0  # from what came before it, be it a straggler
    segment = np.cumsum(breaks)
    lengths = np.bincount(segment)
    believed = lengths[segment] >= BELIEVED
    if sequence.last is not None:
        believed |= segment == 0  # continues where the last one believed was
    doubted = ~believed & (segment == segment[-1])
    sequence = replace(
        sequence,
        records=sequence.records + every,
        runs=sequence.runs + len(runs.numbers) - known - continued,
        stragglers=sequence.stragglers + int((~believed & ~doubted).sum()),
        doubted=runs.where(doubted),
    )
    return _believe(sequence, runs.where(believed), continued) if believed.any() else sequence


def _collapsed(packets: Packets) -> Packets:
    """Merge neighbours that have the same number."""
    fresh = np.ones(len(packets.numbers), bool)
    fresh[1:] = (np.diff(packets.numbers) != 0) | (np.diff(packets.counting) != 0)
    starts = np.flatnonzero(fresh)
    return Packets(
        packets.numbers[starts],
        np.add.reduceat(packets.records, starts),
        np.minimum.reduceat(packets.at_us, starts),
        packets.counting[starts],
    )


def _signed(steps: Ints) -> Ints:
    """The shortest way round from one number to the next, -2^31 to 2^31 - 1."""
    return (steps + WRAP // 2) % WRAP - WRAP // 2


def _restarts(numbers: Ints, step: Ints) -> npt.NDArray[np.bool_]:
    restarts: npt.NDArray[np.bool_] = (numbers < RESTART_BELOW) & (step <= -FALL)
    return restarts


def _believe(sequence: Sequence, runs: Packets, continued: int = 0) -> Sequence:
    """Give each run its position, and settle the positions that no more records can come to; `continued`: of how many
    runs, from the first, there were records before.
    """
    last = int(runs.numbers[0]) if sequence.last is None else sequence.last
    # Only differences count: positions stay small however long the exporter runs.
    turn = last // WRAP * WRAP
    last, pending = last - turn, sequence.pending._replace(numbers=sequence.pending.numbers - turn)
    step = _signed(np.diff(runs.numbers, prepend=last % WRAP))
    reset = (step <= -REORDERED) | (step > MAX_AHEAD) | _restarts(runs.numbers, step)
    counting = np.cumsum(reset, dtype=np.int64)
    way = np.cumsum(np.where(reset, 0, step))
    start = np.concatenate(([last], runs.numbers[reset] - way[reset]))
    position = start[counting] + way
    runs = runs._replace(numbers=position, counting=counting)
    highest = int(pending.numbers[-1]) if len(pending.numbers) else int(position[0])
    base = counting * _COUNTING_SPAN
    reached = np.maximum.accumulate(np.concatenate(([highest], position + base)))[1:] - base
    late = position < reached - 2 * REORDERED
    every = pending.concatenated(runs.where(~late))
    every = _collapsed(every.where(np.lexsort((every.numbers, every.counting))))  # type: ignore[arg-type]
    now = int(counting[-1])
    settled = (every.counting < now) | (every.numbers < every.numbers[-1] - 2 * REORDERED)
    done = int(settled.sum())
    retained = done - 1 if done and every.counting[done - 1] == now else done
    sequence = _settle(sequence, every.where(slice(0, done)))
    return replace(
        sequence,
        resets=sequence.resets + int(reset.sum()),
        stragglers=sequence.stragglers + int(late[continued:].sum()),
        pending=every.where(slice(retained, None))._replace(counting=np.zeros(len(every.numbers) - retained, np.int64)),
        last=int(position[-1]),
    )


def _settle(sequence: Sequence, packets: Packets) -> Sequence:
    """Compare each packet with the one after it, of the same counting."""
    pairs = np.diff(packets.counting) == 0
    earlier, step = packets.where(slice(0, -1)).where(pairs), np.diff(packets.numbers)[pairs]
    until_us, several = packets.at_us[1:][pairs], earlier.records > 1
    return replace(
        sequence,
        packets=sequence.packets.extended(earlier.numbers + 1, step - 1, until_us),
        flows=sequence.flows.extended(earlier.numbers + earlier.records, step - earlier.records, until_us),
        like_packets=sequence.like_packets + int((several & (step == 1)).sum()),
        like_flows=sequence.like_flows + int((several & (step == earlier.records)).sum()),
    )


def as_of_now(sequence: Sequence) -> Sequence:
    """The sequence if nothing more came: numbers that could still come late are missing."""
    if sequence.last is None and len(sequence.doubted.numbers):
        sequence = _believe(replace(sequence, doubted=NO_PACKETS), sequence.doubted)
    return replace(_settle(sequence, sequence.pending), pending=sequence.pending.where(slice(-1, None)))
