"""What is parked: read back whole, by key, whatever its text; what is none of ours is left out and counted."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadData
from pipeline.runtime.terminal import printable
from pipeline.tools.outputs.parked import Parked, parked_bytes, parked_now, read_parked, standing
from pipeline.tools.outputs.revision import Endpoint, Revision, Talk, merged_talks
from tests.tools.outputs.revisions import event, hostile, revision


def parked(key: str = "k-1", at_us: int = 1, output: str = "soc", **changed: Any) -> Parked:
    return parked_now(output, revision(key=key, **changed), "422 no", at_us)


def message(each: Parked) -> tuple[bytes, bytes]:
    return each.key.encode(), parked_bytes(each)


@given(hostile, hostile, st.integers(0, 2**62))
def test_a_record_comes_back_as_it_was(says: str, reason: str, at_us: int) -> None:
    made = revision(says=printable(says), talks=(Talk(Endpoint(name=printable(says)), Endpoint(), 502, "tcp"),))
    given_in = parked_now("soc", made, printable(reason), at_us)
    assert read_parked(parked_bytes(given_in)) == given_in
    later = given_in.again("413 too large", at_us + 5)
    assert (later.refusals, later.first_us, later.last_us, later.key) == (2, at_us, at_us + 5, given_in.key)


def test_a_joined_revision_is_held_whole() -> None:
    several = revision(uid="j" * 32, sensors=("left", "right"), talks=merged_talks([event(), event(dst_port=502)]))
    assert read_parked(parked_bytes(parked_now("soc", several, "no", 1))).revision == several


def test_the_latest_of_a_key_stands_until_it_is_taken_out() -> None:
    first, second = parked("k-1", 5), parked("k-2", 3)
    again = first.again("still no", 9)
    written = [message(first), message(second), (b"soc/k-9", None), message(again)]
    assert standing(written) == ([second, again], 0), "oldest first"
    assert standing([*written, (second.key.encode(), None)]) == ([again], 0)
    assert standing([message(first), message(parked("k-1", output="shift"))])[0] != [first], "by output"


def broken() -> list[bytes]:
    good = orjson.loads(parked_bytes(parked()))
    changed: list[dict[str, Any]] = [
        {"version": 2},
        {"output": "\x1b[31mred"},
        {"reason": "two\nlines"},
        {"refusals": "many"},
        {"refusals": 2**64 - 1},
        {"revision": {**good["revision"], "activity": ""}},
        {"revision": None},
        {"revision": {**good["revision"], "severity_id": 9}},
        {"revision": {**good["revision"], "key": "k\r\nX-Injected: 1"}},
        {"revision": {**good["revision"], "sensors": ["left\u202e"]}},
        {"revision": {**good["revision"], "event": {"no": "alert"}}},
    ]
    return [b"", b"\xff", b"[" * 100_000, b"null", *(orjson.dumps({**good, **each}) for each in changed)]


@pytest.mark.parametrize("payload", broken(), ids=range(len(broken())))
def test_what_is_none_of_ours_is_counted(payload: bytes) -> None:
    with pytest.raises(BadData):
        read_parked(payload)
    assert standing([message(parked()), (b"soc/other", payload)]) == ([parked()], 1)


def test_every_part_of_a_revision_is_held() -> None:
    assert {*orjson.loads(parked_bytes(parked()))["revision"]} == set(Revision.__dataclass_fields__)
    assert read_parked(parked_bytes(replace(parked(), refusals=7))).refusals == 7
