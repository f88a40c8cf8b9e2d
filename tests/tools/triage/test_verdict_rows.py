"""Verdicts in the store: whatever comes first, incidents say of them what reading everything at once says."""

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.verdicts import Record, undo_record
from pipeline.tools.alerts.incidents import documents
from pipeline.tools.alerts.verdict_effects import effect
from pipeline.tools.triage.database import open_database
from pipeline.tools.triage.incident_page import incident_in_full
from pipeline.tools.triage.store import Store
from pipeline.tools.triage.verdict_rows import incidents_in_reach
from tests.contracts.verdict_records import MAX_US, given_on
from tests.examples import examples
from tests.tools.triage.pages import alert, documents_in, rows_in, store_of

DAY_US = 86_400_000_000
INCIDENT = {"kind": "incident"}
ALERTS = [alert(at, "left", ("10.0.0.1", "10.0.0.2"), first_us=at * DAY_US, last_us=at * DAY_US) for at in range(1, 6)]
MADE = sorted(documents(ALERTS), key=lambda each: each["first_us"])


def verdict(at: int, word: str = "fp", **given: Any) -> Record:
    return given_on(MADE[at], word, **{"expires_us": MAX_US, **given} if "scope" in given else given)


def judged() -> list[Record]:
    first, attack = verdict(1, scope=INCIDENT), verdict(3, "tp", at_us=2_000)
    return [first, attack, undo_record(attack, "bo", 3_000), undo_record(first, "bo", 4_000), verdict(0, "benign")]


@settings(max_examples=examples(40), deadline=None)
@given(st.data())
def test_in_any_order_incidents_say_what_all_at_once_says(data: st.DataObject) -> None:
    verdicts = data.draw(st.lists(st.sampled_from(judged()), unique_by=lambda each: each["id"]))
    came = data.draw(st.permutations([*((True, each) for each in ALERTS), *((False, each) for each in verdicts)]))
    with TemporaryDirectory() as folder:
        store = Store(open_database(Path(folder), None))
        for is_alert, each in came:
            if is_alert:
                store.take_alerts([each])
            else:
                store.take_verdict(each)
        expected = {each["uid"]: each for each in documents(ALERTS, verdicts)}
        assert {uid: json.loads(text) for uid, text in documents_in(store.database).items()} == expected
        columns = {row[0]: (row[4], row[5]) for row in rows_in(store.database, "incidents")}
        assert columns == {
            uid: (int(each["settled"]), int(each["suppressed"] is not None)) for uid, each in expected.items()
        }
        store.database.close()


HOSTS = [f"10.0.0.{number}" for number in range(1, 4)]
WROTE = {"protocol": "modbus", "function": "write (16)"}


def various(number: int, pick: random.Random) -> dict[str, Any]:
    """An alert of a few hosts, services, classes and days, so that several have something in common."""
    talks = [(source, target) for source, target in (pick.sample(HOSTS, 2) for _ in range(pick.choice((1, 1, 1, 2))))]
    given: Any = {
        "first_us": number * DAY_US,
        "klass": pick.choice(("scan", "mitm")),
        "severity_id": pick.choice((2, 3)),
    }
    technique = {"technique": {"uid": pick.choice(("T0846", "T0846.001", "T0855")), "name": "A technique"}}
    site = pick.choice(("dam", "dam", "mill"))
    made: dict[str, Any] = alert(number, "left", *talks, site=site, attacks=[technique][: pick.choice((0, 1))], **given)
    port = pick.choice((502, 80, None))
    for each in made["evidences"]:
        each["dst_endpoint"]["port"] = port
        each["connection_info"]["protocol_name"] = "tcp"
    functions = [{"says": "write", "code": 16}]
    made["unmapped"]["directed"] = pick.random() < 0.5
    made["unmapped"]["did"] = [{"source": talks[0][0], "service": f"modbus (tcp/{port})", "functions": functions}]
    return made


def some_scope(pick: random.Random) -> dict[str, Any] | None:
    source, target = pick.sample(HOSTS, 2)
    start_us = pick.randrange(9) * DAY_US
    scopes = (
        None,
        INCIDENT,
        {"kind": "asset", "address": source},
        {"kind": "edge", "source": source, "target": target},
        {"kind": "service", "port": pick.choice((502, None)), "proto": "tcp"},
        {"kind": "service", "port": 502, "proto": "tcp", "source": source},
        {"kind": "service", "port": 80, "proto": "tcp", "target": target},
        {"kind": "service", "port": 80, "proto": "tcp", "source": source, "target": target},
        {"kind": "function", "target": target, **WROTE},
        {"kind": "technique", "uid": pick.choice(("T0846", "T0855"))},
        {"kind": "window", "from_us": start_us, "to_us": start_us + 3 * DAY_US},
        {"kind": "window", "from_us": 0, "to_us": 9 * DAY_US, "address": source},
    )
    return pick.choice(scopes)


