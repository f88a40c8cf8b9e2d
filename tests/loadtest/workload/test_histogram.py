import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.workload.histogram import MAX_US, Histogram


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.add(np.array(values, np.int64))
    return histogram


@given(st.lists(st.integers(0, MAX_US), min_size=1, max_size=200), st.floats(0.1, 100.0))
def test_a_percentile_is_exact_to_three_digits(values: list[int], percent: float) -> None:
    # That of sorted values: the least one that so many percent do not exceed.
    wanted = sorted(values)[max(1, int(np.ceil(len(values) * percent / 100 - 1e-9))) - 1]
    got = of(values).percentile_us(percent)
    assert got is not None and wanted <= got <= max(wanted * 1.001, wanted + 1)


@pytest.mark.parametrize("value", [0, 1, 1_023, 1_024, 2_047, 2_048, 2_049, 65_535, 65_536, MAX_US - 1, MAX_US])
def test_edges_of_buckets_lose_nothing(value: int) -> None:
    assert of([value]).count == 1 and of([value]).percentile_us(50) == value


def test_what_is_out_of_range_counts_at_the_edge() -> None:
    histogram = of([-5, 2 * MAX_US])
    assert histogram.count == 2 and histogram.percentile_us(50) == 0 and histogram.max_us == MAX_US


def test_nothing_counted_has_no_percentile() -> None:
    empty = Histogram()
    assert empty.percentile_us(99) is None and empty.document()["p99"] is None and empty.curve([50.0]) == []
    assert "Total count =          0" in empty.hgrm()


def test_the_distribution_is_as_hdr_histogram_writes_it() -> None:
    lines = of([1_000, 2_000, 3_000, 4_000]).hgrm().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert [line.split() for line in lines[2:4]] == [
        ["1.000", "0.250000000000", "1", "1.33"],
        ["2.000", "0.500000000000", "2", "2.00"],
    ]
    assert lines[5].split()[1:] == ["1.000000000000", "4", "inf"]
