from pathlib import Path

import pytest

from pipeline.retrain import fitted_records
from pipeline.retrain.fitted_records import NAME, record, records
from pipeline.tools.sensors.lines import fitted_line


def test_the_last_trial_of_each_sensor_is_on_record(tmp_path: Path) -> None:
    assert records(tmp_path / "none") == {}
    for name, at_us in (("new/a", 1), ("new/b", 2), ("new/a", 3)):
        record(tmp_path, name, {"at_us": at_us, "outcome": "refused"})
    assert {name: each["at_us"] for name, each in records(tmp_path).items()} == {"new/a": 3, "new/b": 2}


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"new/a": 5, "new/b": {"at_us": "x"}}'])
def test_what_is_no_record_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert records(tmp_path) == {}
    record(tmp_path, "new/a", {"at_us": 1})
    assert list(records(tmp_path)) == ["new/a"]


def test_records_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted_records, "MAX_SENSORS", 2)
    for at_us in (5, 1, 7):
        record(tmp_path, f"new/{at_us}", {"at_us": at_us})
    assert set(records(tmp_path)) == {"new/5", "new/7"}


def test_what_came_of_it_in_words() -> None:
    compared = {"added": 3, "aside": 1_200, "added_an_hour": 4.8}
    assert fitted_line({"outcome": "promoted", "against": [], "comparison": compared}) == (
        "a fitted calibration of the model was promoted: its suspects add to what the baseline shows (it adds 3 of "
        "1,200 samples that the baseline does not show, 4.8 flows an hour)"
    )
    assert fitted_line({"outcome": "waiting", "against": ["only 7 usual samples"]}) == (
        "no calibration of the model is fitted yet (only 7 usual samples)"
    )
    assert fitted_line({}) == "the last fitted calibration is not known"


@pytest.mark.parametrize("outcome", ["waiting", "passed", "refused"])
def test_one_of_a_plant_that_is_no_more_is_said_to_judge_until_it_is_withdrawn(outcome: str) -> None:
    line = fitted_line({"outcome": outcome, "stale": True, "against": ["too few"]})
    assert line.startswith("the fitted calibration of before it learnt again still judges")
    assert "alone" not in line and line.endswith("(too few)")
    assert "was withdrawn" in fitted_line({"outcome": "withdrawn", "stale": True, "against": ["too few"]})
