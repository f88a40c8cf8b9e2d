"""Verdicts of people on alerts: made, sent to the topic `feedback`, and read from it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.alert.wording import flows
from pipeline.contracts.raw import Headers
from pipeline.contracts.verdicts import VERDICTS, read_verdict, verdict_bytes
from pipeline.errors import BadData, Usage
from pipeline.runtime.kafka.sending import send as send_message
from pipeline.runtime.kafka.tail import Follower
from pipeline.settings import Settings
from pipeline.tools.alerts.lines import is_notice

MAX_NOTE = 4096
MAX_WHO = 128


def require_verdict(verdict: str, by: str, note: str) -> None:
    """Usage where something given cannot be meant."""
    if verdict not in VERDICTS:
        raise Usage(f"--verdict: got '{verdict}', expected one of {', '.join(VERDICTS)}")
    if not 0 < len(by) <= MAX_WHO:
        raise Usage(f"--by: got {len(by)} characters, expected a name of 1 to {MAX_WHO}")
    if len(note) > MAX_NOTE:
        raise Usage(f"--note: got {len(note)} characters, expected at most {MAX_NOTE}")


def verdict_of(alert: Mapping[str, Any], verdict: str, by: str, at_us: int, note: str = "") -> dict[str, Any]:
    """The record for `feedback` (schemas/verdict.json); Usage where something given cannot be meant."""
    require_verdict(verdict, by, note)
    number, caption = VERDICTS[verdict]
    about = alert["unmapped"]
    if is_notice(alert):
        raise Usage(
            f"alert {alert['finding_info']['uid'][:12]}: got a notice, which has no flows, expected an incident; "
            "`forebay sensor` has what can be done: accept, undo, relearn"
        )
    return {
        "uid": alert["finding_info"]["uid"],
        "revision": alert["metadata"]["sequence"],
        "verdict_id": number,
        "verdict": caption,
        "by": by,
        "at_us": at_us,
        "note": note,
        "site": about["site"],
        "sensor": about["sensor"],
        "class": about["class"],
        "model": about["model"],
        "members": about["members"],
        "members_left_out": about["members_left_out"],
    }


def words(record: Mapping[str, Any]) -> str:
    """A verdict as a line: of which alert, what, and of how many flows; of a large alert not all are listed."""
    listed, left_out = len(record["members"]), record["members_left_out"]
    of_them = f", {listed:,} of them listed" if left_out else ""
    return f"{record['uid'][:12]}: {record['verdict']}, {flows(listed + left_out)}{of_them}"


def send(settings: Settings, record: Mapping[str, Any]) -> None:
    """Send a verdict to `feedback` and wait until the broker acknowledges it.

    BadData where it violates its schema, Failed where the broker does not take it.
    """
    payload = verdict_bytes(record)
    headers: Headers = [("content-type", b"application/json")]
    send_message(settings, "verdict", settings.topics.feedback, str(record["uid"]), payload, headers)


def verdicts(settings: Settings) -> tuple[list[dict[str, Any]], int]:
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
