from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.verdicts import (
    LABELLING,
    MAX_BYTES,
    VERDICTS,
    Record,
    active,
    read_verdict,
    shown,
    standing,
    undo_record,
    verdict_bytes,
    with_id,
)
from pipeline.errors import BadData
from tests.contracts.verdict_records import FIRST_US, HOUR_US, document, given_on, of_before, uid_of
from tests.examples import examples

BEFORE = of_before(uid_of(15), 2, [[0, 7, 0, None]])
INCIDENT: dict[str, Any] = {"scope": {"kind": "incident"}}
HOSTILE = ["<script>alert(1)</script>", "\x1b[2J\x07", "\u202eecila\u2066", "\x00", "x" * 4096, "é\u0301\U0001f512"]


def test_a_verdict_is_read_as_it_was_written() -> None:
    for record in (
        given_on(document(), **INCIDENT),
        given_on(document(), "tp"),
        undo_record(given_on(document()), "b", 9),
    ):
        assert read_verdict(verdict_bytes(record)) == record


def test_a_record_of_before_is_read_in_todays_form_and_suppresses_nothing() -> None:
    read = read_verdict(orjson.dumps(BEFORE))
    assert read["uids"] == [BEFORE["uid"]] and read["scope"] is None and read["undoes"] is None
    [alert] = read["alerts"]
    assert (alert["sensor"], alert["class"], alert["members"]) == ("left", "portscan", [[0, 7, 0, None]])
    assert read == read_verdict(orjson.dumps(BEFORE)), "it is the same whoever reads it"
    assert read["id"] != read_verdict(orjson.dumps({**BEFORE, "at_us": 2}))["id"]


@pytest.mark.parametrize(
    "changed",
    [
        {"uid": "x"},
        {"verdict_id": 3},
        {"verdict_id": True},
        {"verdict_id": "2"},
        {"by": ""},
        {"at_us": "5"},
        {"at_us": 2**63},
        {"by": None},
    ],
)
def test_what_violates_the_schema_is_neither_read_nor_written(changed: dict[str, Any]) -> None:
    [name] = changed
    for record in (BEFORE | changed, given_on(document()) | changed):
        with pytest.raises(BadData, match=name):
            verdict_bytes(record)
        with pytest.raises(BadData, match=name):
            read_verdict(orjson.dumps(record))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"id": "0" * 32}, "the hash of what the record says"),
        ({"note": "another one"}, "the hash of what the record says"),
    ],
)
def test_a_record_whose_id_is_not_its_hash_is_none(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(BadData, match=says):
        verdict_bytes(given_on(document()) | changed)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"verdict": "Benign"}, "verdict_id: got 1 with Benign"),
        ({"verdict_id": 2, "verdict": "True Positive"}, "an attack is never suppressed"),
        ({"expires_us": None}, "expires_us"),
        ({"judged": None}, "judged: got null"),
        ({"scope": {"kind": "asset"}}, "scope asset: got no fields, expected address"),
        ({"scope": {"kind": "asset", "address": "10.0.0.7", "port": 5}}, "expected address; it may have sensor"),
        ({"scope": {"kind": "asset", "address": "00:07:7C:00:00:10"}}, "another form"),
        ({"scope": {"kind": "window", "from_us": 5, "to_us": 5}}, "more than none"),
        ({"scope": {"kind": "window", "from_us": 0, "to_us": 93 * 24 * HOUR_US}}, "at most 92"),
    ],
)
def test_a_verdict_that_contradicts_itself_is_none(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(BadData, match=says):
        verdict_bytes(given_on(document(), **(INCIDENT | changed)))


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"{", b"[]", b"7", b"null", b'{"uid": "\\u001b[2J"}', "\u202e".encode()),
        *(b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b'{"version": 2}', b'{"by": "\\ud800"}'),
        b'"' + b"x" * 10_000_000 + b'"',
        orjson.dumps({**of_before(uid_of(1), 2, []), "verdict_id": 0}),
        orjson.dumps({**of_before(uid_of(1), 2, []), "uid": None}),
        orjson.dumps({**of_before(uid_of(1), 2, []), "note": "x" * 10_000_000}),
        orjson.dumps({**of_before(uid_of(1), 2, []), "note": "x" * 4097}),
    ],
)
def test_bytes_that_are_no_verdict_are_refused_in_ascii(payload: bytes) -> None:
    with pytest.raises(BadData) as refused:
        read_verdict(payload)
    assert str(refused.value).isascii() and str(refused.value).isprintable() and len(str(refused.value)) < 500


