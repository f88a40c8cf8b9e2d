"""Protocol `iiot`: industrial and IoT sets, split by time, location or capture, with a random split beside each.

Identifiers are in no table, repeats on neither side, and no test record's values occur in training. What the random
split gives more than the other is what a model gains by having seen the same hour, location or campaign.

- `westermo/time`: both sensors before the cut, less a minute's embargo → each sensor after it, and both together.
- `westermo/left-to-bottom`, `westermo/bottom-to-left`: one sensor before the cut → the other after it, and itself.
- `iot-23/blocked`: every third half-hour held out, a minute's embargo after each border.
- `iot-23/without-CAPTURE`: a capture held out, where two or more have both attacks and normal flows.
- `lemay/without-CAPTURE`: a capture held out; its attack has then never been seen.
- `rt-iot2022/random`: the set has no time, location or capture, so no other split is possible.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import RefusedModel
from models.lab.detectors.detector import Family
from models.lab.protocols.fit import Unit, fit
from models.lab.protocols.operations import DAY_US, Operations, days_between
from models.lab.protocols.parts import Parts, at_random, beside, distinct, positions, trial
from models.lab.protocols.trial import Trial
from models.lab.tables import iot23, lemay, rt_iot2022
from models.lab.tables.table import Table
from models.rows import held_out_blocks
from models.training.evaluate import Stretch

FOLDERS = {"iot-23": "iot-23", "rt-iot2022": "rt-iot2022", "lemay": "lemay-modbus"}
EVERY = 3  # of IoT-23's half-hours one is held out
EMBARGO_US = 60_000_000
RANDOM_SHARE = 0.3  # held out where nothing says how much


@dataclass(frozen=True, slots=True)
class Plant:
    """A plant with several sensors: their records in one table, and where to cut.

    Attributes
    ----------
    table : records of all sensors, with times; groups keep together what happened at the same time
    identifiers : the same records with nothing but who and when
    sensor : (n,) name of each record's sensor
    train_end_us, cut_us : training ends before the first, tests start at the second
    events : what should be found after the cut
    """

    table: Table
    identifiers: Table
    sensor: np.ndarray[Any, np.dtype[np.str_]]
    train_end_us: int
    cut_us: int
    events: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class NamedTrial:
    """A split by name. `build(seed)` reads its tables when asked; the seed draws what is random in a split."""

    name: str
    build: Callable[[int], Trial]


@dataclass(frozen=True, slots=True)
class Iiot:
    """Every family on every split of the sets that are there.

    Attributes
    ----------
    data : folder with iot-23/, rt-iot2022/ and lemay-modbus/, as many as there are
    plant : reads Westermo, once a process; None leaves it out
    """

    data: Path
    families: tuple[Family, ...]
    seeds: int = 3
    plant: Callable[[], Plant] | None = None
    name: str = "iiot"

    def units(self) -> list[Unit]:
        """Seed by seed; thresholds are calibrated, for false alarms are what counts here."""
        names = [split.name for split in trials(self.data, self.plant)]
        if not names:
            raise RefusedModel(f"{self.data}: got none of {', '.join(FOLDERS.values())}, expected one or more of them")
        return [
            Unit(self.name, name, family, seed)
            for seed in range(self.seeds)
            for name in names
            for family in self.families
        ]

    def document(self, unit: Unit) -> dict[str, Any]:
        """One fit on its split."""
        by_name = {named.name: named for named in trials(self.data, self.plant)}
        return fit(unit, by_name[unit.split].build(unit.seed))


def trials(data: Path, plant: Callable[[], Plant] | None, identifying: bool = False) -> list[NamedTrial]:
    """The splits of every set that is there, with its records or (`identifying`) with their identifiers alone."""
    splits: list[NamedTrial] = []
    if plant is not None:
        splits += [
            NamedTrial(f"westermo/{name}", partial(_westermo, plant, identifying, name))
            for name in ("time", "left-to-bottom", "bottom-to-left", "random")
        ]
    folder = data / FOLDERS["iot-23"]
    if iot23.captures(folder):
        names = ["blocked", *(f"without-{name}" for name in _separable_captures(folder)), "random"]
        splits += [NamedTrial(f"iot-23/{name}", partial(_iot23, folder, identifying, name)) for name in names]
    folder = data / FOLDERS["lemay"]
    captures = lemay.captures(folder)
    if captures:
        names = [*(f"without-{name}" for name in captures if len(captures) > 1), "random"]
        splits += [NamedTrial(f"lemay/{name}", partial(_lemay, folder, identifying, name)) for name in names]
    folder = data / FOLDERS["rt-iot2022"]
    if (folder / rt_iot2022.FILE).is_file():
        splits.append(NamedTrial("rt-iot2022/random", partial(_rt_iot2022, folder, identifying)))
    return splits


def missing(data: Path) -> tuple[str, ...]:
    """Sets that are not in the folder, or whose files are not: they are left out."""
    there = {named.name.split("/")[0] for named in trials(data, None)}
    return tuple(name for name in FOLDERS if name not in there)


def _westermo(plant: Callable[[], Plant], identifying: bool, name: str, seed: int) -> Trial:
    site = plant()
    time_us, sensors = site.table.time_us, tuple(map(str, np.unique(site.sensor)))
    before, after = time_us < site.train_end_us, time_us >= site.cut_us
    if name in ("time", "random"):
        fit_rows = positions(before)
        test_rows = {f"westermo/{name}/{each}": positions(after & (site.sensor == each)) for each in sensors}
        test_rows[f"westermo/{name}/all"] = positions(after)
    else:
        source, target = name.split("-to-")
        fit_rows = positions(before & (site.sensor == source))
        test_rows = {
            f"westermo/{source}-to-{each}": positions(after & (site.sensor == each)) for each in (target, source)
        }
    parts = distinct(site.table, fit_rows, test_rows)
    if name == "random":
        parts = beside(site.table, parts, "westermo/random", seed)
    operations = {
        test: Operations(days_between(site.table.take(rows)), site.events)
        for test, rows in test_rows.items()
        if test in parts.tests
    }
    return trial(site.identifiers if identifying else site.table, parts, operations=operations)


def _iot23(folder: Path, identifying: bool, name: str, seed: int) -> Trial:
    table = iot23.load(folder)
    chosen = iot23.identifiers(folder) if identifying else table
    if name.startswith("without-"):
        return trial(chosen, _without(table, iot23.captures(folder), f"iot-23/{name}", iot23.BLOCKS_A_CAPTURE))
    # Some captures are years apart: each has its own half-hours, so time counts from its own start.
    capture = table.group // iot23.BLOCKS_A_CAPTURE
    train = np.zeros(len(table), dtype=np.bool_)
    held_out = train.copy()
    for number in np.unique(capture):
        rows = positions(capture == number)
        train[rows], held_out[rows] = held_out_blocks(table.time_us[rows], iot23.BLOCK_US, EVERY, EMBARGO_US)
    test = "iot-23/blocked"
    parts = distinct(table, positions(train), {test: positions(held_out)})
    if name == "random":
        return trial(chosen, beside(table, parts, "iot-23/random", seed))
    # The figures of a day count all flows of the held-out half-hours, repeats too.
    whole = f"{test}, repeats kept"
    days = len(np.unique(table.group[held_out])) * (iot23.BLOCK_US - EMBARGO_US) / DAY_US
    parts = replace(parts, tests={**parts.tests, whole: positions(held_out)})
    return trial(chosen, parts, operations={whole: Operations(days)})


def _separable_captures(folder: Path) -> tuple[str, ...]:
    """Captures that can be held out: they, and the others together, have attacks and normal flows."""
    names = iot23.captures(folder)
    if len(names) == 1:
        return ()
    table = iot23.load(folder)
    capture = table.group // iot23.BLOCKS_A_CAPTURE
    return tuple(
        name
        for number, name in enumerate(names)
        if all(len(np.unique(table.attack[side])) == 2 for side in (capture == number, capture != number))
    )


def _lemay(folder: Path, identifying: bool, name: str, seed: int) -> Trial:
    table = lemay.load(folder)
    chosen = lemay.identifiers(folder) if identifying else table
    if name == "random":
        every = np.arange(len(table), dtype=np.int64)
        return trial(chosen, at_random(table, every, RANDOM_SHARE, "lemay/random", seed))
    return trial(chosen, _without(table, lemay.captures(folder), f"lemay/{name}", lemay.BLOCKS_A_CAPTURE))


def _rt_iot2022(folder: Path, identifying: bool, seed: int) -> Trial:
    table = rt_iot2022.load(folder)
    every = np.arange(len(table), dtype=np.int64)
    parts = at_random(table, every, RANDOM_SHARE, "rt-iot2022/random", seed)
    return trial(rt_iot2022.identifiers(folder) if identifying else table, parts)


def _without(table: Table, captures: tuple[str, ...], split: str, blocks: int) -> Parts:
    held_out = table.group // blocks == captures.index(split.partition("/without-")[2])
    return distinct(table, positions(~held_out), {split: positions(held_out)})
