"""Scopes as people type them, and in words."""

from typing import Any

import pytest

from pipeline.contracts.verdict_scopes import require_scope
from pipeline.errors import Usage
from pipeline.tools.alerts.scope_text import scope_meant, scope_words, seconds_meant
from tests.contracts.verdict_records import FIRST_US, document, talk

WROTE = {"protocol": "modbus", "function": "wrote registers"}
MAC = "00:07:7c:00:00:10"


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("none", None),
        ("incident", {"kind": "incident"}),
        ("asset", {"kind": "asset", "address": "10.0.0.7"}),
        ("asset:10.0.0.9", {"kind": "asset", "address": "10.0.0.9"}),
        ("asset:FE80::0:1", {"kind": "asset", "address": "fe80::1"}),
        (f"asset:{MAC.upper()}", {"kind": "asset", "address": MAC}),
        ("edge", {"kind": "edge", "source": "10.0.0.7", "target": "10.0.0.20"}),
        (f"edge:{MAC},10.0.0.9", {"kind": "edge", "source": MAC, "target": "10.0.0.9"}),
        ("service", {"kind": "service", "port": 502, "proto": "tcp", "source": "10.0.0.7", "target": "10.0.0.20"}),
        ("service:502/tcp", {"kind": "service", "port": 502, "proto": "tcp"}),
        ("service:icmp", {"kind": "service", "port": None, "proto": "icmp"}),
        ("service:502/tcp,10.0.0.9", {"kind": "service", "port": 502, "proto": "tcp", "target": "10.0.0.9"}),
        ("service:502/tcp,any,10.0.0.9", {"kind": "service", "port": 502, "proto": "tcp", "source": "10.0.0.9"}),
        ("function", {"kind": "function", "target": "10.0.0.20", **WROTE}),
        ("function:10.0.0.9,s7,a, b", {"kind": "function", "target": "10.0.0.9", "protocol": "s7", "function": "a, b"}),
        ("technique", {"kind": "technique", "uid": "T0846"}),
        ("technique:T0855", {"kind": "technique", "uid": "T0855"}),
    ],
)
def test_a_scope_is_typed_or_that_of_the_incident(text: str, scope: dict[str, Any] | None) -> None:
    of = document(1, talk(functions=[WROTE]), sources=["10.0.0.7"])
    assert scope_meant(text, of) == scope
    if scope is not None:
        assert scope_meant(text, of, "left") == scope | {"sensor": "left"}
        assert require_scope(scope) == scope and scope_words(scope)


@pytest.mark.parametrize(
    "text",
    [
        *("", "asset:", "edge:a", "edge:", "service:70000/tcp", "service:x/y/z", "service:", "window", "incident:x"),
        *("none:1", "asset:" + "x" * 500, "\x1b[2J", "\u202easset", "technique:" + "T" * 40, "function:a,b"),
    ],
)
def test_what_is_no_scope_is_refused_in_plain_text(text: str) -> None:
    bare = {**document(1, sources=[], techniques=[]), "talks": []}
    with pytest.raises(Usage, match="--scope") as refused:
        scope_meant(text, bare)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 400


@pytest.mark.parametrize("text", ["incident", "asset", "edge", "technique"])
def test_without_an_incident_a_scope_must_be_said(text: str) -> None:
    with pytest.raises(Usage, match="--scope"):
        scope_meant(text)


def test_a_window_is_said_in_utc() -> None:
    window = {"kind": "window", "from_us": FIRST_US, "to_us": FIRST_US + 1, "address": "10.0.0.7", "sensor": "left"}
    assert scope_words(window).startswith("what lies between 2023-11-14 22:13:20Z and")
    assert scope_words(window).endswith("with 10.0.0.7 at sensor left")
    assert scope_words(None) == "nothing else"


def test_a_span_has_a_unit() -> None:
    assert [seconds_meant(text, "--for") for text in ("90s", "8h", "30d", "2w")] == [90, 28_800, 2_592_000, 1_209_600]
    for text in ("", "30", "d", "-1d", "0d", "1.5h", "9" * 20 + "d", "٣d"):
        with pytest.raises(Usage, match="--for"):
            seconds_meant(text, "--for")
