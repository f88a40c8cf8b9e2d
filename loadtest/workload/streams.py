"""A scenario's recordings played by its sensors: which record is the how manieth, and the messages of a stretch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np
import orjson

from loadtest.conn_json import Ints, mixed
from loadtest.workload.copies import side_by_side
from loadtest.workload.recording import NO_EVENT, Recording, of_plant, of_westermo
from loadtest.workload.scenario import LoadScenario
from loadtest.workload.schedule import Schedule

APART_US = 60_000_000
"""Sensors that are not in step see the same at most so far apart."""
Headers = list[tuple[str, str | bytes | None]]
NUMBERS = "source-records"


class Tapes(NamedTuple):
    """What a sensor plays: a quiet stretch, and the same with attacks."""

    quiet: Recording
    attacked: Recording


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


@dataclass(frozen=True)
class Stream:
    """One sensor's records, numbered from 0: quiet stretches over and over, from `first_attacked` on attacked ones.

    Event time 0 is that of the run's start; there the sensor is `ahead_us` into its first stretch.
    """

    sensor: int
    tapes: Tapes
    ahead_us: int
    first_attacked: int
    seed: int

    @property
    def _span_us(self) -> int:
        return self.tapes.quiet.span_us

    def _before(self, event_us: Ints) -> Ints:
        """How many records of the tapes' start come before event times, counted from the tapes' own start."""
        turn, within = np.divmod(event_us + self.ahead_us, self._span_us)
        quiet, attacked = self.tapes
        before = np.where(turn < self.first_attacked, quiet.before(within), attacked.before(within))
        before += np.minimum(turn, self.first_attacked) * quiet.records
        before += np.maximum(turn - self.first_attacked, 0) * attacked.records
        return before

    @cached_property
    def _skipped(self) -> int:
        return int(self._before(np.zeros(1, np.int64))[0])

    def sent_before(self, event_us: int) -> int:
        """How many records the sensor has before an event time."""
        return int(self._before(np.array([event_us], np.int64))[0]) - self._skipped

    def _places(self, numbers: Ints) -> tuple[Ints, Ints]:
        """(n,) in which turn each record is, and its row on that turn's tape."""
        index = numbers + self._skipped
        quiet, attacked = self.tapes
        quiet_records = self.first_attacked * quiet.records
        early = index < quiet_records
        later = np.maximum(index - quiet_records, 0)
        turn = np.where(early, index // quiet.records, self.first_attacked + later // attacked.records)
        return turn, np.where(early, index % quiet.records, later % attacked.records)

    def event_us(self, numbers: Ints) -> Ints:
        """(n,) the event time of records, from the run's start on."""
        turn, row = self._places(numbers)
        end = np.empty(len(numbers), np.int64)
        for tape, chosen in self._by_tape(turn):
            end[chosen] = tape.end_us[row[chosen]]
        return turn * self._span_us + end - self.ahead_us

    def attacks(self, numbers: Ints) -> Ints:
        """(n,) of which event of which turn records are: turn times the number of events, plus the event; else -1."""
        turn, row = self._places(numbers)
        tape = self.tapes.attacked
        event = np.where(turn >= self.first_attacked, tape.event[np.minimum(row, tape.records - 1)], NO_EVENT)
        return np.where(event == NO_EVENT, -1, turn * max(len(tape.events), 1) + event)

    def _by_tape(self, turn: Ints) -> Iterator[tuple[Recording, Ints]]:
        for tape, chosen in ((self.tapes.quiet, turn < self.first_attacked), (self.tapes.attacked, None)):
            rows = np.flatnonzero(chosen if chosen is not None else turn >= self.first_attacked)
            if len(rows):
                yield tape, rows

    def messages(self, numbers: Ints, schedule: Schedule, pack: int) -> Iterator[Messages]:
        """The messages of records in ascending order, `pack` of a log in one."""
        turn, row = self._places(numbers)
        for tape, chosen in self._by_tape(turn):
            yield self._played(tape, numbers[chosen], turn[chosen], row[chosen], schedule, pack)

    def _played(self, tape: Recording, numbers: Ints, turn: Ints, row: Ints, schedule: Schedule, pack: int) -> Messages:
        if pack > 1 and len(tape.logs) > 1:  # records of a log one behind the other
            order = np.argsort(tape.log[row], kind="stable")
            numbers, turn, row = numbers[order], turn[order], row[order]
        shift = schedule.event_start_us + turn * self._span_us - self.ahead_us
        due = schedule.due_us(shift + tape.end_us[row], self.sensor)
        text, bounds = tape.play(row, shift, mixed(self.seed, self.sensor, turn))
        log = tape.log[row]
        firsts = _cuts(log, pack)
        lasts = np.append(firsts[1:], len(row))
        counted = numbers.astype("<u8").tobytes()
        starts, ends = bounds[firsts].tolist(), (bounds[lasts] - 1).tolist()
        return Messages(
            due[lasts - 1],
            np.full(len(firsts), self.sensor),
            log[firsts],
            lasts - firsts,
            [text[start:end] for start, end in zip(starts, ends, strict=True)],
            [counted[start:end] for start, end in zip((8 * firsts).tolist(), (8 * lasts).tolist(), strict=True)],
        )


def _cuts(log: Ints, pack: int) -> Ints:
    """Where messages start: at most `pack` records each, all of one log."""
    if pack == 1:
        return np.arange(len(log))
    starts = np.flatnonzero(np.diff(log, prepend=-1))
    ends = np.append(starts[1:], len(log))
    return np.concatenate([np.arange(a, b, pack) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])


def tapes_of(scenario: LoadScenario, seed: int) -> list[Tapes]:
    """The recordings of a scenario, one a plant; sites share them in turn."""
    if scenario.plant is None:
        capture = of_westermo(scenario.capture)
        return [Tapes(capture, capture)]
    plant = scenario.plant
    made = []
    for number in range(min(scenario.seeds, scenario.sites)):
        single = of_plant(plant, seed + number, False)
        quiet = side_by_side(single, single, plant.copies)
        attacked = side_by_side(of_plant(plant, seed + number, True), single, plant.copies) if plant.attacks else quiet
        made.append(Tapes(quiet, attacked))
    return made


def speed_for(scenario: LoadScenario, tapes: list[Tapes], records: int, duration_us: int, seed: int) -> float:
    """How many times as fast as the clock event time has to run for a run to have so many records, attacks included."""
    low, high = duration_us // 1_000, duration_us
    while _records(streams_of(scenario, tapes, high, seed), high) < records:
        low, high = high, high * 4
    while high - low > max(1, high // 2_000):
        middle = (low + high) // 2
        few = _records(streams_of(scenario, tapes, middle, seed), middle) < records
        low, high = (middle, high) if few else (low, middle)
    return high / duration_us


def _records(streams: list[Stream], event_span_us: int) -> int:
    return sum(stream.sent_before(event_span_us) for stream in streams)


def streams_of(scenario: LoadScenario, tapes: list[Tapes], event_span_us: int, seed: int) -> list[Stream]:
    """Every sensor's stream for a run of so much event time: the first attack comes after its share `attack_at`."""
    streams = []
    for sensor in range(scenario.sites * scenario.sensors):
        tape = tapes[sensor // scenario.sensors % len(tapes)]
        ahead_us, first = 0, 0
        attack_us = tape.attacked.attack_start_us
        if tape.attacked is not tape.quiet and attack_us is not None:
            wanted_us = round(scenario.attack_at * event_span_us)
            first = max(0, -((attack_us - wanted_us) // tape.quiet.span_us))
            ahead_us = first * tape.quiet.span_us + attack_us - wanted_us
        if not scenario.in_step:
            ahead_us += int(mixed(seed, sensor, 1)[0]) % APART_US
        streams.append(Stream(sensor, tape, ahead_us, first, seed))
    return streams


def headers_of(scenario: LoadScenario, sensor: int, tape: Recording) -> list[Headers]:
    """The headers of a sensor's messages, for each log."""
    site, name = scenario.sensor_names[sensor]
    return [
        [
            ("content-type", log.content_type.encode()),
            ("site", site.encode()),
            ("sensor", name.encode()),
            ("columns", orjson.dumps(log.columns)),
        ]
        for log in tape.logs
    ]
