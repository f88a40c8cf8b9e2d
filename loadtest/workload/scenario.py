"""A scenario: a TOML file that says what sensors see, how many there are, and what befalls them."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from loadtest.plants.generated.attacks import ATTACKS, MIN_SLOT_US
from loadtest.plants.generated.calendar import HOUR_US
from loadtest.plants.generated.site import SIZES
from loadtest.plants.westermo.traffic import SENSORS
from loadtest.workload.copies import MAX_COPIES
from loadtest.workload.recording import PlantPart

MAX_SENSORS = 10_000
MAX_SEEDS = 64
MIN_HOURS = 0.2
SILENT, BURST = "silent", "burst"


class ScenarioError(ValueError):
    """A scenario that is none: the message says where, what was got, what is expected, and the remedy."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Sensors are cut off for a share of the run: what they see meanwhile is lost, or comes at once at the end."""

    start: float
    end: float
    sensors: float = 1.0
    """The share of sensors that it befalls, at least one."""
    then: str = BURST


@dataclass(frozen=True, slots=True)
class LoadScenario:
    """What is played: hours of generated plants of some seeds, or a capture, at so many sites and sensors of each."""

    name: str
    title: str
    plant: PlantPart | None
    capture: str = ""
    sites: int = 1
    sensors: int = 1
    seeds: int = 1
    """Different plants; sites share them in turn."""
    in_step: bool = False
    """Whether all sensors see the same at the same time; else each is up to a minute of event time ahead."""
    attack_at: float = 0.6
    """After which share of a run the first record of an attack comes."""
    outage: Outage | None = None

    @property
    def sensor_names(self) -> list[tuple[str, str]]:
        """(site, sensor) of every sensor, in order."""
        return [
            (f"{self.name}-{site}", f"tap-{sensor}")
            for site in range(1, self.sites + 1)
            for sensor in range(1, self.sensors + 1)
        ]


def shipped() -> dict[str, Path]:
    """The files of the scenarios that come with Forebay, by name."""
    folder = Path(str(files("loadtest.workload").joinpath("scenarios")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_scenario(name: str) -> LoadScenario:
    """The scenario of a name, or of a TOML file. ScenarioError where it is none."""
    known = shipped()
    path = known.get(name, Path(name))
    if name not in known and path.suffix != ".toml":
        raise ScenarioError(f"SCENARIO: got {name}, expected one of {', '.join(known)}, or the path of a .toml file")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise ScenarioError(f"{path}: got {error}, expected a scenario in TOML (docs/load.md)") from error
    return scenario_of(document, path.stem, str(path))


def scenario_of(document: dict[str, Any], name: str, where: str) -> LoadScenario:
    """The scenario of a document. ScenarioError where something in it is unknown, missing or out of range."""
    read = _Table(document, where)
    scenario = LoadScenario(
        name,
        read.text("title", ""),
        _plant(read),
        read.choice("capture", "", ("", *SENSORS)),
        read.whole("sites", 1, 1, MAX_SENSORS),
        read.whole("sensors", 1, 1, MAX_SENSORS),
        read.whole("seeds", 1, 1, MAX_SEEDS),
        read.yes("in_step", False),
        read.number("attack_at", 0.6, 0.0, 1.0),
        _outage(read),
    )
    read.require_empty()
    if (scenario.plant is None) == (not scenario.capture):
        raise ScenarioError(f"{where}: got {'both' if scenario.capture else 'neither'}, expected one of plant, capture")
    if scenario.sites * scenario.sensors > MAX_SENSORS:
        raise ScenarioError(
            f"{where}: got {scenario.sites} sites of {scenario.sensors} sensors, expected at most {MAX_SENSORS} in all"
        )
    return scenario


class _Table:
    """A TOML table that is read key by key; what is left over at the end is unknown."""

    def __init__(self, document: dict[str, Any], where: str) -> None:
        self._left = dict(document)
        self._known: list[str] = []
        self.where = where

    def _pop(self, key: str, default: Any) -> Any:
        self._known.append(key)
        return self._left.pop(key, default)

    def table(self, key: str) -> "_Table | None":
        value = self._pop(key, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._refused(key, value, "a table")
        return _Table(value, f"{self.where}: {key}")

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self._pop(key, default)
        # True is a number to Python, and nan is within no bounds.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self._refused(key, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        value = self._pop(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._refused(key, value, f"a whole number from {low} to {high}")
        return value

    def yes(self, key: str, default: bool) -> bool:
        value = self._pop(key, default)
        if not isinstance(value, bool):
            raise self._refused(key, value, "true or false")
        return value

    def text(self, key: str, default: str) -> str:
        value = self._pop(key, default)
        if not isinstance(value, str) or not value.isprintable():
            raise self._refused(key, value, "one line of text")
        return value

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self._pop(key, default)
        if value not in choices:
            raise self._refused(key, value, f"one of {', '.join(filter(None, choices))}")
        return str(value)

    def choices(self, key: str, choices: tuple[str, ...]) -> tuple[str, ...]:
        value = self._pop(key, [])
        if not isinstance(value, list):
            raise self._refused(key, value, f"a list of {', '.join(choices)}")
        for each in value:
            if each not in choices:
                raise self._refused(key, each, f"only names of {', '.join(choices)}")
        return tuple(dict.fromkeys(value))

    def require_empty(self) -> None:
        for key in self._left:
            known = ", ".join(self._known)
            raise ScenarioError(f"{self.where}: got {key[:80]!r}, expected only {known} (docs/load.md)")

    def _refused(self, key: str, value: object, expected: str) -> ScenarioError:
        return ScenarioError(f"{self.where}: {key}: got {str(value)[:80]!r}, expected {expected}")


def _plant(document: _Table) -> PlantPart | None:
    read = document.table("plant")
    if read is None:
        return None
    part = PlantPart(
        read.choice("size", "small", tuple(SIZES)),
        read.number("from_hour", 9.0, 0.0, 27 * 24.0),
        read.number("hours", 1.0, MIN_HOURS, 24.0),
        read.yes("operations", False),
        read.choices("attacks", tuple(ATTACKS)),
        read.whole("copies", 1, 1, MAX_COPIES),
    )
    read.require_empty()
    if part.hours * HOUR_US * 0.9 < len(part.attacks) * MIN_SLOT_US:
        raise ScenarioError(f"{read.where}: got {len(part.attacks)} attacks in {part.hours:g} h, expected more hours")
    return part


def _outage(document: _Table) -> Outage | None:
    read = document.table("outage")
    if read is None:
        return None
    outage = Outage(
        read.number("start", 0.4, 0.0, 1.0),
        read.number("end", 0.6, 0.0, 1.0),
        read.number("sensors", 1.0, 0.0, 1.0),
        read.choice("then", BURST, (SILENT, BURST)),
    )
    read.require_empty()
    if outage.start >= outage.end:
        raise ScenarioError(f"{read.where}: got start {outage.start:g}, expected it before end {outage.end:g}")
    return outage
