"""Verdicts are made of incidents, say before what they do, and are listed with what they did."""

from typing import Any

import pytest

from pipeline.contracts.verdicts import Record, number_of, read_verdict, standing, verdict_bytes
from pipeline.errors import Usage
from pipeline.tools.alerts.incidents import documents
from pipeline.tools.alerts.verdict_effects import effect, listed_verdicts
from pipeline.tools.alerts.verdicts import EXPIRES_S, MAX_MEMBERS, rule_of, undo_of, verdict_of, words
from tests.contracts.test_incident_joining import alert

DAY_US = 86_400_000_000
NOW_US = 10**15
INCIDENT = {"kind": "incident"}


def event(at: int, day: int, *talks: tuple[str, str], **changed: Any) -> dict[str, Any]:
    made = {**alert(at, "left", talks or (("10.0.0.1", "10.0.0.2"),), day * DAY_US, **changed), "message": "it"}
    made["unmapped"] |= {"class": "portscan", "model": "m", "members": [[0, at, 0, at]], "members_left_out": 0}
    made["unmapped"] |= {"disposition": "page"}
    return made


ALERTS = [event(at, at) for at in range(1, 5)]
DOCUMENTS = documents(ALERTS)
[FIRST] = [each for each in DOCUMENTS if each["uid"] == ALERTS[0]["finding_info"]["uid"]]


def given(word: str = "fp", of: int = 0, **more: Any) -> Record:
    [document] = documents([ALERTS[of]])
    return verdict_of(document, [ALERTS[of]], word, "ada", NOW_US, **more)


def test_a_verdict_is_what_is_sent_and_read() -> None:
    record = given(scope=INCIDENT, note="our scanner")
    assert read_verdict(verdict_bytes(record)) == record
    assert record["expires_us"] == NOW_US + EXPIRES_S * 1_000_000 and record["from_us"] == FIRST["first_us"]
    assert record["alerts"][0]["members"] == [[0, 1, 0, 1]]
    assert words(record) == f"{FIRST['uid'][:12]}: False Positive, 1 flow; verdict {record['id'][:12]}"
    late = verdict_of(FIRST | {"last_us": NOW_US + 5}, [ALERTS[0]], "fp", "ada", NOW_US, scope=INCIDENT, expires_s=60)
    assert late["expires_us"] == NOW_US + 5 + 60_000_000, "a sensor whose clock is ahead"


def test_an_attack_suppresses_nothing() -> None:
    assert given("tp", scope=INCIDENT)["scope"] is None
    with pytest.raises(Usage, match="an attack is never suppressed"):
        given("tp", scope={"kind": "asset", "address": "10.0.0.1"})
    with pytest.raises(Usage, match="an attack is never suppressed"):
        rule_of("plant", {"kind": "asset", "address": "a"}, "tp", "ada", 1, "", 0, DAY_US)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"verdict": "no"}, "--verdict"),
        ({"by": ""}, "--by"),
        ({"note": "x" * 5_000}, "--note: got 5,000"),
        ({"note": "x" * 10_000_000}, "--note: got 10,000,000"),
        ({"expires_s": 0}, "expires"),
        ({"expires_s": 367 * 86_400}, "366 days"),
        ({"scope": {"kind": "asset"}}, "--scope"),
        ({"scope": {"kind": "window", "from_us": 0, "to_us": 10 * 365 * DAY_US}}, "at most 92"),
    ],
)
def test_what_cannot_be_meant_is_refused(more: dict[str, Any], says: str) -> None:
    fine: dict[str, Any] = {
        "verdict": "fp",
        "by": "ada",
        "at_us": NOW_US,
        "note": "",
        "scope": INCIDENT,
        "expires_s": 60,
    }
    with pytest.raises(Usage, match=says):
        verdict_of(FIRST, [ALERTS[0]], **(fine | more))


def test_a_notice_has_no_verdict() -> None:
    with pytest.raises(Usage, match="got a notice"):
        verdict_of(FIRST | {"kind": "notice"}, [ALERTS[0]], "fp", "ada", NOW_US)


