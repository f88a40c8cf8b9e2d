import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.cli.main import main
from pipeline.tools.load.size import Sizing, Wanted, measured, size
from pipeline.tools.processes import STAGES

FIGURES = measured()
DAYS = {"raw": 7.0, "flows": 3.0, "features": 1.0, "suspects": 7.0, "archive": 3.0, "retrain": 30.0}
MAX_SENSORS = 256
# Two stages, at 100 and 1,000 records a second, in full batches at 10,000; a record of more sensors costs more. Of a
# message of more rows a record takes a quarter in Kafka.
SMALL = {
    "rates": {
        "sensors": 10,
        "archive_bytes_a_row": 90.0,
        "kafka_bytes_a_record": {topic: [400.0, 100.0] for topic in DAYS},
        "records_per_s": [100, 1_000],
        "cores": {"broker": [0.2, 0.3], "score": [0.1, 0.2]},
        "rss_mib": {"broker": 200, "score": 300},
    },
    "full_batches": {
        "sensors": 10,
        "records_per_s": 10_000,
        "cpu_us_a_record": {"broker": 40, "score": 50},
        "rss_mib": {"broker": 210, "score": 290},
    },
    "sensors": {
        "sensors": [10, 1_000],
        "cpu_us_a_record": {"broker": [40, 50], "score": [30, 130]},
        "rss_mib": {"broker": [200, 200], "score": [100, 595]},
    },
}


def sized(flows: float, sensors: int = 10, max_sensors: int = MAX_SENSORS) -> Sizing:
    return size(Wanted(flows, sensors, 90), SMALL, DAYS, max_sensors)


def test_every_figure_has_a_command_a_machine_and_a_date() -> None:
    for name in ("rates", "full_batches", "sensors"):
        assert {"command", "machine", "date"} <= set(FIGURES[name])
    assert set(FIGURES["rates"]["cores"]) == set(FIGURES["rates"]["rss_mib"]) == {"broker", *STAGES}


@pytest.mark.parametrize(
    ("flows", "broker", "score"),
    [(1, 0.2, 0.1), (100, 0.2, 0.1), (550, 0.25, 0.15), (1_000, 0.3, 0.2), (5_500, 0.35, 0.35), (20_000, 0.8, 1.0)],
)
def test_cores_lie_on_a_line_between_rates_that_were_measured(flows: float, broker: float, score: float) -> None:
    stages = sized(flows).stages
    assert (stages["broker"].cores, stages["score"].cores) == pytest.approx((broker, score))


def test_more_sensors_add_what_they_cost_a_record() -> None:
    assert sized(1_000, 100).stages["score"].cores == pytest.approx(0.2 + 1_000 * 50e-6)  # half way, by the logarithm
    assert sized(1_000, 1_000).stages["score"].cores == pytest.approx(0.2 + 1_000 * 100e-6)
    assert sized(1_000, 1_990).stages["score"].cores == pytest.approx(0.2 + 1_000 * 200e-6)  # as it grew up to there
    assert sized(1_000, 1).stages["score"].cores == pytest.approx(0.2)  # fewer cost no less


def test_memory_is_the_most_of_any_run_and_what_sensors_hold() -> None:
    assert {name: stage.memory_mib for name, stage in sized(1_000).stages.items()} == {"broker": 210, "score": 305}
    assert sized(1_000, 1_000).stages["score"].memory_mib == 800
    two = sized(15_000, 1_000).stages["score"]
    assert two.workers > 1 and two.memory_mib == two.workers * 300 + 500  # a sensor is in one of them


@pytest.mark.parametrize(
    ("sensors", "max_sensors", "partitions"), [(700, 256, 4), (1_000, 256, 8), (1_000, 2_000, 4), (1_000, 1, 1_024)]
)
def test_no_partition_gets_more_sensors_than_it_may_have(sensors: int, max_sensors: int, partitions: int) -> None:
    assert sized(100, sensors, max_sensors).partitions == partitions


def test_what_was_measured_is_no_projection_and_what_was_not_is() -> None:
    assert size(Wanted(30_000, 8, 90), FIGURES, DAYS, MAX_SENSORS).projected[1:] == ()  # score may need two workers
    assert "100 sensors: 10 were measured at such rates, 1,000 in full batches" in sized(100, 100).projected
    large = size(Wanted(200_000, 2_000, 90, 3), FIGURES, DAYS, MAX_SENSORS)
    text = "; ".join(large.projected)
    assert "200,000 flows/s" in text and "2,000 sensors: 1,000 were measured, in full batches" in text
    assert "several workers" in text and "3 replicas" in text


