"""Of which incidents a verdict can speak: the keys of scopes, as an index can hold them.

They are fewer and wider than those of `contracts/suppression.py`, of which each is one: a verdict and an incident that
share a key there share one here. So whatever a verdict speaks of is found; what is found is compared in full.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.contracts.suppression import Key, keys_of, keys_to_ask
from pipeline.contracts.verdicts import TRUE_POSITIVE, Record

ALWAYS_US = (-(2**62), 2**62 + 1)


def scope_keys(document: Mapping[str, Any]) -> set[int]:
    """By which keys verdicts that can speak of an incident find it; none of a notice, of which none speaks."""
    return {_number(_wide(key)) for key in keys_to_ask(document)} if document["kind"] == "incident" else set()


def verdict_keys(record: Record) -> set[int]:
    """By which keys a verdict finds the incidents of which it can speak."""
    return {_number(_wide(key)) for key in keys_of(record)}


def span_us(record: Record) -> tuple[int, int]:
    """From when and until before when the incidents begin of which a verdict speaks; an attack speaks of all times."""
    if record["verdict_id"] == TRUE_POSITIVE or record["scope"] is None:
        return ALWAYS_US
    return record["from_us"], record["expires_us"]


def _wide(key: Key) -> Key:
    """The key under which this one is indexed, with others of the same addresses or service."""
    site, kind, *rest = key
    match kind, rest:
        case "incident", [_, (source, target, *_)]:
            return site, "edge", *sorted((source, target))
        case "edge", [source, target]:
            return site, "edge", *sorted((source, target))
        case "service", [port, proto, None, None]:
            return site, "service", port, proto
        case "service", [_, _, source, target]:
            if source is None or target is None:
                return site, "asset", source or target
            return site, "edge", *sorted((source, target))
        case _:
            return key


def _number(key: Key) -> int:
    """A key as a number of 64 bits; of two that share one both are found."""
    return int.from_bytes(hashlib.sha256(orjson.dumps(key)).digest()[:8], signed=True)
