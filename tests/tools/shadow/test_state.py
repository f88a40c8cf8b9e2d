"""A shadow's file: read as it was written, refused where it is damaged or of something else."""

from pathlib import Path

import orjson
import pytest

from pipeline.errors import RefusedState
from pipeline.retrain.lock import held
from pipeline.tools.shadow import state as states
from pipeline.tools.shadow.state import Beside, Position, ShadowState
from tests.commands import forebay
from tests.score.small_model import small_model
from tests.tools.shadow.scored_rows import pair

BESIDE = Beside("igan-0123456789ab", "ab" * 32, "t.archive")


@pytest.fixture
def state() -> ShadowState:
    in_use, candidate = pair(200)
    made = ShadowState(BESIDE, started_us=1, first_us=2, last_us=3, behind_s=0.5, messages=9)
    made.positions = {0: Position(17, 4, 2), 1: Position(0)}
    made.counts.take(in_use, candidate)
    return made


def test_what_is_written_is_read(state: ShadowState, tmp_path: Path) -> None:
    assert states.read(tmp_path, BESIDE.model) is None
    states.write(tmp_path, state)
    found = states.read(tmp_path, BESIDE.model)
    assert found is not None
    assert found.document() == state.document()
    assert found.positions == state.positions
    states.write(tmp_path, found)
    assert [path.name for path in (tmp_path / "shadow").iterdir()] == ["igan-0123456789ab.json"]


def test_a_damaged_file_is_refused(state: ShadowState, tmp_path: Path) -> None:
    states.write(tmp_path, state)
    file = tmp_path / states.name_of(BESIDE.model)
    whole = file.read_bytes()
    other = orjson.loads(whole)
    other["shadow"]["messages"] = 10
    for damaged in (b"", whole[: len(whole) // 2], b"[]", b"{}", b"7", orjson.dumps(other)):
        file.write_bytes(damaged)
        with pytest.raises(RefusedState, match=r"igan-0123456789ab\.json: got a file that is damaged .* --anew"):
            states.read(tmp_path, BESIDE.model)


def test_another_version_is_refused(state: ShadowState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states.write(tmp_path, state)
    monkeypatch.setattr(states, "VERSION", 2)
    with pytest.raises(RefusedState, match="got version 1, expected 2"):
        states.read(tmp_path, BESIDE.model)


def test_what_is_of_another_topic_or_model_is_not_gone_on_with(state: ShadowState) -> None:
    state.expect(BESIDE, "here")
    for other in (Beside(BESIDE.model, BESIDE.sha256, "u.archive"), Beside(BESIDE.model, "cd" * 32, BESIDE.topic)):
        with pytest.raises(RefusedState, match=r"here: got a shadow of igan-0123456789ab .* --anew drops it"):
            state.expect(other, "here")


def test_a_second_shadow_and_a_damaged_one_are_refused_before_kafka_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.serving import registry

    registry.save(small_model(0), tmp_path)
    words = ("model", "shadow", small_model(0).id, "--registry", str(tmp_path), "--nice", "0", "--json")
    with held(tmp_path, f"shadow/{small_model(0).id}.lock", "busy"):
        second = forebay(*words)
    assert (second.code, orjson.loads(second.stdout)["exit_code"]) == (1, 1)
    assert f"a shadow of {small_model(0).id} runs already (process " in second.stdout
    shown = forebay(*words, "--show")
    assert shown.code == 1
    assert "got no shadow in the registry" in shown.stdout
    (tmp_path / states.name_of(small_model(0).id)).write_bytes(b"{")
    for more in ((), ("--show",)):
        damaged = forebay(*words, *more)
        assert damaged.code == 1
        assert "damaged" in damaged.stdout
    told = forebay("model", "show", "--model", small_model(0).id, "--registry", str(tmp_path))
    assert told.code == 0
    assert "its shadow cannot be read" in " ".join(told.stderr.split())
    assert orjson.loads(told.stdout)["shadow"] is None
