"""Sensors' incidents: advanced by their suspects and their watermarks, both in event time."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.alert.assignment import Arrival, assign
from pipeline.alert.grouping import Grouping, clock_of
from pipeline.alert.incident import Incident
from pipeline.alert.ocsf import CLOSE, CREATE, UPDATE
from pipeline.alert.pages import PAGE
from pipeline.alert.sensor_state import NEVER_US, SensorState, Tally
from pipeline.runtime.wire.batches import taken
from schemas.pages import SHIPPED_PAGES, Pages

Ints = npt.NDArray[np.int64]


class Change(NamedTuple):
    """An incident to emit, and as what: CREATE, UPDATE or CLOSE. One that opens and closes at once has two changes."""

    incident: Incident
    activity: int
    revision: int


class Left(NamedTuple):
    """What an advance left in no incident: batches of schema `scored`; no group takes them in any more.

    began_us, clock_us: the sensor's clock at its first suspect, and now. settled_us: what became of all suspects before
    it is known, but for late ones to come.
    """

    rows: list[pa.RecordBatch]
    began_us: int
    clock_us: int
    settled_us: int


class SensorInput(NamedTuple):
    """What a message holds for a sensor: its state, where its suspects are, in their order, and its watermark, None
    where it has none.

    ended: nothing more comes of this source; everything is closed and the sensor's clock starts anew, for a later file
    may lie earlier; its pages stay known. pages: its budget.
    """

    state: SensorState
    rows: Ints
    watermark_us: int | None
    ended: bool = False
    pages: Pages = SHIPPED_PAGES


def advance_together(
    inputs: Sequence[SensorInput], suspects: pa.RecordBatch, grouping: Grouping
) -> list[tuple[list[Change], Tally]]:
    """Process the suspects (schema `scored`) and watermarks of several sensors; their states are changed.

    Returns of each sensor the incidents to emit, in the order they opened, with their revisions counted up. They do not
    depend on what other sensors there are.
    """
    with_suspects = [number for number, each in enumerate(inputs) if len(each.rows)]
    for each in inputs:
        each.state.left = []
    tallies = [Tally()] * len(inputs)
    if with_suspects:
        arrivals = [Arrival(inputs[at].state, inputs[at].pages, len(inputs[at].rows)) for at in with_suspects]
        theirs = taken(suspects, np.concatenate([inputs[at].rows for at in with_suspects]))
        for at, tally in zip(with_suspects, assign(arrivals, theirs, grouping), strict=True):
            tallies[at] = tally
    return [_pass_time(each, tally, grouping) for each, tally in zip(inputs, tallies, strict=True)]


def advance(
    state: SensorState,
    suspects: pa.RecordBatch,
    watermark_us: int | None,
    ended: bool,
    grouping: Grouping,
    pages: Pages = SHIPPED_PAGES,
) -> tuple[list[Change], Tally]:
    """`advance_together` of one sensor, whose suspects these are."""
    rows = np.arange(suspects.num_rows)
    return advance_together([SensorInput(state, rows, watermark_us, ended, pages)], suspects, grouping)[0]


def _pass_time(of: SensorInput, tally: Tally, grouping: Grouping) -> tuple[list[Change], Tally]:
    """What a sensor's incidents come to as its clock goes on, after its suspects of a message."""
    state, ended = of.state, of.ended
    if of.watermark_us is not None:
        state.clock_us = max(state.clock_us, of.watermark_us)
    over = [ended or state.clock_us - each.group.last_clock_us > grouping.gap_us for each in state.followed]
    changes: list[Change] = []
    for each, closes in zip(state.followed, over, strict=True):
        if each.incident is None:
            continue
        if each.incident.revision == 0:
            changes.append(_emitted(each.incident, CREATE))
        elif not closes and _update_is_due(each.incident, state.clock_us, grouping):
            changes.append(_emitted(each.incident, UPDATE))
        if closes:
            changes.append(_emitted(each.incident, CLOSE))
    tally = tally.plus(_evict(state, np.asarray(over, bool)))
    if ended:
        state.clock_us = NEVER_US
    changes.sort(key=lambda change: (change.incident.opened_ts_us, change.incident.uid, change.revision))
    return changes, tally


def left_by(state: SensorState, ended: bool) -> Left:
    """What the last advance left in no incident; the state has it no longer. `ended` as there: the next begins anew."""
    settled_us = state.clock_us
    if state.waiting is not None:
        settled_us = min(settled_us, int(clock_of(state.waiting).min()))
    left = Left(state.left, state.began_us, state.clock_us, settled_us)
    state.left, state.began_us = [], NEVER_US if ended else state.began_us
    return left


def pass_watermark(state: SensorState, watermark_us: int) -> Left:
    """What `advance` without suspects and `left_by` come to for a quiet sensor whose source goes on: the same state."""
    state.clock_us = max(state.clock_us, watermark_us)
    return Left([], state.began_us, state.clock_us, state.clock_us)


def _evict(state: SensorState, over: npt.NDArray[np.bool_]) -> Tally:
    """Evict the groups that are over, and the suspects that waited in them."""
    if not over.any():
        return Tally()
    index_of = np.cumsum(~over) - 1
    state.followed = [each for each, gone in zip(state.followed, over.tolist(), strict=True) if not gone]
    stays = np.flatnonzero(~over[state.waiting_of])
    alone = len(state.waiting_of) - len(stays)
    if alone and state.waiting is not None:
        state.left.append(taken(state.waiting, np.flatnonzero(over[state.waiting_of])))
        state.waiting = state.waiting.take(pa.array(stays)) if len(stays) else None
    state.waiting_of = index_of[state.waiting_of[stays]]
    return Tally(alone=alone)


def _update_is_due(incident: Incident, clock_us: int, grouping: Grouping) -> bool:
    """Whether an incident has become more than its last revision says, and that one is old enough."""
    since_us = clock_us - incident.emitted_clock_us
    if since_us < grouping.update_every_us or incident.count == incident.emitted_count:
        return False
    return (
        incident.count >= grouping.update_growth * incident.emitted_count
        or incident.level > incident.emitted_level
        or (incident.judged.disposition == PAGE and not incident.emitted_page)
        or not set(incident.said_classes) <= set(incident.emitted_classes)
        or since_us >= grouping.update_after_us
    )


def _emitted(incident: Incident, activity: int) -> Change:
    incident.revision += 1
    incident.emitted_clock_us, incident.emitted_count = incident.last_clock_us, incident.count
    incident.emitted_level, incident.emitted_page = incident.level, incident.judged.disposition == PAGE
    incident.emitted_classes = sorted({*incident.emitted_classes, *incident.said_classes})
    return Change(incident, activity, incident.revision)
