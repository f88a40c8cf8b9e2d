"""Verdicts in the store: whatever comes first, incidents say of them what reading everything at once says."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.verdicts import Record, undo_record
from pipeline.tools.alerts.incidents import documents
from pipeline.tools.triage.database import open_database
from pipeline.tools.triage.incident_page import incident_in_full
from pipeline.tools.triage.store import Store
from tests.contracts.verdict_records import MAX_US, given_on
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


@settings(max_examples=40, deadline=None)
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
