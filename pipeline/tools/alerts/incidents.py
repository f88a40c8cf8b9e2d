"""Alerts as the incidents they make, in the one form that lists, exports and the page give: JSON documents."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.alert.ocsf import SEVERITY_CAPTION
from pipeline.alert.pages import PAGE, REVIEW
from pipeline.alert.wording import flows, printable_name
from pipeline.contracts.incident_joining import Alert, JoinedIncident, joined, uid_of
from pipeline.contracts.judged_facts import talks_of
from pipeline.contracts.suppression import Suppressions, outgrown, shown_suppression
from pipeline.contracts.verdicts import Record, shown, standing
from pipeline.errors import Usage
from pipeline.tools.assets.known_devices import KnownDevices, with_names

INCIDENT, NOTICE = "incident", "notice"
"""Kinds of documents. A notice says by `notice` which kind it is itself."""
OPEN, ENDED = "open", "ended"
MAX_MEMBERS = 100
MAX_ADDRESSES = 64
"""So many members and addresses a document lists; it counts all."""
SHOWN_UID = 12

Document = dict[str, Any]


def documents(
    alerts: Iterable[Alert], verdicts: Iterable[Record] = (), devices: KnownDevices | None = None
) -> list[Document]:
    """The incidents and notices that alerts make, the one that went on last first; verdicts: records of `feedback`.

    devices: what is known of them by site and address (pipeline/tools/assets/known_devices.py).
    """
    rules = Suppressions(standing(verdicts))
    made = [document(incident, rules, devices) for incident in joined(alerts)]
    return sorted(made, key=lambda each: (-each["last_us"], each["uid"]))


def document(
    incident: JoinedIncident, rules: Suppressions | None = None, devices: KnownDevices | None = None
) -> Document:
    """One incident. Times are microseconds since the epoch, event time; flows are those at the sensor that saw most."""
    made = _unjudged(incident, devices)
    return judged(made, rules) if rules is not None else made


def judged(of: Document, rules: Suppressions) -> Document:
    """The document with what verdicts say of it now: `verdict`, `settled` and `suppressed`; nothing else changes."""
    own, by = rules.verdict_on(of), rules.suppressed_by(of)
    return {
        **of,
        "verdict": {**shown(own), "outgrown": outgrown(of, own)} if own is not None else None,
        "settled": rules.settled(of),
        "suppressed": shown_suppression(by) if by is not None else None,
    }


def _unjudged(incident: JoinedIncident, devices: KnownDevices | None) -> Document:
    lead, (sources, targets) = incident.lead, incident.ends
    about, known = lead["unmapped"], devices or {}
    found = ((address, known.get((incident.site, address))) for address in (*sources, *targets))
    assets = [device.document(address) for address, device in found if device is not None]
    return {
        "uid": incident.uid,
        "kind": NOTICE if incident.is_notice else INCIDENT,
        "notice": incident.notice,
        "site": incident.site,
        "sensors": list(incident.flows_at),
        "state": OPEN if incident.is_open else ENDED,
        "page": incident.is_page,
        "disposition": PAGE if incident.is_page else REVIEW,
        "disposition_says": _paged(incident).get("disposition_says", ""),
        "severity": SEVERITY_CAPTION.get(lead["severity_id"], "?"),
        "severity_id": lead["severity_id"],
        "title": with_names(lead["finding_info"]["title"], assets),
        "says": with_names(says(incident), assets),
        "class": about.get("class", ""),
        "classes": _largest(incident, "classes"),
        "confidence": lead.get("confidence_score", 0),
        "techniques": techniques(incident.alerts),
        "flows": incident.flows,
        "flows_at": incident.flows_at,
        "late": _largest(incident, "late").get("late", 0),
        "opened_us": incident.opened_us,
        "first_us": incident.first_us,
        "last_us": incident.last_us,
        "sources": list(sources[:MAX_ADDRESSES]),
        "targets": list(targets[:MAX_ADDRESSES]),
        "target_count": incident.target_count,
        "assets": assets,
        "members": [_member(alert) for alert in incident.alerts[:MAX_MEMBERS]],
        "members_left_out": max(0, len(incident.alerts) - MAX_MEMBERS),
        **talks_of(() if incident.is_notice else incident.alerts),
        "verdict": None,
        "settled": False,
        "suppressed": None,
    }


def says(incident: JoinedIncident) -> str:
    """The sentence of the alert that says it best, and who else saw it."""
    sentence = str(incident.lead["message"])
    parts = [sentence]
    if len(incident.flows_at) > 1:
        at = [f"{printable_name(sensor)} ({flows(count)})" for sensor, count in incident.flows_at.items()]
        parts.append(f"seen at {', '.join(at[:-1])} and {at[-1]}")
    if len(incident.alerts) > len(incident.flows_at):
        parts.append(f"{len(incident.alerts):,} alerts in all, with {incident.target_count:,} targets")
    return "; ".join(parts)


def techniques(alerts: Iterable[Alert]) -> list[dict[str, str]]:
    """The candidate techniques, each once, the most exact id of each."""
    named: dict[str, str] = {}
    for alert in alerts:
        for attack in alert.get("attacks", []):
            technique = attack.get("sub_technique") or attack["technique"]
            named.setdefault(str(technique["uid"]), str(technique["name"]))
    return [{"uid": uid, "name": name} for uid, name in named.items()]


def named(incidents: Iterable[JoinedIncident], text: str) -> JoinedIncident:
    """The incident one of whose alerts' uids is, or begins with, `text`; Usage where none or several are."""
    found = [each for each in incidents if any(uid.startswith(text) for uid in each.uids)]
    exact = [each for each in found if text in each.uids]
    if len(exact or found) == 1:
        return (exact or found)[0]
    known = ", ".join(sorted(each.uid[:SHOWN_UID] for each in found[:5])) or "none"
    raise Usage(
        f"alert {printable_name(text)}: got {len(found)} incidents named so ({known}), expected one; "
        "`forebay alert list` lists them, give more of the uid"
    )


def _paged(incident: JoinedIncident) -> Mapping[str, Any]:
    """What is known of the alert by which it is a page, or of the one that says it best."""
    lead: Mapping[str, Any] = incident.lead["unmapped"]
    pages = (alert["unmapped"] for alert in incident.alerts if alert["unmapped"].get("disposition") == PAGE)
    return lead if lead.get("disposition") == PAGE else next(pages, lead)


def _largest(incident: JoinedIncident, name: str) -> dict[str, int]:
    """Counts of the sensor that saw most flows: `classes`, or `late` alone."""
    sensor, counts = next(iter(incident.flows_at)), Counter[str]()
    for alert in incident.alerts:
        about = alert["unmapped"]
        if about["sensor"] == sensor:
            value = about.get(name, {})
            counts.update(value if isinstance(value, Mapping) else {name: value})
    return dict(counts)


def _member(alert: Alert) -> dict[str, Any]:
    about, info = alert["unmapped"], alert["finding_info"]
    return {
        "uid": uid_of(alert),
        "revision": alert["metadata"]["sequence"],
        "sensor": about["sensor"],
        "flows": alert["count"],
        "first_us": about.get("first_ts_us", about["opened_ts_us"]),
        "last_us": about.get("last_ts_us", about["opened_ts_us"]),
        "severity_id": alert["severity_id"],
        "title": info["title"],
        "says": alert["message"],
    }
