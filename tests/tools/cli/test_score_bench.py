"""`forebay score bench`: figures for people and machines, and what cannot run here."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from models.serving import registry
from models.serving.engines import ENGINES
from pipeline.errors import RefusedState, Usage
from pipeline.tools.cli.score import app
from tests.models import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return registry.save(tiny.model(), tmp_path_factory.mktemp("registry"))


@pytest.mark.slow
def test_each_engine_is_timed_or_left_out_with_a_reason(model: Path) -> None:
    words = ["bench", "--model", str(model), "--rows", "1", "--rows", "1500", "--seconds", "0.01"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    document = json.loads(result.stdout.splitlines()[-1])
    timed = [(each["engine"], each["rows_a_call"]) for each in document["engines"]]
    here = [name for name in ENGINES if torch.cuda.is_available() or not name.startswith("cuda")]
    assert timed == [(name, rows) for name in here for rows in (1, 1_500)]
    assert set(document["left_out"]) == set(ENGINES) - set(here) and set(document["differences"]) == set(here)
    for each in document["engines"]:
        assert each["calls"] >= 5 and 0 < each["p50_ms"] <= each["p99_ms"] and each["rows_per_s"] > 0
        assert each["rows_per_cpu_s"] > 0
    assert document["differences"]["kernel"]["largest"] == 0.0
    assert "rows a call" in result.stderr and "kernel" in result.stderr
    assert "other verdicts" in result.stderr and "calls" in result.stderr
    assert "p99 of 100 calls or fewer is the longest call" in result.stderr


def test_an_engine_that_is_asked_for_and_cannot_run_is_an_error(model: Path) -> None:
    for name in ("abacus", *(() if torch.cuda.is_available() else ("cuda",))):
        result = CliRunner().invoke(app, ["bench", "--model", str(model), "--engine", name])
        assert isinstance(result.exception, RefusedState) and name.split("-")[0] in str(result.exception)
        assert "auto" not in str(result.exception) and "kernel" in str(result.exception)


def test_an_origin_the_model_has_no_calibration_for_is_refused_with_those_there_are(model: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "--model", str(model), "--origin", "nosuch/one"])
    assert isinstance(result.exception, Usage)
    assert "got nosuch/one" in str(result.exception) and "*, plant, plant/a, plant/b" in str(result.exception)
