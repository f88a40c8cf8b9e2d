"""Sensors' suspects assigned to groups, and groups to incidents: what needs no sensor, once for all of them.

The suspects of a message are a few of each of many sensors, or very many of one. Each sensor's follow from its own
suspects and its own state alone, whatever other sensors are in the message.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.alert.grouping import Group, Grouping, clock_order, group_sensors, keys_of
from pipeline.alert.incident import CROWD, Incident
from pipeline.alert.kernel import ALONE, DROPPED, Linked
from pipeline.alert.levels import grows, levels_of
from pipeline.alert.members import members_of
from pipeline.alert.occasions import occasions_of
from pipeline.alert.pages import PAGE, Occasion, SensorPages
from pipeline.alert.sensor_state import NEVER_US, Followed, SensorState, Tally
from pipeline.alert.techniques import shipped
from pipeline.contracts.uids import incident_uid
from pipeline.runtime.wire.batches import taken
from schemas.pages import Pages

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
OPENED_BY = ("site", "sensor", "model", "end_ts_us", "record_id")
"""What an incident has of its first flow."""


class Arrival(NamedTuple):
    """A sensor with suspects in a message: its state, its budget of pages, how many."""

    state: SensorState
    pages: Pages
    suspects: int


@dataclass(slots=True)
class Assigned:
    """A sensor's suspects in their groups: n rows, those that waited, then the fresh ones.

    at: (n,) where each lies among all sensors' rows. clock_us: of the fresh ones. first_group: (n,) the group a row was
    linked to; last_group: the one it is in afterwards, since the crowd may have taken its group in, or DROPPED or
    ALONE. followed, is_open: the groups by number, and whether each is an incident. occasions: with the number of the
    fresh row of each. dropped: suspects that waited with another feature set.

    Two suspects open an incident here; group 0 was known, row 0 waited in it; its addresses are a, b:

        row      from → to   first_group  last_group  joined_at   becomes
        0 (old)  a → b       0            0           1           member: its group became an incident
        1        c → d       1            1           -           waits in group 1: alone it is no incident
        2        b → e       0            0           1           member: with it, group 0 becomes an incident
        3        f → g       2            DROPPED     -           not followed: too many wait
        4        a → h       0            0           3           member

    `joined_at` numbers fresh rows from 0 (row 1 is fresh row 0): a row that waited joins when its incident opens.
    """

    arrival: Arrival
    at: Ints
    clock_us: Ints
    linked: Linked
    first_group: Ints
    last_group: Ints
    followed: list[Followed]
    is_open: Flags
    dropped: int
    occasions: list[tuple[int, Incident, Occasion]] = field(default_factory=list)


class Joining(NamedTuple):
    """The rows of a sensor that join incidents, group by group, in the order they join.

    at: (m,) where they lie among all sensors' rows. joined_at: (m,). groups, starts: the groups, and where each begins.
    """

    of: Assigned
    at: Ints
    joined_at: Ints
    groups: list[int]
    starts: Ints


def assign(arrivals: Sequence[Arrival], suspects: pa.RecordBatch, grouping: Grouping) -> list[Tally]:
    """Assign every suspect to a group; open an incident for each group with enough evidence, and fill it.

    suspects: schema `scored`, those of each sensor one behind the other, in the order of `arrivals`, each of which has
    one at least; the states are changed.
    """
    bounds = np.cumsum([0, *(arrival.suspects for arrival in arrivals)])
    not_before_us = np.array([arrival.state.clock_us for arrival in arrivals], np.int64)
    order, clock_us = clock_order(suspects, bounds, not_before_us)
    fresh = taken(suspects, order)
    dropped = [_drop_other_features(arrival.state, fresh) for arrival in arrivals]
    known = [[each.group for each in arrival.state.followed] for arrival in arrivals]
    linked = group_sensors(fresh, clock_us, bounds, known, grouping)
    waiting = [arrival.state.waiting for arrival in arrivals if arrival.state.waiting is not None]
    rows = pa.concat_batches([*waiting, fresh]) if waiting else fresh
    fresh_at, waiting_at, assigned = len(rows) - len(fresh), 0, list[Assigned]()
    for number, arrival in enumerate(arrivals):
        first, last, waits = int(bounds[number]), int(bounds[number + 1]), len(arrival.state.waiting_of)
        at = np.arange(fresh_at + first, fresh_at + last)
        if waits:
            at = np.concatenate([np.arange(waiting_at, waiting_at + waits), at])
            waiting_at += waits
        assigned.append(_assigned(arrival, at, clock_us[first:last], *linked[number], dropped[number]))
    _fill(assigned, rows, grouping)
    return [_settled(each, rows) for each in assigned]


def _assigned(
    arrival: Arrival, at: Ints, clock_us: Ints, linked: Linked, tokens: list[list[str]], dropped: int
) -> Assigned:
    state = arrival.state
    if state.began_us == NEVER_US:
        state.began_us = int(clock_us[0])
    first_group = np.concatenate([state.waiting_of, linked.group_of])
    followed = _followed(state, linked, tokens)
    is_open = np.asarray([each.group.is_open for each in followed], np.bool_)
    last_group = linked.into[first_group]
    return Assigned(arrival, at, clock_us, linked, first_group, last_group, followed, is_open, dropped)


def _fill(assigned: Sequence[Assigned], rows: pa.RecordBatch, grouping: Grouping) -> None:
    """Open the incidents of all sensors, fill them, and note their occasions."""
    joining = [each for of in assigned if len((each := _joining(of)).at)]
    if not joining:
        return
    firsts = np.cumsum([0, *(len(each.at) for each in joining)])
    starts = np.concatenate([first + each.starts for first, each in zip(firsts, joining, strict=False)])
    members = members_of(taken(rows, np.concatenate([each.at for each in joining])), starts)
    joined_at = np.concatenate([each.joined_at for each in joining])
    levels = levels_of(members.shown, shipped())
    grow = grows(members.shown, levels)
    parts = [(each.of, number) for each in joining for number in each.groups]
    _open([(of, number, int(start)) for (of, number), start in zip(parts, starts, strict=True)], members.rows, grouping)
    for part, (sensor, number) in enumerate(parts):
        of, group = members.of(part), sensor.followed[number]
        if group.incident is None:
            continue  # none is: they were opened
        rose = occasions_of(group.incident, members.shown, of, joined_at[of], levels[of], grow[of], sensor.clock_us)
        sensor.occasions += [(fresh_row, group.incident, occasion) for fresh_row, occasion in rose]
        group.incident.absorb(members, part)
        group.incident.last_clock_us = group.group.last_clock_us


def _joining(of: Assigned) -> Joining:
    members = np.flatnonzero((of.last_group >= 0) & of.is_open[of.last_group])
    waited = len(of.first_group) - len(of.clock_us)
    joined_at = np.maximum(members - waited, of.linked.opened_row[of.first_group[members]])
    groups = of.last_group[members]
    order = np.lexsort((members, joined_at, groups))
    numbers, starts = np.unique(groups[order], return_index=True)
    return Joining(of, of.at[members[order]], joined_at[order], numbers.tolist(), starts)


def _open(parts: Sequence[tuple[Assigned, int, int]], rows: pa.RecordBatch, grouping: Grouping) -> None:
    """Open the incidents that groups, each by its sensor, its number and the row of its first flow, become."""
    opening = [part for part in parts if part[0].followed[part[1]].incident is None]
    if not opening:
        return
    first = rows.take(pa.array([row for _, _, row in opening]))
    keys, columns = keys_of(first, grouping).to_pylist(), [first.column(name).to_pylist() for name in OPENED_BY]
    for (of, number, _), own_key, *facts in zip(opening, keys, *columns, strict=True):
        opened, (site, sensor, model, end_us, record) = of.followed[number], facts
        key = CROWD if opened.group.is_crowd else own_key
        opened_us = int(of.clock_us[of.linked.opened_row[number]])
        opened.incident = Incident(
            uid=incident_uid(site, sensor, key, end_us, record),
            site=site,
            sensor=sensor,
            key=key,
            model=model,
            opened_ts_us=opened_us,
            last_clock_us=opened_us,
        )


def _settled(of: Assigned, rows: pa.RecordBatch) -> Tally:
    """Judge a sensor's incidents, and retain what there still is of its groups and suspects."""
    state, first_group, last_group = of.arrival.state, of.first_group, of.last_group
    paged = _judge(state.pages, sorted(of.occasions, key=lambda occasion: occasion[0]), of.arrival.pages)
    crowded = int(np.count_nonzero((first_group != last_group) & (last_group >= 0)))
    dropped = of.dropped + int(np.count_nonzero(last_group == DROPPED))
    alone = int(np.count_nonzero(last_group == ALONE))
    if (last_group < 0).any():
        state.left.append(taken(rows, of.at[last_group < 0]))
    _retain(of, rows)
    state.clock_us = max(state.clock_us, int(of.clock_us[-1]))
    return Tally(of.arrival.suspects, alone=alone, dropped=dropped, crowded=crowded, pages=paged)


