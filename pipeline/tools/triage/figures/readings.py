"""What the stages' endpoints say, as far as the page shows it. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

RECORDS, REJECTS, LATE, SCORED, SUSPECTS, UNUSUAL = "records", "rejects", "late", "scored", "suspects", "unusual"
STARTED, READY, LAG = "forebay_start_time_seconds", "forebay_ready", "forebay_lag_seconds"
ROWS_IN, ROWS_OUT, REJECTED = "forebay_rows_in_total", "forebay_rows_out_total", "forebay_rejected_total"
ERRORS = "forebay_errors_total"
LATE_ROWS = "forebay_late_rows_total"
SCORED_ROWS, UNUSUAL_ROWS = "forebay_scored_rows_total", "forebay_scored_unusual_rows_total"
SUMS: Final = {ROWS_IN: "rows_in", ROWS_OUT: "rows_out", REJECTED: "rejected", ERRORS: "errors"}
NAMES = (STARTED, READY, LAG, *SUMS, LATE_ROWS, SCORED_ROWS, UNUSUAL_ROWS)
MAX_STAGES = 64
MAX_VALUE = 2**42
"""20,000 rows a second for seven years; sums of such, and microseconds, are numbers of 64 bits."""
MAX_SAMPLES = 100_000
"""Of six stages with a thousand sensors each there are a third of them; so many take seconds to read."""


class Series(NamedTuple):
    """Something that is counted of a sensor; `reason`: of rejects, why."""

    figure: str
    site: str
    sensor: str
    reason: str = ""


@dataclass(slots=True)
class Reading:
    """What one worker of a stage says of itself."""

    stage: str
    started_us: int = 0
    """When the worker started; its counts are from then on."""
    is_ready: bool = False
    lag_us: int | None = None
    sums: dict[str, int] = field(default_factory=dict)
    """Of all sensors: rows_in, rows_out, rejected, errors."""
    counts: dict[Series, int] = field(default_factory=dict)


def readings_of(text: str) -> list[Reading]:
    """What a `/metrics` says: of the one worker that serves it, or of each stage where it is that of a box.

    ValueError where it is no such text, or of no stage.
    """
    lines = [f"{line}\n" for line in text.splitlines() if line.startswith(NAMES)]
    if len(lines) > MAX_SAMPLES:
        raise ValueError(f"got {len(lines):,} samples, expected {MAX_SAMPLES:,} at most")
    samples = [sample for family in text_string_to_metric_families("".join(lines)) for sample in family.samples]
    stages = [sample.labels.get("stage", "") for sample in samples if sample.name == STARTED]
    if not all(stages) or not 1 <= len(set(stages)) <= MAX_STAGES:
        raise ValueError(f"got {len(stages)} stages, expected metrics of at least one")
    found = {stage: Reading(stage) for stage in stages}
    for sample in samples:
        if MAX_VALUE < abs(sample.value) < math.inf:
            raise ValueError(f"got {sample.name} of {sample.value:g}, expected {MAX_VALUE:,} at most")
        reading = found.get(sample.labels.get("stage") or stages[0])
        if reading is not None and math.isfinite(sample.value):
            _take(reading, sample)
    return list(found.values())


def _take(reading: Reading, sample: Sample) -> None:
    if sample.name == STARTED:
        reading.started_us = round(sample.value * 1e6)
    elif sample.name == READY:
        reading.is_ready = sample.value == 1
    elif sample.name == LAG:
        reading.lag_us = max(reading.lag_us or 0, round(sample.value * 1e6))
    elif sample.name in SUMS:
        name = SUMS[sample.name]
        reading.sums[name] = reading.sums.get(name, 0) + round(sample.value)
    site, sensor = sample.labels.get("site"), sample.labels.get("sensor")
    if site and sensor:
        for figure, reason in _counted(reading.stage, sample):
            series = Series(figure, site, sensor, reason)
            reading.counts[series] = reading.counts.get(series, 0) + round(sample.value)


def _counted(stage: str, sample: Sample) -> Iterator[tuple[str, str]]:
    """Under which figures a sample of a sensor counts, and of rejects the reason."""
    if sample.name == ROWS_OUT and stage == "ingest":
        yield RECORDS, ""
    elif sample.name == REJECTED and stage == "ingest":
        yield REJECTS, sample.labels.get("reason", "")
    elif sample.name == LATE_ROWS:
        yield LATE, ""
    elif sample.name == UNUSUAL_ROWS:
        yield UNUSUAL, ""
    elif sample.name == SCORED_ROWS:
        yield SCORED, ""
        if sample.labels.get("suspect") == "yes":
            yield SUSPECTS, ""
