"""What is said of a shadow, and its gate."""

from pathlib import Path

import orjson
import pytest

from pipeline.tools.shadow import report
from pipeline.tools.shadow import state as states
from pipeline.tools.shadow.report import Bounds, gate
from pipeline.tools.shadow.state import Beside, Position, ShadowState
from tests.commands import forebay
from tests.score.small_model import small_model
from tests.tools.shadow.scored_rows import pair


@pytest.fixture
def seen() -> ShadowState:
    in_use, candidate = pair(1_000)
    state = ShadowState(Beside(small_model(0).id, small_model(0).sha256, "t.archive"), 1, 2, 3, 4, messages=7)
    state.positions = {0: Position(9, 9, 2), 1: Position(5, 5, 1)}
    state.counts.take(in_use, candidate)
    return state


def test_the_document_adds_up(seen: ShadowState) -> None:
    document = report.document(seen)
    for name in ("models_in_use", "sensors", "classes", "hours_of_event_time"):
        for figure in ("rows", "suspects_in_use", "suspects_candidate", "suspects_both", "added", "dropped"):
            assert sum(each[figure] for each in document[name]) == document[figure], (name, figure)
    assert document["suspects_candidate"] == document["suspects_both"] + document["added"]
    assert document["added_share"] == document["added"] / 1_000
    assert document["event_hours"] == pytest.approx(7, abs=0.2)
    assert document["messages_deleted_unread"] == 3
    assert sum(document["p_changes"]["rows"]) == sum(document["score_changes"]["rows"]) == 1_000


def test_a_sentence(seen: ShadowState) -> None:
    figures = report.summary(seen)
    said = report.sentence({**figures, "added_share": 0.0003, "dropped_share": 0.0001, "rows": 1_204_330})
    assert said.startswith("scored beside the model in use for 7.0 h of event time: 1,204,330 rows, adds 0.030% susp")
    assert said.endswith("drops 0.010%; 3 messages were deleted before it read them")
    assert report.sentence(None) == report.sentence({"rows": 0}) == "was not run in shadow"


def test_a_gate(seen: ShadowState) -> None:
    figures = report.summary(seen)
    assert gate(figures, Bounds()) == []
    assert gate(figures, Bounds(6, 1_000, figures["added_share"], figures["dropped_share"])) == []
    missed = gate(figures, Bounds(24, 1_001, figures["added_share"] / 2, 0))
    assert [each.split(":")[0] for each in missed] == [
        "hours of event time",
        "rows",
        "share of rows that it adds as suspects",
        "share of rows that it drops as suspects",
    ]
    empty = report.summary(ShadowState(Beside("m", "s", "t"), 1))
    assert gate(empty, Bounds()) == ["no row was seen: there is nothing to judge by"]


def test_the_last_state_is_shown_without_kafka_and_gated(seen: ShadowState, tmp_path: Path) -> None:
    from models.serving import registry

    registry.save(small_model(0), tmp_path)
    states.write(tmp_path, seen)
    words = ("model", "shadow", small_model(0).id, "--show", "--registry", str(tmp_path))
    shown = forebay(*words)
    assert shown.code == 0
    expected = {**report.document(seen), "passed": True, "refusals": []}
    assert orjson.loads(shown.stdout.splitlines()[-1]) == orjson.loads(orjson.dumps(expected))
    text = " ".join(shown.stderr.split())
    assert f"{small_model(0).id}: scored beside the model in use for" in text
    assert "igan-a" in text and "by the model in use; " in text
    refused = forebay(*words, "--max-added", "0", "--min-hours", "24", "--json")
    document = orjson.loads(refused.stdout)
    assert (refused.code, document["passed"], len(document["refusals"])) == (1, False, 2)
    told = forebay("model", "show", "--model", small_model(0).id, "--registry", str(tmp_path), "--json")
    assert orjson.loads(told.stdout)["shadow"]["rows"] == 1_000