def _judge(sensor: SensorPages, occasions: list[tuple[int, Incident, Occasion]], pages: Pages) -> int:
    """Give incidents their dispositions, in the order of the flows they are judged by; a page stays one.

    A page may page again: what is certain may have joined a flood that paged for its number. Returns how many paged.
    """
    paged = 0
    for _, incident, occasion in occasions:
        was_page = incident.judged.disposition == PAGE
        if was_page and not incident.judged.is_outdone(occasion):
            sensor.rise(occasion)
            incident.judged = incident.judged._replace(level=max(incident.judged.level, occasion.level))
            continue
        judged = sensor.judge(occasion, pages)
        if judged.disposition == PAGE or not was_page:
            incident.judged = judged
        paged += judged.disposition == PAGE
    return paged


def _drop_other_features(state: SensorState, fresh: pa.RecordBatch) -> int:
    """Drop suspects that wait with another feature set, as after a change of model; returns how many."""
    if state.waiting is None or state.waiting.schema.equals(fresh.schema):
        return 0
    dropped: int = state.waiting.num_rows
    state.left.append(state.waiting)
    state.followed = [each for each in state.followed if each.incident is not None]
    state.waiting, state.waiting_of = None, np.empty(0, np.int64)
    return dropped


def _followed(state: SensorState, linked: Linked, tokens: list[list[str]]) -> list[Followed]:
    """The groups after a batch, by their numbers."""
    followed = []
    group_of, into, opened_rows = linked.group_of.tolist(), linked.into.tolist(), linked.opened_row.tolist()
    last_us, evidence = linked.last_us.tolist(), linked.evidence.tolist()
    for number in range(len(into)):
        before = state.followed[number] if number < len(state.followed) else None
        opened_row = opened_rows[number]
        opens = opened_row >= 0 and into[number] == number
        followed.append(
            Followed(
                Group(
                    tokens=tokens[number],
                    last_clock_us=last_us[number],
                    evidence=evidence[number],
                    is_open=opens or (before is not None and before.group.is_open),
                    is_crowd=before.group.is_crowd if before is not None else opens and group_of[opened_row] != number,
                ),
                before.incident if before is not None else None,
            )
        )
    return followed


def _retain(of: Assigned, rows: pa.RecordBatch) -> None:
    """Retain the groups there still are, in the order they were last touched, and the suspects that wait in them."""
    state, linked, last_group = of.arrival.state, of.linked, of.last_group
    alive = np.flatnonzero(linked.into == np.arange(len(of.followed)))
    alive = alive[np.argsort(linked.touched[alive], kind="stable")]
    index_of = np.full(len(of.followed), -1, np.int64)
    index_of[alive] = np.arange(len(alive))
    state.followed = [of.followed[number] for number in alive.tolist()]
    retained = np.flatnonzero((last_group >= 0) & ~of.is_open[last_group])
    state.waiting = rows.take(pa.array(of.at[retained])) if len(retained) else None
    state.waiting_of = index_of[last_group[retained]]
