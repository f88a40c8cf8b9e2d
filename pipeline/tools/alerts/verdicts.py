"""Verdicts of people on incidents: made, sent to the topic `feedback`, and read from it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.alert.wording import flows
from pipeline.contracts.incident_joining import Alert, uid_of
from pipeline.contracts.judged_facts import judged_facts
from pipeline.contracts.notices import LONE
from pipeline.contracts.raw import Headers
from pipeline.contracts.verdict_scopes import require_scope
from pipeline.contracts.verdicts import (
    TRUE_POSITIVE,
    VERDICTS,
    VERSION,
    Record,
    read_verdict,
    standing,
    undo_record,
    verdict_bytes,
    with_id,
)
from pipeline.errors import BadData, Usage
from pipeline.runtime.kafka.sending import send as send_message
from pipeline.runtime.kafka.tail import Follower
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.alerts.incidents import NOTICE, SHOWN_UID, Document
from pipeline.tools.alerts.scope_text import NONE

MAX_NOTE = 4096
MAX_WHO = 128
MAX_UIDS = 1024
MAX_MEMBERS = 8192
"""Flows that a verdict names; of more the rest is counted."""
SECOND_US = 1_000_000
EXPIRES_S = 30 * 86_400
"""For how long a verdict suppresses where nobody says; a suppression that nobody looks at again must end."""
MAX_EXPIRES_S = 366 * 86_400
HIGHEST_SEVERITY = 6
SUPPRESS_UP_TO = 4
"""A rule without an incident suppresses up to severity high, unless somebody says otherwise."""
DEFAULT_SCOPES = {"fp": "incident", "benign": "incident", "maintenance": "incident"}
"""What a verdict of a word suppresses where nobody says; the others suppress nothing."""


def require_verdict(verdict: str, by: str, note: str) -> None:
    """Usage where something given cannot be meant."""
    if verdict not in VERDICTS:
        raise Usage(f"--verdict: got '{printable(verdict, 40)}', expected one of {', '.join(VERDICTS)}")
    if not 0 < len(by) <= MAX_WHO:
        raise Usage(f"--by: got {len(by)} characters, expected a name of 1 to {MAX_WHO}")
    if len(note) > MAX_NOTE:
        raise Usage(f"--note: got {len(note):,} characters, expected at most {MAX_NOTE:,}")


def require_span(expires_s: int) -> None:
    """Usage where a verdict would suppress for no time, or for ever."""
    if not 0 < expires_s <= MAX_EXPIRES_S:
        raise Usage(
            f"expires: got {expires_s:,} s, expected up to {MAX_EXPIRES_S:,} s (366 days); give the verdict again then"
        )


def verdict_of(
    document: Document,
    alerts: Sequence[Alert],
    verdict: str,
    by: str,
    at_us: int,
    note: str = "",
    scope: Mapping[str, Any] | None = None,
    expires_s: int | None = None,
) -> Record:
    """A verdict on an incident, by its document and alerts; Usage where something given cannot be meant.

    scope: what it suppresses beside the incident, None: nothing. Of an attack `incident` means the same. expires_s: for
    how long, from now or, where that is later, from the incident's last flow; None: 30 days.
    """
    require_verdict(verdict, by, note)
    if document.get("notice") == LONE:
        raise Usage(
            f"alert {document['uid'][:SHOWN_UID]}: got suspects that are in no incident, expected an incident; where "
            "they are usual, `forebay sensor accept` says so, of all at the sensor or of one address or service"
        )
    if document["kind"] == NOTICE:
        raise Usage(
            f"alert {document['uid'][:SHOWN_UID]}: got a notice, which has no flows, expected an incident; "
            "`forebay sensor` has what can be done: accept, undo, relearn"
        )
    number, caption = VERDICTS[verdict]
    if number == TRUE_POSITIVE and scope is not None:
        if scope.get("kind") != "incident":
            raise Usage(f"--scope: got {scope.get('kind')} with tp, expected {NONE}: an attack is never suppressed")
        scope = None
    span_s = EXPIRES_S if expires_s is None else expires_s
    require_span(span_s)
    until_us = max(at_us, document["last_us"]) + span_s * SECOND_US
    if scope is not None and scope.get("kind") == "window":
        until_us = scope["to_us"]
    return _made(
        {
            "uid": document["uid"],
            "uids": [uid_of(alert) for alert in alerts[:MAX_UIDS]],
            "verdict_id": number,
            "verdict": caption,
            "by": by,
            "at_us": at_us,
            "note": note,
            "site": document["site"],
            "from_us": document["first_us"] if scope is not None else None,
            "expires_us": until_us if scope is not None else None,
            "max_severity_id": max(1, min(document["severity_id"], HIGHEST_SEVERITY)),
            "judged": judged_facts(document),
            "alerts": _with_members(alerts[:MAX_UIDS]),
        },
        scope,
    )


def rule_of(
    site: str,
    scope: Mapping[str, Any],
    verdict: str,
    by: str,
    at_us: int,
    note: str,
    from_us: int,
    expires_us: int,
    max_severity_id: int = SUPPRESS_UP_TO,
) -> Record:
    """A verdict of no incident: what it suppresses at a site; Usage where something given cannot be meant."""
    require_verdict(verdict, by, note)
    number, caption = VERDICTS[verdict]
    if number == TRUE_POSITIVE:
        raise Usage("--verdict: got tp, expected one that suppresses: an attack is never suppressed")
    require_span((expires_us - from_us) // SECOND_US)
    said = {"verdict_id": number, "verdict": caption, "by": by, "at_us": at_us, "note": note, "site": site}
    times = {"from_us": from_us, "expires_us": expires_us, "max_severity_id": max_severity_id}
    return _made({"uid": None, "uids": [], **said, **times, "judged": None, "alerts": []}, scope)


def undo_of(verdicts: Iterable[Record], named: str, by: str, at_us: int, note: str = "") -> tuple[Record, Record]:
    """The verdict whose id is, or begins with, `named`, and what takes it back; Usage where that cannot be meant."""
    require_verdict("fp", by, note)
    stands = standing(verdicts)
    found = [each for name, each in stands.given.items() if named and name.startswith(named)]
    if len(found) != 1:
        known = ", ".join(each["id"][:SHOWN_UID] for each in found[:5]) or "none"
        raise Usage(
            f"alert undo {printable(named, 40)}: got {len(found)} verdicts named so ({known}), expected one; "
            "`forebay alert verdicts` lists them"
        )
    [verdict] = found
    if verdict["id"] in stands.undone:
        raise Usage(f"alert undo {verdict['id'][:SHOWN_UID]}: got a verdict that is undone already, expected another")
    return verdict, undo_record(verdict, by, at_us, note)


def _made(said: dict[str, Any], scope: Mapping[str, Any] | None) -> Record:
    try:
        whole = require_scope(scope) if scope is not None else None
    except BadData as error:
        raise Usage(f"--scope: {error}") from error
    return with_id({"version": VERSION, "undoes": None, **said, "scope": whole})


def _with_members(alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """The alerts with their flows, as many as a message has room for."""
    room, made = MAX_MEMBERS, []
    for alert in alerts:
        about = alert["unmapped"]
        members = about.get("members", [])
        listed, room = members[:room], max(0, room - len(members))
        made.append(
            {
                "uid": uid_of(alert),
                "revision": alert["metadata"]["sequence"],
                "sensor": about["sensor"],
                "class": about.get("class"),
                "model": about.get("model"),
                "members": listed,
                "members_left_out": about.get("members_left_out", 0) + len(members) - len(listed),
            }
        )
    return made


def words(record: Mapping[str, Any]) -> str:
    """A verdict as a line: of which incident, what, and of how many flows; of a large one not all are listed."""
    if record["undoes"] is not None:
        return f"verdict {record['undoes'][:SHOWN_UID]} is taken back"
    listed = sum(len(alert["members"]) for alert in record["alerts"])
    left_out = sum(alert["members_left_out"] for alert in record["alerts"])
    of_them = f", {listed:,} of them listed" if left_out else ""
    whose = f"{record['uid'][:SHOWN_UID]}: " if record["uid"] else ""
    counted = f", {flows(listed + left_out)}{of_them}" if record["alerts"] else ""
    return f"{whose}{record['verdict']}{counted}; verdict {record['id'][:SHOWN_UID]}"


def send(settings: Settings, record: Mapping[str, Any]) -> None:
    """Send a verdict to `feedback` and wait until the broker acknowledges it.

    BadData where it violates its schema, Failed where the broker does not take it.
    """
    payload = verdict_bytes(record)
    headers: Headers = [("content-type", b"application/json")]
    send_message(settings, "verdict", settings.topics.feedback, str(record["uid"] or record["id"]), payload, headers)


def verdicts(settings: Settings) -> tuple[list[Record], int]:
    """All verdicts in `feedback`, oldest first, and how many messages are malformed and left out."""
    read, malformed = [], 0
    for _, payload in messages(settings):
        try:
            read.append(read_verdict(payload))
        except BadData:
            malformed += 1
    return read, malformed


def messages(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """All messages of `feedback` that are there now, oldest first: position and bytes."""
    follower = Follower(settings, "verdicts", settings.topics.feedback)
    try:
        for message in follower.catch_up():
            yield f"{settings.topics.feedback}[{message.partition()}]@{message.offset()}", message.value() or b""
    finally:
        follower.close()
