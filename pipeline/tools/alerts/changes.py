"""What is worth a line as alerts come: an incident is new, much more than was said of it, or has ended. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.contracts.incident_joining import Alert, JoinedIncident, Neighbourhood, joined, neighbourhood, uid_of
from pipeline.contracts.suppression import Suppressions
from pipeline.tools.alerts.incidents import ENDED, NOTICE, Document, document

GROWTH = 10
MAX_ALERTS = 100_000
NEW, PAGES, WORSE, GROWS = "new", "pages", "worse", "grows"


class Change(NamedTuple):
    """An incident, and what there is to say of it: NEW, PAGES, WORSE, GROWS, ENDED or NOTICE."""

    what: str
    document: Document


class _Said(NamedTuple):
    """What was said of an incident last."""

    flows: int
    severity_id: int
    techniques: frozenset[str]
    is_page: bool
    has_ended: bool


class IncidentChanges:
    """Alerts in, changes of the incidents they make out; in whatever order alerts come, no incident is new twice.

    Bounded: beyond 100,000 alerts the site's day that came first is forgotten.
    """

    def __init__(self) -> None:
        self._alerts: dict[Neighbourhood, dict[str, Alert]] = {}
        self._said: dict[str, _Said] = {}
        self._count = 0

    def add(self, alerts: Iterable[Alert], rules: Suppressions | None = None) -> list[Change]:
        """The changes that alerts make, earliest incident first."""
        fresh: dict[Neighbourhood, set[str]] = {}
        for alert in alerts:
            around, uid = neighbourhood(alert), uid_of(alert)
            known = self._alerts.setdefault(around, {})
            self._count += uid not in known
            if uid not in known or known[uid]["metadata"]["sequence"] < alert["metadata"]["sequence"]:
                known[uid] = alert
                fresh.setdefault(around, set()).add(uid)
        changes = [
            change
            for around, uids in fresh.items()
            for incident in joined(self._alerts[around].values())
            if not uids.isdisjoint(incident.uids) and (change := self._change(incident, rules)) is not None
        ]
        self._forget()
        return sorted(changes, key=lambda change: (change.document["opened_us"], change.document["uid"]))

    def _change(self, incident: JoinedIncident, rules: Suppressions | None) -> Change | None:
        made = document(incident, rules)
        said = [self._said[uid] for uid in incident.uids if uid in self._said]
        what = _what(made, said)
        if what is None and len(said) == len(incident.uids):
            return None
        says = _says(made) if what is not None else max(said, key=lambda each: each.flows)
        self._said.update(dict.fromkeys(incident.uids, says))
        return Change(what, made) if what is not None else None

    def _forget(self) -> None:
        while self._count > MAX_ALERTS and len(self._alerts) > 1:
            forgotten = self._alerts.pop(next(iter(self._alerts)))
            self._count -= len(forgotten)
            for uid in forgotten:
                self._said.pop(uid, None)


def _says(made: Document) -> _Said:
    techniques = frozenset(each["uid"] for each in made["techniques"])
    return _Said(made["flows"], made["severity_id"], techniques, made["page"], made["state"] == ENDED)


def _what(made: Document, said: list[_Said]) -> str | None:
    """What is to be said of an incident that was said to be so before, by any of its alerts; None for nothing."""
    now = _says(made)
    if made["kind"] == NOTICE:
        return None if said else NOTICE
    if not said:
        return ENDED if now.has_ended else NEW
    if now.has_ended and not any(each.has_ended for each in said):
        return ENDED
    if now.is_page and not any(each.is_page for each in said):
        return PAGES
    if now.severity_id > max(each.severity_id for each in said):
        return WORSE
    grown = now.flows >= GROWTH * max(each.flows for each in said)
    return GROWS if grown or now.techniques - frozenset().union(*(each.techniques for each in said)) else None
