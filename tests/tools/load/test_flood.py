"""Whether the box that a plant was given keeps up with a flood, and what that adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.load.disk import KAFKA_TOPICS
from pipeline.tools.load.flood import Flood, Flooded, flooded
from pipeline.tools.load.size import Bounds, Wanted, measured, size

FIGURES = measured()
DAYS = {"raw": 7.0, "flows": 3.0, "features": 1.0, "suspects": 7.0, "archive": 3.0, "retrain": 30.0}
BOUNDS = Bounds(DAYS, states=74, samples=2_000_000)
MAX_SENSORS = 256
# A record costs a broker and a stage 40 and 50 microseconds, and a suspect 10 and 30 more.
SMALL = {
    "rates": {
        "sensors": 10,
        "records_per_s": [1, 2],
        "cores": {"broker": [40e-6, 80e-6], "alert": [50e-6, 100e-6]},
        "rss_mib": {"broker": 200, "alert": 300},
    },
    "full_batches": {
        "records_per_s": 10_000,
        "cpu_us_a_record": {"broker": 40, "alert": 50},
        "rss_mib": {"broker": 210, "alert": 290},
    },
    "sensors": {
        "sensors": [1, 10],
        "cpu_us_a_record": {"broker": [40, 40], "alert": [50, 50]},
        "rss_mib": {"broker": [200, 200], "alert": [300, 300]},
    },
    "flood": {"cpu_us_a_record": {"broker": 50, "alert": 80}, "rss_mib": {"broker": 205, "alert": 350}},
    "disk": {"flood": {"archive_bytes_a_row": 80.0, "kafka_bytes_a_record": dict.fromkeys(KAFKA_TOPICS, 100.0)}},
}


def under(flows: float, suspects: float, lasts_s: float = 3_600.0) -> Flooded:
    wanted = Wanted(flows, 10, 90)
    return flooded(wanted, Flood(suspects, lasts_s), size(wanted, SMALL, MAX_SENSORS), SMALL, BOUNDS)


def test_suspects_cost_what_records_do_and_what_they_cost_more() -> None:
    found = under(1_000, 5_000)
    assert found.cores == pytest.approx({"broker": 6_000 * 40e-6 + 5_000 * 10e-6, "alert": 6_000 * 50e-6 + 0.15})
    assert (found.behind, found.caught_up_s, found.carried_per_s) == (0, 0.0, 6_000)
    assert found.memory_mib == 210 + 350 and found.cores_to_keep_up == 1


def test_where_a_worker_needs_more_than_a_core_the_rest_waits_and_is_caught_up() -> None:
    found = under(1_000, 20_000)  # of two cores; alert is one worker
    carried = 21_000 / (21_000 * 50e-6 + 20_000 * 30e-6)
    assert found.carried_per_s == pytest.approx(carried, abs=1)
    assert found.behind == pytest.approx((21_000 - carried) * 3_600, rel=1e-4)
    spare = 0.95 / (21_000 * 50e-6 + 20_000 * 30e-6) * 21_000  # of alert's core, beside 1,000 a second
    assert found.caught_up_s == pytest.approx(found.behind / spare, rel=1e-3)


def test_what_has_no_core_left_is_never_caught_up() -> None:
    wanted = Wanted(40_000, 1, 90)  # one sensor, and more than a worker carries: size says so
    found = flooded(wanted, Flood(1_000, 60), size(wanted, SMALL, MAX_SENSORS), SMALL, BOUNDS)
    assert found.behind > 0 and found.caught_up_s is None


def test_what_it_adds_on_disk_is_there_as_long_as_its_topic() -> None:
    found = under(1_000, 10, lasts_s=2 * 86_400.0)
    rows = 10 * 2 * 86_400
    assert found.disk_bytes["archive"] == rows * 80
    assert found.disk_bytes["topic raw"] == rows * 100 and found.disk_bytes["topic features"] == rows * 100 / 2


@given(st.floats(1, 5e4), st.floats(1, 5e5), st.integers(1, 300), st.integers(1, 3))
def test_more_suspects_never_need_less(flows: float, suspects: float, sensors: int, replicas: int) -> None:
    wanted = Wanted(flows, sensors, 90, replicas)
    sizing = size(wanted, FIGURES, MAX_SENSORS)
    less, more = (flooded(wanted, Flood(rate, 600), sizing, FIGURES, BOUNDS) for rate in (suspects, 2 * suspects))
    assert less.behind <= more.behind and less.cores_to_keep_up <= more.cores_to_keep_up
    assert less.carried_per_s <= flows + suspects + 0.1 and less.memory_mib == more.memory_mib >= sizing.memory_mib
    assert all(less.disk_bytes[name] <= more.disk_bytes[name] for name in less.disk_bytes)
