"""Verdicts: what a person made of an alert, with OCSF's numbers, and whose flows it speaks of."""

from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.alert.validity import require_valid
from pipeline.errors import Failed, Usage
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings

# OCSF incident profile, verdict_id.
VERDICTS = {
    "fp": (1, "False Positive"),
    "tp": (2, "True Positive"),
    "benign": (5, "Benign"),
    "test": (6, "Test"),
    "duplicate": (10, "Duplicate"),
}
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


def send(settings: Settings, record: Mapping[str, Any]) -> None:
    """Put a verdict into `feedback` and wait until the broker has it; Failed where it does not take it."""
    require_valid(record, "verdict")
    refused: list[str] = []
    producer = clients.producer(settings, "verdict")
    producer.produce(
        settings.topics.feedback,
        key=str(record["uid"]).encode(),
        value=orjson.dumps(record, option=orjson.OPT_SORT_KEYS),
        headers=[("content-type", b"application/json")],
        on_delivery=lambda error, _message: refused.append(str(error)) if error is not None else None,
    )
    if producer.flush(30) or refused:
        raise Failed(f"{settings.topics.feedback}: {refused[0] if refused else 'no answer in 30 s'}; verdict not kept")
