from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive.upkeep.tally import Tally, ranges_of


def test_records_one_after_another_are_one_range() -> None:
    offsets, indexes = np.array([3, 3, 4, 5, 5, 9, 9]), np.array([1, 2, 0, 0, 1, 0, 2])
    assert ranges_of(offsets, indexes) == [((3, 1), (5, 1)), ((9, 0), (9, 0)), ((9, 2), (9, 2))]


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1))
def test_ranges_hold_all_and_are_as_few_as_can_be(positions: set[tuple[int, int]]) -> None:
    ordered = sorted(positions)
    offsets, indexes = (np.array([position[column] for position in ordered]) for column in (0, 1))
    ranges = ranges_of(offsets, indexes)
    covered = [position for first, last in ranges for position in ordered if first <= position <= last]
    assert covered == ordered
    for (_, last), (first, _) in pairwise(ranges):
        assert first not in {(last[0], last[1] + 1), (last[0] + 1, 0)}


def test_a_gap_is_named_as_a_range() -> None:
    tally = Tally()
    tally.name("records missing", 2, np.arange(100) + 7, np.zeros(100, np.int64))
    assert tally.problems == ["partition 2: 100 records missing: raw 2@7[0] to 106[0]"]
