"""What a supervisor may ask the page's server without a session, and that it learns nothing else by it."""

from pathlib import Path

import pytest

from pipeline.tools.triage.sessions import Sessions
from tests.tools.triage.pages import alert, client_of, store_of


@pytest.mark.parametrize(
    ("state", "status"), [("file", 200), ("reading", 200), ("following", 200), ("starting", 503), ("away", 503)]
)
def test_it_is_ready_where_it_follows_its_topics(tmp_path: Path, state: str, status: int) -> None:
    store = store_of(tmp_path, [alert(1)])
    told = {"state": state, "since_us": 1, "error": "Kafka at secret.example:9092 does not answer"}
    client = client_of(store, sessions=Sessions(store.database), feed=lambda: told)
    assert client.get("/api/v1/incidents").status_code == 401
    ready = client.get("/readyz")
    assert (ready.status_code, ready.text) == (status, "ready\n" if status == 200 else "the topics are not read\n")
    assert "default-src 'self'" in ready.headers["content-security-policy"]
    alive = client.get("/livez")
    assert (alive.status_code, alive.text) == (200, "alive\n")


def test_a_strange_name_of_this_host_is_refused_there_too(tmp_path: Path) -> None:
    client = client_of(store_of(tmp_path))
    assert {client.get(path, headers={"host": "evil.example"}).status_code for path in ("/livez", "/readyz")} == {421}
