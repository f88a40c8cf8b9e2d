"""What the last candidate was compared with, from what the training of the stage retrain has printed."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pipeline.retrain.compare import Gates, compare, figures
from pipeline.retrain.trainer import REPORT
from pipeline.settings import load_settings
from pipeline.tools.triage.figures.comparisons import NONE_YET, comparison_of, last_comparison


def printed() -> dict[str, Any]:
    """A training's document whose candidate finds more."""
    attack = np.array([True] * 30 + [False] * 300)
    score = np.linspace(1, 0, 330)
    better, worse = figures(score, attack, attack), figures(score, np.zeros(330, bool), attack)
    comparison = compare(worse, better, attack, Gates()).document()
    return {"candidate": "m2", "current": "m1", "passed": True, "comparison": comparison}


def test_a_candidate_stands_beside_the_model_in_use(tmp_path: Path) -> None:
    settings = load_settings(samples_uri=tmp_path)
    assert last_comparison(settings) == {"not_known": NONE_YET}
    (tmp_path / REPORT).write_bytes(b"a line of progress\n" + orjson.dumps(printed()))
    found = last_comparison(settings)
    assert (found["candidate"], found["against"], found["passed"]) == ("m2", "m1", True)
    assert (found["attacks"], found["normals"], found["reasons"]) == (30, 300, [])
    assert (found["of_candidate"]["recall"], found["of_current"]["recall"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"candidate": None, "current": "m1", "comparison": None}, "no labels"),
        ({}, "ended without"),
        ([], "no candidate"),
        ({"candidate": 3, "comparison": {}}, "ended without"),
    ],
)
def test_no_comparison_has_a_reason(document: object, says: str) -> None:
    assert says in comparison_of(document)["not_known"]


def test_figures_that_are_none_are_not_known(tmp_path: Path) -> None:
    hostile = {"candidate": "m\u202e2", "comparison": {"against": "all", "candidate": {"recall": "1"}, "current": 3}}
    found = comparison_of(hostile)
    assert found["of_candidate"]["recall"] is None and found["of_current"]["auroc"] is None and found["reasons"] == []
    (tmp_path / REPORT).write_bytes(b"{")
    assert REPORT in last_comparison(load_settings(samples_uri=tmp_path))["not_known"]
