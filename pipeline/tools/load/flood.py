"""What a flood asks of the box that a plant was given: suspects for a while, beside the usual flows."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.tools.load.disk import KAFKA_TOPICS
from pipeline.tools.load.size import (
    BROKER,
    DAY_S,
    RETRAIN,
    Bounds,
    Sizing,
    Wanted,
    alone_mib,
    cores_of,
    for_sensors_mib,
)

UNKNOWN = (
    "what a suspect costs in messages of few rows: it was measured in full batches alone",
    "how many incidents a flood makes, and what the alerts take: that is as its addresses are",
)
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Flood:
    """Suspects a second, all sensors together, and for how long they come."""

    suspects_per_s: float
    lasts_s: float

    @property
    def rows(self) -> int:
        """So many."""
        return round(self.suspects_per_s * self.lasts_s)


@dataclass(frozen=True, slots=True)
class Flooded:
    """What it takes.

    cores: what each process would use to keep up. carried_per_s: records that the sized cores work off meanwhile, of
    all that come. behind: rows that wait in Kafka at its end; caught_up_s: how long after that none does, None for
    never. memory_mib, disk_bytes: with the flood, and what it adds.
    """

    cores: dict[str, float]
    carried_per_s: float
    behind: int
    caught_up_s: float | None
    memory_mib: int
    disk_bytes: dict[str, int]

    @property
    def cores_to_keep_up(self) -> int:
        """Whole cores, all busy."""
        return math.ceil(sum(self.cores.values()))

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "cores": self.cores,
            "cores_to_keep_up": self.cores_to_keep_up,
            "carried_per_s": self.carried_per_s,
            "behind": self.behind,
            "caught_up_s": self.caught_up_s,
            "memory_mib": self.memory_mib,
            "disk_bytes": self.disk_bytes,
        }


def flooded(wanted: Wanted, flood: Flood, sizing: Sizing, figures: Mapping[str, Any], bounds: Bounds) -> Flooded:
    """What a flood takes where the plant has what `sizing` says."""
    cores = _used(wanted, flood.suspects_per_s, figures)
    every = wanted.flows_per_s + flood.suspects_per_s

    def carries(share: float) -> bool:
        scaled = replace(wanted, flows_per_s=wanted.flows_per_s * share)
        return _fits(_used(scaled, flood.suspects_per_s * share, figures), sizing)

    share = _most(carries)
    behind = round((1 - share) * every * flood.lasts_s)
    return Flooded(
        {name: round(used, 3) for name, used in cores.items()},
        round(share * every, 1),
        behind,
        _caught_up_s(wanted, flood, behind, sizing, figures) if behind else 0.0,
        sum(_memory_mib(name, wanted, sizing, figures) for name in cores),
        _disk_bytes(flood, wanted, figures, bounds),
    )


def _used(wanted: Wanted, suspects_per_s: float, figures: Mapping[str, Any]) -> dict[str, float]:
    """Cores that each process uses: those of so many records, and what a suspect costs more than another record."""
    every = replace(wanted, flows_per_s=wanted.flows_per_s + suspects_per_s)
    calm_us, suspects_us = figures["full_batches"]["cpu_us_a_record"], figures["flood"]["cpu_us_a_record"]
    used = {}
    for name in figures["rates"]["cores"]:
        more_us = max(0.0, suspects_us[name] - calm_us[name])
        cores = cores_of(name, every, figures) + suspects_per_s * more_us / 1e6
        used[name] = cores * (wanted.replicas if name == BROKER else 1)
    return used


def _fits(cores: Mapping[str, float], sizing: Sizing) -> bool:
    """Whether no worker needs more than a core, and all together no more than there are; retrain may fall behind."""
    alone = all(used <= sizing.stages[name].workers for name, used in cores.items() if name not in (BROKER, RETRAIN))
    return alone and sum(cores.values()) <= sizing.cores


def _most(carries: Callable[[float], bool]) -> float:
    """The largest share from 0 to 1 that is carried, as far as halving goes; what is carried grows no lighter."""
    if carries(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if carries(middle) else (low, middle)
    return low


def _caught_up_s(wanted: Wanted, flood: Flood, behind: int, sizing: Sizing, figures: Mapping[str, Any]) -> float | None:
    """How long the rows that wait take, beside the usual flows; None where nothing is left over for them.

    They are the same mixture as what came.
    """
    every = wanted.flows_per_s + flood.suspects_per_s

    def carries(share: float) -> bool:
        more = replace(wanted, flows_per_s=wanted.flows_per_s * (1 + share))
        return _fits(_used(more, flood.suspects_per_s * share, figures), sizing)

    share = _most(carries)
    return round(behind / (share * every), 1) if share > 1e-6 else None


def _memory_mib(name: str, wanted: Wanted, sizing: Sizing, figures: Mapping[str, Any]) -> int:
    """The most that a process had resident, flooded or not, and what it holds for its sensors."""
    alone = max(alone_mib(name, figures), int(figures["flood"]["rss_mib"][name]))
    sensors = for_sensors_mib(name, wanted, figures) * (wanted.replicas if name == BROKER else 1)
    return sizing.stages[name].workers * alone + sensors


def _disk_bytes(flood: Flood, wanted: Wanted, figures: Mapping[str, Any], bounds: Bounds) -> dict[str, int]:
    """What a flood adds to the archive and to Kafka's topics, as long as they retain it."""
    found = figures["disk"]["flood"]
    added = {"archive": round(flood.rows * found["archive_bytes_a_row"])}
    for topic in KAFKA_TOPICS:
        rows = flood.suspects_per_s * min(flood.lasts_s, bounds.kafka_days[topic] * DAY_S)
        added[f"topic {topic}"] = round(rows * found["kafka_bytes_a_record"][topic]) * wanted.replicas
    return added
