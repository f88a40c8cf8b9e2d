"""Counts of a day, of counters that start anew with every worker."""

from pipeline.tools.triage.figures.growth import HOUR_US, WINDOW_US, Growth
from pipeline.tools.triage.figures.readings import RECORDS, Reading, Series

NOW_US = 1_678_443_600_000_000
LEFT = Series(RECORDS, "plant", "left")


def ingest(count: int, started_us: int = NOW_US - HOUR_US) -> Reading:
    return Reading("ingest", started_us, True, 0, {}, {LEFT: count})


def test_what_a_young_worker_has_counted_counts_and_what_an_old_one_had_does_not() -> None:
    young, old = Growth(), Growth()
    young.take({"a": ingest(10)}, NOW_US)
    assert (young.totals[LEFT], young.since_us) == (10, NOW_US - HOUR_US)
    old.take({"a": ingest(10, NOW_US - 2 * WINDOW_US)}, NOW_US)
    assert (old.totals[LEFT], old.since_us) == (0, NOW_US)
    old.take({"a": ingest(14, NOW_US - 2 * WINDOW_US)}, NOW_US + 1)
    assert old.totals[LEFT] == 4


def test_an_old_worker_beside_a_young_one_makes_both_count_from_now_on() -> None:
    growth = Growth()
    growth.take({"a": ingest(10), "b": ingest(1_000, NOW_US - 2 * WINDOW_US)}, NOW_US)
    assert (growth.totals[LEFT], growth.since_us) == (0, NOW_US)


def test_a_restart_is_no_loss_and_counts_nothing_twice() -> None:
    growth = Growth()
    growth.take({"a": ingest(10)}, NOW_US)
    growth.take({}, NOW_US + 1)
    growth.take({"a": ingest(3, NOW_US + 2)}, NOW_US + 3)
    growth.take({"a": ingest(5, NOW_US + 2)}, NOW_US + 4)
    assert growth.totals[LEFT] == 15


def test_workers_of_a_stage_add_up() -> None:
    growth = Growth()
    growth.take({"a": ingest(10), "b": ingest(5)}, NOW_US)
    growth.take({"a": ingest(11), "b": ingest(5)}, NOW_US + 1)
    assert growth.totals[LEFT] == 16


def test_what_is_older_than_a_day_goes_and_since_moves_with_it() -> None:
    growth = Growth()
    growth.take({"a": ingest(10)}, NOW_US)
    for hour in range(1, 30):
        growth.take({"a": ingest(10 + hour)}, NOW_US + hour * HOUR_US)
    assert growth.since_us is not None
    window_us = NOW_US + 29 * HOUR_US - growth.since_us
    assert WINDOW_US <= window_us <= WINDOW_US + HOUR_US
    assert growth.totals[LEFT] == window_us // HOUR_US


def test_a_sensor_is_seen_when_its_records_grow() -> None:
    growth = Growth()
    growth.take({"a": ingest(10)}, NOW_US)
    assert growth.seen_us == {}
    growth.take({"a": ingest(10)}, NOW_US + 1)
    assert growth.seen_us == {}
    growth.take({"a": ingest(12)}, NOW_US + 2)
    growth.take({"a": ingest(12)}, NOW_US + 3)
    assert growth.seen_us == {("plant", "left"): NOW_US + 2}
