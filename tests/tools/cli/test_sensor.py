"""What `forebay sensor` prints of what it has read."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contracts.notices import ANCHORED
from pipeline.errors import Failed
from pipeline.settings import load_settings
from pipeline.tools.alerts import reading
from pipeline.tools.cli import sensor
from pipeline.tools.cli.output import people
from pipeline.tools.sensors.histories import histories
from pipeline.tools.sensors.late_flows import LateFlows
from tests.tools.sensors.test_histories import notice, stored


def test_a_picture_that_cannot_be_written_is_an_error_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "alerts", lambda *_args, **_facts: iter(()))
    (history,) = histories(stored(notice(ANCHORED))).values()
    nowhere = tmp_path / "missing" / "dam.png"
    with pytest.raises(Failed, match="got No such file or directory, expected a file that can be written; name ano"):
        sensor._draw(load_settings(), history, nowhere)


def test_a_sensor_is_one_line_of_the_list_in_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_width", 80)
    each = replace(notice(ANCHORED), site="north-hall", sensor="edge-12")
    (history,) = histories(stored(each)).values()
    sensor._print([(history, [])], {history.name: LateFlows(200, 2, 300_000_000, 301_000_000, 310_000_000)})
    said = capsys.readouterr().err
    assert [line.split()[0] for line in said.splitlines()] == ["sensor", "north-hall/edge-12"]
    assert "2015-10-20 18:10" in said and said.rstrip().endswith("5 min 0 s  1.0%")
