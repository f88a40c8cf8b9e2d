"""What a plant needs: cores, memory and partitions, from figures that were measured and the rate that is wanted.

Everything beyond the rates and the sensors that were measured is a projection, and is said to be one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

MEASURED = Path(__file__).with_name("measured.json")
"""Written by `make docs`, from the files of docs/performance."""
BUSY_SHARE = 0.5
"""How much of a core may be used at the wanted rate: the rest is for bursts, restarts and catching up."""
DAY_S = 86_400
MIN_PARTITIONS = 4
BROKER, RETRAIN = "broker", "retrain"
_SINGLE = (BROKER, RETRAIN)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be sized. retention_days: of the archive; replicas: of Kafka's topics."""

    flows_per_s: float
    sensors: int
    retention_days: float
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the system retains, by its settings and its table of topics, whatever the rate.

    kafka_days: how long each topic is retained. states: saved states of each sensor, the current one included.
    samples: rows that retrain stores.
    """

    kafka_days: Mapping[str, float]
    states: int
    samples: int


class Stage(NamedTuple):
    """What a stage needs: workers, of Kafka brokers; the cores all use at the wanted rate, and their memory."""

    workers: int
    cores: float
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a plant needs, in words what in it goes beyond the measured run, and what no worker carries."""

    stages: dict[str, Stage]
    partitions: int
    cores: int
    memory_mib: int
    projected: tuple[str, ...]
    too_much: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "partitions": self.partitions,
            "cores": self.cores,
            "memory_mib": self.memory_mib,
            "stages": {name: stage._asdict() for name, stage in self.stages.items()},
            "projected": list(self.projected),
            "too_much": list(self.too_much),
        }


def measured() -> dict[str, Any]:
    """The figures, as the file beside this one has them."""
    found: dict[str, Any] = orjson.loads(MEASURED.read_bytes())
    return found


def size(wanted: Wanted, figures: Mapping[str, Any], max_sensors: int) -> Sizing:
    """Size a plant. max_sensors: the most that a partition may have.

    A worker takes one core at most, and is to be at most half busy; a stage has at least one, and no more than sensors.
    """
    stages = {name: _stage(name, wanted, figures) for name in figures["rates"]["cores"]}
    most = max(stage.workers for name, stage in stages.items() if name != BROKER)
    # Twice as many partitions as workers: a worker more is then no reason to make topics anew. Sensors are spread over
    # them, so more partitions than sensors are of no use; and enough of them that none gets more than it may have.
    partitions = max(
        MIN_PARTITIONS,
        min(_power_of_two(2 * most), _power_of_two(wanted.sensors)),
        _power_of_two(math.ceil(wanted.sensors / _sensors_on_average(max_sensors))),
    )
    cores_used = sum(stage.cores for stage in stages.values())
    return Sizing(
        stages,
        partitions,
        max(2, math.ceil(cores_used / BUSY_SHARE)),
        sum(stage.memory_mib for stage in stages.values()),
        _projected(wanted, figures, stages, partitions),
        _too_much(stages),
    )


def _stage(name: str, wanted: Wanted, figures: Mapping[str, Any]) -> Stage:
    """What a stage needs; Kafka has as many brokers as replicas, each with what one without replicas takes."""
    cores, sensors_mib = cores_of(name, wanted, figures), for_sensors_mib(name, wanted, figures)
    if name == BROKER:
        brokers = wanted.replicas
        return Stage(brokers, round(brokers * cores, 3), brokers * (alone_mib(name, figures) + sensors_mib))
    # A sensor's records are in one partition, which one worker of a stage reads.
    workers = 1 if name in _SINGLE else min(max(1, math.ceil(cores / BUSY_SHARE)), wanted.sensors)
    return Stage(workers, round(cores, 3), workers * alone_mib(name, figures) + sensors_mib)


def _too_much(stages: dict[str, Stage]) -> tuple[str, ...]:
    """What a worker would be busier with than it is to be, and what to do."""
    said = []
    full = {
        name: stage
        for name, stage in stages.items()
        if name not in _SINGLE and stage.cores > BUSY_SHARE * stage.workers
    }
    if full:
        each = ", ".join(f"{name} {stage.cores / stage.workers:.2f}" for name, stage in full.items())
        sensors = max(math.ceil(stage.cores / BUSY_SHARE) for stage in full.values())
        said.append(
            f"a sensor's records all go to one worker of each stage; cores that each worker would use: {each}, where "
            f"{BUSY_SHARE:g} are to be and 1 is all it can: divide the traffic among {sensors:,} sensors or more, each "
            "with a name of its own"
        )
    if RETRAIN in stages and stages[RETRAIN].cores > BUSY_SHARE:
        said.append(
            f"retrain is one worker and would use {stages[RETRAIN].cores:.2f} cores; beyond 1 it falls behind, and the "
            "samples that its topic no longer has are left out: nothing else waits for it"
        )
    return tuple(said)


