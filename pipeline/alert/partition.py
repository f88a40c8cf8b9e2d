"""Alert's state of one partition: every sensor's incidents and the number of the next suspects message."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert import pages as page_state
from pipeline.alert.explain import Baseline
from pipeline.alert.grouping import Group, Grouping
from pipeline.alert.incident import as_document, of_document
from pipeline.alert.lone_flows import LoneFlows
from pipeline.alert.lone_flows import as_document as lone_document
from pipeline.alert.lone_flows import of_document as lone_of_document
from pipeline.alert.lone_notices import lone_findings
from pipeline.alert.notices import is_told, notice_finding
from pipeline.alert.ocsf import as_revision, finding_of
from pipeline.alert.sensor import Change, Left, SensorInput, advance_together, left_by, pass_watermark
from pipeline.alert.sensor_state import NEVER_US, Followed, SensorState, Tally
from pipeline.alert.site_techniques import MeaningsOf
from pipeline.alert.techniques import shipped
from pipeline.contracts.envelope import RowsFacts, SensorName, SensorWatermark
from pipeline.errors import BadData, RefusedState, SchemaMismatch, SequenceGap
from pipeline.runtime.wire import batches
from pipeline.runtime.wire.batches import taken
from pipeline.runtime.wire.sensors import Ints, sensors_of
from schemas.pages import SHIPPED_PAGES, Pages

BaselineOf = Callable[[str], Baseline | None]
PagesOf = Callable[[str], Pages]
"""The budget of pages of a site's sensors."""
VERSION = 2
MAX_IDLE = 256
"""Sensors of a partition that send nothing and whose pages are known: as many as may send."""


@dataclass(slots=True)
class PartitionState:
    """seq: number of the next message to read. sensors: by (site, sensor). reached_us: the latest end of a suspect, or
    watermark, so far. lone: what sensors' suspects left in no incident, by day.
    """

    seq: int = 0
    sensors: dict[SensorName, SensorState] = field(default_factory=dict)
    reached_us: int = NEVER_US
    lone: dict[SensorName, LoneFlows] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> "PartitionState":
        """The state before the first message."""
        return cls()


class Moved(NamedTuple):
    """The result of sensors' suspects: incidents to emit, what happened, and by sensor what is in no incident."""

    changes: list[Change]
    tally: Tally
    left: dict[SensorName, Left]


class Advanced(NamedTuple):
    """The result of a message. accepted: false for one that was read before; `state` is then as it was."""

    state: PartitionState
    events: list[dict[str, Any]]
    tally: Tally
    accepted: bool


def advance_partition(
    state: PartitionState,
    suspects: pa.RecordBatch,
    facts: RowsFacts,
    grouping: Grouping,
    baseline_of: BaselineOf,
    meanings_of: MeaningsOf = lambda _site: shipped(),
    pages_of: PagesOf = lambda _site: SHIPPED_PAGES,
) -> Advanced:
    """Process one suspects message, perhaps of no rows; it changes `state`, don't use the old one again.

    meanings_of: what classes and evidence are called at a site; how severe they are is the same everywhere.
    Raises SequenceGap where a message is missing, SchemaMismatch where the features are not those of the rows' model.
    """
    seq = facts.seq
    if seq < state.seq:
        return Advanced(state, [], Tally(), False)
    if seq > state.seq:
        raise SequenceGap(
            f"suspects of raw partition {facts.raw_partition}: got seq {seq}, expected {state.seq}; "
            "messages are missing: check the topic's retention, or restore the state from before"
        )
    expect_features(suspects, facts, baseline_of)
    over = {*facts.ended, *facts.evicted}
    moved = advance_sensors(state.sensors, suspects, facts.watermarks, over, grouping, pages_of)
    state.seq = seq + 1
    watermarks_us = [watermark.time_us for watermark in facts.watermarks]
    ended_us = int(suspects.column("end_ts_us").to_numpy().max(initial=NEVER_US))
    state.reached_us = max([state.reached_us, ended_us, *watermarks_us])
    events = [notice_finding(notice) for notice in facts.notices if is_told(notice)]
    events += _revisions(moved.changes, baseline_of, meanings_of)
    events += lone_findings(state.lone, moved.left, over, grouping, baseline_of, meanings_of)
    return Advanced(state, events, moved.tally, True)


