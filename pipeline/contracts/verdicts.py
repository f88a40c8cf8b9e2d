"""What a person made of an incident: the records of the topic `feedback` (schemas/verdict.json), and which hold.

Everything here depends on what the records say, never on the order in which they are read, and a record that is there
twice is one. A record of before (without `version`) is read as one that suppresses nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.contracts.verdict_scopes import require_scope
from pipeline.errors import BadData
from schemas.validation import violation

SCHEMA = "verdict"
VERSION = 2
MAX_BYTES = 1_000_000
"""What Kafka takes as one message."""
ID_DIGITS = 32
# OCSF incident profile, verdict_id: by the word people type, the number and the caption.
VERDICTS = {
    "fp": (1, "False Positive"),
    "tp": (2, "True Positive"),
    "benign": (5, "Benign"),
    "test": (6, "Test"),
    "duplicate": (10, "Duplicate"),
    "maintenance": (99, "Maintenance"),
}
UNDONE = (0, "Unknown")
FALSE_POSITIVE, TRUE_POSITIVE, BENIGN = (VERDICTS[word][0] for word in ("fp", "tp", "benign"))
WORDS = {number: word for word, (number, _) in VERDICTS.items()}
# The verdicts that say what the flows of an incident are; a test, duplicate or maintenance says nothing of them.
LABELLING = frozenset({FALSE_POSITIVE, TRUE_POSITIVE, BENIGN})

Record = dict[str, Any]


def with_id(record: Mapping[str, Any]) -> Record:
    """The record with its id: the hash of all that it says; BadData where it says what UTF-8 cannot."""
    said = {name: value for name, value in record.items() if name != "id"}
    try:
        payload = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise BadData(f"verdict: got {error}, expected texts as UTF-8 has them") from error
    digest = hashlib.sha256(payload).hexdigest()
    return {**said, "id": digest[:ID_DIGITS]}


def undo_record(undone: Mapping[str, Any], by: str, at_us: int, note: str = "") -> Record:
    """The record that takes a verdict back: as if it had never been given, from then on."""
    number, caption = UNDONE
    return with_id(
        {
            **dict.fromkeys(("scope", "from_us", "expires_us", "judged")),
            "version": VERSION,
            "uid": undone["uid"],
            "uids": undone["uids"],
            "verdict_id": number,
            "verdict": caption,
            "by": by,
            "at_us": at_us,
            "note": note,
            "site": undone["site"],
            "max_severity_id": undone["max_severity_id"],
            "undoes": undone["id"],
            "alerts": [],
        }
    )


def verdict_bytes(verdict: Mapping[str, Any]) -> bytes:
    """A verdict as it is sent; BadData where it is none."""
    problem = _problem(verdict)
    if problem is not None:
        raise BadData(f"verdict: {problem}; expected a document of schemas/{SCHEMA}.json")
    payload = orjson.dumps(verdict, option=orjson.OPT_SORT_KEYS)
    if len(payload) > MAX_BYTES:
        raise BadData(f"verdict: got {len(payload):,} bytes, expected at most {MAX_BYTES:,}")
    return payload


def read_verdict(payload: bytes) -> Record:
    """A verdict from bytes, one of before in today's form; BadData, in ASCII, where they are none."""
    if len(payload) > MAX_BYTES:
        raise BadData(f"got {len(payload):,} bytes, expected a verdict of at most {MAX_BYTES:,}")
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadData(f"got no JSON ({error}), expected a verdict") from error
    try:
        problem = _problem(record)
    except (ValueError, RecursionError) as error:
        raise BadData(f"got JSON that nests too deep ({error}), expected a verdict") from error
    if problem is not None:
        raise BadData(problem)
    return _upgraded(record) if "version" not in record else dict(record)


def _problem(record: Any) -> str | None:
    """Where and how a record is none, in ASCII; None where it is one."""
    problem = violation(record, SCHEMA)
    if problem is not None:
        return problem
    if "version" not in record:
        known = record["verdict_id"] in WORDS and record["uid"] is not None
        return None if known else "got a record of before that says nothing of an alert, expected a verdict and a uid"
    expected = with_id(record)["id"]
    if record["id"] != expected:
        return f"id: got {record['id']}, expected {expected}, the hash of what the record says"
    number, caption = record["verdict_id"], record["verdict"]
    is_undo = record["undoes"] is not None
    if (UNDONE if is_undo else VERDICTS.get(WORDS.get(number, ""))) != (number, caption):
        return f"verdict_id: got {number} with {caption}, expected the number of that verdict; 0 where one is undone"
    if record["scope"] is None:
        return None
    if number in (UNDONE[0], TRUE_POSITIVE):
        return f"scope: got one for {caption}, expected null: an attack is never suppressed"
    if record["from_us"] is None or record["expires_us"] is None:
        return "expires_us: got no time from which and until when it suppresses, expected both with a scope"
    try:
        scope = require_scope(record["scope"])
    except BadData as error:
        return str(error)
    if scope != record["scope"]:
        return "scope: got addresses in another form than they are compared in, expected them in lower case and short"
    needs_incident = scope["kind"] == "incident" and record["judged"] is None
    return "judged: got null, expected what the incident was, which the scope needs" if needs_incident else None


