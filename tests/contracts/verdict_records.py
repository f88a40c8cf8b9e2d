"""Records of verdicts, and documents of incidents, as tests make them."""

from typing import Any

from pipeline.contracts.judged_facts import judged_facts
from pipeline.contracts.verdicts import VERDICTS, VERSION, WORDS, Record, read_verdict, verdict_bytes, with_id

HOUR_US = 3_600_000_000
FIRST_US = 1_700_000_000_000_000
MAX_US = 2**62


def uid_of(number: int) -> str:
    return f"{number:032x}"


def of_before(uid: str, verdict_id: int, members: list[Any], **given: Any) -> dict[str, Any]:
    """A record as it was written before version 2."""
    about = {"site": "plant", "sensor": "left", "class": "portscan", "members": members}
    caption = VERDICTS[WORDS[verdict_id]][1]
    return {"uid": uid, "verdict_id": verdict_id, "verdict": caption, "by": "ann", "at_us": 1, **about, **given}


def labelling(uid: str, verdict_id: int, members: list[Any], **given: Any) -> Record:
    """A record that says what flows are, as its readers have it."""
    return read_verdict(verdict_bytes(of_before(uid, verdict_id, members, **given)))


def on_event(event: dict[str, Any], word: str, at_us: int = 1, by: str = "ada", note: str = "") -> dict[str, Any]:
    """A record on an alert, as it was written before version 2."""
    about, (number, _) = event["unmapped"], VERDICTS[word]
    given = {name: about[name] for name in ("site", "sensor", "class", "model", "members_left_out")}
    said = {"by": by, "at_us": at_us, "note": note, "revision": event["metadata"]["sequence"]}
    return of_before(event["finding_info"]["uid"], number, about["members"], **given, **said)


def talk(source: str = "10.0.0.7", target: str = "10.0.0.20", port: int | None = 502, **given: Any) -> dict[str, Any]:
    said = {"source": source, "target": target, "port": port, "proto": "tcp", "flows": 3, "directed": True}
    return {**said, "functions": [], **given}


def document(number: int = 1, *talks: dict[str, Any], **given: Any) -> dict[str, Any]:
    """An incident, as readers of alerts make it."""
    first_us = given.get("first_us", FIRST_US)
    return {
        "uid": uid_of(number),
        "kind": "incident",
        "site": "plant",
        "sensors": ["left"],
        "class": "portscan",
        "severity": "Medium",
        "severity_id": 3,
        "techniques": [{"uid": "T0846", "name": "Remote System Discovery"}],
        "first_us": first_us,
        "last_us": first_us + HOUR_US,
        "page": True,
        "members": [{"uid": uid_of(number)}],
        "talks": list(talks) or [talk()],
        "talks_left_out": 0,
        "all_sources": True,
        "all_targets": True,
        **given,
    }


def given_on(on: dict[str, Any], word: str = "fp", **given: Any) -> Record:
    """A verdict on an incident; without a scope it suppresses nothing."""
    number, caption = VERDICTS[word]
    scope = given.pop("scope", None)
    record = {
        "version": VERSION,
        "uid": on["uid"],
        "uids": [member["uid"] for member in on["members"]],
        "verdict_id": number,
        "verdict": caption,
        "by": "ann",
        "at_us": 1_000,
        "note": "",
        "site": on["site"],
        "scope": scope,
        "from_us": on["first_us"] if scope else None,
        "expires_us": on["first_us"] + 30 * 24 * HOUR_US if scope else None,
        "max_severity_id": on["severity_id"],
        "undoes": None,
        "judged": judged_facts(on),
        "alerts": [],
    }
    return with_id(record | given)
