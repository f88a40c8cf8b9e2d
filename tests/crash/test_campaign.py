"""A short fault campaign on a broker of its own: nothing lost, nothing twice; a wrong order of commits is caught."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from loadtest.chaos.plan import plan
from loadtest.plants.westermo import traffic as westermo
from pipeline.contracts.baseline import Phase
from pipeline.tools.chaos import campaign as campaigns
from pipeline.tools.chaos import round as one_round
from pipeline.tools.chaos import traffic
from pipeline.tools.chaos.campaign import FIGURES, Campaign

pytestmark = [pytest.mark.integration, pytest.mark.crash]


# `make nightly` has all kinds of faults, in more rounds and with a seed of the day.
COMBINED = ("kill", "failpoint", "broker", "file-system-full", "clock")


def test_a_short_campaign_loses_nothing_and_sensors_learn_what_they_would_have(tmp_path: Path) -> None:
    """Columns of baselines lie in the archive, their notices in a topic: both are those of the reference run."""
    lines: list[str] = []
    # Featurize dies in blocks of learning sensors; then faults that combine: the broker is killed, alert and archive
    # die between two steps of a commit, and the archive is started with a shifted clock while its file system is full.
    short = Campaign(seed=4_690_636, rounds=1, faults=7, folder=tmp_path, only=COMBINED, keep=True)
    assert [str(each) for each in plan(short.seed, 0, short.faults, COMBINED)] == [
        "kill featurize",
        "failpoint featurize.acknowledged:1",
        "broker",
        "failpoint archive.file placed:2",
        "file-system-full",
        "clock archive",
        "failpoint alert.emitted:3",
    ]
    report = campaigns.run(short, False, lines.append)
    assert report["ok"], "\n".join(lines)
    assert [report[name] for name in FIGURES] == [0, 0, 0, 0]
    assert sum(report["faults"].values()) == 7
    assert report["sent"] > 20_000
    assert report["alerts"] > 0
    assert report["notices"] >= 6, "two sensors learn and are anchored, and say how far they are"
    phases = set()
    for file in (tmp_path / "round-0" / "reference").rglob("*.parquet"):
        if "phase" in pq.read_schema(file).names:
            phases |= set(pq.read_table(file, columns=["phase"])["phase"].to_pylist())
    assert phases >= {Phase.LEARNING, Phase.SETTLING, Phase.ANCHORED}


def test_offsets_committed_before_their_transaction_are_caught(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is lost never comes: every second of waiting for it is one too many.
    monkeypatch.setattr(one_round, "QUIET_S", 20.0)
    # Losses among the made-up sensors' records are enough: of the real plant a few thousand, soon sent.
    monkeypatch.setattr(westermo, "SENSORS", ("left",))
    monkeypatch.setattr(traffic, "WESTERMO_SPEED", "400")
    lines: list[str] = []
    broken = Campaign(
        seed=35,  # begins with ingest killed between producing and sending its offsets
        rounds=1,
        faults=2,
        folder=tmp_path,
        only=("failpoint",),
        bootstrap=kafka,  # these faults leave the broker alone
        broken_order="ingest-offsets-first",
    )
    report = campaigns.run(broken, False, lines.append)
    assert report["lost"] > 0, "\n".join(lines)
    assert not report["ok"]
