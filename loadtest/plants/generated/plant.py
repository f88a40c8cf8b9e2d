"""A generated plant as files: a folder of Zeek's logs for each sensor, what happened when, and its devices' names."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.plants.generated.attacks import ATTACKS, MIN_SLOT_US, attacked, staged
from loadtest.plants.generated.calendar import DAY_US, HOUR_US, MINUTE_US, Calendar
from loadtest.plants.generated.control import control, operators
from loadtest.plants.generated.faults import Drift, Replacement, busy_windows, clock_drift, with_faults
from loadtest.plants.generated.flows import KINDS, Traffic, chosen, joined
from loadtest.plants.generated.names import NAMES_FILE, names_csv
from loadtest.plants.generated.office import office
from loadtest.plants.generated.people import people
from loadtest.plants.generated.scene import Event, Scene
from loadtest.plants.generated.sensors import sensor_names, view
from loadtest.plants.generated.site import SITE, SIZES, Site, dotted
from loadtest.plants.generated.staging import Stage
from loadtest.plants.generated.zeek import View, uid_texts, write

START_US = 1_740_960_000_000_000  # Monday 3 March 2025, 00:00 UTC
MIN_DAYS, MAX_DAYS = 1 / 24, 28.0
# A sensor learns for hours to a day: attacks that come after two days find it done.
_ATTACKS_FROM_DAYS, _ATTACKS_FROM_SHARE = 2.0, 1 / 3
_EARLY_FROM_US, _EARLY_TO_US = 10 * MINUTE_US, 2 * HOUR_US
EVENTS_FILE = "events.json"
STEPS = 4  # of making a plant, before its sensors


class PlantError(ValueError):
    """A plant that cannot be made: the message says which option is wrong, what was got and what is expected."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What plant is to be made. `attacks_from_days` None: after two days, or a third of a shorter time."""

    days: float = 7.0
    seed: int = 1
    size: str = "medium"
    sensors: int = 1
    attacks: tuple[str, ...] = tuple(ATTACKS)
    early_attacks: tuple[str, ...] = ()
    attacks_from_days: float | None = None

    def __post_init__(self) -> None:
        if not MIN_DAYS <= self.days <= MAX_DAYS:
            raise PlantError(f"--days: got {self.days:g}, expected {MIN_DAYS:.3f} (an hour) to {MAX_DAYS:g}")
        if self.size not in SIZES:
            raise PlantError(f"--size: got {self.size}, expected one of {', '.join(SIZES)}")
        segments = SIZES[self.size].cells + 1
        if not 1 <= self.sensors <= segments:
            raise PlantError(
                f"--sensors: got {self.sensors}, expected 1 to {segments}: a {self.size} plant has {segments} segments"
            )
        for option, names in (("--attacks", self.attacks), ("--early-attacks", self.early_attacks)):
            unknown = [name for name in names if name not in ATTACKS]
            if unknown:
                raise PlantError(f"{option}: got {unknown[0]}, expected all, none or some of {', '.join(ATTACKS)}")
        if not 0 <= self._from_days < self.days:
            raise PlantError(f"--attacks-from: got {self._from_days:g}, expected less than --days {self.days:g}")
        self._require_time("--attacks", self.attacks, self.attacks_window)
        self._require_time("--early-attacks", self.early_attacks, self.early_window)

    @property
    def calendar(self) -> Calendar:
        """The plant's time."""
        return Calendar(START_US, START_US + round(self.days * DAY_US))

    @property
    def _from_days(self) -> float:
        if self.attacks_from_days is not None:
            return self.attacks_from_days
        return min(_ATTACKS_FROM_DAYS, self.days * _ATTACKS_FROM_SHARE)

    @property
    def attacks_window(self) -> tuple[int, int]:
        """When attacks take place."""
        return START_US + round(self._from_days * DAY_US), self.calendar.end_us

    @property
    def early_window(self) -> tuple[int, int]:
        """When early attacks take place: in the first two hours, and before the others."""
        return START_US + _EARLY_FROM_US, max(min(START_US + _EARLY_TO_US, self.attacks_window[0]), START_US)

    def _require_time(self, option: str, names: Sequence[str], window: tuple[int, int]) -> None:
        if window[1] - window[0] < len(names) * MIN_SLOT_US:
            several = "1 attack" if len(names) == 1 else f"{len(names)} attacks"
            raise PlantError(
                f"{option}: got {several} for {max(window[1] - window[0], 0) // MINUTE_US} minutes, "
                f"expected at least {MIN_SLOT_US // MINUTE_US} minutes for each; name fewer, or change --days or "
                "--attacks-from"
            )


