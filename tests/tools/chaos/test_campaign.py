"""How a campaign is recorded and resumed; the rounds themselves are in tests/crash/."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.errors import BadData, Failed, Usage
from pipeline.tools.chaos import campaign as campaigns
from pipeline.tools.chaos import round as one_round
from pipeline.tools.chaos.campaign import Campaign
from pipeline.tools.chaos.invariants import Findings
from pipeline.tools.chaos.round import Result, Round


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rounds that take no time; which were run."""
    ran: list[int] = []

    def run(spec: Round, *_: Any) -> Result:
        ran.append(spec.number)
        findings = Findings(sent=100, lost=spec.number == 3)
        return Result(spec.number, {"kill": len(spec.injections)}, findings, [], {"score": 400.0}, 1.0, 0.5)

    monkeypatch.setattr(one_round, "run", run)
    monkeypatch.setattr(one_round, "clear", lambda *_: None)
    return ran


def campaign(folder: Path, **changes: Any) -> Campaign:
    return Campaign(**{"seed": 4, "rounds": 3, "faults": 5, "folder": folder, "bootstrap": "127.0.0.1:1", **changes})


def test_rounds_add_up(tmp_path: Path, rounds: list[int]) -> None:
    document = campaigns.run(campaign(tmp_path), False, lambda _: None)
    assert rounds == [0, 1, 2]
    assert (document["rounds"], document["faults"], document["sent"], document["ok"]) == (3, {"kill": 15}, 300, True)
    assert [document[name] for name in campaigns.FIGURES] == [0, 0, 0, 0]


def test_what_was_done_is_not_done_again(tmp_path: Path, rounds: list[int]) -> None:
    campaigns.run(campaign(tmp_path, rounds=2), False, lambda _: None)
    with (tmp_path / "rounds.jsonl").open("ab") as file:
        file.write(b'\n{"round":2,"ok":tr')  # killed while it was written
    document = campaigns.run(campaign(tmp_path, rounds=4), True, lambda _: None)
    assert rounds == [0, 1, 2, 3]
    assert (document["rounds"], document["lost"], document["ok"]) == (4, 1, False)


def test_another_campaign_is_not_gone_on_with(tmp_path: Path, rounds: list[int]) -> None:
    campaigns.run(campaign(tmp_path), False, lambda _: None)
    for changes, resume in (({}, False), ({"seed": 5}, True), ({"broken_order": "ingest-offsets-first"}, True)):
        with pytest.raises(Usage, match="--folder"):
            campaigns.run(campaign(tmp_path, **changes), resume, lambda _: None)
    assert rounds == [0, 1, 2]


@pytest.mark.slow
def test_a_round_that_breaks_off_is_not_in_order_and_the_others_are_run(
    tmp_path: Path, rounds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = one_round.run

    def run(spec: Round, *arguments: Any) -> Result:
        if spec.number == 1:
            raise Failed("archive-2 does not start")
        return calm(spec, *arguments)

    monkeypatch.setattr(one_round, "run", run)
    document = campaigns.run(campaign(tmp_path), False, lambda _: None)
    assert rounds == [0, 2]
    assert (document["rounds"], document["violations"], document["ok"]) == (3, 1, False)
    assert "archive-2 does not start" in campaigns.read(tmp_path)[1]["violations"][0]


def test_a_fault_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="lightning"):
        campaigns.run(campaign(tmp_path, only=("lightning",)), False, lambda _: None)


def test_rounds_can_be_read(tmp_path: Path, rounds: list[int]) -> None:
    with pytest.raises(BadData, match="got no rounds"):
        campaigns.read(tmp_path)
    campaigns.run(campaign(tmp_path, rounds=1), False, lambda _: None)
    assert [orjson.dumps(spec["memory_mib"]) for spec in campaigns.read(tmp_path)] == [b'{"score":400}']
    copy = tmp_path / "seed-4.jsonl"
    copy.write_bytes((tmp_path / "rounds.jsonl").read_bytes())
    assert campaigns.read(copy) == campaigns.read(tmp_path)


def test_a_room_that_ends_with_a_traceback_is_not_in_order() -> None:
    said = "archive-3: exit 1: error: archive /disk: disk full, cannot write; free some space and start again"
    crashed = "score-2: exit 1: KeyError: 'score'"
    assert one_round.not_as_promised(3.0, {"score": 400.0}, [said]) == []
    document = one_round.not_as_promised(one_round.DRAIN_S, {"score": 4_000.0}, [said, crashed])
    assert [spec.partition(":")[0] for spec in document] == [
        "the stages did not come to rest after the last record was sent",
        "score",
        "score-2",
    ]
