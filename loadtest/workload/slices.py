"""The messages of a run, a slice of time after another: of all sensors that play the same tapes at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np

from loadtest.conn_json import Ints, Words, mixed
from loadtest.workload.recording import Recording
from loadtest.workload.schedule import Schedule
from loadtest.workload.streams import Stream, Tapes, places, records_before

SLICE_US = 250_000
"""Records of so much of the clock are made at once."""
_NUMBER_BYTES = 8  # of a record in the header source-records


class Messages(NamedTuple):
    """m messages of `raw` as columns.

    log: the kind of line, which says the headers. value: the encoded records. numbers: those of the records, as the
    header source-records has them.
    """

    due_us: Ints
    sensor: Ints
    log: Ints
    records: Ints
    value: list[bytes]
    numbers: list[bytes]

    def taken(self, order: Ints) -> "Messages":
        """The messages at some indices."""
        index = order.tolist()
        return Messages(
            self.due_us[order],
            self.sensor[order],
            self.log[order],
            self.records[order],
            [self.value[at] for at in index],
            [self.numbers[at] for at in index],
        )

    def part(self, part: slice) -> "Messages":
        """Messages that follow one another."""
        return Messages(
            self.due_us[part],
            self.sensor[part],
            self.log[part],
            self.records[part],
            self.value[part],
            self.numbers[part],
        )

    def last_number(self, message: int) -> int:
        """The number of a message's last record."""
        return int.from_bytes(self.numbers[message][-_NUMBER_BYTES:], "little")


def joined(parts: Sequence[Messages]) -> Messages:
    """Messages one behind the other."""
    none = np.zeros(0, np.int64)
    return Messages(
        np.concatenate([none, *(part.due_us for part in parts)]),
        np.concatenate([none, *(part.sensor for part in parts)]),
        np.concatenate([none, *(part.log for part in parts)]),
        np.concatenate([none, *(part.records for part in parts)]),
        list(chain.from_iterable(part.value for part in parts)),
        list(chain.from_iterable(part.numbers for part in parts)),
    )


class _Uncut(NamedTuple):
    """m messages of one tape, before they are cut out of their text. rank: of their sensor among all.

    Message k is text[starts[k]:ends[k]], and numbers[firsts[k]:lasts[k]] those of its records, of eight bytes each.
    """

    due_us: Ints
    rank: Ints
    sensor: Ints
    log: Ints
    firsts: Ints
    lasts: Ints
    starts: Ints
    ends: Ints
    text: bytes
    numbers: bytes


@dataclass(frozen=True)
class _Sensors:
    """Sensors that play the same tapes, as columns with a value a sensor. rank: which of all sensors each is."""

    tapes: Tapes
    rank: Ints
    sensor: Ints
    ahead_us: Ints
    first_attacked: Ints
    seed: Words

    @cached_property
    def _skipped(self) -> Ints:
        return records_before(self.tapes, self.ahead_us, self.first_attacked, 0)

    def sent_before(self, event_us: int) -> Ints:
        """How many records each sensor has before an event time."""
        return records_before(self.tapes, self.ahead_us, self.first_attacked, event_us) - self._skipped

    def messages(self, first: Ints, last: Ints, schedule: Schedule, pack: int) -> Iterator[_Uncut]:
        """The messages of each sensor's records `first` to `last` (exclusive), `pack` of a log in one."""
        which = np.repeat(np.arange(len(first)), last - first)
        numbers = np.arange(len(which)) + (first - (np.cumsum(last - first) - (last - first)))[which]
        turn, row = places(self.tapes, self.first_attacked[which], numbers + self._skipped[which])
        early = turn < self.first_attacked[which]
        for tape, chosen in ((self.tapes.quiet, np.flatnonzero(early)), (self.tapes.attacked, np.flatnonzero(~early))):
            if schedule.outage is not None and len(chosen):
                event_us = self._shift_us(which[chosen], turn[chosen], schedule) + tape.end_us[row[chosen]]
                chosen = chosen[~schedule.never(event_us, self.sensor[which[chosen]])]
            if len(chosen):
                yield self._played(tape, which[chosen], numbers[chosen], turn[chosen], row[chosen], schedule, pack)

    def _shift_us(self, which: Ints, turn: Ints, schedule: Schedule) -> Ints:
        """By how much the times of a tape are moved."""
        return schedule.event_start_us + turn * self.tapes.quiet.span_us - self.ahead_us[which]

    def _played(
        self, tape: Recording, which: Ints, numbers: Ints, turn: Ints, row: Ints, schedule: Schedule, pack: int
    ) -> _Uncut:
        if pack > 1 and len(tape.logs) > 1:  # of each sensor, records of a log one behind the other
            order = np.lexsort((tape.log[row], which))
            which, numbers, turn, row = which[order], numbers[order], turn[order], row[order]
        shift = self._shift_us(which, turn, schedule)
        due = schedule.due_us(shift + tape.end_us[row], self.sensor[which])
        text, bounds = tape.play(row, shift, self._salt(which, turn))
        log = tape.log[row]
        firsts = _cuts(which * len(tape.logs) + log, pack)
        lasts = np.append(firsts[1:], len(row))
        return _Uncut(
            due[lasts - 1],
            self.rank[which[firsts]],
            self.sensor[which[firsts]],
            log[firsts],
            firsts,
            lasts,
            bounds[firsts],
            bounds[lasts] - 1,
            text,
            numbers.astype("<u8").tobytes(),
        )

    def _salt(self, which: Ints, turn: Ints) -> Words:
        """(n,) what makes the uids of a sensor's turn others: one word for all records of a turn."""
        firsts = np.flatnonzero(np.diff(which, prepend=-1) | np.diff(turn, prepend=-1))
        salt = mixed(self.seed[which[firsts]], self.sensor[which[firsts]], turn[firsts])
        return np.repeat(salt, np.diff(firsts, append=len(which)))