@dataclass(frozen=True, slots=True)
class Plant:
    """A plant's traffic in true time, and its events."""

    plan: Plan
    site: Site
    traffic: Traffic
    events: tuple[Event, ...]
    replaced: tuple[Replacement, ...]
    drift: Drift | None

    @property
    def sensors(self) -> tuple[str, ...]:
        """The names of the sensors."""
        return sensor_names(self.plan.sensors)

    def view(self, sensor: int) -> View:
        """What a sensor sees; the clock of the last one drifts."""
        last = sensor == self.plan.sensors - 1
        return view(self.site, self.traffic, sensor, self.plan.sensors, self.replaced, self.drift if last else None)


def _nothing(_done: int) -> None:
    """Progress that nobody watches."""


def plant_of(plan: Plan, done: Callable[[int], None] = _nothing) -> Plant:
    """Make a plant's traffic; `done` is called with the number of each of the STEPS that is behind."""
    scene = Scene(Site(SIZES[plan.size]), plan.calendar, plan.seed)
    traffic = joined([*control(scene), *operators(scene)])
    done(1)
    traffic = joined([traffic, *office(scene), *people(scene)])
    done(2)
    traffic, replaced = with_faults(scene, traffic)
    drift = clock_drift(scene)
    done(3)
    stages: list[Stage] = []
    for names, window, early in (
        (plan.early_attacks, plan.early_window, True),
        (plan.attacks, plan.attacks_window, False),
    ):
        stages += staged(scene, names, window, busy_windows(scene), early)
    traffic = attacked(traffic, stages)
    # A connection that still lasts is in no log.
    traffic = chosen(traffic, traffic.flows.end_us <= plan.calendar.end_us)
    done(4)
    return Plant(plan, scene.site, traffic, tuple(scene.events), tuple(replaced), drift)


def write_plant(plant: Plant, out: Path, done: Callable[[int], None] = _nothing) -> dict[str, Any]:
    """Write each sensor's logs into a folder of `out`, the events, and the plant's own names of its devices.

    What was written, without the events' flows.
    """
    sensors: dict[str, Any] = {}
    labelled: list[dict[str, list[str]]] = [{} for _ in plant.events]
    for number, name in enumerate(plant.sensors):
        seen = plant.view(number)
        records = write(out / name, seen)
        flows = seen.traffic.flows
        kinds = np.bincount(flows.kind, minlength=len(KINDS)).tolist()
        by_kind = {kind: count for kind, count in zip(KINDS, kinds, strict=True) if count}
        sensors[name] = {"folder": name, "records": records, "flows_by_kind": by_kind}
        order = np.argsort(flows.start_us, kind="stable")
        for event, uids in enumerate(labelled):
            rows = order[flows.event[order] == event]
            if len(rows):
                uids[name] = uid_texts(seen.uid[rows]).to_pylist()
        done(STEPS + number + 1)
    facts: dict[str, Any] = {
        "site": SITE,
        "seed": plant.plan.seed,
        "size": plant.plan.size,
        "start_us": plant.plan.calendar.start_us,
        "end_us": plant.plan.calendar.end_us,
        "sensors": sensors,
    }
    _write_events(plant, out / EVENTS_FILE, facts, labelled)
    (out / NAMES_FILE).write_text(names_csv(plant.site), encoding="utf-8", newline="")
    return facts


def _write_events(plant: Plant, path: Path, facts: dict[str, Any], labelled: list[dict[str, list[str]]]) -> None:
    """One JSON document, an event a line."""
    events: list[dict[str, Any]] = [
        {
            "name": event.name,
            "kind": event.kind,
            "start_us": event.start_us,
            "end_us": event.end_us,
            "early": event.early,
            "what": event.what,
            "hosts": [_named(plant.site, host) for host in event.hosts],
            "flows": {sensor: len(uids) for sensor, uids in labelled[number].items()},
            "uids": labelled[number],
        }
        for number, event in enumerate(plant.events)
    ]
    lines = ",\n".join(json.dumps(event) for event in sorted(events, key=lambda event: event["start_us"]))
    path.write_text(json.dumps(facts)[:-1] + f', "events": [\n{lines}\n]}}\n', encoding="utf-8")


def _named(site: Site, host: str) -> dict[str, str]:
    """A host by name and address; of a public one the address is all there is."""
    return {"name": host, "address": dotted(site.address(host)) if host in site.hosts else host}
