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
from tests.integration.test_up import Box, box, named  # noqa: F401 - fixtures
from tests.integration.test_up_sources import conn
from tests.k8s.monitoring.test_dashboards import METRIC
from tests.k8s.monitoring.written import FOLDER, RULES, expressions
from tests.patience import PATIENCE_S

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="not proven: scraping, without prometheus"),
]


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


def missing(port: int, names: set[str], within_s: float) -> set[str]:
    """The metrics that Prometheus still lacks after so long."""
    lacking, deadline = names, time.monotonic() + within_s
    while lacking and time.monotonic() < deadline:
        with suppress(OSError):  # it has not started to listen yet
            lacking = names - set(ask(port, "label/__name__/values"))
        time.sleep(1)
    return lacking


def test_what_rules_and_dashboards_ask_for_is_there(named: Box, tmp_path: Path) -> None:  # noqa: F811
    """One box with a followed file and an output, at its one port; and a worker with a certificate."""
    path, followed, sources = (tmp_path / name for name in ("left.csv", "conn.log", "sources.yaml"))
    traffic.write_after_cut("left", path)
    with path.open("a") as file:
        file.write("this,is,not,a,flow\n")
    followed.write_bytes(conn(0) + b"\n")
    entry = {"file": str(followed), "site": "plant", "sensor": "gate"}
    sources.write_text(yaml.safe_dump({"sources": [entry]}), "utf-8")
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    tls = {"security.protocol": "ssl", "ssl.ca.location": str(tmp_path / "ca.crt")}
    outputs = [{"name": "to-file", "file": str(tmp_path / "alerts.jsonl"), "send": "all"}]
    named.environment["FOREBAY_OUTPUTS"] = orjson.dumps(outputs).decode()
    code, _, said = named.run("up", "--detach", "--sources", str(sources))
    assert code == 0, said
    # Of a worker with TLS, which this broker does not speak, only the endpoint is of interest.
    secured = start("score", load_settings(metrics_port=0, security=tls))
    targets = [f"127.0.0.1:{port}" for port in (named.worker("endpoint").port, secured.metrics_port)]
    asked = {name for each in expressions() for name in METRIC.findall(each)}
    assert len(asked) > 45
    try:
        with prometheus(targets, tmp_path) as port:
            code, _, said = named.run("flow", "send", str(path), "--site", "westermo", "--sensor", "left")
            assert code == 0, said
            assert missing(port, asked, within_s=120) == set()
            for each in expressions():
                ask(port, "query", query=each)
            assert all(rule["health"] == "ok" for rule in rules_of(port))
            firing = {alert["labels"]["alertname"] for alert in ask(port, "alerts")["alerts"]}
            assert not firing & {"ForebayWorkerDown", "ForebayStageMissing", "ForebayErrors", "ForebayMalformedRecords"}
            up = ask(port, "query", query='sum(up{job="forebay"})')["result"][0]["value"][1]
            assert int(up) == len(targets)
    finally:
        secured.close()


def rules_of(port: int) -> list[dict[str, Any]]:
    """The rules as Prometheus has evaluated them."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = [rule for group in ask(port, "rules")["groups"] for rule in group["rules"]]
        if found and all(rule["health"] != "unknown" for rule in found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
