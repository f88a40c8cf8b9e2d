"""Plants side by side: every record of every copy once, at addresses of its own, in the order it is sent."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np

from loadtest.workload.copies import side_by_side
from loadtest.workload.recording import NO_EVENT, PlantPart, Recording, of_plant

PART = PlantPart(from_hour=9, hours=0.25, attacks=("port-scan",))
COPIES = 5


@cache
def quiet() -> Recording:
    return of_plant(PART, 3, False)


@cache
def merged() -> Recording:
    return side_by_side(of_plant(PART, 3, True), quiet(), COPIES)


def columns(recording: Recording) -> list[list[str]]:
    lines = recording.text.tobytes().decode().splitlines()
    assert [len(line) + 1 for line in lines] == np.diff(recording.bounds).tolist()
    return [list(column) for column in zip(*(line.split("\t") for line in lines), strict=True)]


def test_each_copy_is_the_plant_at_other_addresses() -> None:
    source, target = columns(merged())[2], columns(merged())[4]
    of_copy = Counter(address.split(".")[1] for address in source if address.startswith("10."))
    assert set(of_copy) == {"20", "21", "22", "23", "24"}
    assert len({of_copy[str(20 + number)] for number in range(1, COPIES)}) == 1, "quiet copies are alike"
    assert of_copy["20"] > of_copy["21"], "the attack is in the first"
    spoke = [(a.split(".")[:2], b.split(".")[:2]) for a, b in zip(source, target, strict=True)]
    assert not [ends for ends in spoke if ends[0][0] == ends[1][0] == "10" and ends[0] != ends[1]], (
        "none speaks to another"
    )


def test_each_copy_has_hardware_addresses_of_its_own() -> None:
    rows = columns(merged())
    plants_of: dict[str, set[str]] = {}
    for address, mac in zip(rows[2], rows[22], strict=True):
        if address.startswith("10."):
            plants_of.setdefault(mac, set()).add(address.split(".")[1])
    assert all(len(plants) == 1 for plants in plants_of.values())


def test_records_are_in_order_and_say_when_they_were_sent() -> None:
    both = merged()
    assert both.records == of_plant(PART, 3, True).records + (COPIES - 1) * quiet().records
    assert (np.diff(both.end_us) >= 0).all() and both.end_us[0] >= 0 and both.end_us[-1] < both.span_us
    took_us = (both.end_us - both.times_us[:, 0]).tolist()
    shown = [round(float(text) * 1e6) if text != "-" else 0 for text in columns(both)[8]]
    assert took_us == shown, "a connection's start and duration are its end"
    assert len(np.unique(both.uid)) == both.records
    assert (both.event != NO_EVENT).sum() == (of_plant(PART, 3, True).event != NO_EVENT).sum()


def test_copies_are_spread_over_the_stretch() -> None:
    many = side_by_side(quiet(), quiet(), 50)
    counts = np.histogram(many.end_us, 10, (0, many.span_us))[0]
    assert counts.max() < 1.3 * counts.min()


def test_one_copy_is_the_plant_itself() -> None:
    assert side_by_side(quiet(), replace(quiet()), 1) is quiet()
