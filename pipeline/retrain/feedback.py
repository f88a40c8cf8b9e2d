"""The analysts' verdicts, read from the topic `feedback`."""

from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator

from pipeline.kafka.tail import Follower
from pipeline.settings import Settings


def verdicts(settings: Settings) -> tuple[list[dict[str, Any]], int]:
    """All verdicts, oldest first, and how many messages were none by schemas/verdict.json and are left out."""
    follower = Follower(settings, "verdicts", settings.topics.feedback)
    try:
        payloads = [message.value() or b"" for message in follower.catch_up()]
    finally:
        follower.close()
    found = [verdict for verdict in map(parse, payloads) if verdict is not None]
    return found, len(payloads) - len(found)


def parse(payload: bytes) -> dict[str, Any] | None:
    """A verdict; None where the bytes are none."""
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return record if _validator().is_valid(record) else None


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(orjson.loads(files("schemas").joinpath("verdict.json").read_bytes()))