def some_verdict(at: int, made: list[Any], given: list[Record], pick: random.Random) -> Record:
    """A verdict on an incident, on none, or one that takes another back."""
    if given and pick.random() < 0.25:
        return undo_record(pick.choice(given), "bo", at)
    on, scope = pick.choice(made[:4]), some_scope(pick)
    if scope is None:
        return given_on(on, pick.choice(("tp", "tp", "duplicate")), at_us=at)
    times = {"from_us": pick.choice((0, on["first_us"])), "expires_us": pick.choice((MAX_US, 6 * DAY_US))}
    of_none: dict[str, Any] = (
        {"uid": None, "uids": [], "judged": None} if scope != INCIDENT and pick.random() < 0.3 else {}
    )
    return given_on(on, "fp", scope=scope, at_us=at, max_severity_id=pick.choice((2, 5)), **times, **of_none)


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 2**32))
def test_of_the_incidents_in_reach_verdicts_say_what_comparing_all_says(seed: int) -> None:
    pick = random.Random(seed)
    alerts = [various(number, pick) for number in range(12)]
    with TemporaryDirectory() as folder:
        store = store_of(Path(folder), alerts)
        records: list[Record] = []
        for at in range(1, 10):
            before = documents(alerts, records)
            record = some_verdict(at, before, [each for each in records if each["undoes"] is None], pick)
            with store.database.reading() as connection:
                reached = incidents_in_reach(connection, [record])
            some = effect(record, [each for each in before if each["uid"] in reached], records, of=7)
            assert some == effect(record, before, records, of=7)
            store.take_verdict(record)
            records.append(record)
            expected = {each["uid"]: each for each in documents(alerts, records)}
            assert {uid: json.loads(text) for uid, text in documents_in(store.database).items()} == expected
        store.database.close()


def test_a_verdict_reaches_no_more_than_what_its_scope_can_hold(tmp_path: Path) -> None:
    others = [alert(at, "left", ("10.0.0.8", "10.0.0.9"), first_us=at * DAY_US) for at in range(10, 90)]
    store = store_of(tmp_path, [*ALERTS, *others])
    with store.database.reading() as connection:
        for scope in (INCIDENT, {"kind": "asset", "address": "10.0.0.1"}, None):
            record = verdict(1, "tp") if scope is None else verdict(1, scope=scope)
            reached = incidents_in_reach(connection, [record])
            assert {int(uid, 16) for uid in reached} <= {1, 2, 3, 4, 5}
        window = {"kind": "window", "from_us": 2 * DAY_US, "to_us": 4 * DAY_US - 1}
        assert len(incidents_in_reach(connection, [verdict(1, scope=window, expires_us=4 * DAY_US)])) == 2


def test_a_verdict_shows_at_once_on_all_that_it_suppresses_and_undoing_takes_it_away(tmp_path: Path) -> None:
    store = store_of(tmp_path, ALERTS)
    first = verdict(1, scope=INCIDENT)
    store.take_verdict(first)
    store.take_verdict(first)
    assert len(rows_in(store.database, "verdicts")) == 1
    full = incident_in_full(store.database, MADE[1]["uid"])
    assert full["incident"]["settled"] and [each["id"] for each in full["verdicts"]] == [first["id"]]
    suppressed = [incident_in_full(store.database, each["uid"])["incident"]["suppressed"] for each in MADE]
    assert [each and each["verdict_id"] for each in suppressed] == [None, None, *[first["id"]] * 3]
    store.take_verdict(undo_record(first, "bo", 3_000))
    full = incident_in_full(store.database, MADE[1]["uid"])
    assert full["incident"]["verdict"] is None and "a verdict taken back" in [each["what"] for each in full["timeline"]]
    assert incident_in_full(store.database, MADE[2]["uid"])["incident"]["suppressed"] is None


def test_a_verdict_of_no_incident_is_taken(tmp_path: Path) -> None:
    store = store_of(tmp_path, ALERTS)
    scope = {"kind": "asset", "address": "10.0.0.1"}
    rule = verdict(0, scope=scope, uid=None, uids=[], judged=None, from_us=0, max_severity_id=5)
    store.take_verdict(rule)
    found = [incident_in_full(store.database, each["uid"])["incident"]["suppressed"] for each in MADE]
    assert [each["verdict_id"] for each in found] == [rule["id"]] * 5