def cores_of(name: str, wanted: Wanted, figures: Mapping[str, Any]) -> float:
    """Cores that a stage uses: between two rates that were measured a straight line, and what more sensors cost.

    Below the lowest rate it is that rate's; above the highest each record costs what it costs there.
    """
    rates, full = figures["rates"], figures["full_batches"]
    at = [*rates["records_per_s"], full["records_per_s"]]
    used = [*rates["cores"][name], full["records_per_s"] * full["cpu_us_a_record"][name] / 1e6]
    cores = float(np.interp(wanted.flows_per_s, at, np.maximum.accumulate(used)))
    counted, costs_us = figures["sensors"]["sensors"], figures["sensors"]["cpu_us_a_record"][name]
    more_us = _cost_us(wanted.sensors, counted, costs_us) - _cost_us(rates["sensors"], counted, costs_us)
    beyond = float(max(1.0, wanted.flows_per_s / full["records_per_s"]))
    return cores * beyond + wanted.flows_per_s * max(0.0, more_us) / 1e6


def _cost_us(sensors: int, counted: Sequence[int], costs_us: Sequence[float]) -> float:
    """What a record of so many sensors costs; beyond the most that were measured it grows as it did up to there."""
    least_us = np.maximum.accumulate(costs_us)
    for_each_us = float(least_us[-1] - least_us[-2]) / float(counted[-1] - counted[-2])
    return float(np.interp(math.log(sensors), np.log(counted), least_us)) + max(0, sensors - counted[-1]) * for_each_us


def alone_mib(name: str, figures: Mapping[str, Any]) -> int:
    """The most that a worker had resident, at any rate."""
    return max(int(figures[run]["rss_mib"][name]) for run in ("rates", "full_batches"))


def for_sensors_mib(name: str, wanted: Wanted, figures: Mapping[str, Any]) -> int:
    """What a stage holds for its sensors, all workers together."""
    counted, rss_mib = figures["sensors"]["sensors"], figures["sensors"]["rss_mib"][name]
    for_each_mib = float(rss_mib[-1] - rss_mib[0]) / float(counted[-1] - counted[0])
    return math.ceil(wanted.sensors * max(0.0, for_each_mib))


def _sensors_on_average(max_sensors: int) -> float:
    """How many sensors a partition may have on average, so that none has more than it may: hashing spreads them.

    Four standard deviations of a Poisson distribution, m + 4 sqrt(m) = max_sensors: of 10,000 partitions one has more.
    """
    return max(1.0, (math.sqrt(4 + max_sensors) - 2) ** 2)


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def _projected(
    wanted: Wanted, figures: Mapping[str, Any], stages: dict[str, Stage], partitions: int
) -> tuple[str, ...]:
    full, at_rates, counted = figures["full_batches"], figures["rates"]["sensors"], figures["sensors"]["sensors"][-1]
    said = []
    if wanted.flows_per_s > full["records_per_s"]:
        said.append(f"{wanted.flows_per_s:,.0f} flows/s: {full['records_per_s']:,}/s were measured")
    if wanted.sensors > counted:
        said.append(f"{wanted.sensors:,} sensors: {counted:,} were measured, in full batches")
    elif wanted.sensors > at_rates:
        said.append(f"{wanted.sensors:,} sensors: {at_rates} were measured at such rates, {counted:,} in full batches")
    several = [name for name, stage in stages.items() if stage.workers > 1 and name != BROKER]
    if several:
        said.append(f"several workers of {', '.join(several)}: one of each was measured")
    if partitions > MIN_PARTITIONS:
        said.append(f"{partitions} partitions: {MIN_PARTITIONS} were measured")
    if wanted.replicas > 1:
        said.append(
            f"{wanted.replicas} replicas: one broker without replicas was measured, and is reckoned "
            f"{wanted.replicas} times"
        )
    return tuple(said)
