"""Suspects that are in no incident: counted by sensor and day, the first of each day retained in words. All is bounded.

They follow from the log alone: which flows a day has, and which of them are the first, depend on no message's size. The
day is that of the sensor's clock when the flow counts (UTC); one that comes after its day was closed is the next's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.alert.endpoints import evidence
from pipeline.alert.explain import Baseline
from pipeline.alert.facts import facts_of
from pipeline.alert.feature_words import reason_words
from pipeline.alert.grouping import Grouping, clock_of
from pipeline.alert.incident import Incident
from pipeline.alert.members import Members, members_of
from pipeline.alert.ocsf import CLOSE, CREATE, UPDATE, known_of, service_of_deed
from pipeline.alert.sensor import Left
from pipeline.alert.sensor_state import NEVER_US
from pipeline.alert.techniques import Meanings
from pipeline.alert.wording import printable_name
from pipeline.contracts.incident_joining import DAY_US, address_of
from pipeline.runtime.terminal import printable
from pipeline.runtime.wire.batches import taken

LISTED = 32
"""Flows of a day that are listed: the first by their end; all are counted."""
MAX_TEXT = 256

WordsOf = Callable[[Members, int], dict[str, Any]]
"""A part of suspects, of one flow, as it is listed."""


@dataclass(slots=True)
class LoneDay:
    """A day's suspects of one sensor that are in no incident. Times are microseconds since the epoch, event time.

    opened_us: where the day begins, or the sensor's first suspect. first_us, last_us: the first and the last end of a
    flow. flows: the first of them, each with `order` and as it is listed. emitted_: as the last revision had it.
    """

    day: int
    opened_us: int
    count: int = 0
    first_us: int = 0
    last_us: int = 0
    flows: list[dict[str, Any]] = field(default_factory=list)
    revision: int = 0
    emitted_count: int = 0
    emitted_clock_us: int = 0

    def absorb(self, rows: pa.RecordBatch, words_of: WordsOf) -> None:
        """Add flows (schema `scored`)."""
        ends_us, records = rows.column("end_ts_us").to_numpy(), rows.column("record_id").to_numpy()
        self.first_us = min(self.first_us, int(ends_us.min())) if self.count else int(ends_us.min())
        self.last_us = max(self.last_us, int(ends_us.max())) if self.count else int(ends_us.max())
        self.count += rows.num_rows
        first = np.lexsort((records, ends_us))[:LISTED]
        orders = list(zip(ends_us[first].tolist(), records[first].tolist(), strict=True))
        if len(self.flows) == LISTED:
            last = tuple(self.flows[-1]["order"])
            orders = [order for order in orders if order < last]
        if orders:
            members = members_of(taken(rows, first[: len(orders)]), np.arange(len(orders)))
            for part, order in enumerate(orders):
                self.flows.append({"order": list(order), **words_of(members, part)})
        self.flows = sorted(self.flows, key=lambda flow: flow["order"])[:LISTED]


@dataclass(slots=True)
class LoneFlows:
    """One sensor's days that may still get such flows, earliest first. closed_day: the last one that was closed."""

    closed_day: int = NEVER_US // DAY_US
    days: list[LoneDay] = field(default_factory=list)


class Revision(NamedTuple):
    """A day to emit, and as what: CREATE, UPDATE or CLOSE."""

    day: LoneDay
    activity: int


def advance_lone(lone: LoneFlows, left: Left, ended: bool, grouping: Grouping, words_of: WordsOf) -> list[Revision]:
    """Add what a sensor's suspects left behind; the state is changed. Returns the days to emit, earliest first.

    A day is emitted with its first flow, again as an incident is, and when nothing more of it can come.
    """
    for rows in left.rows:
        of_row = np.maximum(clock_of(rows) // DAY_US, lone.closed_day + 1)
        for day in np.unique(of_row).tolist():
            _day(lone, day, left.began_us).absorb(taken(rows, np.flatnonzero(of_row == day)), words_of)
    revisions = []
    for each in lone.days:
        closes = ended or (each.day + 1) * DAY_US <= left.settled_us
        if closes or _is_due(each, left.clock_us, grouping):
            revisions.append(_emitted(each, CLOSE if closes else UPDATE if each.revision else CREATE, left.clock_us))
        if closes:
            lone.closed_day = max(lone.closed_day, each.day)
    lone.days = [each for each in lone.days if each.day > lone.closed_day]
    return revisions


def _day(lone: LoneFlows, day: int, began_us: int) -> LoneDay:
    known = next((each for each in lone.days if each.day == day), None)
    if known is None:
        known = LoneDay(day, max(began_us, day * DAY_US))
        lone.days = sorted([*lone.days, known], key=lambda each: each.day)
    return known


def _is_due(day: LoneDay, clock_us: int, grouping: Grouping) -> bool:
    """Whether a day has become more than its last revision says, and that one is old enough."""
    since_us = clock_us - day.emitted_clock_us
    if day.count == day.emitted_count or (day.revision and since_us < grouping.update_every_us):
        return False
    return day.count >= grouping.update_growth * day.emitted_count or since_us >= grouping.update_after_us


def _emitted(day: LoneDay, activity: int, clock_us: int) -> Revision:
    day.revision, day.emitted_count, day.emitted_clock_us = day.revision + 1, day.count, clock_us
    return Revision(replace(day), activity)


def words_of(members: Members, part: int, meanings: Meanings, baseline: Baseline | None) -> dict[str, Any]:
    """A suspect (a part of one flow) as it is listed: when, who asked whom, for what, and why."""
    ended_us, at = members.totals[part].end_ts_us, members.bounds[part]
    facts = {name: members.rows.column(name)[at].as_py() for name in ("site", "sensor", "model")}
    flow = Incident(uid="", key="", opened_ts_us=ended_us, last_clock_us=ended_us, **facts)
    flow.absorb(members, part)
    known = known_of(flow, meanings, baseline)
    reasons = [*(sentence.says for sentence in known.said), *(reason_words(reason) for reason in known.why)]
    [deed], [spoke] = flow.deeds.of.values(), evidence(flow)
    return {
        "at_us": ended_us,
        "source": address_of(spoke["src_endpoint"]),
        "target": address_of(spoke["dst_endpoint"]),
        "service": printable_name(service_of_deed(deed)),
        "directed": deed.directed,
        "score": flow.highest_score,
        "p_value": flow.lowest_p_value,
        "model": printable_name(flow.model),
        "name": printable_name(known.name),
        "says": printable(facts_of(flow).title, MAX_TEXT),
        "reason": printable(reasons[0], MAX_TEXT) if reasons else "",
        "position": flow.positions[0],
        "evidence": spoke,
    }


def as_document(lone: LoneFlows) -> dict[str, Any]:
    """As JSON values, for the saved state."""
    days = [{name: getattr(each, name) for name in LoneDay.__slots__} for each in lone.days]
    return {"closed_day": lone.closed_day, "days": days}


def of_document(document: Mapping[str, Any]) -> LoneFlows:
    """What `as_document` wrote."""
    return LoneFlows(int(document["closed_day"]), [LoneDay(**each) for each in document["days"]])
