"""Revisions for the tests: of real events of stage 4, and hostile ones."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pipeline.alert.incidents import incidents_of
from pipeline.tools.outputs.revision import (
    ENDED,
    GROWN,
    NEW,
    Endpoint,
    Revision,
    Talk,
    Technique,
    revision_of,
)
from tests.alert.suspects import scored


def event(**changed: Any) -> dict[str, Any]:
    """A port scan's event, as stage 4 makes it; `changed` are columns of its flows."""
    rows = [
        {"at": n * 0.1, "dst_addr": f"198.18.134.{n % 5}", "dst_port": n % 23, "community_id": "1:abc=", **changed}
        for n in range(42)
    ]
    values = np.tile([900, 30_000, 1, 0.0], (42, 1))
    [made] = incidents_of([scored(rows, values)])
    return made


@cache
def _plain() -> Revision:
    return revision_of(event())


def revision(**changed: Any) -> Revision:
    """The revision of that event, with some of its parts replaced."""
    return replace(_plain(), **changed)


# What formats must survive even if it comes through: line ends, escapes, markup, marks of direction, no ASCII.
hostile = st.text(
    st.one_of(
        st.sampled_from('|\\="]\n\r\t\x00\x1b\u202e\u2028\ufeff<>&%${}^,;:ä日😀'),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
)
addresses = st.one_of(
    st.builds(Endpoint, ip=st.ip_addresses().map(str)),
    st.builds(Endpoint, name=hostile),
    st.builds(Endpoint, name=st.just("00:1b:1b:00:00:01"), mac=st.just("00:1b:1b:00:00:01")),
)
talks = st.builds(
    Talk,
    source=addresses,
    target=addresses,
    port=st.integers(-1, 65_535),
    protocol=st.sampled_from(["", "tcp", "udp", "ICMP"]),
    community_id=hostile,
    flows=st.integers(0, 2**40),
)
techniques = st.builds(
    Technique,
    uid=st.from_regex(r"\AT0[0-9]{3}(\.00[0-9])?\Z"),
    name=hostile.filter(bool),
    tactic_uid=st.just("TA0102"),
    tactic=st.just("Discovery"),
)
times = st.integers(0, 2_000_000_000_000_000)


@st.composite
def revisions(draw: st.DrawFn) -> Revision:
    """Revisions whose every text is hostile."""
    opened_us, spans = draw(times), [draw(st.integers(0, 10**12)) for _ in range(2)]
    return revision(
        activity=draw(st.sampled_from([NEW, GROWN, ENDED])),
        site=draw(hostile.filter(bool)),
        sensors=tuple(draw(st.lists(hostile, min_size=1, max_size=3))),
        is_page=draw(st.booleans()),
        severity_id=draw(st.integers(1, 5)),
        confidence=draw(st.integers(0, 100)),
        title=draw(hostile),
        says=draw(hostile),
        disposition=draw(hostile),
        class_name=draw(hostile),
        techniques=tuple(draw(st.lists(techniques, max_size=3, unique_by=lambda each: each.uid))),
        flows=draw(st.integers(0, 2**40)),
        opened_us=opened_us,
        modified_us=opened_us + spans[0],
        first_us=opened_us,
        last_us=opened_us + spans[1],
        talks=tuple(draw(st.lists(talks, max_size=3))),
        reasons=tuple(draw(st.lists(hostile, max_size=3))),
        is_test=draw(st.booleans()),
    )