def _upgraded(record: Mapping[str, Any]) -> Record:
    """A record of before in today's form."""
    alert = {
        "uid": record["uid"],
        "revision": record.get("revision"),
        "sensor": record.get("sensor"),
        "class": record.get("class"),
        "model": record.get("model"),
        "members": record.get("members", []),
        "members_left_out": record.get("members_left_out", 0),
    }
    return {
        **dict.fromkeys(("scope", "from_us", "expires_us", "undoes", "judged")),
        "version": VERSION,
        "id": with_id(record)["id"],
        "uid": record["uid"],
        "uids": [record["uid"]],
        "verdict_id": record["verdict_id"],
        "verdict": record["verdict"],
        "by": record["by"],
        "at_us": record["at_us"],
        "note": record.get("note", ""),
        "site": record.get("site"),
        "max_severity_id": 1,
        "alerts": [alert],
    }


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands of the verdicts that there were at a time.

    Attributes
    ----------
    given : by id; every verdict, without the records that undo one
    undone : by the id of a verdict, the first record that undoes it
    newest : by the uid of an alert, the last verdict on it that is not undone
    """

    given: Mapping[str, Record] = field(default_factory=dict)
    undone: Mapping[str, Record] = field(default_factory=dict)
    newest: Mapping[str, Record] = field(default_factory=dict)

    def verdict_on(self, uids: Iterable[str]) -> Record | None:
        """The last verdict on an incident that is not undone, by the uids of its alerts; None where there is none."""
        found = [self.newest[uid] for uid in uids if uid in self.newest]
        return max(found, key=order) if found else None

    def is_overruled(self, record: Mapping[str, Any]) -> bool:
        """Whether somebody judged the same alerts later."""
        return any(self.newest[uid]["id"] != record["id"] for uid in record["uids"] if uid in self.newest)

    def holding(self) -> list[Record]:
        """The verdicts that are neither undone nor overruled, in the order in which they were given."""
        return sorted(
            (each for each in self.given.values() if each["id"] not in self.undone and not self.is_overruled(each)),
            key=order,
        )

    def state_of(self, record: Mapping[str, Any], at_us: int) -> str:
        """undone, overruled, expired or active, at a time."""
        if record["id"] in self.undone:
            return "undone"
        if self.is_overruled(record):
            return "overruled"
        expires_us = record["expires_us"]
        return "expired" if expires_us is not None and expires_us <= at_us else "active"


def order(record: Mapping[str, Any]) -> tuple[int, str]:
    """By what verdicts are ordered: when they were given; at the same time, by id."""
    return record["at_us"], record["id"]


def standing(verdicts: Iterable[Record], at_us: int | None = None) -> Standing:
    """What stands of verdicts, in any order and any number of times; with `at_us` of those given until then."""
    records = {each["id"]: each for each in verdicts if at_us is None or each["at_us"] <= at_us}
    given = {name: each for name, each in records.items() if each["undoes"] is None}
    undone: dict[str, Record] = {}
    newest: dict[str, Record] = {}
    for each in sorted(records.values(), key=order):
        if each["undoes"] is not None:
            undone.setdefault(each["undoes"], each)
    for each in sorted(given.values(), key=order):
        if each["id"] not in undone:
            newest |= dict.fromkeys(each["uids"], each)
    return Standing(given, undone, newest)


def number_of(record: Mapping[str, Any]) -> int:
    """A verdict's number, by which what it asked of a sensor's baseline is found again: 48 bits of its id."""
    return int(record["id"][:12], 16)


def active(verdicts: Iterable[Record], at_us: int) -> list[Record]:
    """The verdicts that hold at a time: given by then, not undone, not overruled, not expired; oldest first."""
    stands = standing(verdicts, at_us)
    return [each for each in stands.holding() if stands.state_of(each, at_us) == "active"]


def shown(record: Mapping[str, Any]) -> Record:
    """A verdict as documents of incidents bear it; `verdict` is the word that people type."""
    said = {name: record[name] for name in ("id", "by", "at_us", "note", "scope", "expires_us")}
    return {**said, "verdict": WORDS[record["verdict_id"]], "says": record["verdict"]}