def _revisions(changes: Iterable[Change], baseline_of: BaselineOf, meanings_of: MeaningsOf) -> Iterator[dict[str, Any]]:
    """An event for each change; what it says of an incident is made once, also where that opens and closes at once."""
    findings: dict[int, dict[str, Any]] = {}
    for incident, activity, revision in changes:
        if (finding := findings.get(id(incident))) is None:
            finding = finding_of(incident, meanings_of(incident.site), baseline_of(incident.model))
            findings[id(incident)] = finding
        yield as_revision(finding, incident, activity, revision)


def advance_sensors(
    sensors: dict[SensorName, SensorState],
    suspects: pa.RecordBatch,
    watermarks: Iterable[SensorWatermark],
    ended: Iterable[SensorName],
    grouping: Grouping,
    pages_of: PagesOf = lambda _site: SHIPPED_PAGES,
) -> Moved:
    """Advance every sensor the message has rows, a watermark or an end of; sensors in the order of their names."""
    if not pc.all(suspects.column("suspect")).as_py():
        suspects = suspects.filter(suspects.column("suspect"))
    rows_of = rows_by_sensor(suspects)
    watermark_us_of = {(site, sensor): time_us for site, sensor, time_us in watermarks}
    ended, no_rows = set(ended), np.empty(0, np.int64)
    inputs, passed = dict[SensorName, SensorInput](), dict[SensorName, Left]()
    names = sorted({**watermark_us_of, **rows_of, **dict.fromkeys(ended & sensors.keys())})
    for name in names:
        if (state := sensors.get(name)) is None:
            state = sensors[name] = SensorState()
        if name not in rows_of and name not in ended and state.is_quiet:
            # Nearly every sensor of nearly every message: all that happens to it is that its clock goes on.
            passed[name] = pass_watermark(state, watermark_us_of[name])
            continue
        rows, watermark_us = rows_of.get(name, no_rows), watermark_us_of.get(name)
        inputs[name] = SensorInput(state, rows, watermark_us, name in ended, pages_of(name[0]))
    changes, tally = list[Change](), Tally()
    for changed, happened in advance_together(list(inputs.values()), suspects, grouping):
        changes += changed
        tally = tally.plus(happened)
    left = {name: passed[name] if name in passed else left_by(sensors[name], name in ended) for name in names}
    _forget(sensors, ended)
    return Moved(changes, tally, left)


def _forget(sensors: dict[SensorName, SensorState], ended: set[SensorName]) -> None:
    """Forget sensors that sent their last and were never judged; of the others those idle for longest, where too many.

    The pages of the others stay: else a source of hourly files would have its budget every hour.
    """
    if not ended:
        return
    for name in ended & sensors.keys():
        if sensors[name].pages.budget is None:
            del sensors[name]
    idle = [(each.pages.judged_us, name) for name, each in sensors.items() if each.clock_us == NEVER_US]
    for _, name in sorted(idle)[: max(len(idle) - MAX_IDLE, 0)]:
        del sensors[name]


def rows_by_sensor(rows: pa.RecordBatch) -> dict[SensorName, Ints]:
    """Where the rows of each (site, sensor) are, in their order."""
    if not rows.num_rows:
        return {}
    names, number = sensors_of(rows)
    order = np.argsort(number, kind="stable")
    firsts = np.searchsorted(number[order], np.arange(1, len(names)))
    return dict(zip(names, np.split(order, firsts), strict=True))


