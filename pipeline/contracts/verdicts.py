"""What a person made of an incident: the records of the topic `feedback` (schemas/verdict.json), OCSF's numbers."""

from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.errors import BadData
from schemas.validation import violation

SCHEMA = "verdict"
# OCSF incident profile, verdict_id: by the word people type, the number and the caption.
VERDICTS = {
    "fp": (1, "False Positive"),
    "tp": (2, "True Positive"),
    "benign": (5, "Benign"),
    "test": (6, "Test"),
    "duplicate": (10, "Duplicate"),
}
FALSE_POSITIVE, TRUE_POSITIVE, BENIGN = (VERDICTS[word][0] for word in ("fp", "tp", "benign"))
# The verdicts that say what the flows of an incident are; a test or duplicate says nothing of them.
LABELLING = frozenset({FALSE_POSITIVE, TRUE_POSITIVE, BENIGN})


def verdict_bytes(verdict: Mapping[str, Any]) -> bytes:
    """A verdict as it is sent; BadData where it violates its schema."""
    problem = violation(verdict, SCHEMA)
    if problem is not None:
        raise BadData(f"verdict: {problem}; expected a document of schemas/{SCHEMA}.json")
    return orjson.dumps(verdict, option=orjson.OPT_SORT_KEYS)


def read_verdict(payload: bytes) -> dict[str, Any]:
    """A verdict from bytes; BadData, in ASCII, where they are none."""
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadData(f"got no JSON ({error}), expected a verdict") from error
    problem = violation(record, SCHEMA)
    if problem is not None:
        raise BadData(problem)
    verdict: dict[str, Any] = record
    return verdict
