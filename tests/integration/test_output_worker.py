"""Outputs on a real broker: killed at every step nothing is lost, repeats are known by their key, files have none."""

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.alert.pages import PAGE
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from pipeline.tools.broker.ports import free_port
from pipeline.tools.cli.outputs import app
from pipeline.tools.outputs.positions import behind
from tests.integration.chains import settings_for, wait_for, worker
from tests.patience import PATIENCE_S
from tests.tools.outputs.receivers import WebServer, wait_until, web_server
from tests.tools.outputs.revisions import event

pytestmark = pytest.mark.integration
RUN = "pipeline.tools.cli output run"
KILLS = ("output.sent:2", "output.sent:7", "output.committed:1", "output.journal written:1", "output.committed:2")


def alerts(first: int, last: int) -> list[dict[str, Any]]:
    """Incidents of different days, so that none are joined; every fourth is for review."""
    made = []
    for number in range(first, last):
        each = event(src_addr=f"198.18.{number}.1")
        about = each["unmapped"]
        each["finding_info"]["uid"] = f"{number:032x}"
        each["metadata"]["uid"] = f"{number:032x}-{each['metadata']['sequence']}"
        about["disposition"] = "review" if number % 4 == 3 else PAGE
        for name in ("opened_ts_us", "first_ts_us", "last_ts_us"):
            about[name] += number * 86_400_000_000
        made.append(each)
    return made


def produce(settings: Settings, events: list[dict[str, Any]]) -> None:
    """Write alerts as stage 4 does: by partition, an incident's all in one."""
    producer = clients.producer(settings, "test")
    for number, each in enumerate(events):
        key = each["finding_info"]["uid"].encode()
        producer.produce(settings.topics.alerts, orjson.dumps(each), key, partition=number % settings.partitions)
    assert producer.flush(30) == 0


def keys(events: list[dict[str, Any]]) -> set[str]:
    return {each["metadata"]["uid"] for each in events if each["unmapped"]["disposition"] == PAGE}


def with_outputs(settings: Settings, outputs: list[dict[str, Any]], folder: Path) -> tuple[Settings, str]:
    """Settings with outputs, and the file that has them."""
    path = folder / "outputs.yaml"
    path.write_text(yaml.safe_dump({"outputs": outputs}))
    return Settings(**{**settings.model_dump(), "outputs": outputs}), str(path)


def posted(server: WebServer) -> Counter[str]:
    return Counter(headers["Idempotency-Key"] for _, headers, _ in server.requests)


def written(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line)["metadata"]["uid"] for line in lines]


def failing(log: Path) -> set[str]:
    """The outputs of which a worker's log says that they cannot send."""
    said = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")] if log.exists() else []
    return {each["output"] for each in said if each["event"] == "not delivered, tried again"}


def test_killed_at_every_step_nothing_is_lost(kafka: str, prefix: str, tmp_path: Path) -> None:
    base = settings_for(kafka, prefix, tmp_path / "state")
    file, log = tmp_path / "alerts.ndjson", tmp_path / "log"
    events = alerts(0, 40)
    with web_server() as server:
        outputs = [
            {"name": "hook", "webhook": server.url, "start": "earliest"},
            {"name": "disk", "file": str(file), "start": "earliest"},
            # A receiver and a folder that are not there delay none of the others.
            {"name": "away", "syslog": f"tcp://127.0.0.1:{free_port()}", "start": "earliest"},
            {"name": "lost", "file": str(tmp_path / "absent" / "alerts"), "start": "earliest"},
        ]
        settings, path = with_outputs(base, outputs, tmp_path)
        for number, kill in enumerate(KILLS):
            produce(settings, events[number * 8 : number * 8 + 8])
            armed = settings.model_copy(update={"failpoint": kill})
            with worker(armed, RUN, log=tmp_path / f"{number}.log") as process:
                assert process.wait(PATIENCE_S) == -signal.SIGKILL, (tmp_path / f"{number}.log").read_text()
        with worker(settings, RUN, log=log) as process:
            wait_until(lambda: failing(log) == {"away", "lost"}, "that two outputs cannot send is said")
            wait_until(lambda: set(posted(server)) >= keys(events), "every page at the webhook")
            wait_until(lambda: len(written(file)) >= len(keys(events)), "every page in the file")
            wait_until(lambda: behind(settings).get("hook") == 0, "the webhook's position behind what it sent")
            listed = CliRunner().invoke(app, ["list", "--outputs", path, "--bootstrap", kafka, "--prefix", prefix])
            process.terminate()
            assert process.wait(PATIENCE_S) == 0, log.read_text()
    assert Counter(written(file)) == Counter(keys(events)), "each exactly once"
    assert set(posted(server)) == keys(events)
    repeated = sum(posted(server).values()) - len(keys(events))
    assert 0 < repeated <= len(KILLS) * 8, "repeats are known by their key, and few"
    left = {each["name"]: each["behind"] for each in json.loads(listed.stdout.splitlines()[-1])["outputs"]}
    assert left["away"] > 0 and left["hook"] == 0, listed.output


def test_a_first_start_sends_what_comes_from_now_on(kafka: str, prefix: str, tmp_path: Path) -> None:
    base = settings_for(kafka, prefix, tmp_path / "state")
    file, log = tmp_path / "alerts.ndjson", tmp_path / "log"
    settings, _ = with_outputs(base, [{"name": "disk", "file": str(file)}], tmp_path)
    produce(settings, alerts(0, 4))
    with worker(settings, RUN, log=log):
        wait_for(log, '"ready"')
        produce(settings, alerts(4, 8))
        wait_until(lambda: len(written(file)) == 3, "three pages")
    produce(settings, alerts(8, 12))
    with worker(settings, RUN, log=log):
        wait_until(lambda: len(written(file)) == 6, "what came while it was away")
    assert set(written(file)) == keys(alerts(4, 12))


def test_a_receiver_that_fails_hangs_and_refuses(kafka: str, prefix: str, tmp_path: Path) -> None:
    base = settings_for(kafka, prefix, tmp_path / "state")
    events, log = alerts(0, 3), tmp_path / "log"
    with web_server() as server:
        server.answers = [(503, {}), (429, {"Retry-After": "1"}), (200, {}), (422, {})]
        outputs = [{"name": "hook", "webhook": server.url, "start": "earliest", "timeout_s": 5}]
        settings, _ = with_outputs(base, outputs, tmp_path)
        produce(settings, events)
        with worker(settings, RUN, log=log):
            wait_until(lambda: len(server.requests) == 5, "two failures, one taken, one refused, one taken")
            # The worker ends with this block: what it says after a receiver's answer is waited for here.
            wait_for(log, "parked")
            wait_for(log, "delivers again")
    assert sorted(posted(server).values()) == [1, 1, 3], "what was refused is not tried again"