def test_ninety_days_of_five_thousand_flows_a_second() -> None:
    sizing = size(Wanted(5_000, 40, 90), FIGURES, DAYS, MAX_SENSORS)
    assert sizing.archive_bytes == round(5_000 * 86_400 * 90 * FIGURES["rates"]["archive_bytes_a_row"])
    assert sizing.partitions == 4 and all(stage.workers == 1 for stage in sizing.stages.values())


@pytest.mark.parametrize(
    ("flows", "a_second"), [(1, 400), (100, 40_000), (550, 70_000), (1_000, 100_000), (20_000, 2_000_000)]
)
def test_what_kafka_holds_lies_on_a_line_between_rates_too(flows: float, a_second: float) -> None:
    days = sum(DAYS.values())
    assert sized(flows).kafka_bytes == round(a_second * 86_400 * days)
    assert size(Wanted(flows, 10, 90, 3), SMALL, DAYS, MAX_SENSORS).kafka_bytes == round(a_second * 86_400 * days) * 3


@given(st.floats(1, 1e6), st.integers(1, 5_000), st.floats(1, 400))
def test_more_flows_never_need_less(flows: float, sensors: int, days: float) -> None:
    less, more = (size(Wanted(rate, sensors, days), FIGURES, DAYS, MAX_SENSORS) for rate in (flows, flows * 2))
    for name in ("cores", "memory_mib", "archive_bytes", "partitions"):
        assert getattr(less, name) <= getattr(more, name)
    assert more.partitions & (more.partitions - 1) == 0


@given(st.floats(0.01, 1e6), st.integers(1, 2_000), st.integers(1, 5))
def test_no_stage_has_more_workers_than_partitions_or_sensors(flows: float, sensors: int, replicas: int) -> None:
    sizing = size(Wanted(flows, sensors, 90, replicas), FIGURES, DAYS, MAX_SENSORS)
    one = size(Wanted(flows, sensors, 90), FIGURES, DAYS, MAX_SENSORS).stages["broker"]
    for name in set(STAGES):
        assert sizing.stages[name].workers <= min(sizing.partitions, sensors)
    assert sizing.stages["retrain"].workers == 1
    broker = sizing.stages["broker"]
    assert broker.workers == replicas and broker.memory_mib == replicas * one.memory_mib
    assert broker.cores == pytest.approx(replicas * one.cores, abs=0.01)


def test_what_no_worker_carries_is_said_with_what_to_do() -> None:
    assert sized(5_000).too_much == ()
    (said,) = sized(30_000, 1).too_much
    assert "score 1.50, where 0.5 are to be" in said and "divide the traffic among 3 sensors or more" in said
    assert sized(30_000, 1).stages["score"].workers == 1 and sized(30_000, 3).too_much == ()
    large = size(Wanted(1e7, 1, 90, 3), FIGURES, DAYS, MAX_SENSORS)
    assert "retrain is one worker and would use" in large.too_much[1]


def shown_by(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["forebay", "size", *words])
    with pytest.raises(SystemExit):
        main()
    return capsys.readouterr().err


def test_rates_below_one_and_what_kafka_holds_for_how_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown_by(capsys, monkeypatch, "--flows", "0.001/s", "--replicas", "3")
    assert text.startswith("0.001 flows/s of 1 sensor,") and "3 brokers, " in text
    assert "for as long as its topics are retained, whatever --keep says (days: raw 7, flows 3," in text


@pytest.mark.parametrize("keep", ["90", "0", "", "90w"])
def test_a_time_without_a_unit_is_refused(
    keep: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "a number and a unit" in " ".join(shown_by(capsys, monkeypatch, "--flows", "1", "--keep", keep).split())


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["forebay", "size", "--flows", "5000/s", "--sensors", "40", "--keep", "90d"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    shown = capsys.readouterr()
    document = json.loads(shown.out.splitlines()[-1])
    assert document["flows_per_s"] == 5_000 and document["retention_days"] == 90
    assert document["measured"]["rates"]["date"] in shown.err and "projection: 40 sensors" in shown.err
    used = sum(each["cores"] for each in document["stages"].values())
    assert f"(half busy: {used:.2f} used)" in shown.err and "left out: the page and outputs" in shown.err


@pytest.mark.parametrize(("load", "says"), [(0.5, ""), (3.4, ", other work beside (load 3.4)")])
def test_it_says_what_ran_beside_what_it_rests_on(
    load: float, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = ("rates", "full_batches", "sensors")
    found = {name: {**FIGURES[name], "load_before": load, "version": "0a1b2c3"} for name in runs}
    monkeypatch.setattr("pipeline.tools.load.size.measured", lambda: found)
    text = shown_by(capsys, monkeypatch, "--flows", "100000000")
    lines = [line for line in text.splitlines() if line.startswith("measured by ")]
    assert len(lines) == 3 and all(line.endswith(f", version 0a1b2c3{says}") for line in lines)
    assert re.search(r"cores       \d+,\d{3} \(half busy: ", text)


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
