"""A verdict on the page: what it would do is said, then it is done; undone, it is as before; two analysts see both."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.verdicts import verdict_bytes
from pipeline.errors import KafkaUnreachable
from pipeline.settings import load_settings
from pipeline.tools.triage.live import changes_after, last_position
from pipeline.tools.triage.store import FEEDBACK, Store, TopicMessage
from tests.tools.triage.pages import TestClient, alert, client_of, rows_in, store_of

API = "/api/v1"
DAY_US = 86_400_000_000
SERVER = "10.0.1.1"


def seen() -> list[Any]:
    """The same thing on three days, and another one."""
    return [
        *(alert(at, "left", ("10.0.0.9", SERVER), first_us=at * DAY_US) for at in (1, 2, 3)),
        alert(4, "left", ("10.0.0.8", "10.0.1.2"), first_us=DAY_US, klass="portscan"),
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of(tmp_path, seen())


def browser(store: Store, **page: Any) -> TestClient:
    client = client_of(store, **page)
    client.headers["x-csrf-token"] = client.get(f"{API}/session").json()["csrf"]
    return client


def body(verdict: str = "benign", kind: str | None = "asset", note: str = "ours") -> dict[str, Any]:
    scopes: dict[str | None, Any] = {"asset": {"kind": "asset", "address": SERVER}, "incident": {"kind": "incident"}}
    return {"verdict": verdict, "scope": scopes.get(kind), "expires_s": 86_400 * 30, "note": note}


def numbers(client: TestClient, query: str) -> list[int]:
    return [int(each["uid"], 16) for each in client.get(f"{API}/incidents?{query}").json()["incidents"]]


def test_what_a_verdict_would_do_is_what_it_does(store: Store) -> None:
    client = browser(store)
    path = f"{API}/incidents/{1:032x}/verdicts"
    would = client.post(f"{path}/preview", json=body()).json()
    assert would["matches"] == 2 and "suppresses" in would["says"]
    assert numbers(client, "settled=yes") == [], "a preview changes nothing"
    given = client.post(path, json=body()).json()["verdict"]
    assert (given["verdict"], given["note"]) == ("benign", "ours")
    assert numbers(client, "settled=yes") == [1]
    assert numbers(client, "suppressed=yes") == [3, 2]
    counts = client.get(f"{API}/incidents").json()["counts"]
    assert counts == {"page": 0, "review": 1, "suppressed": 2, "settled": 1}
    (listed,) = client.get(f"{API}/verdicts?active=yes").json()["verdicts"]
    assert (listed["id"], listed["suppresses"]) == (given["id"], 2)
    shown = client.get(f"{API}/incidents/{1:032x}").json()
    assert shown["incident"]["verdict"]["id"] == given["id"]
    assert any(each["what"].startswith("judged") and each["by"] == given["by"] for each in shown["timeline"])


def test_a_verdict_undone_is_as_if_it_had_not_been(store: Store) -> None:
    client = browser(store)
    before = rows_in(store.database, "documents")
    given = client.post(f"{API}/incidents/{1:032x}/verdicts", json=body()).json()["verdict"]
    assert client.post(f"{API}/verdicts/{given['id']}/undo", json={"note": "wrong"}).status_code == 200
    assert rows_in(store.database, "documents") == before
    assert client.get(f"{API}/verdicts?active=yes").json()["verdicts"] == []
    again = client.post(f"{API}/verdicts/{given['id']}/undo", json={})
    assert again.status_code == 400 and "undone already" in again.text
    assert client.post(f"{API}/verdicts/{'0' * 32}/undo", json={}).status_code == 404


def test_who_watches_sees_what_a_verdict_changes(store: Store) -> None:
    start = last_position(store.database)
    browser(store).post(f"{API}/incidents/{1:032x}/verdicts", json=body())
    changes = changes_after(store.database, start)
    assert {int(each.data["uid"], 16) for each in changes if each.kind == "incident"} == {1, 2, 3}
    assert [each.kind for each in changes].count("verdict") == 1


def test_a_verdict_that_comes_back_from_its_topic_is_recognised(store: Store) -> None:
    browser(store).post(f"{API}/incidents/{1:032x}/verdicts", json=body())
    ((_, _, _, record),) = rows_in(store.database, "verdicts")
    before, changes = rows_in(store.database, "documents"), rows_in(store.database, "changes")
    assert store.take([TopicMessage(FEEDBACK, 0, 0, record.encode(), 1)]) == 0
    assert rows_in(store.database, "documents") == before and rows_in(store.database, "changes") == changes


def test_two_analysts_at_once_are_one_after_the_other(store: Store) -> None:
    clients = [browser(store) for _ in range(2)]
    words = ["benign", "fp"] * 4
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda each: clients[each[0] % 2].post(
                    f"{API}/incidents/{1:032x}/verdicts", json=body(each[1], "incident", str(each[0]))
                ),
                enumerate(words),
            )
        )
    assert [each.status_code for each in answers] == [200] * 8
    newest = max((each.json()["verdict"] for each in answers), key=lambda each: (each["at_us"], each["id"]))
    assert clients[0].get(f"{API}/incidents/{1:032x}").json()["incident"]["verdict"]["id"] == newest["id"]
    assert len(clients[1].get(f"{API}/incidents/{1:032x}").json()["verdicts"]) == 8


@pytest.mark.parametrize(
    "changed",
    [
        {"verdict": "perhaps"},
        {"verdict": "\x00"},
        {"note": "x" * 5_000},
        {"expires_s": 0},
        {"expires_s": 10**30},
        {"scope": {"kind": "everything"}},
        {"scope": {"kind": []}},
        {"scope": {"kind": "edge", "source": "\ud800", "target": SERVER}},
        {"note": "\udfff"},
        {"scope": {"kind": "asset"}},
        {"scope": {"kind": "asset", "address": ["10.0.0.1"]}},
        {"scope": {"kind": "window", "from_us": -1, "to_us": 5}},
        {"scope": [], "note": None},
        {"by": "somebody else"},
        {"verdict": "tp", "scope": {"kind": "asset", "address": SERVER}},
    ],
)
def test_what_cannot_be_meant_is_refused(store: Store, changed: dict[str, Any]) -> None:
    client = browser(store)
    for path in ("verdicts", "verdicts/preview"):
        asked, headers = json.dumps({**body(), **changed}), {"content-type": "application/json"}
        answer = client.post(f"{API}/incidents/{1:032x}/{path}", content=asked, headers=headers)
        assert answer.status_code in (400, 422) and answer.json()["error"]["expected"], answer.text
    assert rows_in(store.database, "verdicts") == []


def test_a_verdict_that_kafka_does_not_take_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise KafkaUnreachable("Kafka at x does not answer (away); start it")

    monkeypatch.setattr("pipeline.tools.alerts.verdicts.send", away)
    client = browser(store, settings=load_settings())
    answer = client.post(f"{API}/incidents/{1:032x}/verdicts", json=body())
    assert answer.status_code == 503 and rows_in(store.database, "verdicts") == []


def test_hostile_notes_come_back_as_they_are(store: Store) -> None:
    note = "<img src=x onerror=alert(1)>\x00\x1b[2J\u202e"
    client = browser(store)
    given = client.post(f"{API}/incidents/{1:032x}/verdicts", json=body(note=note)).json()["verdict"]
    assert given["note"] == note
    ((_, _, _, record),) = rows_in(store.database, "verdicts")
    assert verdict_bytes(client.get(f"{API}/incidents/{1:032x}").json()["verdicts"][0])
    assert "\x00" not in record
