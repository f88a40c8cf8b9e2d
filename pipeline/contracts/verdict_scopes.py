"""What a verdict speaks of beyond its incident: a scope, as a JSON object. Pure."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from pipeline.errors import BadData

MAX_US = 2**62
DAY_US = 86_400_000_000
MAX_WINDOW_US = 92 * DAY_US
"""A maintenance is no longer: more would be a sensor that nobody watches."""
SCOPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "incident": ((), ()),
    "asset": (("address",), ()),
    "edge": (("source", "target"), ()),
    "service": (("port", "proto"), ("source", "target")),
    "function": (("target", "protocol", "function"), ()),
    "technique": (("uid",), ()),
    "window": (("from_us", "to_us"), ("address",)),
}
"""By kind: the fields it needs, and those it may have. Every one may name a sensor."""
ADDRESSES = ("address", "source", "target")
MAX_TEXT = {"address": 128, "source": 128, "target": 128, "sensor": 256, "uid": 32, "proto": 64, "protocol": 64}
MAX_TEXT |= {"function": 128}


def address_form(text: str) -> str:
    """An address as scopes compare it: an IP address in its shortest form, everything in lower case."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.lower()


def require_scope(scope: object) -> dict[str, Any]:
    """A scope in the form in which it is compared; BadData, in ASCII, says what is wrong with it."""
    if not isinstance(scope, Mapping) or str(scope.get("kind")) not in SCOPES:
        kind = scope.get("kind") if isinstance(scope, Mapping) else scope
        raise BadData(f"scope: got {_shown(kind)}, expected an object whose kind is one of {', '.join(SCOPES)}")
    kind = scope["kind"]
    needed, optional = SCOPES[kind]
    given = {name: value for name, value in scope.items() if name != "kind"}
    absent = sorted(set(needed) - set(given))
    strange = sorted(map(str, set(given) - {*needed, *optional, "sensor"}))
    if absent or strange:
        raise BadData(
            f"scope {kind}: got {_shown(', '.join(map(str, given)) or 'no fields')}, expected "
            f"{', '.join(needed) or 'none'}{_and_may(optional)}"
        )
    for name, value in given.items():
        _require(kind, name, value)
    if kind == "window" and not 0 < scope["to_us"] - scope["from_us"] <= MAX_WINDOW_US:
        length = (scope["to_us"] - scope["from_us"]) / DAY_US
        raise BadData(f"scope window: got {length:.1f} days, expected more than none and at most 92")
    return {"kind": kind, **{name: address_form(v) if name in ADDRESSES else v for name, v in given.items()}}


def _require(kind: str, name: str, value: object) -> None:
    where = f"scope {kind}, {name}: got {_shown(value)}"
    if name == "port":
        if value is not None and not (type(value) is int and 0 <= value <= 65_535):
            raise BadData(f"{where}, expected 0 to 65535, or null where it is not known")
    elif name in ("from_us", "to_us"):
        if type(value) is not int or not 0 <= value <= MAX_US:
            raise BadData(f"{where}, expected microseconds since the epoch")
    elif not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT[name]:
        raise BadData(f"{where}, expected a text of 1 to {MAX_TEXT[name]} characters")


def _and_may(optional: tuple[str, ...]) -> str:
    return f"; it may have {', '.join((*optional, 'sensor'))}"


def _shown(value: object) -> str:
    return str(value)[:80].encode("ascii", "backslashreplace").decode()
