"""One sensor's incidents: advanced by its suspects and its watermark, both in event time."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.alert.grouping import Group, Grouping, clock_of, clock_order, group, keys_of
from pipeline.alert.incident import CROWD, Incident
from pipeline.alert.kernel import ALONE, DROPPED, Linked
from pipeline.alert.levels import grows, levels_of
from pipeline.alert.members import members_of
from pipeline.alert.occasions import occasions_of
from pipeline.alert.ocsf import CLOSE, CREATE, UPDATE
from pipeline.alert.pages import PAGE, Occasion, SensorPages
from pipeline.alert.techniques import shipped
from pipeline.contracts.uids import incident_uid
from pipeline.runtime.wire.batches import taken
from schemas.pages import SHIPPED_PAGES, Pages

Ints = npt.NDArray[np.int64]

NEVER_US = -(1 << 62)


@dataclass(slots=True)
class Followed:
    """A group that is followed, and its incident, once it has enough evidence."""

    group: Group
    incident: Incident | None = None


@dataclass(slots=True)
class SensorState:
    """The result of a sensor's suspects so far.

    clock_us: how far its event time has come. followed: in the order they were last touched.
    waiting: suspects whose groups are no incident yet, in the order they count, or None; waiting_of: index into
    `followed` of each. pages: its budget, and what it was paged for. began_us: its clock at its first suspect. left:
    suspects that this advance left in no incident; it is not saved, `left_by` takes it.
    """

    clock_us: int = NEVER_US
    followed: list[Followed] = field(default_factory=list)
    waiting: pa.RecordBatch | None = None
    waiting_of: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    pages: SensorPages = field(default_factory=SensorPages)
    began_us: int = NEVER_US
    left: list[pa.RecordBatch] = field(default_factory=list)

    @property
    def incidents(self) -> list[Incident]:
        """The open incidents."""
        return [each.incident for each in self.followed if each.incident is not None]

    @property
    def is_quiet(self) -> bool:
        """Whether no group is followed: a watermark alone then emits nothing."""
        return not self.followed and self.waiting is None


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


class Tally(NamedTuple):
    """What happened, for counters: suspects in; those that stayed alone; those dropped because too many waited; those
    in the crowd. pages: incidents that became one.
    """

    suspects: int = 0
    alone: int = 0
    dropped: int = 0
    crowded: int = 0
    pages: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """The sums of both tallies."""
        return Tally(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def advance(
    state: SensorState,
    suspects: pa.RecordBatch,
    watermark_us: int | None,
    ended: bool,
    grouping: Grouping,
    pages: Pages = SHIPPED_PAGES,
) -> tuple[list[Change], Tally]:
    """Process a sensor's suspects (schema `scored`, one site and sensor) and its watermark; the state is changed.

    `ended`: nothing more comes of this source; everything is closed and the sensor's clock starts anew, for a later
    file may lie earlier; its pages stay known. Returns the incidents to emit, in the order they opened, with their
    revisions counted up.
    """
    state.left = []
    tally = Tally(suspects=suspects.num_rows)
    if suspects.num_rows:
        tally = tally.plus(_assign(state, suspects, grouping, pages))
    if watermark_us is not None:
        state.clock_us = max(state.clock_us, watermark_us)
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


def _assign(state: SensorState, suspects: pa.RecordBatch, grouping: Grouping, pages: Pages) -> Tally:
    """Assign every suspect to a group; open an incident for each group with enough evidence, and fill it.

    Rows are those that waited, then the fresh ones. `first_group` is the group a row was linked to; `last_group` is the
    one it is in after the batch, since the crowd may have taken its group in, or DROPPED or ALONE. Two suspects open an
    incident here; group 0 was known, row 0 waited in it; its addresses are a, b:

        row      from → to   first_group  last_group  joined_at   becomes
        0 (old)  a → b       0            0           1           member: its group became an incident
        1        c → d       1            1           -           waits in group 1: alone it is no incident
        2        b → e       0            0           1           member: with it, group 0 becomes an incident
        3        f → g       2            DROPPED     -           not followed: too many wait
        4        a → h       0            0           3           member

    `joined_at` numbers fresh rows from 0 (row 1 is fresh row 0): a row that waited joins when its incident opens.
    """
    order, clock_us = clock_order(suspects, state.clock_us)
    if state.began_us == NEVER_US:
        state.began_us = int(clock_us[0])
    fresh = taken(suspects, order)
    dropped = _drop_other_features(state, fresh)
    linked, tokens = group(fresh, clock_us, [each.group for each in state.followed], grouping)
    rows = fresh if state.waiting is None else pa.concat_batches([state.waiting, fresh])
    first_group = np.concatenate([state.waiting_of, linked.group_of])
    last_group = linked.into[first_group]
    followed = _followed(state, linked, tokens)
    is_open = np.asarray([each.group.is_open for each in followed], np.bool_)

    member_rows = np.flatnonzero((last_group >= 0) & is_open[last_group])
    fresh_number = np.arange(len(rows)) - len(state.waiting_of)
    joined_at = np.maximum(fresh_number, linked.opened_row[first_group])[member_rows]
    order = np.lexsort((member_rows, joined_at, last_group[member_rows]))
    member_rows, joined_at = member_rows[order], joined_at[order]
    groups, starts = np.unique(last_group[member_rows], return_index=True)
    members = members_of(taken(rows, member_rows), starts)
    levels, occasions = levels_of(members.shown, shipped()), list[tuple[int, Incident, Occasion]]()
    grow = grows(members.shown, levels)
    for part, number in enumerate(groups.tolist()):
        of, target = members.of(part), followed[number]
        if target.incident is None:
            opened_us = int(clock_us[linked.opened_row[number]])
            target.incident = _open(members.rows.slice(of.start, 1), target.group, opened_us, grouping)
        rose = occasions_of(target.incident, members.shown, of, joined_at[of], levels[of], grow[of], clock_us)
        occasions += [(fresh_row, target.incident, occasion) for fresh_row, occasion in rose]
        target.incident.absorb(members, part)
        target.incident.last_clock_us = target.group.last_clock_us

    paged = _judge(state.pages, sorted(occasions, key=lambda occasion: occasion[0]), pages)
    crowded = int(np.count_nonzero((first_group != last_group) & (last_group >= 0)))
    dropped += int(np.count_nonzero(last_group == DROPPED))
    alone = int(np.count_nonzero(last_group == ALONE))
    if (last_group < 0).any():
        state.left.append(taken(rows, np.flatnonzero(last_group < 0)))
    _retain(state, followed, linked, rows, last_group, (last_group >= 0) & ~is_open[last_group])
    state.clock_us = max(state.clock_us, int(clock_us[-1]))
    return Tally(alone=alone, dropped=dropped, crowded=crowded, pages=paged)


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
    for number in range(len(linked.into)):
        before = state.followed[number] if number < len(state.followed) else None
        opened_row = int(linked.opened_row[number])
        opens = opened_row >= 0 and int(linked.into[number]) == number
        followed.append(
            Followed(
                Group(
                    tokens=tokens[number],
                    last_clock_us=int(linked.last_us[number]),
                    evidence=float(linked.evidence[number]),
                    is_open=opens or (before is not None and before.group.is_open),
                    is_crowd=before.group.is_crowd
                    if before is not None
                    else opens and int(linked.group_of[opened_row]) != number,
                ),
                before.incident if before is not None else None,
            )
        )
    return followed


def _retain(
    state: SensorState,
    followed: list[Followed],
    linked: Linked,
    rows: pa.RecordBatch,
    last_group: Ints,
    waits: npt.NDArray[np.bool_],
) -> None:
    """Retain the groups there still are, in the order they were last touched, and the suspects that wait in them."""
    alive = np.flatnonzero(linked.into == np.arange(len(followed)))
    alive = alive[np.argsort(linked.touched[alive], kind="stable")]
    index_of = np.full(len(followed), -1, np.int64)
    index_of[alive] = np.arange(len(alive))
    state.followed = [followed[number] for number in alive.tolist()]
    retained = np.flatnonzero(waits)
    state.waiting = rows.take(pa.array(retained)) if len(retained) else None
    state.waiting_of = index_of[last_group[retained]]


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


def _open(first: pa.RecordBatch, opened: Group, opened_ts_us: int, grouping: Grouping) -> Incident:
    """The incident that a group becomes; `first`: the first of its flows, one row."""
    key = CROWD if opened.is_crowd else keys_of(first, grouping)[0].as_py()
    names = ("site", "sensor", "model", "end_ts_us", "record_id")
    facts = {name: first.column(name)[0].as_py() for name in names}
    return Incident(
        uid=incident_uid(facts["site"], facts["sensor"], key, facts["end_ts_us"], facts["record_id"]),
        site=facts["site"],
        sensor=facts["sensor"],
        key=key,
        model=facts["model"],
        opened_ts_us=opened_ts_us,
        last_clock_us=opened_ts_us,
    )


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
