"""A real Prometheus scrapes running stages with our configuration and rules: what is asked of it is there."""

import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme
import yaml

from loadtest.plants.westermo import traffic
from pipeline.runtime.telemetry import start
from pipeline.settings import load_settings
from pipeline.tools.broker.ports import free_port
from tests.crash.flow import Flow, running, send
from tests.integration.test_stage_metrics import metrics_port
from tests.k8s.monitoring.test_dashboards import METRIC, ONE_BOX
from tests.k8s.monitoring.written import FOLDER, RULES, expressions

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="not proven: scraping, without prometheus"),
]
# What shows only where it happened: a follower and its files (tests/ingest/follow), sessions, restarts.
ELSEWHERE = {"forebay_follow_gaps_total", "forebay_follow_behind_bytes", *ONE_BOX}


def ask(port: int, path: str, **query: str) -> Any:
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        document = orjson.loads(answer.read())
    assert document["status"] == "success", document
    return document["data"]


@contextmanager
def prometheus(targets: list[str], folder: Path) -> Iterator[int]:
    """Prometheus with our configuration, but for whom it scrapes, how often, and where it stores."""
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    file, port = folder / "prometheus.yaml", free_port()
    file.write_text(yaml.safe_dump(config), "utf-8")
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    arguments += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *arguments], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def settled(port: int, names: set[str], flow: Flow) -> set[str]:
    """The metrics that Prometheus still lacks once nothing more can come."""
    missing, deadline = names, time.monotonic() + 90
    while missing and time.monotonic() < deadline:
        flow.processes.check()
        with suppress(OSError):  # it has not started to listen yet
            missing = names - set(ask(port, "label/__name__/values"))
        time.sleep(1)
    return missing


def test_what_rules_and_dashboards_ask_for_is_there(kafka: str, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "left.csv"
    sent = traffic.write_after_cut("left", path) + 1
    with path.open("a") as file:
        file.write("this,is,not,a,flow\n")
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    tls = {"security.protocol": "ssl", "ssl.ca.location": str(tmp_path / "ca.crt")}
    with running(kafka, prefix, tmp_path / "flow") as flow:
        # A worker with TLS, which this broker does not speak: only its endpoint is of interest.
        secured = start("score", load_settings(metrics_port=0, security=tls))
        ports = [metrics_port(worker) for worker in flow.stages.values()]
        targets = [f"127.0.0.1:{port}" for port in (*ports, secured.metrics_port)]
        try:
            with prometheus(targets, tmp_path) as port:
                send(flow, path, "left")
                flow.wait_archived(sent, 120)
                asked = {name for each in expressions() for name in METRIC.findall(each)} - ELSEWHERE
                assert len(asked) > 40
                assert settled(port, asked, flow) == set()
                for each in expressions():
                    ask(port, "query", query=each)
                assert all(rule["health"] == "ok" for rule in rules_of(port))
                firing = {alert["labels"]["alertname"] for alert in ask(port, "alerts")["alerts"]}
                assert not firing & {
                    "ForebayWorkerDown",
                    "ForebayStageMissing",
                    "ForebayErrors",
                    "ForebayMalformedRecords",
                }
                up = ask(port, "query", query='sum(up{job="forebay"})')["result"][0]["value"][1]
                assert int(up) == len(targets)
        finally:
            secured.close()


def rules_of(port: int) -> list[dict[str, Any]]:
    """The rules as Prometheus has evaluated them."""
    deadline = time.monotonic() + 30
    while True:
        found = [rule for group in ask(port, "rules")["groups"] for rule in group["rules"]]
        if found and all(rule["health"] != "unknown" for rule in found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