def _cuts(run: Ints, pack: int) -> Ints:
    """Where messages start: at most `pack` records each, all of one run of equal numbers."""
    if pack == 1:
        return np.arange(len(run))
    starts = np.flatnonzero(np.diff(run, prepend=-1))
    ends = np.append(starts[1:], len(run))
    return np.concatenate([np.arange(a, b, pack) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])


def _sensors_of(streams: Sequence[Stream]) -> list[_Sensors]:
    """The streams, those of the same tapes together."""
    same: dict[tuple[int, int], list[int]] = {}
    for rank, stream in enumerate(streams):
        same.setdefault((id(stream.tapes.quiet), id(stream.tapes.attacked)), []).append(rank)
    return [
        _Sensors(
            streams[ranks[0]].tapes,
            np.array(ranks),
            np.array([streams[rank].sensor for rank in ranks], np.int64),
            np.array([streams[rank].ahead_us for rank in ranks], np.int64),
            np.array([streams[rank].first_attacked for rank in ranks], np.int64),
            np.array([streams[rank].seed % 2**64 for rank in ranks], np.uint64),
        )
        for ranks in same.values()
    ]


def _in_order(parts: Sequence[_Uncut]) -> Messages:
    """Messages in the order in which they are due, at the same time by sensor, cut out of their text."""
    if not parts:
        return joined(())
    due, rank, sensor, log, firsts, lasts, starts, ends = (
        np.concatenate(columns) for columns in zip(*(part[:8] for part in parts), strict=True)
    )
    order = np.lexsort((rank, due))
    which = np.repeat(np.arange(len(parts)), [len(part.due_us) for part in parts])[order].tolist()
    bounds = zip(which, starts[order].tolist(), ends[order].tolist(), strict=True)
    numbered = zip(which, (8 * firsts[order]).tolist(), (8 * lasts[order]).tolist(), strict=True)
    return Messages(
        due[order],
        sensor[order],
        log[order],
        (lasts - firsts)[order],
        [parts[at].text[start:end] for at, start, end in bounds],
        [parts[at].numbers[start:end] for at, start, end in numbered],
    )


def slices(streams: Sequence[Stream], schedule: Schedule, pack: int, slice_us: int = SLICE_US) -> Iterator[Messages]:
    """All messages of a run in the order in which they are due, a slice of time after another."""
    every = _sensors_of(streams)
    sent = [np.zeros(len(sensors.sensor), np.int64) for sensors in every]
    waiting = joined(())
    end_us = schedule.start_us + schedule.duration_us
    for start_us in range(schedule.start_us, end_us, slice_us):
        until_us = min(start_us + slice_us, end_us)
        event_us = schedule.event_at(until_us) - schedule.event_start_us
        parts: list[_Uncut] = []
        for number, sensors in enumerate(every):
            last = sensors.sent_before(event_us)
            parts += sensors.messages(sent[number], last, schedule, pack)
            sent[number] = last
        made = _in_order(parts)
        if waiting.value:
            both = joined([waiting, made])
            made = both.taken(np.argsort(both.due_us, kind="stable"))
        # Records of an outage are due when it ends: they wait for that slice.
        ready = len(made.value) if until_us == end_us else int(np.searchsorted(made.due_us, until_us))
        yield made.part(slice(ready))
        waiting = made.part(slice(ready, None))
