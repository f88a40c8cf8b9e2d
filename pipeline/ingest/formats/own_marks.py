"""Which kind of record one parsed JSON record is: the rules of `marks`, without compiled code.

A follower of files stays small, and judges the few records that are not plainly of their file's format.
`pipeline.ingest.recognise` does the same for whole batches.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from pipeline.ingest.formats.marks import (
    INSIDE,
    INSIDE_PATHS,
    KEYS,
    OTHER_ZEEK_LOGS,
    RULES,
    WORDS,
    WRAPPED,
    WRAPPER_PATHS,
    Path,
)

# A record in a wrapper in a wrapper (Docker's log of a shipper that writes to its output) is deep enough.
MAX_WRAPPERS = 3
# A prefix (priority, time, host, program) is shorter than that; what is longer is no prefix of a record.
MAX_PREFIX_BYTES = 512
# No record of a known format has so long names all together: what has is not remembered. Nor has a log so long a name.
_MAX_REMEMBERED_BYTES, _MAX_WORD = 4_096, 64
# Values that the rules look at; other records of the same keys are of the same kind.
_JUDGED_VALUES = tuple(dict.fromkeys(path[0] for path, _ in WORDS.values()))


def _at(record: Mapping[str, Any], path: Path) -> Any:
    value: Any = record
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _has(record: Mapping[str, Any], path: Path) -> bool:
    parent = _at(record, path[:-1]) if len(path) > 1 else record
    return isinstance(parent, Mapping) and path[-1] in parent


def _fits(record: Mapping[str, Any], mark: str) -> bool:
    if mark in KEYS:
        return any(_has(record, path) for path in KEYS[mark])
    if mark in WORDS:
        path, words = WORDS[mark]
        return _at(record, path) in words
    if mark == "other wrapper":
        return any(_has(record, (log, "ts")) for log in OTHER_ZEEK_LOGS if log in record)
    name, _, form = mark.rpartition(" ")
    path = tuple(name.split("."))
    if form == "object":
        return path in INSIDE and any(_has(record, inner) for inner in INSIDE_PATHS if inner[:-1] == path)
    text = _at(record, path)
    return isinstance(text, str) and text.startswith("{")


def kind_of(record: Mapping[str, Any]) -> str:
    """The kind of a record, one of KINDS."""
    nested = tuple(record["id"]) if isinstance(record.get("id"), dict) else ()
    flat = not any(isinstance(value, (dict, list)) for key, value in record.items() if key != "id")
    if not flat or sum(map(len, (*record, *nested))) > _MAX_REMEMBERED_BYTES:
        return _judge(record)
    values = tuple(str(record.get(key, ""))[:_MAX_WORD] for key in _JUDGED_VALUES)
    wrapping = tuple(key for (key, *rest) in WRAPPER_PATHS if not rest and str(record.get(key, "")).startswith("{"))
    return _judged_once(tuple(record), values, nested, wrapping)


@lru_cache(maxsize=4096)
def _judged_once(
    keys: tuple[str, ...], values: tuple[str, ...], nested: tuple[str, ...], wrapping: tuple[str, ...]
) -> str:
    record: dict[str, Any] = dict.fromkeys(keys, 1)
    record |= {key: value for key, value in zip(_JUDGED_VALUES, values, strict=True) if key in record}
    record |= dict.fromkeys(wrapping, "{")
    return _judge(record | ({"id": dict.fromkeys(nested, 1)} if nested else {}))


def _judge(record: Mapping[str, Any]) -> str:
    return next(
        (
            rule.kind
            for rule in RULES
            if all(any(_fits(record, mark) for mark in need.split("|")) for need in rule.needs)
            and not any(_fits(record, mark) for mark in rule.without)
        ),
        "",
    )


def records_in(line: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """The records in a line with their kinds, out of arrays and wrappers and without a prefix; no JSON has kind ""."""
    # An array in an array is no record's: it counts as a wrapper, so that no text makes this go on without end.
    if line.startswith(b"[") and depth < MAX_WRAPPERS and isinstance(several := _parsed(line), list):
        for each in several:
            yield from records_in(_dumped(each), depth + 1)
        return
    begin = 0 if line.startswith(b"{") else line.find(b'{"', 0, MAX_PREFIX_BYTES)
    document = _parsed(line[begin:]) if begin >= 0 else None
    kind = kind_of(document) if isinstance(document, dict) else ""
    if not isinstance(document, dict) or kind != WRAPPED or depth == MAX_WRAPPERS:
        yield (kind, line[begin:]) if kind and kind != WRAPPED else ("", line)
        return
    for part in _inside(document).splitlines():
        if part.strip():
            yield from records_in(part.strip(), depth + 1)


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # nested deeper than any record
        return b""


def _parsed(text: bytes) -> object:
    """The value of a JSON text; None where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _inside(document: Mapping[str, Any]) -> bytes:
    """What a wrapper has in it: the first of its texts that is an object, else the object."""
    for path in WRAPPER_PATHS:
        text = _at(document, path)
        if isinstance(text, str) and text.startswith("{"):
            return text.encode("utf-8", "replace")
    return next((_dumped(_at(document, path)) for path in INSIDE if isinstance(_at(document, path), dict)), b"")
