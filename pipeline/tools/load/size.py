"""What a plant needs: cores, memory, disk and partitions, from figures that were measured and the rate that is wanted.

Everything beyond the rate and the sensors of the measured run is a projection, and is said to be one.
"""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MEASURED = Path(__file__).with_name("measured.toml")
BUSY_SHARE = 0.5
"""How much of a core may be used at the wanted rate: the rest is for bursts, restarts and catching up."""
KAFKA_TOPICS = ("raw", "flows", "features", "suspects", "archive", "retrain")
DAY_S = 86_400
MIN_PARTITIONS = 4
_SHARED = ("broker",)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be sized. retention_days: of the archive; replicas: of Kafka's topics."""

    flows_per_s: float
    sensors: int
    retention_days: float
    replicas: int = 1


class Stage(NamedTuple):
    """What a stage needs: workers, the cores all of them use at the wanted rate, and their memory."""

    workers: int
    cores: float
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a plant needs. projected: what in it goes beyond the measured run, in words; empty where nothing does."""

    stages: dict[str, Stage]
    partitions: int
    cores: int
    memory_mib: int
    archive_bytes: int
    kafka_bytes: int | None
    projected: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "partitions": self.partitions,
            "cores": self.cores,
            "memory_mib": self.memory_mib,
            "archive_bytes": self.archive_bytes,
            "kafka_bytes": self.kafka_bytes,
            "stages": {name: stage._asdict() for name, stage in self.stages.items()},
            "projected": list(self.projected),
        }


def measured() -> dict[str, Any]:
    """The figures, as the file beside this one has them."""
    return tomllib.loads(MEASURED.read_text(encoding="utf-8"))


def size(wanted: Wanted, figures: dict[str, Any], kafka_days: dict[str, float]) -> Sizing:
    """Size a plant. kafka_days: how long each topic is retained.

    A worker takes one core at most, and is to be at most half busy; a stage has at least one.
    """
    stages = {}
    for name, cpu_us in figures["cpu_us_a_record"].items():
        cores = wanted.flows_per_s * cpu_us / 1e6
        workers = 1 if name in _SHARED else max(1, math.ceil(cores / BUSY_SHARE))
        stages[name] = Stage(workers, round(cores, 3), workers * figures["rss_mib"][name])
    most = max(stage.workers for stage in stages.values())
    # Twice as many partitions as workers: a worker more is then no reason to make topics anew. Sensors are spread over
    # them, so more partitions than sensors are of no use.
    partitions = max(MIN_PARTITIONS, min(_power_of_two(2 * most), _power_of_two(wanted.sensors)))
    cores_used = sum(stage.cores for stage in stages.values())
    held = figures["sensor"]
    sensors_mib = math.ceil(wanted.sensors * (held["window_bytes"] + held["baseline_bytes"]) / 2**20)
    rows = wanted.flows_per_s * DAY_S
    return Sizing(
        stages,
        partitions,
        max(2, math.ceil(cores_used / BUSY_SHARE)),
        sum(stage.memory_mib for stage in stages.values()) + sensors_mib,
        round(rows * wanted.retention_days * figures["archive"]["bytes_a_row"]),
        _kafka_bytes(rows, wanted.replicas, figures, kafka_days),
        _projected(wanted, figures, stages, partitions),
    )


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def _kafka_bytes(rows_a_day: float, replicas: int, figures: dict[str, Any], kafka_days: dict[str, float]) -> int | None:
    """What the topics that every row passes hold on disk; None where that was not measured."""
    if "kafka_bytes_a_record" not in figures:
        return None
    each = figures["kafka_bytes_a_record"]["topics"]
    held = sum(rows_a_day * kafka_days[topic] * float(each[topic]) for topic in KAFKA_TOPICS)
    return round(held * replicas)


def _projected(wanted: Wanted, figures: dict[str, Any], stages: dict[str, Stage], partitions: int) -> tuple[str, ...]:
    run = figures["run"]
    said = []
    if wanted.flows_per_s > run["records_per_s"]:
        said.append(f"{wanted.flows_per_s:,.0f} flows/s: {run['records_per_s']:,}/s were measured")
    if wanted.sensors > run["sensors"]:
        said.append(f"{wanted.sensors:,} sensors: {run['sensors']} were measured")
    several = [name for name, stage in stages.items() if stage.workers > 1]
    if several:
        said.append(f"several workers of {', '.join(several)}: one of each was measured")
    if partitions > MIN_PARTITIONS:
        said.append(f"{partitions} partitions: {MIN_PARTITIONS} were measured")
    if wanted.replicas > 1:
        said.append(f"{wanted.replicas} replicas: one broker without replicas was measured")
    return tuple(said)
