import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.cli.main import main
from pipeline.tools.load.size import Wanted, measured, size

FIGURES = measured()
DAYS = {"raw": 7.0, "flows": 3.0, "features": 1.0, "suspects": 7.0, "archive": 3.0, "retrain": 30.0}


def test_every_figure_has_a_command_a_machine_and_a_date() -> None:
    for name in ("run", "archive", "sensor", "kafka_bytes_a_record"):
        assert {"command", "machine", "date"} <= set(FIGURES[name])
    assert set(FIGURES["cpu_us_a_record"]) == set(FIGURES["rss_mib"])


def test_what_was_measured_is_no_projection_and_what_was_not_is() -> None:
    assert size(Wanted(30_000, 8, 90), FIGURES, DAYS).projected == ()
    large = size(Wanted(200_000, 1_000, 90, 3), FIGURES, DAYS)
    text = "; ".join(large.projected)
    assert "200,000 flows/s" in text and "1,000 sensors" in text and "several workers" in text and "3 replicas" in text


def test_ninety_days_of_five_thousand_flows_a_second() -> None:
    sizing = size(Wanted(5_000, 40, 90), FIGURES, DAYS)
    assert sizing.archive_bytes == 5_000 * 86_400 * 90 * FIGURES["archive"]["bytes_a_row"]
    kept = {"raw": 700, "flows": 498, "features": 272, "suspects": 84, "archive": 858, "retrain": 720}
    assert sizing.kafka_bytes == 5_000 * 86_400 * sum(kept.values())
    unknown = {name: figure for name, figure in FIGURES.items() if name != "kafka_bytes_a_record"}
    assert size(Wanted(5_000, 40, 90), unknown, DAYS).kafka_bytes is None
    assert sizing.partitions == 4 and all(stage.workers == 1 for stage in sizing.stages.values())


@given(st.floats(1, 1e6), st.integers(1, 5_000), st.floats(1, 400))
def test_more_flows_never_need_less(flows: float, sensors: int, days: float) -> None:
    less, more = (size(Wanted(rate, sensors, days), FIGURES, DAYS) for rate in (flows, flows * 2))
    for name in ("cores", "memory_mib", "archive_bytes", "partitions"):
        assert getattr(less, name) <= getattr(more, name)
    assert more.partitions & (more.partitions - 1) == 0


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["forebay", "size", "--flows", "5000/s", "--sensors", "40", "--keep", "90d"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    shown = capsys.readouterr()
    document = json.loads(shown.out.splitlines()[-1])
    assert document["flows_per_s"] == 5_000 and document["retention_days"] == 90
    assert document["measured"]["run"]["date"] in shown.err and "projection: 40 sensors" in shown.err


@pytest.mark.parametrize("flows", ["0", "-3/s", "many", "nan", "inf", "1e12", "5000/h"])
def test_what_is_no_rate_is_refused(flows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["forebay", "size", "--flows", flows])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2


def test_an_archive_is_not_retained_for_longer_than_anybody_reckons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["forebay", "size", "--flows", "5000", "--keep", f"{'9' * 20}d"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
