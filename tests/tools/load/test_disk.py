"""What a plant's data take on disk, and that the places are those that are measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tools.load.disk import KAFKA_TOPICS, SEGMENT_BYTES, Place, disk
from pipeline.tools.load.size import DAY_S, Bounds, Wanted, measured

FIGURES = measured()
DAYS = {"raw": 7.0, "flows": 3.0, "features": 1.0, "suspects": 7.0, "archive": 3.0, "retrain": 30.0}
BOUNDS = Bounds(DAYS, states=74, samples=2_000_000)
# At 100 and 1,000 records a second; of a message of more rows a record takes a quarter in Kafka.
SMALL = {
    "rates": {
        "records_per_s": [100, 1_000],
        "archive_bytes_a_row": 90.0,
        "kafka_bytes_a_record": {topic: [400.0, 100.0] for topic in DAYS},
    },
    "disk": {"calm": {"state_bytes_a_sensor": 200_000, "sample_bytes_a_row": 50.0, "model_bytes": 1_500_000}},
}


def places(flows: float, replicas: int = 1, partitions: int = 4, sensors: int = 10) -> dict[str, Place]:
    return disk(Wanted(flows, sensors, 90, replicas), partitions, SMALL, BOUNDS)


def test_each_place_has_what_was_measured_times_what_there_is() -> None:
    found = places(1_000)
    assert found["archive"].bytes == 1_000 * DAY_S * 90 * 90
    assert found["states"].bytes == 10 * 74 * 200_000 and "74 of each sensor" in found["states"].why
    assert found["samples"].bytes == 2_000_000 * 50 and found["models"].bytes == 1_500_000


@pytest.mark.parametrize(
    ("flows", "a_second"), [(1, 400), (100, 40_000), (550, 70_000), (1_000, 100_000), (20_000, 2_000_000)]
)
def test_what_kafka_holds_lies_on_a_line_between_rates(flows: float, a_second: float) -> None:
    one, three = places(flows), places(flows, replicas=3)
    for topic, days in DAYS.items():
        assert one[f"topic {topic}"].bytes == round(a_second * DAY_S * days)
        assert three[f"topic {topic}"].bytes == 3 * one[f"topic {topic}"].bytes


def test_a_segment_more_is_a_whole_one_or_what_comes_in_a_week() -> None:
    assert places(20_000)["segments"].bytes == SEGMENT_BYTES * 4 * len(KAFKA_TOPICS)
    assert places(20_000, replicas=2, partitions=8)["segments"].bytes == SEGMENT_BYTES * 16 * len(KAFKA_TOPICS)
    assert places(1)["segments"].bytes == 400 * DAY_S * 7 * len(KAFKA_TOPICS)


@given(st.floats(0.01, 1e6), st.integers(1, 5_000), st.floats(1, 400))
def test_more_flows_never_take_less(flows: float, sensors: int, days: float) -> None:
    less, more = (disk(Wanted(rate, sensors, days), 4, FIGURES, BOUNDS) for rate in (flows, flows * 2))
    assert all(less[name].bytes <= more[name].bytes for name in less)
