"""What a plant's data take on disk, place by place, and what is not known of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pipeline.tools.broker.configuration import LIMITS
from pipeline.tools.load.size import DAY_S, Bounds, Wanted

KAFKA_TOPICS = ("raw", "flows", "features", "suspects", "archive", "retrain")
"""The topics that rows pass, all or a share; the others hold what a plant does, not how much it sends."""
SEGMENT_BYTES = int(str(LIMITS["log.segment.bytes"]))
"""Of the local Kafka; elsewhere a segment has 1 GiB unless it is set."""
SEGMENT_DAYS = 7.0
"""A segment that is not full is closed after so long, as Kafka has it by default."""
UNKNOWN = (
    "models: one is counted; retrain adds one for each candidate and each fitted calibration, and none is removed",
    "rejects, and the compacted topics (alerts, notices, positions): they follow from what the plant does",
    "logs, the page's store, copies in Iceberg tables",
)
"""What is on disks too, and how much is not known before."""


class Place(NamedTuple):
    """What lies in one place, and why so much."""

    bytes: int
    why: str


def disk(wanted: Wanted, partitions: int, figures: Mapping[str, Any], bounds: Bounds) -> dict[str, Place]:
    """What each place holds at most, replicas of topics included."""
    rows = wanted.flows_per_s * DAY_S * wanted.retention_days
    places = {
        "archive": Place(
            round(rows * figures["rates"]["archive_bytes_a_row"]), f"{wanted.retention_days:g} days, as --keep says"
        )
    }
    a_second = {topic: _bytes_a_second(topic, wanted.flows_per_s, figures) for topic in KAFKA_TOPICS}
    for topic, each in a_second.items():
        days = bounds.kafka_days[topic]
        places[f"topic {topic}"] = Place(
            round(each * DAY_S * days) * wanted.replicas, f"{days:g} day{'s' * (days != 1)}"
        )
    # Kafka removes whole segments, when the newest message in one is old enough.
    open_bytes = sum(min(SEGMENT_BYTES * partitions, each * DAY_S * SEGMENT_DAYS) for each in a_second.values())
    places["segments"] = Place(
        round(open_bytes) * wanted.replicas, "Kafka removes whole ones: up to one more a partition and topic"
    )
    places["states"] = Place(
        round(wanted.sensors * bounds.states * figures["disk"]["calm"]["state_bytes_a_sensor"]),
        f"{bounds.states} of each sensor: the current one, and those that are retained for replays",
    )
    places["samples"] = Place(
        round(bounds.samples * figures["disk"]["calm"]["sample_bytes_a_row"]), f"{bounds.samples:,} rows at most"
    )
    places["models"] = Place(figures["disk"]["calm"]["model_bytes"], "one")
    return places


def _bytes_a_second(topic: str, rate: float, figures: Mapping[str, Any]) -> float:
    """What a topic grows by: between two rates that were measured a straight line, as cores; beyond them a record
    takes what it takes at the nearest.
    """
    found, rates = figures["rates"]["kafka_bytes_a_record"], figures["rates"]["records_per_s"]
    within = min(max(rate, rates[0]), rates[-1])
    grown = np.maximum.accumulate(np.multiply(rates, found[topic]))  # no rate is to hold less than a lower one
    return float(np.interp(within, rates, grown) * rate / within)
