"""Whom to ask: the addresses of the setting, every one of a name; else the system that runs here."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import Misconfigured
from pipeline.runtime.telemetry import start
from pipeline.settings import load_settings
from pipeline.tools.system import record
from pipeline.tools.system.identity import Identity
from pipeline.tools.system.record import Phase, State, SystemRecord, WorkerRecord
from pipeline.tools.triage.figures.endpoints import UNSET, Endpoint, ask, endpoints


def pods(host: str, port: int) -> list[str]:
    if host == "gone":
        raise socket.gaierror(-2, "Name or service not known")
    return ["10.0.0.1", "10.0.0.2"] if host == "ingest" else [host]


def test_of_a_name_every_address_is_asked() -> None:
    given = "http://ingest:9464/metrics, http://gone:1/metrics,http://[::1]:9470/metrics"
    found, problems = endpoints(load_settings(stage_metrics=given), pods)
    assert [each.worker for each in found] == ["10.0.0.1:9464/metrics", "10.0.0.2:9464/metrics", "::1:9470/metrics"]
    assert problems == ["http://gone:1/metrics: Name or service not known"]


def test_an_address_that_cannot_be_asked_stops_no_other() -> None:
    telemetry = start("ingest", load_settings(metrics_port=0))
    try:
        own = f"http://127.0.0.1:{telemetry.metrics_port}"
        names = f"http://{'a' * 64}/metrics,{own}/m\u00e9trics,{own}/two words,{own}/metrics"
        found, problems = endpoints(load_settings(stage_metrics=names))
        said, others = ask(found)
    finally:
        telemetry.close()
    assert len(problems) == 1 and problems[0].startswith("http://aaa") and len(others) == 2
    assert list(said) == [f"{own.removeprefix('http://')}/metrics"]


@pytest.mark.parametrize(
    "given", ["ingest:9464", "https://ingest/metrics", "http://a@b/metrics", "http://b:99999/m", "file:///etc/passwd"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(Misconfigured, match="STAGE_METRICS"):
        load_settings(stage_metrics=given)


def test_without_addresses_it_is_the_system_that_runs_here(tmp_path: Path) -> None:
    settings = load_settings(run_folder=tmp_path, bootstrap="127.0.0.1:19092")
    assert endpoints(settings) == ([], [UNSET])
    me = Identity(2_000_000, "1")
    workers = (
        WorkerRecord("ingest", True, State.READY, me, 19471),
        WorkerRecord("score", True, State.FAILED, last_error="no model"),
        WorkerRecord("triage", False, State.READY, me, 19480),
    )
    system = SystemRecord(me, str(tmp_path), Phase.RUNNING, 0, "127.0.0.1:19092", settings.topic_prefix, host="::")
    record.write(tmp_path, replace(system, workers=workers))
    assert endpoints(settings) == (
        [Endpoint("ingest", "::1", 19471)],
        ["score does not run: no model"],
    )
    other = load_settings(run_folder=tmp_path, bootstrap="127.0.0.1:29092")
    assert endpoints(other) == ([], [UNSET])  # the metrics of another Kafka's stages
    (tmp_path / record.NAME).write_text("{}", encoding="utf-8")
    assert "system.json" in endpoints(settings)[1][0]


def test_who_answers_is_read_and_who_does_not_is_named() -> None:
    telemetry = start("ingest", load_settings(metrics_port=0))
    try:
        port = telemetry.metrics_port or 0
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            closed = int(silent.getsockname()[1])
            asked = [
                Endpoint("ingest", "127.0.0.1", port),
                Endpoint("score", "127.0.0.1", closed),
                Endpoint("http://127.0.0.1/livez", "127.0.0.1", port, "/livez"),
                Endpoint("http://127.0.0.1/nothing", "127.0.0.1", port, "/nothing"),
            ]
            said, problems = ask(asked)
    finally:
        telemetry.close()
    assert [reading.stage for reading in said[f"127.0.0.1:{port}/metrics"]] == ["ingest"] and len(said) == 1
    assert problems[0] == f"score at 127.0.0.1:{closed}/metrics: no answer"
    assert "expected metrics" in problems[1] and "404" in problems[2]
