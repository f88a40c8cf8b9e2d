"""Suspects that are in no incident as OCSF Detection Findings of a low severity: one a sensor and day, by revisions."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import orjson

from pipeline.alert.endpoints import SHOWN_TALKS, observables
from pipeline.alert.explain import Baseline
from pipeline.alert.grouping import Grouping
from pipeline.alert.levels import FAINT
from pipeline.alert.lone_flows import LoneDay, LoneFlows, advance_lone, words_of
from pipeline.alert.members import Members
from pipeline.alert.ocsf import (
    CLOSE,
    OCSF_VERSION,
    PRODUCT,
    SEVERITY_CAPTION,
    classification,
    disposition,
)
from pipeline.alert.pages import NOTICE_REASON, REVIEW, Disposition
from pipeline.alert.sensor import Left
from pipeline.alert.techniques import Meanings
from pipeline.alert.wording import flows, printable_name
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.incident_joining import DAY_US
from pipeline.contracts.notice_words import moment
from pipeline.contracts.notices import LONE, NOTICE
from pipeline.contracts.uids import UID_DIGITS
from pipeline.runtime.terminal import printable

LOW = 2
MAX_MESSAGE = 1_024
LISTED_AS = (
    *("at_us", "source", "target", "service", "directed", "score", "p_value", "name", "says", "reason", "position"),
)
IN_NO_INCIDENT = Disposition(REVIEW, NOTICE_REASON, "not enough for an incident, each by itself", FAINT)


def lone_findings(
    lone: dict[SensorName, LoneFlows],
    left: Mapping[SensorName, Left],
    ended: Iterable[SensorName],
    grouping: Grouping,
    baseline_of: Callable[[str], Baseline | None],
    meanings_of: Callable[[str], Meanings],
) -> list[dict[str, Any]]:
    """Add what sensors' suspects left behind; `lone` is changed. Returns the events, sensors in the order given."""
    ended, events = set(ended), []
    for name, each in left.items():
        if name not in lone and not each.rows:
            continue
        words = partial(_words, meanings=meanings_of(name[0]), baseline_of=baseline_of)
        revisions = advance_lone(lone.setdefault(name, LoneFlows()), each, name in ended, grouping, words)
        events += [lone_finding(name, *revision) for revision in revisions]
        if name in ended:
            del lone[name]
    return events


def _words(
    members: Members, part: int, meanings: Meanings, baseline_of: Callable[[str], Baseline | None]
) -> dict[str, Any]:
    model = members.rows.column("model")[members.bounds[part]].as_py()
    return words_of(members, part, meanings, baseline_of(model))


def lone_uid(name: SensorName, day: LoneDay) -> str:
    """Name of a day's event, 32 hex digits. When the sensor began counts: each of its files has its own."""
    named = orjson.dumps([*name, LONE, day.day, day.opened_us])
    return hashlib.sha256(named).hexdigest()[:UID_DIGITS]


def lone_finding(name: SensorName, day: LoneDay, activity: int) -> dict[str, Any]:
    """The event for a sensor's day as it stands; `activity` is CREATE, UPDATE or CLOSE."""
    uid, site, sensor = lone_uid(name, day), *map(printable_name, name)
    belong = "belongs" if day.count == 1 else "belong"
    suspect = flows(day.count).replace("flow", "suspect flow")
    says = f"{sensor} at {site}: {suspect} {belong} to no incident, on {moment(day.day * DAY_US)[:10]} (UTC)"
    spoke = [flow["evidence"] for flow in day.flows]
    listed = [{key: flow[key] for key in LISTED_AS} for flow in day.flows]
    evidences = [evidence for at, evidence in enumerate(spoke) if evidence not in spoke[:at]][:SHOWN_TALKS]
    model = day.flows[0]["model"]
    return {
        **classification(activity),
        "confidence_score": 0,  # it says of nothing that it is an attack
        "count": day.count,
        "end_time": day.last_us // 1000,
        "evidences": evidences,
        "finding_info": {
            "uid": uid,
            "title": f"{suspect} in no incident",
            "desc": printable("; ".join([says, *(flow["says"] for flow in listed)]), MAX_MESSAGE),
            "types": [NOTICE],
            "analytic": {"type_id": 4, "type": "Learning (ML/DL)", "name": "IGAN-IDS", "uid": model, "version": model},
            "created_time": day.opened_us // 1000,
            "modified_time": day.last_us // 1000,
            "data_sources": [printable_name("/".join(name), 128)],
            "related_events_count": day.count,
        },
        "is_alert": activity != CLOSE,
        "message": printable(says, MAX_MESSAGE),
        "metadata": {
            "version": OCSF_VERSION,
            "product": PRODUCT,
            "profiles": ["security_control"],
            "tenant_uid": site,
            "uid": f"{uid}-{day.revision}",
            "sequence": day.revision,
            "original_time": str(day.last_us),
        },
        "observables": observables(evidences),
        "severity": SEVERITY_CAPTION[LOW],
        "severity_id": LOW,
        "start_time": max(day.first_us // 1000, 0),
        "status": "New",
        "status_id": 1,
        "time": day.opened_us // 1000,
        "unmapped": {
            "site": site,
            "sensor": sensor,
            "class": NOTICE,
            "model": model,
            "opened_ts_us": day.opened_us,
            "first_ts_us": day.first_us,
            "last_ts_us": day.last_us,
            "members": [],
            "members_left_out": 0,
            **disposition(IN_NO_INCIDENT),
            "notice": {"kind": LONE, "lines": [], "flows": listed},
        },
    }
