"""A scenario's recordings played by its sensors: which record is the how manieth."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from loadtest.conn_json import Ints, mixed
from loadtest.workload.copies import side_by_side
from loadtest.workload.recording import NO_EVENT, Recording, of_plant, of_westermo
from loadtest.workload.scenario import LoadScenario

APART_US = 60_000_000
"""Sensors that are not in step see the same at most so far apart."""
Headers = list[tuple[str, str | bytes | None]]
NUMBERS = "source-records"


class Tapes(NamedTuple):
    """What a sensor plays: a quiet stretch, and the same with attacks."""

    quiet: Recording
    attacked: Recording


def records_before(
    tapes: Tapes, ahead_us: int | Ints, first_attacked: int | Ints, event_us: int | Ints
) -> npt.NDArray[np.int64]:
    """How many records of the tapes' start come before event times, counted from the tapes' own start."""
    turn, within = np.divmod(np.asarray(event_us + ahead_us), tapes.quiet.span_us)
    quiet, attacked = tapes
    before = np.where(turn < first_attacked, quiet.before(within), attacked.before(within))
    before += np.minimum(turn, first_attacked) * quiet.records
    before += np.maximum(turn - first_attacked, 0) * attacked.records
    return before


def places(tapes: Tapes, first_attacked: int | Ints, index: Ints) -> tuple[Ints, Ints]:
    """(n,) in which turn each record is, and its row on that turn's tape; index: from the tapes' own start."""
    quiet, attacked = tapes
    quiet_records = first_attacked * quiet.records
    early = index < quiet_records
    later = np.maximum(index - quiet_records, 0)
    turn = np.where(early, index // quiet.records, first_attacked + later // attacked.records)
    return turn, np.where(early, index % quiet.records, later % attacked.records)


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

    @cached_property
    def _skipped(self) -> int:
        return int(records_before(self.tapes, self.ahead_us, self.first_attacked, 0))

    def sent_before(self, event_us: int) -> int:
        """How many records the sensor has before an event time."""
        return int(records_before(self.tapes, self.ahead_us, self.first_attacked, event_us)) - self._skipped

    def _places(self, numbers: Ints) -> tuple[Ints, Ints]:
        return places(self.tapes, self.first_attacked, numbers + self._skipped)

    def event_us(self, numbers: Ints) -> Ints:
        """(n,) the event time of records, from the run's start on."""
        turn, row = self._places(numbers)
        quiet, attacked = self.tapes
        early = turn < self.first_attacked
        end = np.where(early, quiet.end_us[np.where(early, row, 0)], attacked.end_us[np.where(early, 0, row)])
        return turn * quiet.span_us + end - self.ahead_us

    def attacks(self, numbers: Ints) -> Ints:
        """(n,) of which event of which turn records are: turn times the number of events, plus the event; else -1."""
        turn, row = self._places(numbers)
        tape = self.tapes.attacked
        event = np.where(turn >= self.first_attacked, tape.event[np.minimum(row, tape.records - 1)], NO_EVENT)
        return np.where(event == NO_EVENT, -1, turn * max(len(tape.events), 1) + event)


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
