"""Scored flows in, incidents out, without Kafka: for files, replays and the choice of thresholds."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

from pipeline.alert.explain import Baseline
from pipeline.alert.grouping import Grouping, load_grouping
from pipeline.alert.incident import Incident
from pipeline.alert.ocsf import CLOSE, detection_finding
from pipeline.alert.partition import advance_sensors
from pipeline.alert.sensor import Change, SensorState
from pipeline.alert.techniques import Meanings, shipped
from pipeline.contracts.envelope import SensorName
from schemas.pages import SHIPPED_PAGES, Pages

BaselineOf = Callable[[str], Baseline | None]


def closed_incidents(
    batches: Iterable[pa.RecordBatch], grouping: Grouping | None = None, pages: Pages = SHIPPED_PAGES
) -> list[Incident]:
    """Every incident in the scored batches, as it was when it closed; in the order they opened.

    batches: schema `scored`, all rows or suspects only, each sensor's rows in the order of `features` messages.
    """
    changes = _changes(batches, grouping or load_grouping(), pages)
    closed = [incident for incident, activity in changes if activity == CLOSE]
    return sorted(closed, key=lambda incident: (incident.opened_ts_us, incident.site, incident.sensor, incident.uid))


def incidents_of(
    batches: Iterable[pa.RecordBatch],
    grouping: Grouping | None = None,
    baseline_of: Callable[[str], Baseline | None] = lambda _model: None,
    meanings: Meanings | None = None,
    pages: Pages = SHIPPED_PAGES,
) -> list[dict[str, Any]]:
    """The last event (Close) of every incident in the scored batches, as OCSF; in the order they opened."""
    return [
        detection_finding(incident, CLOSE, meanings or shipped(), baseline_of(incident.model))
        for incident in closed_incidents(batches, grouping, pages)
    ]


def _changes(batches: Iterable[pa.RecordBatch], grouping: Grouping, pages: Pages) -> Iterator[Change]:
    sensors: dict[SensorName, SensorState] = {}
    last: pa.RecordBatch | None = None
    for last in batches:
        yield from advance_sensors(sensors, last, (), (), grouping, pages_of=lambda _site: pages)[0]
    if last is not None:
        end = last.slice(0, 0)
        yield from advance_sensors(sensors, end, (), list(sensors), grouping, pages_of=lambda _site: pages)[0]
