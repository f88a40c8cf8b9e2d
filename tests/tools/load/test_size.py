import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.load.size import Sizing, Wanted, measured, size
from pipeline.tools.processes import STAGES
from tests.commands import Ended, forebay

FIGURES = measured()
MAX_SENSORS = 256
# Two stages, at 100 and 1,000 records a second, in full batches at 10,000; a record of more sensors costs more.
SMALL = {
    "rates": {
        "sensors": 10,
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
    return size(Wanted(flows, sensors, 90), SMALL, max_sensors)


def test_every_figure_has_a_command_a_machine_and_a_date() -> None:
    for figures in FIGURES.values():
        assert {"command", "machine", "date"} <= set(figures)
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
    assert size(Wanted(30_000, 8, 90), FIGURES, MAX_SENSORS).projected[1:] == ()  # score may need two workers
    assert "100 sensors: 10 were measured at such rates, 1,000 in full batches" in sized(100, 100).projected
    large = size(Wanted(200_000, 2_000, 90, 3), FIGURES, MAX_SENSORS)
    text = "; ".join(large.projected)
    assert "200,000 flows/s" in text and "2,000 sensors: 1,000 were measured, in full batches" in text
    assert "several workers" in text and "3 replicas" in text


def test_five_thousand_flows_a_second_of_forty_sensors() -> None:
    sizing = size(Wanted(5_000, 40, 90), FIGURES, MAX_SENSORS)
    assert sizing.partitions == 4 and all(stage.workers == 1 for stage in sizing.stages.values())


@given(st.floats(1, 1e6), st.integers(1, 5_000))
def test_more_flows_never_need_less(flows: float, sensors: int) -> None:
    less, more = (size(Wanted(rate, sensors, 90), FIGURES, MAX_SENSORS) for rate in (flows, flows * 2))
    for name in ("cores", "memory_mib", "partitions"):
        assert getattr(less, name) <= getattr(more, name)
    assert more.partitions & (more.partitions - 1) == 0


@given(st.floats(0.01, 1e6), st.integers(1, 2_000), st.integers(1, 5))
def test_no_stage_has_more_workers_than_partitions_or_sensors(flows: float, sensors: int, replicas: int) -> None:
    sizing = size(Wanted(flows, sensors, 90, replicas), FIGURES, MAX_SENSORS)
    one = size(Wanted(flows, sensors, 90), FIGURES, MAX_SENSORS).stages["broker"]
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
    large = size(Wanted(1e7, 1, 90, 3), FIGURES, MAX_SENSORS)
    assert "retrain is one worker and would use" in large.too_much[1]


def answer(*words: str) -> Ended:
    return forebay("size", *words)


def test_rates_below_one_and_what_kafka_holds_for_how_long() -> None:
    text = answer("--flows", "0.001/s", "--replicas", "3").stderr
    assert text.startswith("0.001 flows/s of 1 sensor,") and "3 brokers, " in text
    assert re.search(r"  topic raw +[0-9.]+ kB  7 days\n  topic flows +[0-9.]+ MB  3 days\n", text)


@pytest.mark.parametrize("keep", ["90", "0", "", "90w"])
def test_a_time_without_a_unit_is_refused(keep: str) -> None:
    assert "a number and a unit" in " ".join(answer("--flows", "1", "--keep", keep).stderr.split())


def test_the_command() -> None:
    ended = answer("--flows", "5000/s", "--sensors", "40", "--keep", "90d")
    document = json.loads(ended.stdout.splitlines()[-1])
    assert ended.code == 0 and document["flows_per_s"] == 5_000 and document["retention_days"] == 90
    assert document["measured"]["rates"]["date"] in ended.stderr and "projection: 40 sensors" in ended.stderr
    used = sum(each["cores"] for each in document["stages"].values())
    assert f"(half busy: {used:.2f} used)" in ended.stderr and "left out: the page and outputs" in ended.stderr
    assert document["disk_bytes_in_all"] == sum(document["disk_bytes"].values()) and document["flood"] is None
    assert f"disk        {document['disk_bytes_in_all'] / 1e12:.1f} TB in all\n" in ended.stderr
    assert "floods (--flood)" in ended.stderr and all(said in ended.stderr for said in document["not_known"])


def test_a_flood_beside_them() -> None:
    ended = answer("--flows", "5000/s", "--flood", "20000/s", "--flood-lasts", "30m")
    flood = json.loads(ended.stdout.splitlines()[-1])["flood"]
    assert (flood["rows"], flood["behind"], flood["caught_up_s"]) == (36_000_000, 0, 0)
    assert "flood       20,000 suspects/s for 30 m beside them: 36,000,000 rows\n" in ended.stderr
    assert "it keeps up; busiest " in ended.stderr and "floods (--flood)" not in ended.stderr
    ended = answer("--flows", "5000/s", "--flood", "200000/s", "--json")
    flood = json.loads(ended.stdout.splitlines()[-1])["flood"]
    assert flood["lasts_s"] == 3_600 and flood["behind"] > 0 and flood["caught_up_s"] > 0 and ended.stderr == ""
    ended = answer("--flows", "5000/s", "--flood", "200000/s")
    assert f"{flood['behind']:,} wait in Kafka at its end, and it has caught up " in ended.stderr


@pytest.mark.parametrize(("load", "says"), [(0.5, ""), (3.4, ", load 3.4 in the minute before")])
def test_it_says_the_load_before_what_it_rests_on(load: float, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name: {**FIGURES[name], "load_before": load, "version": "0a1b2c3"} for name in FIGURES}
    monkeypatch.setattr("pipeline.tools.load.size.measured", lambda: found)
    text = answer("--flows", "100000000").stderr
    lines = [line for line in text.splitlines() if line.startswith("measured by ")]
    assert 3 <= len(lines) == len(set(lines)) and all(line.endswith(f", version 0a1b2c3{says}") for line in lines)
    assert re.search(r"cores       \d+,\d{3} \(half busy: ", text)


@pytest.mark.parametrize("option", ["--flows", "--flood"])
@pytest.mark.parametrize("rate", ["0", "-3/s", "many", "nan", "inf", "1e12", "5000/h"])
def test_what_is_no_rate_is_refused(option: str, rate: str) -> None:
    assert answer("--flows", "1", option, rate).code == 2


@pytest.mark.parametrize("option", ["--keep", "--flood-lasts"])
def test_a_time_is_no_longer_than_anybody_reckons(option: str) -> None:
    assert answer("--flows", "5000", "--flood", "1", option, f"{'9' * 20}d").code == 2