def test_a_campaigns_verdict_names_some_flows_and_counts_all() -> None:
    many = [event(at, 1, ("10.0.0.1", f"h{at}")) for at in range(20)]
    for each in many:
        each["unmapped"]["members"] = [[0, 1, 0, 1]] * 1_000
    [document] = documents(many)
    record = verdict_of(document, many, "fp", "ada", NOW_US)
    assert sum(len(each["members"]) for each in record["alerts"]) == MAX_MEMBERS
    assert f"20,000 flows, {MAX_MEMBERS:,} of them listed" in words(record)
    assert read_verdict(verdict_bytes(record)) == record


def test_what_it_will_do_is_said_before_and_is_what_it_does() -> None:
    record = given(scope=INCIDENT)
    does = effect(record, DOCUMENTS, [])
    uids = {each["uid"] for each in does["matches"]}
    after = documents(ALERTS, [record])
    assert uids == {each["uid"] for each in after if each["suppressed"]} and len(uids) == 3
    assert does["says"].startswith(
        f"settles incident {FIRST['uid'][:12]} as False Positive; suppresses the same again at"
    )
    assert "3 of 4 incidents (" in does["says"] and "3 pages among them" in does["says"]
    assert "and further ones that begin before 2001-10-09 01:46:40Z, none more severe than" in does["says"]


def test_an_attack_and_an_undone_verdict_show_what_was_suppressed() -> None:
    record = given(scope=INCIDENT)
    attack = effect(given("tp", of=1), DOCUMENTS, [record])
    assert len(attack["released"]) == 3 and attack["matches"] == []
    assert "suppresses nothing else and lets no earlier verdict do so; shows 3 incidents" in attack["says"]
    undone, undo = undo_of([record], record["id"][:6], "bo", NOW_US + 1)
    assert undone == record and words(undo) == f"verdict {record['id'][:12]} is taken back"
    assert effect(undo, DOCUMENTS, [record])["says"].startswith(f"takes back verdict {record['id'][:12]}; shows 3")
    again = effect(given("benign", scope=INCIDENT), DOCUMENTS, [record])
    assert "replaces False Positive by ada of" in again["says"]


def test_of_conversations_that_are_not_listed_it_says_so() -> None:
    record = verdict_of(FIRST | {"talks_left_out": 5}, [ALERTS[0]], "fp", "ada", NOW_US, scope=INCIDENT)
    does = effect(record, DOCUMENTS, [])
    assert len(does["matches"]) == 3 and "the same again is what is made of the listed ones" in does["says"]


def test_verdicts_are_listed_with_their_state_and_what_they_suppress() -> None:
    record, rule = (
        given(scope=INCIDENT),
        rule_of("mill", {"kind": "asset", "address": "a"}, "benign", "bo", 5, "", 0, DAY_US),
    )
    undone, undo = undo_of([rule, given("test", of=1)], given("test", of=1)["id"], "bo", NOW_US + 1)
    answer = listed_verdicts([rule, record, undone, undo], DOCUMENTS, NOW_US)
    states = {each["id"]: (each["state"], each["suppresses"]) for each in answer["verdicts"]}
    assert states == {record["id"]: ("active", 3), rule["id"]: ("expired", 0), undone["id"]: ("undone", 0)}
    assert (answer["suppressed"], answer["active"], answer["undone"]) == (3, 1, 1)


def test_what_cannot_be_undone_is_refused() -> None:
    record = given(scope=INCIDENT)
    _, undo = undo_of([record], record["id"], "bo", NOW_US)
    for records, named, says in [
        ([record], "", "got 0 verdicts"),
        ([record], "zz", "got 0 verdicts"),
        ([record, undo], record["id"], "undone already"),
        ([record, undo], undo["id"], "got 0 verdicts"),
    ]:
        with pytest.raises(Usage, match=says):
            undo_of(records, named, "bo", NOW_US)
    assert standing([record, undo]).verdict_on([FIRST["uid"]]) is None
    assert number_of(record) == int(record["id"][:12], 16) < 2**48
