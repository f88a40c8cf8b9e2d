"""The six stages' workers, scraped: each reports the same six metrics, and their figures add up."""

import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtest.plants.westermo import traffic
from pipeline.tools.processes import STAGES, StartedProcess
from tests.crash.flow import running, send
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.integration

CONTRACT = {
    "forebay_rows_in_total",
    "forebay_rows_out_total",
    "forebay_rejected_total",
    "forebay_errors_total",
    "forebay_lag_seconds",
    "forebay_batch_seconds_count",
}


def metrics_port(worker: StartedProcess) -> int:
    """Where a worker serves its metrics, by its log."""
    ready = next(
        entry
        for line in worker.log.read_text(encoding="utf-8").splitlines()
        if line.startswith("{") and (entry := orjson.loads(line)).get("event") == "ready"
    )
    return int(ready["metrics_port"])


def scrape(worker: StartedProcess) -> dict[str, dict[str, float]]:
    """Stage -> metric of the contract -> its value, summed over further labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port(worker)}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    values: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in CONTRACT:
                values[sample.labels["stage"]][sample.name] += sample.value
    return values


def adds_up(values: dict[str, dict[str, float]], sent: int) -> bool:
    """Whether no stage is behind, and each has read what the one before gave out; one of `sent` is a reject.

    A batch is timed after its rows are counted (retrain commits to Kafka between the two): it is waited for as well.
    """
    rows_in, rows_out = (
        {stage: each[f"forebay_rows_{way}_total"] for stage, each in values.items()} for way in ("in", "out")
    )
    return (
        not any(each["forebay_lag_seconds"] for each in values.values())
        and all(each["forebay_batch_seconds_count"] for each in values.values())
        and rows_in["ingest"] == rows_out["ingest"] == sent
        and rows_in["featurize"] == sent - 1
        and rows_in["score"] == rows_out["featurize"] == rows_out["score"]
        and rows_in["archive"] == rows_out["archive"] == rows_out["score"] + 1
        and 0 < rows_in["alert"] <= rows_out["score"]
        and rows_out["alert"] > 0
        and rows_in["retrain"] == rows_out["retrain"] > 0
    )


def test_every_stage_reports_the_same_six(kafka: str, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "left.csv"
    sent = traffic.write_after_cut("left", path) + 1
    with path.open("a") as file:
        file.write("this,is,not,a,flow\n")
    with running(kafka, prefix, tmp_path / "flow") as flow:
        for stage, worker in flow.stages.items():  # all of them at zero, before the first record
            values = scrape(worker)
            assert values == {stage: dict.fromkeys(CONTRACT, 0.0)}
        send(flow, path, "left")
        flow.wait_archived(sent)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            values = {stage: scrape(worker)[stage] for stage, worker in flow.stages.items()}
            if adds_up(values, sent):
                break
            assert time.monotonic() < deadline, values
            time.sleep(0.5)
    assert set(values) == set(STAGES)
    assert {stage: each["forebay_rejected_total"] for stage, each in values.items()} == {
        **dict.fromkeys(STAGES, 0.0),
        "ingest": 1.0,
    }
    assert all(each["forebay_errors_total"] == 0 for each in values.values()), values