@pytest.mark.parametrize("note", HOSTILE)
def test_a_note_is_text_and_nothing_else(note: str) -> None:
    record = given_on(document(), note=note)
    assert read_verdict(verdict_bytes(record))["note"] == note == shown(record)["note"]


def test_a_record_too_large_for_a_message_is_not_written() -> None:
    alert = {"uid": uid_of(1), "sensor": "left", "class": "x", "members": [[2**31 - 1, 2**63 - 1, 0, 2**62]] * 1024}
    record = given_on(document(), alerts=[{**alert, "members_left_out": 0}] * 25)
    with pytest.raises(BadData, match=f"bytes, expected at most {MAX_BYTES:,}"):
        verdict_bytes(record)


def test_every_verdict_of_the_table_fits_the_schema() -> None:
    for word in VERDICTS:
        assert shown(read_verdict(verdict_bytes(given_on(document(), word))))["verdict"] == word
    assert {number for number, _ in VERDICTS.values()} - LABELLING == {6, 10, 99}


def test_the_last_verdict_that_is_not_undone_counts() -> None:
    first, second = given_on(document(), "fp", **INCIDENT), given_on(document(), "tp", at_us=2_000)
    undo = undo_record(second, "bo", 3_000)
    assert standing([first, second]).verdict_on([uid_of(1)]) == second
    assert standing([first, second]).is_overruled(first)
    stands = standing([undo, second, first])
    assert stands.verdict_on([uid_of(1)]) == first
    assert [stands.state_of(each, FIRST_US) for each in (first, second)] == ["active", "undone"]
    assert stands.state_of(first, first["expires_us"]) == "expired"
    assert standing([undo, second, first], at_us=2_500).verdict_on([uid_of(1)]) == second, "before it was undone"
    assert active([undo, second, first], FIRST_US) == [first]
    assert active([undo, second, first], 500) == []


def test_a_verdict_on_a_joined_incident_is_one_on_each_of_its_alerts() -> None:
    joined = given_on(document(members=[{"uid": uid_of(1)}, {"uid": uid_of(2)}]))
    later = given_on(document(2), "tp", at_us=2_000)
    stands = standing([later, joined])
    assert stands.verdict_on([uid_of(1)]) == joined
    assert stands.verdict_on([uid_of(2), uid_of(1)]) == later
    assert stands.is_overruled(joined) and not stands.is_overruled(later)


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    made: list[Record] = []
    for _ in range(draw(st.integers(0, 8))):
        on = document(draw(st.integers(1, 3)))
        at_us = draw(st.integers(0, 4))
        made.append(given_on(on, draw(st.sampled_from(list(VERDICTS))), at_us=at_us))
        if draw(st.booleans()):
            made.append(undo_record(draw(st.sampled_from(made)), "bo", draw(st.integers(0, 4))))
    return made


@settings(max_examples=examples(200))
@given(records(), st.data())
def test_what_stands_does_not_depend_on_order_or_repetition(made: list[Record], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(made + data.draw(st.lists(st.sampled_from(made), max_size=4)) if made else []))
    assert standing(shuffled) == standing(made)
    for at_us in range(6):
        assert active(shuffled, at_us) == active(made, at_us)
        stands = standing(made, at_us)
        assert all(each["at_us"] <= at_us for each in stands.given.values())
        assert all(stands.newest[uid]["id"] not in stands.undone for uid in stands.newest)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)
)


@given(ANY_JSON)
def test_any_json_is_a_verdict_or_refused(value: Any) -> None:
    record = given_on(document()) | {"note": value}
    try:
        record = with_id(record)
    except BadData:  # a number or a text that JSON here does not have
        return
    if isinstance(value, str) and len(value) <= 4096:
        assert read_verdict(verdict_bytes(record)) == record
    else:
        with pytest.raises(BadData, match="note"):
            verdict_bytes(record)
