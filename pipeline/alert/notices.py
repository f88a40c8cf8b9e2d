"""Notices of a sensor's baseline as OCSF Detection Findings of a low severity: one event each, and no further revision.

A plant that has changed, much that is new beside it, what came while a sensor learned and did not come back, and who
fell silent: nobody looks at a list for that, so it comes to where alerts are read.
"""

import hashlib
from typing import Any

import orjson

from pipeline.alert.endpoints import SHOWN_TALKS, endpoint, observables
from pipeline.alert.levels import FAINT
from pipeline.alert.ocsf import (
    CREATE,
    OCSF_VERSION,
    PRODUCT,
    SEVERITY_CAPTION,
    analytic_of_baseline,
    classification,
    disposition,
)
from pipeline.alert.pages import NOTICE_REASON, REVIEW, Disposition
from pipeline.alert.wording import printable_name
from pipeline.contracts.notice_words import headline, relation_lines
from pipeline.contracts.notices import ANCHORED, CHANGED, EXTENDED, NOTICE, SILENT, NamedRelation, Notice
from pipeline.contracts.uids import UID_DIGITS
from pipeline.runtime.terminal import printable

INFORMATIONAL, LOW = 1, 2
SEVERITY = {ANCHORED: INFORMATIONAL, CHANGED: LOW, EXTENDED: LOW, SILENT: LOW}
TITLE = {
    ANCHORED: "Seen while the sensor learned, and not again",
    CHANGED: "Most of what comes at the sensor is new",
    EXTENDED: "As much comes at the sensor that is new as is usual",
    SILENT: "Who always spoke has fallen silent",
}
MAX_MESSAGE, MAX_LINE = 1_024, 256
NO_INCIDENT = Disposition(REVIEW, NOTICE_REASON, "a notice of the sensor's baseline, no incident", FAINT)


def is_told(notice: Notice) -> bool:
    """Whether a notice becomes an event: a changed plant always, the others where they name something."""
    return notice.kind == CHANGED or (notice.kind in TITLE and bool(notice.relations))


def notice_uid(notice: Notice) -> str:
    """Name of a notice's event, 32 hex digits. Its time counts: a sensor that was forgotten numbers from 1 again."""
    named = orjson.dumps([notice.site, notice.sensor, NOTICE, notice.number, notice.at_us])
    return hashlib.sha256(named).hexdigest()[:UID_DIGITS]


def notice_finding(notice: Notice) -> dict[str, Any]:
    """The event for a notice."""
    uid, time_ms, severity = notice_uid(notice), notice.at_us // 1000, SEVERITY[notice.kind]
    site, sensor = printable_name(notice.site), printable_name(notice.sensor)
    says = printable(f"{sensor} at {site}: {headline(notice)}", MAX_MESSAGE)
    lines = [printable(line, MAX_LINE) for line in relation_lines(notice)]
    evidences = [_evidence(relation) for relation in notice.relations if relation.target][:SHOWN_TALKS]
    first_us = min((relation.first_us for relation in notice.relations), default=notice.at_us)
    return {
        **classification(CREATE),
        "confidence_score": 0,  # it says what is so, and of nothing that it is an attack
        "count": len(notice.relations) + notice.more,
        "end_time": time_ms,
        "evidences": evidences,
        "finding_info": {
            "uid": uid,
            "title": TITLE[notice.kind],
            "desc": printable("; ".join([says, *lines]), MAX_MESSAGE),
            "types": [NOTICE],
            "analytic": analytic_of_baseline(notice.site, notice.sensor, notice.number),
            "created_time": time_ms,
            "data_sources": [printable_name(f"{notice.site}/{notice.sensor}", 128)],
        },
        "is_alert": True,
        "message": says,
        "metadata": {
            "version": OCSF_VERSION,
            "product": PRODUCT,
            "profiles": ["security_control"],
            "tenant_uid": site,
            "uid": f"{uid}-1",
            "sequence": 1,
            "original_time": str(notice.at_us),
        },
        "observables": observables(evidences),
        "severity": SEVERITY_CAPTION[severity],
        "severity_id": severity,
        "start_time": max(first_us // 1000, 0),
        "status": "New",
        "status_id": 1,
        "time": time_ms,
        "unmapped": {
            "site": site,
            "sensor": sensor,
            "class": NOTICE,
            "model": "",
            "opened_ts_us": notice.at_us,
            "first_ts_us": first_us,
            "last_ts_us": notice.at_us,
            "members": [],
            "members_left_out": 0,
            **disposition(NO_INCIDENT),
            "notice": {"kind": notice.kind, "number": notice.number, "lines": lines},
        },
    }


def _evidence(relation: NamedRelation) -> dict[str, Any]:
    port, _, protocol = relation.service.rpartition("/")
    connection: dict[str, Any] = {"direction_id": 0, "direction": "Unknown", "protocol_name": protocol}
    return {
        "src_endpoint": endpoint(relation.source, None, None),
        "dst_endpoint": endpoint(relation.target, None, int(port) if port.isdigit() else None),
        "connection_info": connection,
    }
