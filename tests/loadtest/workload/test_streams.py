"""What sensors send: records as ingest takes them, by a schedule, over and over, with labels on the side."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow.compute as pc
import pytest

from loadtest.workload.recording import PlantPart
from loadtest.workload.scenario import BURST, SILENT, LoadScenario, Outage, read_scenario
from loadtest.workload.schedule import Schedule, schedule_of
from loadtest.workload.sender import planned_records
from loadtest.workload.slices import Messages, joined, slices
from loadtest.workload.streams import (
    Headers,
    Stream,
    Tapes,
    headers_of,
    speed_for,
    streams_of,
    tapes_of,
)
from tests.ingest.records import decode

START_US = 1_760_000_000_000_000
PART = PlantPart(from_hour=1, hours=1, attacks=("port-scan",))
SCAN = LoadScenario("scan", "a scan", PART, sites=2, seeds=1)


@cache
def tapes() -> tuple[Tapes, ...]:
    return tuple(tapes_of(SCAN, 7))


def made(
    scenario: LoadScenario, records: int, seconds: float, pack: int = 1
) -> tuple[list[Stream], Schedule, Messages]:
    duration_us = round(seconds * 1e6)
    speed = speed_for(scenario, list(tapes()), records, duration_us, 7)
    schedule = schedule_of(START_US, duration_us, speed, scenario.outage, len(scenario.sensor_names))
    streams = streams_of(scenario, list(tapes()), schedule.event_span_us, 7)
    return streams, schedule, joined(list(slices(streams, schedule, pack)))


def columns_of(headers: Headers) -> list[str]:
    names: list[str] = json.loads(dict(headers)["columns"] or b"[]")
    return names


def numbers_of(messages: Messages, sensor: int) -> np.ndarray:
    mine = np.flatnonzero(messages.sensor == sensor).tolist()
    return np.frombuffer(b"".join(messages.numbers[at] for at in mine), "<u8").astype(np.int64)


@pytest.mark.parametrize("pack", [1, 50])
def test_every_record_is_sent_once_in_order_and_about_as_many_as_asked(pack: int) -> None:
    streams, schedule, messages = made(SCAN, 6_000, 10, pack)
    assert abs(int(messages.records.sum()) - 6_000) < 60
    assert int(messages.records.sum()) == planned_records(streams, schedule)
    assert (np.diff(messages.due_us) >= 0).all() and messages.records.max() <= pack
    assert messages.due_us.min() >= START_US and messages.due_us.max() < START_US + 10_000_000
    for sensor in range(2):
        numbers = numbers_of(messages, sensor)
        assert numbers.tolist() == list(range(len(numbers)))
    for value, count in zip(messages.value, messages.records.tolist(), strict=True):
        assert len(value.split(b"\n")) == count


def test_ingest_takes_every_line_and_its_time_says_when_it_was_due() -> None:
    streams, schedule, messages = made(SCAN, 3_000, 5)
    for stream in streams:
        mine = np.flatnonzero(messages.sensor == stream.sensor).tolist()
        (headers,) = headers_of(SCAN, stream.sensor, stream.tapes.quiet)
        columns = columns_of(headers)
        decoded = decode([messages.value[at] for at in mine], "zeek-conn+tsv", columns=columns, pack=1)
        assert decoded.rejects.num_rows == 0 and decoded.flows.num_rows == len(mine)
        due = schedule.due_us(np.sort(decoded.flows["end_ts_us"].to_numpy()), stream.sensor)
        assert np.abs(due - messages.due_us[mine]).max() <= 1
        # Turn after turn the same connections, each time others by their uids.
        assert pc.count_distinct(decoded.flows["sensor_uid"]).as_py() == len(mine)


def test_the_same_seed_makes_the_same_bytes_and_another_one_others() -> None:
    first, again = (made(SCAN, 2_000, 2)[2] for _ in range(2))
    assert first.value == again.value
    streams = [replace(stream, seed=8) for stream in made(SCAN, 2_000, 2)[0]]
    schedule = made(SCAN, 2_000, 2)[1]
    assert joined(list(slices(streams, schedule, 1))).value != first.value


def test_slices_do_not_change_what_is_sent() -> None:
    streams, schedule, messages = made(SCAN, 2_000, 2)
    whole = joined(list(slices(streams, schedule, 1, slice_us=2_000_000)))
    assert whole.value == messages.value and whole.due_us.tolist() == messages.due_us.tolist()


@pytest.mark.parametrize("pack", [1, 7])
@pytest.mark.parametrize("outage", [None, Outage(0.4, 0.6, 0.5, BURST), Outage(0.4, 0.6, 0.5, SILENT)])
def test_sensors_together_send_what_each_sends_alone(pack: int, outage: Outage | None) -> None:
    scenario = replace(SCAN, sites=5, seeds=2, outage=outage)
    own = [*tapes(), *tapes_of(replace(SCAN, sites=1), 8)]
    schedule = schedule_of(START_US, 3_000_000, 500.0, outage, 5)
    streams = streams_of(scenario, own, schedule.event_span_us, 7)
    every = joined(list(slices(streams, schedule, pack, slice_us=700_000)))
    assert (np.diff(every.due_us) >= 0).all()
    for stream in streams:
        mine = every.taken(np.flatnonzero(every.sensor == stream.sensor))
        alone = joined(list(slices([stream], schedule, pack, slice_us=700_000)))
        assert mine.value == alone.value and mine.numbers == alone.numbers and len(alone.value) > 10
        assert mine.due_us.tolist() == alone.due_us.tolist() and mine.log.tolist() == alone.log.tolist()


def test_the_first_attack_comes_when_it_should() -> None:
    for records in (400, 5_000, 30_000):  # less than a stretch, and many
        streams, schedule, _ = made(SCAN, records, 10)
        stream = replace(streams[0])
        numbers = np.arange(stream.sent_before(schedule.event_span_us))
        attacks = stream.attacks(numbers)
        first = stream.event_us(numbers[attacks >= 0])[0]
        ahead = streams[0].ahead_us % 60_000_000  # sensors that are not in step are up to a minute early
        assert abs(first - SCAN.attack_at * schedule.event_span_us) <= 60_000_000 + ahead
        assert stream.tapes.attacked.events == ("port-scan",)


def test_labels_are_those_of_the_scan() -> None:
    streams, _, messages = made(SCAN, 30_000, 10)
    numbers = numbers_of(messages, 0)
    attacks = streams[0].attacks(numbers)
    turns = np.unique(attacks[attacks >= 0])
    assert len(turns) > 3 and ((attacks == turns[0]).sum()) == 1_000
    mine = np.flatnonzero(messages.sensor == 0)
    scanner = {messages.value[at].split(b"\t")[2] for at in mine[attacks >= 0].tolist()}
    others = {messages.value[at].split(b"\t")[2] for at in mine[attacks < 0].tolist()}
    assert len(scanner) == 1 and not scanner & others


def test_an_outage_holds_records_back_until_its_end() -> None:
    scenario = replace(SCAN, outage=Outage(0.4, 0.6, 0.5, BURST))
    streams, schedule, messages = made(scenario, 4_000, 10)
    cut, well = (messages.due_us[messages.sensor == sensor] - START_US for sensor in (0, 1))
    assert not ((cut >= 4_000_000) & (cut < 6_000_000)).any() and (cut == 6_000_000).sum() > 100
    assert ((well >= 4_000_000) & (well < 6_000_000)).any()
    assert int(messages.records.sum()) == planned_records(streams, schedule)


def test_a_silent_sensor_never_sends_what_it_missed() -> None:
    scenario = replace(SCAN, outage=Outage(0.4, 0.6, 0.5, SILENT))
    streams, schedule, messages = made(scenario, 4_000, 10)
    cut = messages.due_us[messages.sensor == 0] - START_US
    assert not ((cut >= 4_000_000) & (cut < 6_000_000)).any() and (cut == 6_000_000).sum() < 5
    assert int(messages.records.sum()) == planned_records(streams, schedule)
    assert planned_records(streams, schedule) < planned_records(streams, replace(schedule, outage=None))


def test_no_record_is_from_the_future() -> None:
    for speed in (0.5, 1.0, 40.0):
        schedule = schedule_of(START_US, 10_000_000, speed)
        event_us = schedule.event_start_us + np.arange(0, schedule.event_span_us, 100_000)
        assert (event_us <= schedule.due_us(event_us, 0) + 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fake-commands", "westermo"])
def test_other_logs_and_captures_are_taken_too(name: str) -> None:
    scenario = read_scenario(name)
    own = tapes_of(scenario, 1)
    streams = streams_of(scenario, own, 3_600_000_000, 1)
    schedule = Schedule(START_US, START_US - 3_600_000_000, 3_600.0, 1_000_000)
    messages = joined(list(slices(streams, schedule, 100)))
    assert messages.records.sum() > 5_000
    for log, headers in enumerate(headers_of(scenario, 0, own[0].quiet)):
        values = [messages.value[at] for at in np.flatnonzero(messages.log == log).tolist()]
        columns = columns_of(headers)
        decoded = decode(
            b"\n".join(values).split(b"\n"), own[0].quiet.logs[log].content_type, columns=columns, pack=100
        )
        assert decoded.rejects.num_rows == 0 and decoded.flows.num_rows > 0
