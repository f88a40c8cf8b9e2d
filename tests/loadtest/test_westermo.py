from collections import Counter
from pathlib import Path

import pytest

from loadtest.plants.westermo import traffic


def test_the_events_after_the_cut_are_the_documented_ones() -> None:
    kinds = Counter(event.kind for event in traffic.events_after_cut())
    assert kinds == {"attack": 21, "fault": 14, "benign": 6}
    assert len(traffic.events()) == 94
    assert all(event.start_us < event.end_us for event in traffic.events())


@pytest.mark.slow
def test_training_and_demo_traffic_are_apart_by_the_embargo(tmp_path: Path) -> None:
    after = tmp_path / "after.csv"
    assert sum(traffic.epoch_us(row["end"]) < traffic.TRAIN_END_US for row in traffic.rows("left")) == 4_318
    assert traffic.write_after_cut("left", after) == 4_073
    assert traffic.TRAIN_END_US == traffic.CUT_US - traffic.EMBARGO_US
    assert min(start for start, _ in traffic.times_us(after)) >= traffic.CUT_US
    assert Counter(traffic.labels(after))["BAD-SSH"] == 880


@pytest.mark.slow
def test_labelled_flows_lie_in_the_windows_of_their_events(tmp_path: Path) -> None:
    path = tmp_path / "after.csv"
    traffic.write_after_cut("left", path)
    for label, (start_us, end_us) in zip(traffic.labels(path), traffic.times_us(path), strict=True):
        if label in traffic.ATTACKS:
            windows = [event for event in traffic.events() if event.name == label]
            assert any(e.start_us <= end_us and start_us <= e.end_us for e in windows), label


def test_decimal_seconds_keep_every_microsecond() -> None:
    assert traffic.epoch_us("1678440574.078823") == 1_678_440_574_078_823
    assert traffic.epoch_us("5") == 5_000_000
    assert traffic.epoch_us("5.1") == 5_100_000
