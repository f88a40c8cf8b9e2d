"""The store says what its topics say: for any batches and order, however often it is ended, and doubled never."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.incident_joining import DAY_US, GAP_US
from pipeline.errors import Failed
from pipeline.tools.alerts.incidents import documents
from pipeline.tools.triage.database import Database, open_database
from pipeline.tools.triage.store import ALERTS, BASELINES, FEEDBACK, Store, TopicMessage
from tests.examples import examples
from tests.tools.triage.pages import alert, documents_in, rows_in, store_of

HOSTS = tuple(f"10.0.0.{number}" for number in range(8))
TABLES = ("incidents", "documents", "facets", "alerts", "alert_keys", "scope_keys")
talks = st.lists(st.tuples(st.sampled_from(HOSTS[:3]), st.sampled_from(HOSTS)), min_size=1, max_size=5)
alerts = st.lists(
    st.builds(
        lambda uid, sensor, talks, first, lasts, sequence, more: alert(
            uid,
            sensor,
            *talks,
            first_us=first,
            last_us=first + lasts,
            sequence=sequence,
            count=sequence,
            pairs=more and [*more, *talks],
        ),
        st.integers(1, 12),
        st.sampled_from(("left", "bottom", "top")),
        talks,
        st.sampled_from((0, GAP_US, 3 * GAP_US, 20 * GAP_US, DAY_US)),
        st.sampled_from((0, GAP_US)),
        st.integers(1, 3),
        st.just([]) | talks,
    ),
    max_size=25,
    # A revision is one alert: what comes twice is the same.
    unique_by=lambda each: (each["finding_info"]["uid"], each["metadata"]["sequence"]),
)


def messages(topic: str, values: list[Any], start: int = 0) -> list[TopicMessage]:
    return [TopicMessage(topic, 0, start + at, orjson.dumps(value), 1) for at, value in enumerate(values)]


@settings(max_examples=examples(40))
@given(alerts, st.integers(1, 6))
def test_any_batches_give_the_incidents_of_all_alerts(came: list[Any], size: int) -> None:
    with TemporaryDirectory() as folder:
        store = Store(open_database(Path(folder), None))
        for start in range(0, len(came), size):
            store.take(messages(ALERTS, came[start : start + size], start))
        expected = {each["uid"]: each for each in documents(came)}
        assert {uid: json.loads(text) for uid, text in documents_in(store.database).items()} == expected
        members = {uid: incident for uid, _, incident, _ in rows_in(store.database, "alerts")}
        assert members == {
            each["uid"]: document["uid"] for document in expected.values() for each in document["members"]
        }
        store.database.close()


def test_what_was_read_before_is_not_read_again(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    came = messages(ALERTS, [alert(1), alert(2, "left", ("10.1.1.1", "10.1.1.2"))])
    store.take(came[:1])
    before = rows_in(store.database, "changes")
    store.take(came)
    after = rows_in(store.database, "changes")
    assert len(before) == 1 and len(after) == 2
    store.take(came)
    assert rows_in(store.database, "changes") == after
    assert store.positions(ALERTS) == {0: 2}


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr("pipeline.tools.triage.store._move_positions", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.take(messages(ALERTS, [alert(1)]))
    assert documents_in(store.database) == {} and store.positions(ALERTS) == {}
    store.take(messages(ALERTS, [alert(1)]))
    assert len(documents_in(store.database)) == 1


def test_a_store_made_again_is_the_same(tmp_path: Path) -> None:
    came = messages(ALERTS, [alert(at, "left" if at % 2 else "top", first_us=at * GAP_US) for at in range(1, 20)])
    store = store_of(tmp_path)
    for message in came:
        store.take([message])
    before = {table: rows_in(store.database, table) for table in TABLES}
    changes = rows_in(store.database, "changes")
    store.rebuild()
    assert store.positions(ALERTS) == {} and documents_in(store.database) == {}
    store.take(came)
    assert {table: rows_in(store.database, table) for table in TABLES} == before
    assert rows_in(store.database, "changes")[0][0] == changes[-1][0] + 1, "a browser that waits is told to reload"


def test_who_reads_on_into_a_store_that_another_server_has_emptied_is_told(tmp_path: Path) -> None:
    """Written, its messages would move the positions, and what lies before them would never be read again."""
    store, came = store_of(tmp_path), messages(ALERTS, [alert(1), alert(2, "left", ("10.1.1.1", "10.1.1.2"))])
    copy = store.copies_made()
    store.take(came[:1], copy)
    other = Store(open_database(tmp_path, None), rebuild=True)
    with pytest.raises(Failed, match="emptied by another server"):
        store.take(came[1:], copy)
    assert store.positions(ALERTS) == {}
    other.take(came, other.copies_made())
    assert len(documents_in(store.database)) == 2
    assert store.take(came[1:], store.copies_made()) == 0
    Store(open_database(tmp_path, None))
    assert store.copies_made() == other.copies_made(), "a server that starts empties nothing"


def test_what_is_no_alert_verdict_or_notice_is_counted_and_passed(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    hostile = [b"", b"{", b"[]", b"null", b'{"unmapped":1}', b"\xff\xfe", b'{"finding_info":{"uid":[]}}']
    for topic in (ALERTS, FEEDBACK, BASELINES):
        came = [TopicMessage(topic, 0, at, payload, 1) for at, payload in enumerate(hostile)]
        assert store.take([*came, TopicMessage(topic, 0, len(hostile), None, 1)]) == len(hostile)
        assert store.positions(topic) == {0: len(hostile) + 1}
    assert documents_in(store.database) == {}


def test_an_alert_of_which_no_document_can_be_made_stops_no_other(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    hostile = [alert(3), alert(4), alert(5)]
    hostile[0]["evidences"][0]["dst_endpoint"]["port"] = []
    hostile[1]["unmapped"]["last_ts_us"] = 2**64 - 1
    hostile[2]["attacks"] = [{}]
    assert store.take(messages(ALERTS, [alert(1), *hostile, alert(2, "left", ("10.1.1.1", "10.1.1.2"))])) == 3
    assert len(documents_in(store.database)) == 2 and store.positions(ALERTS) == {0: 5}


def test_accounts_of_a_later_version_are_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    with store.database.writing() as connection:
        connection.execute("UPDATE facts SET value = '99' WHERE name = 'own version'")
    with pytest.raises(Failed, match="written by a later Forebay"):
        Store(store.database)


def test_copies_of_another_version_are_made_again(tmp_path: Path) -> None:
    store = store_of(tmp_path, [alert(1)])
    with store.database.writing() as connection:
        connection.execute("UPDATE facts SET value = '0' WHERE name = 'copy version'")
    again = Store(store.database)
    assert documents_in(again.database) == {}


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    store = store_of(tmp_path / "triage")
    assert (tmp_path / "triage").stat().st_mode & 0o077 == 0
    assert (tmp_path / "triage" / "triage.sqlite").stat().st_mode & 0o077 == 0
    assert isinstance(store.database, Database)
