"""`forebay load run` and `capacity` against six real stages: everything is counted, and what does not hold exits 1."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from pipeline.tools.cli import load
from tests.crash.flow import running

# Six stages start first, and what is measured takes its time.
pytestmark = pytest.mark.integration


def run(kafka: str, prefix: str, *words: str) -> tuple[int, dict[str, Any]]:
    where = ("--bootstrap", kafka, "--prefix", prefix, "--json", "--drain", "120")
    result = CliRunner().invoke(load.app, [*words, *where])
    assert result.stdout, result.output
    return result.exit_code, orjson.loads(result.stdout.splitlines()[-1])


def test_a_load_is_run_and_its_capacity_searched(kafka: str, prefix: str, tmp_path: Path) -> None:
    with running(kafka, prefix, tmp_path / "flow"):
        burst = ("run", "burst", "--rate", "200", "--duration", "6", "--warm-up", "1", "--pack", "5")
        code, report = run(kafka, prefix, *burst, "--slo", "max=100s", "--out", str(tmp_path / "out"))
        assert code == 0 and report["ok"], report
        assert report["out"]["rows"] == report["sent"]["records"] == report["offered"]["records"]
        assert report["out"]["lost"] == report["out"]["doubled"] == report["out"]["rejected"] == 0
        latency = report["latency_ms"]
        assert 0 < latency["raw_to_flows"]["p50"] <= latency["raw_to_scored"]["p50"] < 100_000
        assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report.json", "report.md", "report.svg"}

        # Operations merge into their connections.
        code, report = run(
            kafka,
            prefix,
            "run",
            "fake-commands",
            "--rate",
            "200",
            "--duration",
            "5",
            "--warm-up",
            "1",
            "--slo",
            "p50=1ms",
        )
        assert code == 1 and not report["objectives"][0]["holds"]
        assert report["out"]["lost"] == report["out"]["doubled"] == 0 and report["out"]["merged_records"] > 0

        steps = ("--start", "50", "--lowest", "50", "--highest", "100", "--duration", "3", "--warm-up", "1")
        _, found = run(
            kafka, prefix, "capacity", *steps, "--slo", "max=100s", "--steps", "3", "--out", str(tmp_path / "capacity")
        )
        assert found["steps"][0]["rate"] == 50 and len(found["steps"]) <= 3
        assert all(step["out_per_s"] >= 0 and step["scored_p99_ms"] for step in found["steps"])
        assert all(Path(path).exists() for path in found["files"].values()) and len(found["files"]) == 3
