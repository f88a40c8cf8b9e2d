"""Counts over time are those of the list, in at most so many buckets."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.tools.triage.incident_list import Filter
from pipeline.tools.triage.incident_times import MAX_BUCKETS, WIDTHS_US, over_time
from tests.examples import examples
from tests.tools.triage.pages import alert, client_of, store_of

YEAR_US = 366 * 86_400_000_000
TIMES = st.lists(st.integers(0, 40 * YEAR_US), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(20))
@given(times=TIMES, pages=st.integers(0, 255))
def test_every_incident_is_counted_once(tmp_path_factory: pytest.TempPathFactory, times: list[int], pages: int) -> None:
    alerts = [
        alert(
            number + 1,
            "left",
            (f"10.0.0.{number}", f"10.0.1.{number}"),
            first_us=at,
            disposition="page" if pages >> number & 1 else "review",
        )
        for number, at in enumerate(times)
    ]
    store = store_of(tmp_path_factory.mktemp("store"), alerts)
    counted = over_time(store.database, Filter())
    store.database.close()
    width = counted["width_us"]
    expected: dict[int, list[int]] = {}
    for number, at in enumerate(times):
        bucket = expected.setdefault(at // width * width, [0, 0])
        bucket[0 if pages >> number & 1 else 1] += 1
    assert counted["buckets"] == [[start, *numbers] for start, numbers in sorted(expected.items())]
    assert not times or (max(times) - min(times)) // width <= MAX_BUCKETS


def test_the_filter_holds_and_the_width_fits_the_span(tmp_path: Path) -> None:
    hour = 3_600_000_000
    alerts = [
        alert(at, "left", (f"10.0.0.{at}", "10.0.1.1"), first_us=at * hour, site=f"s{at % 2}") for at in range(1, 9)
    ]
    client = client_of(store_of(tmp_path, alerts))
    answer = client.get("/api/v1/incidents-over-time", params={"site": "s1", "page": "no"}).json()
    assert answer == {"width_us": 5 * 60_000_000, "buckets": [[at * hour, 0, 1] for at in (1, 3, 5, 7)]}
    assert client.get("/api/v1/incidents-over-time", params={"site": "nowhere"}).json()["buckets"] == []
    assert client.get("/api/v1/incidents-over-time", params={"page": "perhaps"}).status_code == 400
    assert list(WIDTHS_US) == sorted(WIDTHS_US)
