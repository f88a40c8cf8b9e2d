"""The page's server on a real Kafka: killed while it reads, started again or made anew, it says the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from pipeline.contracts.incident_joining import GAP_US
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings, inherited_environment
from pipeline.tools.alerts.incidents import documents
from pipeline.tools.alerts.verdicts import verdicts
from tests.integration.chains import settings_for
from tests.patience import PATIENCE_S
from tests.tools.triage.pages import alert

pytestmark = pytest.mark.integration
API = "/api/v1"


def send(settings: Settings, alerts: list[Any]) -> None:
    """Alerts as stage 4 writes them: by their uid."""
    producer = clients.producer(settings, "test")
    for each in alerts:
        producer.produce(settings.topics.alerts, key=each["finding_info"]["uid"].encode(), value=orjson.dumps(each))
    assert producer.flush(30) == 0


@contextmanager
def served(settings: Settings, folder: Path, *options: str) -> Iterator[tuple[httpx.Client, int]]:
    """A browser on a server of its own, and its process; it is killed at the end."""
    words = ["--bootstrap", settings.bootstrap, "--prefix", settings.topic_prefix, "--port", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.tools.cli", "triage", "serve", "--data", str(folder), *words, *options],
        stdout=subprocess.PIPE,
        text=True,
        env=inherited_environment({"FOREBAY_ARCHIVE_URI": str(folder / "archive")}),
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with httpx.Client(base_url=url, timeout=60.0, trust_env=False) as client:
            client.headers["x-csrf-token"] = client.get(f"{API}/session").json()["csrf"]
            yield client, process.pid
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


def listed(client: httpx.Client) -> dict[str, Any]:
    """All incidents, by uid."""
    return {each["uid"]: each for each in client.get(f"{API}/incidents?limit=500").json()["incidents"]}


def wait_for(client: httpx.Client, expected: list[Any]) -> dict[str, Any]:
    """The incidents, once they are those expected."""
    wanted = {each["uid"]: each for each in expected}
    until = time.monotonic() + PATIENCE_S
    while (found := listed(client)) != wanted and time.monotonic() < until:
        time.sleep(0.3)
    assert found == wanted
    return found


def test_killed_and_made_again_it_says_the_same(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_for(kafka, prefix, tmp_path / "state")
    came = [
        alert(at, "left" if at % 2 else "top", (f"10.0.0.{at % 7}", f"10.0.1.{at % 5}"), first_us=at // 3 * 9 * GAP_US)
        for at in range(1, 241)
    ]
    came += [{**each, "activity_id": 2, "metadata": {"sequence": 2}} for each in came[::3]]
    data = tmp_path / "page"
    for start in range(0, len(came), 80):
        send(settings, came[start : start + 80])
        with served(settings, data) as (client, pid):
            time.sleep(0.3 + start / 80)
            os.kill(pid, signal.SIGKILL)  # while it reads
            assert client is not None
    with served(settings, data) as (client, _):
        wait_for(client, documents(came))
        uid = documents(came)[0]["uid"]
        body = {"verdict": "benign", "scope": {"kind": "incident"}, "expires_s": 86_400, "note": "ours"}
        given = client.post(f"{API}/incidents/{uid}/verdicts", json=body)
        assert given.status_code == 200, given.text
        assert client.get(f"{API}/incidents?settled=yes").json()["total"] == 1
    records, malformed = verdicts(settings)
    assert [each["id"] for each in records] == [given.json()["verdict"]["id"]] and malformed == 0
    judged = documents(came, records)
    with served(settings, data) as (client, _):
        before = wait_for(client, judged)
        until = time.monotonic() + PATIENCE_S
        while client.get(f"{API}/session").json()["feed"]["state"] != "following" and time.monotonic() < until:
            time.sleep(0.3)
        assert client.get(f"{API}/session").json()["feed"]["state"] == "following"
    with served(settings, data, "--rebuild") as (client, _):
        assert wait_for(client, judged) == before
        answer = client.post(f"{API}/verdicts/{records[0]['id']}/undo", json={"note": ""})
        assert answer.status_code == 200
        wait_for(client, documents(came, verdicts(settings)[0]))
