"""A short fault campaign on a broker of its own: nothing lost, nothing twice; a wrong order of commits is caught."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from loadtest.chaos.plan import plan
from pipeline.contracts.baseline import Phase
from pipeline.tools.chaos import campaign as campaigns
from pipeline.tools.chaos import round as one_round
from pipeline.tools.chaos.campaign import FIGURES, Campaign

pytestmark = [pytest.mark.integration, pytest.mark.crash]


# All but those that wait until a session ends: `make nightly` has them, in more rounds and with a seed of the day.
QUICK = (
    *("kill", "failpoint", "pause", "twin", "broker", "disk-full", "file-system-full", "half-written"),
    *("damaged-state", "poison", "aborted", "clock"),
)


def test_a_short_campaign_loses_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    # The broker is killed, alert and archive die between two steps of a commit, and the archive is started with a
    # shifted clock while its file system is full: faults that combine.
    short = Campaign(seed=4507, rounds=1, faults=5, folder=tmp_path, only=QUICK)
    assert [str(each) for each in plan(short.seed, 0, short.faults, QUICK)][-2:] == [
        "file-system-full",
        "clock archive",
    ]
    report = campaigns.run(short, False, lines.append)
    assert report["ok"], "\n".join(lines)
    assert [report[name] for name in FIGURES] == [0, 0, 0, 0]
    assert sum(report["faults"].values()) == 5
    assert report["sent"] > 20_000
    assert report["alerts"] > 0


def test_featurize_dies_in_blocks_of_learning_sensors_and_they_learn_what_they_would_have(tmp_path: Path) -> None:
    """Columns of baselines lie in the archive, their notices in a topic: both are those of the reference run."""
    lines: list[str] = []
    deaths = Campaign(seed=131, rounds=1, faults=2, folder=tmp_path, only=("kill", "failpoint"), keep=True)
    assert [str(each) for each in plan(deaths.seed, 0, deaths.faults, deaths.only)] == [
        "kill featurize",
        "failpoint featurize.acknowledged:3",
    ]
    report = campaigns.run(deaths, False, lines.append)
    assert report["ok"], "\n".join(lines)
    assert report["notices"] >= 6, "two sensors learn and are anchored, and say how far they are"
    phases = set()
    for file in (tmp_path / "round-0" / "reference").rglob("*.parquet"):
        if "phase" in pq.read_schema(file).names:
            phases |= set(pq.read_table(file, columns=["phase"])["phase"].to_pylist())
    assert phases >= {Phase.LEARNING, Phase.SETTLING, Phase.ANCHORED}


def test_offsets_committed_before_their_transaction_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is lost never comes: every second of waiting for it is one too many.
    monkeypatch.setattr(one_round, "QUIET_S", 20.0)
    lines: list[str] = []
    broken = Campaign(
        seed=35,  # begins with ingest killed between producing and sending its offsets
        rounds=1,
        faults=2,
        folder=tmp_path,
        only=("failpoint",),
        broken_order="ingest-offsets-first",
    )
    report = campaigns.run(broken, False, lines.append)
    assert report["lost"] > 0, "\n".join(lines)
    assert not report["ok"]
