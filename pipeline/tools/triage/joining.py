"""What the store asks of the shared view of alerts: incidents of alerts and verdicts, in their one JSON form."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

Document = dict[str, Any]


def addresses_of(event: Mapping[str, Any]) -> list[str]:
    """The addresses by which an alert can be joined with others, each once."""
    ends = [each[end] for each in event.get("evidences", ()) for end in ("src_endpoint", "dst_endpoint")]
    return list(dict.fromkeys(str(end.get("ip") or end.get("name") or "") for end in ends))


def documents_of(events: Sequence[Mapping[str, Any]], verdicts: Iterable[Mapping[str, Any]]) -> list[Document]:
    """The incidents of these alerts, newest first."""
    by_uid: dict[str, Mapping[str, Any]] = {}
    for verdict in sorted(verdicts, key=lambda each: int(each["at_us"])):
        by_uid[verdict["uid"]] = verdict
    made = [_document(event, by_uid.get(event["finding_info"]["uid"])) for event in events]
    return sorted(made, key=lambda document: (-document["last_us"], document["uid"]))


def verdict_id(record: Mapping[str, Any]) -> str:
    """The name of a verdict."""
    given = record.get("id")
    return str(given) if given else hashlib.sha256(orjson.dumps(record, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _document(event: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> Document:
    about, info = event["unmapped"], event["finding_info"]
    evidences = event.get("evidences", ())
    sources, targets = (
        list(dict.fromkeys(str(each[end].get("ip") or each[end].get("name") or "") for each in evidences))
        for end in ("src_endpoint", "dst_endpoint")
    )
    techniques = [{"uid": each["uid"], "name": each["name"]} for each in about.get("techniques", ())]
    member = {
        "uid": info["uid"],
        "revision": event["metadata"]["sequence"],
        "sensor": about["sensor"],
        "flows": event["count"],
        "first_us": about["first_ts_us"],
        "last_us": about["last_ts_us"],
        "severity_id": event["severity_id"],
        "title": info["title"],
        "says": event["message"],
    }
    return {
        "uid": info["uid"],
        "kind": "notice" if "notice" in about else "incident",
        "site": about["site"],
        "sensors": [about["sensor"]],
        "state": "ended" if event["activity_id"] == 3 else "open",
        "page": about.get("disposition", "page") == "page",
        "disposition": about.get("disposition", "page"),
        "disposition_says": about.get("disposition_says", ""),
        "severity": event.get("severity", ""),
        "severity_id": event["severity_id"],
        "title": info["title"],
        "says": event["message"],
        "class": about["class"],
        "classes": about.get("classes", {}),
        "confidence": event["confidence_score"],
        "techniques": techniques,
        "flows": event["count"],
        "late": about.get("late", 0),
        "opened_us": about["opened_ts_us"],
        "first_us": about["first_ts_us"],
        "last_us": about["last_ts_us"],
        "sources": sources,
        "targets": targets,
        "assets": [],
        "members": [member],
        "verdict": verdict
        and {
            "id": verdict_id(verdict),
            "verdict": verdict["verdict"],
            "by": verdict["by"],
            "at_us": verdict["at_us"],
            "note": verdict["note"],
            "scope": verdict.get("scope"),
            "expires_us": verdict.get("expires_us"),
        },
        "suppressed": None,
    }
