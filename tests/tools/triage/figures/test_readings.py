"""What a `/metrics` says, as the stages' own endpoint writes it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from pipeline.runtime.telemetry import start
from pipeline.settings import load_settings
from pipeline.tools.system import probes
from pipeline.tools.triage.figures.readings import (
    LATE,
    RECORDS,
    REJECTS,
    SCORED,
    SUSPECTS,
    UNUSUAL,
    Series,
    readings_of,
)


def metrics_of(stage: str) -> str:
    """What a worker of a stage says that has done a little of everything."""
    telemetry = start(stage, load_settings(metrics_port=-1))
    try:
        telemetry.ready()
        telemetry.stage.rows_in(12)
        if stage == "ingest":
            telemetry.stage.rows_out(12, site="plant", sensor='le"ft')
            telemetry.stage.rejected(3, site="plant", sensor='le"ft', reason="noise")
            telemetry.stage.rejected(1, site="plant", sensor='le"ft', reason="truncated")
        if stage == "featurize":
            telemetry.count("forebay_late_rows", 0, site="", sensor="")
            telemetry.count("forebay_late_rows", 2, site="plant", sensor='le"ft')
        if stage == "score":
            telemetry.count("forebay_scored_rows", 7, site="plant", sensor='le"ft', suspect="no")
            telemetry.count("forebay_scored_rows", 1, site="plant", sensor='le"ft', suspect="yes")
            telemetry.count("forebay_scored_unusual_rows", 4, site="plant", sensor='le"ft')
        return generate_latest(telemetry.registry).decode()
    finally:
        telemetry.close()


def test_a_workers_counts_are_read_by_sensor() -> None:
    (ingest,) = readings_of(metrics_of("ingest"))
    assert ingest.stage == "ingest" and ingest.is_ready and ingest.started_us > 0 and ingest.lag_us == 0
    assert ingest.sums == {"rows_in": 12, "rows_out": 12, "rejected": 4, "errors": 0}
    assert ingest.counts == {
        Series(RECORDS, "plant", 'le"ft'): 12,
        Series(REJECTS, "plant", 'le"ft', "noise"): 3,
        Series(REJECTS, "plant", 'le"ft', "truncated"): 1,
    }
    (score,) = readings_of(metrics_of("score"))
    assert {series.figure: count for series, count in score.counts.items()} == {SCORED: 8, SUSPECTS: 1, UNUSUAL: 4}


def test_a_box_says_it_of_all_its_stages() -> None:
    stages = ("ingest", "featurize", "score")
    alone = {stage: metrics_of(stage) for stage in stages}
    merged = {reading.stage: reading for reading in readings_of(probes.merge(alone))}
    assert set(merged) == set(stages)
    assert merged["featurize"].counts == {Series(LATE, "plant", 'le"ft'): 2}
    for stage in stages:
        assert merged[stage] == readings_of(alone[stage])[0]


@pytest.mark.parametrize("text", ["", "<html>", "forebay_start_time_seconds 12\n", "forebay_start_time_seconds{stage="])
def test_what_is_no_stages_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        readings_of(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        readings_of(f'forebay_start_time_seconds{{stage="ingest"}} 12\nforebay_rows_in_total{text}\n')


def test_more_samples_than_stages_have_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = metrics_of("ingest")
    monkeypatch.setattr("pipeline.tools.triage.figures.readings.MAX_SAMPLES", 5)
    with pytest.raises(ValueError, match="samples, expected 5 at most"):
        readings_of(text)


@pytest.mark.parametrize("value", ["1e300", "-1e300", "1e19"])
def test_a_count_that_no_answer_can_hold_is_refused(value: str) -> None:
    text = metrics_of("ingest")
    assert readings_of(text)
    for name in ("forebay_rows_out_total", "forebay_start_time_seconds", "forebay_lag_seconds"):
        with pytest.raises(ValueError, match=f"got {name}"):
            readings_of(text + f'{name}{{stage="ingest"}} {value}\n')
