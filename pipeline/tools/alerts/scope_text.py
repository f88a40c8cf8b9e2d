"""Scopes of verdicts as people type and read them. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.contracts.judged_facts import service_words
from pipeline.contracts.notice_words import moment
from pipeline.contracts.verdict_scopes import require_scope
from pipeline.errors import BadData, Usage
from pipeline.runtime.terminal import printable

NONE = "none"
OPTION = "--scope"
SPANS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([0-9]{1,9})([smhdw])")
_SERVICE = re.compile(r"(?:([0-9]{1,5})/)?([A-Za-z0-9][A-Za-z0-9 _.-]{0,63})")
_FIELDS = {
    "asset": ("address",),
    "edge": ("source", "target"),
    "service": ("service", "target", "source"),
    "function": ("target", "protocol", "function"),
    "technique": ("uid",),
}
"""What may follow the kind after a colon, with commas between; what is not said is that of the incident."""


def seconds_meant(text: str, option: str) -> int:
    """A span as typed, in seconds: 30d, 8h; Usage where it is none."""
    match = _SPAN.fullmatch(text)
    if match is None or not int(match[1]):
        raise Usage(f"{option}: got {printable(text, 40)!r}, expected a number and s, m, h, d or w, as in 30d")
    return int(match[1]) * SPANS_S[match[2]]


def scope_meant(
    text: str, document: Mapping[str, Any] | None = None, sensor: str | None = None
) -> dict[str, Any] | None:
    """The scope that was typed; None for `none`. Usage where it is none, or needs an incident and there is none.

    `asset`, `edge`, `service`, `function` and `technique` alone mean those of the incident's largest conversation.
    """
    kind, _, rest = text.partition(":")
    if kind == NONE and not rest:
        return None
    if kind not in _FIELDS and not (kind == "incident" and not rest and document is not None):
        known = [*(["incident", NONE] if document is not None else []), *_FIELDS]
        raise Usage(f"{OPTION}: got {printable(text, 80)!r}, expected {', '.join(known)}, as in asset:10.0.0.7")
    if kind == "incident":
        return _required({"kind": kind}, sensor)
    names = _FIELDS[kind]
    values = [value.strip() for value in rest.split(",", len(names) - 1)] if rest else []
    typed = dict(zip(names, values, strict=False))
    if "service" in typed:
        typed |= _service_meant(typed.pop("service"))
    given = {name: value for name, value in typed.items() if value not in ("", "any")}
    scope = {"kind": kind, **({} if rest or document is None else _of_incident(kind, document)), **given}
    return _required(scope, sensor)


def _required(scope: dict[str, Any], sensor: str | None) -> dict[str, Any]:
    try:
        return require_scope(scope | ({"sensor": sensor} if sensor else {}))
    except BadData as error:
        raise Usage(f"{OPTION}: {error}") from error


def _service_meant(text: str) -> dict[str, Any]:
    match = _SERVICE.fullmatch(text)
    if match is None:
        raise Usage(f"{OPTION} service: got {printable(text, 80)!r}, expected 502/tcp, or icmp without a port")
    return {"port": int(match[1]) if match[1] else None, "proto": match[2]}


def _of_incident(kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """What a scope speaks of where only its kind was typed."""
    talks = document["talks"]
    if kind == "technique":
        return {"uid": document["techniques"][0]["uid"]} if document["techniques"] else {}
    if not talks:
        return {}
    talk = talks[0]
    ends = {"source": talk["source"], "target": talk["target"]}
    match kind:
        case "asset":
            return {"address": document["sources"][0] if document["sources"] else talk["source"]}
        case "edge":
            return ends
        case "service":
            return {"port": talk["port"], "proto": talk["proto"], **ends}
        case _:
            return {"target": talk["target"], **(talk["functions"][0] if talk["functions"] else {})}


def scope_words(scope: Mapping[str, Any] | None) -> str:
    """What a verdict suppresses, in words; they hold what was typed or came from the network: print them safely."""
    if scope is None:
        return "nothing else"
    at = f" at sensor {scope['sensor']}" if "sensor" in scope else ""
    return _words(scope) + at


def _words(scope: Mapping[str, Any]) -> str:
    match scope["kind"]:
        case "incident":
            return "the same again"
        case "asset":
            return f"what {scope['address']} does or is done to it"
        case "edge":
            return f"what {scope['source']} does with {scope['target']}"
        case "service":
            who = f" by {scope['source']}" if "source" in scope else ""
            whom = f" of {scope['target']}" if "target" in scope else ""
            return f"use of {service_words(scope['port'], scope['proto'])}{whom}{who}"
        case "function":
            return f"{scope['protocol']} {scope['function']} at {scope['target']}"
        case "technique":
            return f"technique {scope['uid']}"
        case _:
            of = f" with {scope['address']}" if "address" in scope else ""
            return f"what lies between {moment(scope['from_us'])} and {moment(scope['to_us'])}{of}"
