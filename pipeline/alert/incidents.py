"""Scored flows in, incidents out, without Kafka: for files, replays and the choice of thresholds."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.alert.explain import Baseline
from pipeline.alert.grouping import Grouping, load_grouping
from pipeline.alert.incident import Incident
from pipeline.alert.lone_flows import LoneFlows
from pipeline.alert.lone_notices import lone_findings
from pipeline.alert.ocsf import CLOSE, detection_finding
from pipeline.alert.partition import Moved, advance_sensors
from pipeline.alert.sensor import Change
from pipeline.alert.sensor_state import SensorState
from pipeline.alert.techniques import Meanings, shipped
from pipeline.contracts.envelope import SensorName
from schemas.pages import SHIPPED_PAGES, Pages

BaselineOf = Callable[[str], Baseline | None]


class Outcome(NamedTuple):
    """What scored flows come to, the last event of each as OCSF: incidents, and notices of suspects in none."""

    incidents: list[dict[str, Any]]
    lone: list[dict[str, Any]]


def closed_incidents(
    batches: Iterable[pa.RecordBatch], grouping: Grouping | None = None, pages: Pages = SHIPPED_PAGES
) -> list[Incident]:
    """Every incident in the scored batches, as it was when it closed; in the order they opened.

    batches: schema `scored`, all rows or suspects only, each sensor's rows in the order of `features` messages.
    """
    moves = _moves(batches, grouping or load_grouping(), pages)
    return _closed(change for moved, _ in moves for change in moved.changes)


def incidents_of(
    batches: Iterable[pa.RecordBatch],
    grouping: Grouping | None = None,
    baseline_of: Callable[[str], Baseline | None] = lambda _model: None,
    meanings: Meanings | None = None,
    pages: Pages = SHIPPED_PAGES,
) -> list[dict[str, Any]]:
    """The last event (Close) of every incident in the scored batches, as OCSF; in the order they opened."""
    return outcome_of(batches, grouping, baseline_of, meanings, pages).incidents


def outcome_of(
    batches: Iterable[pa.RecordBatch],
    grouping: Grouping | None = None,
    baseline_of: BaselineOf = lambda _model: None,
    meanings: Meanings | None = None,
    pages: Pages = SHIPPED_PAGES,
) -> Outcome:
    """The incidents as `incidents_of` has them, and the last notice of each sensor's day with suspects in none."""
    grouping, means = grouping or load_grouping(), meanings or shipped()
    lone, changes, notices = dict[SensorName, LoneFlows](), list[Change](), dict[str, dict[str, Any]]()
    for moved, ended in _moves(batches, grouping, pages):
        changes += moved.changes
        events = lone_findings(lone, moved.left, ended, grouping, baseline_of, lambda _site: means)
        notices |= {event["finding_info"]["uid"]: event for event in events}
    return Outcome(
        [detection_finding(each, CLOSE, means, baseline_of(each.model)) for each in _closed(changes)],
        list(notices.values()),
    )


def _closed(changes: Iterable[Change]) -> list[Incident]:
    closed = [change.incident for change in changes if change.activity == CLOSE]
    return sorted(closed, key=lambda incident: (incident.opened_ts_us, incident.site, incident.sensor, incident.uid))


def _moves(
    batches: Iterable[pa.RecordBatch], grouping: Grouping, pages: Pages
) -> Iterator[tuple[Moved, list[SensorName]]]:
    """What each batch comes to, and the sensors that ended with it."""
    sensors: dict[SensorName, SensorState] = {}
    last: pa.RecordBatch | None = None
    for last in batches:
        yield advance_sensors(sensors, last, (), (), grouping, pages_of=lambda _site: pages), []
    if last is not None:
        end = last.slice(0, 0)
        ended = list(sensors)
        yield advance_sensors(sensors, end, (), ended, grouping, pages_of=lambda _site: pages), ended
