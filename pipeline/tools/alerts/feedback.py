"""The analysts' verdicts, read from the topic `feedback`."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator

from pipeline.runtime.kafka.tail import Follower
from pipeline.settings import Settings

MOST_SAID = 200


def verdicts(settings: Settings) -> tuple[list[dict[str, Any]], int]:
    """All verdicts, oldest first, and how many messages were none by schemas/verdict.json and are left out."""
    payloads = [payload for _, payload in messages(settings)]
    found = [verdict for verdict in map(parse, payloads) if verdict is not None]
    return found, len(payloads) - len(found)


def messages(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """What the topic holds now, oldest first: position and bytes."""
    follower = Follower(settings, "verdicts", settings.topics.feedback)
    try:
        for message in follower.catch_up():
            yield f"{settings.topics.feedback}[{message.partition()}]@{message.offset()}", message.value() or b""
    finally:
        follower.close()


def parse(payload: bytes) -> dict[str, Any] | None:
    """A verdict; None where the bytes are none."""
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return record if _validator().is_valid(record) else None


def problem(payload: bytes) -> str | None:
    """Why bytes are no verdict, in ASCII and not at length; None where they are one."""
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return f"got no JSON ({error}), expected a verdict"
    for wrong in _validator().iter_errors(record):
        where = "/".join(map(str, wrong.instance_path)) or "verdict"
        return f"{where}: {wrong.message}".encode("ascii", "backslashreplace").decode()[:MOST_SAID]
    return None


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(orjson.loads(files("schemas").joinpath("verdict.json").read_bytes()))
