"""A short fault campaign on a broker of its own: nothing lost, nothing twice; a wrong order of commits is caught."""

from pathlib import Path

import pytest

from pipeline.tools.chaos import campaign as campaigns
from pipeline.tools.chaos.campaign import FIGURES, Campaign

pytestmark = [pytest.mark.integration, pytest.mark.crash, pytest.mark.timeout(900)]


def test_a_short_campaign_loses_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    found = campaigns.run(Campaign(seed=2054, rounds=1, faults=8, folder=tmp_path), False, told.append)
    assert found["ok"], "\n".join(told)
    assert [found[name] for name in FIGURES] == [0, 0, 0, 0]
    assert sum(found["faults"].values()) == 8
    assert found["sent"] > 20_000
    assert found["alerts"] > 0


def test_offsets_committed_before_their_transaction_are_caught(tmp_path: Path) -> None:
    told: list[str] = []
    broken = Campaign(
        seed=35,  # begins with ingest killed between producing and sending its offsets, and between that and the commit
        rounds=1,
        faults=4,
        folder=tmp_path,
        only=("failpoint",),
        broken_order="ingest-offsets-first",
    )
    found = campaigns.run(broken, False, told.append)
    assert found["lost"] > 0, "\n".join(told)
    assert not found["ok"]
