"""Which alerts an output sends, and as part of which incident: alerts of several sensors that are one are sent as one.

What is remembered of earlier alerts is bounded in event time: alerts of one day are joined with each other alone
(pipeline/contracts/incident_joining.py), so the days of a site before the last ones are forgotten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from pipeline.contracts.incident_joining import JoinedIncident, Neighbourhood, is_alert, joined, neighbourhood
from pipeline.contracts.suppression import Suppressions
from pipeline.errors import BadData
from pipeline.tools.alerts.incidents import Document, document
from pipeline.tools.outputs.revision import (
    ENDED,
    GROWN,
    MAX_NAME,
    NEW,
    Revision,
    merged_talks,
    revision_of,
    techniques_of,
    text,
)
from schemas.outputs import OutputEntry

Alert = Mapping[str, Any]

MAX_DAYS = 3
"""Days of one site that are remembered."""
MAX_REMEMBERED = 10_000
"""Alerts, of all sites together: some 40 MB."""
# Why an alert is not sent.
REVIEW, SUPPRESSED, UPDATE, REPEAT, MALFORMED = "review", "suppressed", "update", "repeat", "malformed"

# Of what an alert holds beside OCSF these are large, and neither joining nor an incident's document reads them.
FORGOTTEN = frozenset({"members", "reasons", "nearest_classes", "techniques", "evidence"})


@dataclass(slots=True)
class _Remembered:
    """An alert as joining needs it, and whether a revision of it was such that it is sent."""

    alert: Alert
    qualified: bool = False


class _Read(NamedTuple):
    """An alert as it came."""

    alert: Alert
    revision: Revision
    scope: Neighbourhood


class Selection:
    """The choice of one output.

    Attributes
    ----------
    rules : the verdicts that hold now: what they suppress is not sent
    """

    def __init__(self, output: OutputEntry, rules: Suppressions | None = None) -> None:
        self.rules = rules
        self._output = output
        self._days: dict[Neighbourhood, dict[str, _Remembered]] = {}

    @property
    def remembered(self) -> int:
        """How many alerts are remembered."""
        return sum(map(len, self._days.values()))

    def remember(self, alerts: Iterable[Alert]) -> None:
        """Know alerts that were dealt with before."""
        self.choose(alerts)

    def choose(self, alerts: Iterable[Alert]) -> list[Revision | str]:
        """For each alert, in order, the revision to send, or why none is."""
        chosen: list[Revision | str] = []
        for scope, run in groupby(map(_read, alerts), key=lambda each: each.scope if each else None):
            if scope is None:
                chosen += [MALFORMED for _ in run]
            else:
                chosen += self._choose(scope, [each for each in run if each is not None])
        return chosen

    def _choose(self, scope: Neighbourhood, together: Sequence[_Read]) -> Iterator[Revision | str]:
        """The same for alerts that may be joined with each other, which is done once for all."""
        day = self._day(scope)
        are_new = [self._remember(day, each) for each in together]
        incidents = {uid: incident for incident in joined(each.alert for each in day.values()) for uid in incident.uids}
        for each, is_new in zip(together, are_new, strict=True):
            yield self._chosen(day, each.revision, incidents[each.revision.uid]) if is_new else REPEAT

    def _remember(self, day: dict[str, _Remembered], read: _Read) -> bool:
        """Remember an alert; False where this revision, or a later one, was remembered before."""
        known = day.get(read.revision.uid)
        if known is None:
            if self.remembered >= MAX_REMEMBERED:
                fullest = max(self._days.values(), key=len)
                del fullest[next(iter(fullest))]
            day[read.revision.uid] = _Remembered(_slim(read.alert))
            return True
        if known.alert["metadata"]["sequence"] >= read.revision.number:
            return False
        known.alert = _slim(read.alert)
        return True

    def _chosen(self, day: dict[str, _Remembered], revision: Revision, incident: JoinedIncident) -> Revision | str:
        was_sent = any(day[uid].qualified for uid in incident.uids)
        shown = document(incident, self.rules)
        if shown["suppressed"] is not None:
            return SUPPRESSED
        is_page = revision.is_page or (len(incident.alerts) > 1 and incident.is_page)
        if self._output.send == "pages" and not is_page:
            return REVIEW
        day[revision.uid].qualified = True
        if was_sent and not self._output.updates:
            return UPDATE
        return as_part_of(revision, incident, shown, was_sent)

    def _day(self, scope: Neighbourhood) -> dict[str, _Remembered]:
        """The remembered alerts of a site's day; those of older days are forgotten."""
        if scope not in self._days:
            self._days[scope] = {}
            days = sorted(each for each in self._days if each.site == scope.site)
            for old in days[:-MAX_DAYS]:
                if old != scope:
                    del self._days[old]
        return self._days[scope]


def _read(alert: Alert) -> _Read | None:
    """An alert and what is known of it; None where it is none of ours."""
    try:
        return _Read(alert, revision_of(alert), neighbourhood(alert)) if is_alert(alert) else None
    except BadData:
        return None


def as_part_of(revision: Revision, incident: JoinedIncident, shown: Document, was_sent: bool) -> Revision:
    """The revision with what the incident's other alerts add to it, as the incident's document has it."""
    if incident.is_notice or len(incident.alerts) == 1:
        return replace(revision, activity=revision.activity if was_sent else NEW)
    return replace(
        revision,
        uid=incident.uid,
        activity=NEW if not was_sent else GROWN if incident.is_open else ENDED,
        sensors=tuple(text(sensor, MAX_NAME) for sensor in shown["sensors"]),
        is_page=incident.is_page,
        severity_id=max(int(alert["severity_id"]) for alert in incident.alerts),
        title=text(shown["title"], MAX_NAME),
        says=text(shown["says"]),
        disposition=text(shown["disposition_says"]),
        techniques=tuple(dict.fromkeys(each for alert in incident.alerts for each in techniques_of(alert))),
        flows=shown["flows"],
        opened_us=shown["opened_us"],
        first_us=shown["first_us"],
        last_us=shown["last_us"],
        modified_us=max(revision.modified_us, shown["opened_us"]),
        talks=merged_talks(incident.alerts),
    )


def _slim(alert: Alert) -> Alert:
    """What is remembered of an alert."""
    kept = ("activity_id", "severity_id", "count", "message", "confidence_score", "evidences", "attacks", "metadata")
    info, about = alert["finding_info"], alert["unmapped"]
    return {
        **{name: alert[name] for name in kept if name in alert},
        "finding_info": {name: info[name] for name in ("uid", "title", "modified_time") if name in info},
        "unmapped": {name: value for name, value in about.items() if name not in FORGOTTEN},
    }