def expect_features(suspects: pa.RecordBatch, facts: RowsFacts, baseline_of: BaselineOf) -> None:
    """SchemaMismatch unless every row's model was made for the features the rows carry."""
    feature_hash = facts.feature_hash
    for model in pc.unique(suspects.column("model")).to_pylist():
        baseline = baseline_of(model)
        if feature_hash and baseline is not None and baseline.feature_hash and baseline.feature_hash != feature_hash:
            raise SchemaMismatch(
                f"suspects of model {model}: got features '{facts.feature_set}' {feature_hash[:12]}, expected "
                f"'{baseline.feature_set}' {baseline.feature_hash[:12]}; run the same version everywhere"
            )


def snapshot(state: PartitionState) -> bytes:
    """The state as bytes: the waiting suspects as a message's rows, all else as its facts."""
    named = sorted(state.sensors.items())
    rows, schema = _waiting([sensor for _, sensor in named])
    facts = {
        "version": VERSION,
        "seq": state.seq,
        "reached_us": state.reached_us,
        "sensors": [
            {
                "site": site,
                "sensor": sensor,
                "clock_us": state.clock_us,
                "began_us": state.began_us,
                **_document(state, schema),
            }
            for (site, sensor), state in named
        ],
        "lone": [
            {"site": site, "sensor": sensor, **lone_document(each)}
            for (site, sensor), each in sorted(state.lone.items())
        ],
    }
    return batches.encode(rows, facts)


def restore(payload: bytes) -> PartitionState:
    """The state that `snapshot` wrote; RefusedState where the bytes are something else."""
    try:
        rows, facts = batches.decode(payload, "scored", max_bytes=None)
        if facts["version"] != VERSION:
            raise RefusedState(
                f"alert state: got version {facts['version']}, expected {VERSION}; run the version that wrote it"
            )
        waiting = {name: taken(rows, where) for name, where in rows_by_sensor(rows).items()}
        sensors = {
            (str(saved["site"]), str(saved["sensor"])): SensorState(
                clock_us=int(saved["clock_us"]),
                began_us=int(saved.get("began_us", NEVER_US)),
                followed=[_followed(document) for document in saved["followed"]],
                waiting=waiting.get((saved["site"], saved["sensor"])),
                waiting_of=np.asarray(saved["waiting_of"], np.int64),
                # States of the version before have none: a sensor then starts as one never paged for.
                pages=page_state.of_document(saved["pages"]) if "pages" in saved else page_state.SensorPages(),
            )
            for saved in facts["sensors"]
        }
        # So have states of the version before: their suspects in no incident are not told of.
        lone = {(str(each["site"]), str(each["sensor"])): lone_of_document(each) for each in facts.get("lone", [])}
        return PartitionState(int(facts["seq"]), sensors, int(facts["reached_us"]), lone)
    except (BadData, SchemaMismatch, KeyError, TypeError, ValueError) as error:
        raise RefusedState(f"alert state of {len(payload)} bytes: got {error!r}, expected saved incidents") from error


def _waiting(sensors: list[SensorState]) -> tuple[pa.RecordBatch, pa.Schema]:
    """All suspects that wait, of one schema: those of another feature set would be dropped by the next message."""
    waiting = [sensor.waiting for sensor in sensors if sensor.waiting is not None]
    if not waiting:
        empty = batches.empty("scored")
        return empty, empty.schema
    schema = waiting[-1].schema
    return pa.concat_batches([rows for rows in waiting if rows.schema.equals(schema)]), schema


def _document(state: SensorState, schema: pa.Schema) -> dict[str, Any]:
    retained = state.waiting is not None and state.waiting.schema.equals(schema)
    return {
        "waiting_of": state.waiting_of.tolist() if retained else [],
        "pages": page_state.as_document(state.pages),
        "followed": [
            {
                "group": {name: getattr(each.group, name) for name in Group.__slots__},
                "incident": as_document(each.incident) if each.incident is not None else None,
            }
            for each in state.followed
        ],
    }


def _followed(document: Mapping[str, Any]) -> Followed:
    incident = document["incident"]
    return Followed(Group(**document["group"]), of_document(incident) if incident is not None else None)
