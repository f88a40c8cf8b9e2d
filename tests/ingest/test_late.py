"""Late rows against an oracle row by row; a proposed lateness takes the share that it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.late import STEP_US, behind_us, late_rows, proposed_us, within_us

ENDS = st.lists(st.integers(0, 10**9), max_size=60)


@given(ENDS)
def test_behind_is_how_long_before_the_latest_end_seen_earlier(ends: list[int]) -> None:
    wanted = [max(0, max(ends[:number], default=0) - end) for number, end in enumerate(ends)]
    assert behind_us(np.array(ends, np.int64)).tolist() == wanted


@given(ENDS, st.floats(0.01, 1.0))
def test_what_is_proposed_makes_that_share_not_late(ends: list[int], share: float) -> None:
    array = np.array(ends, np.int64)
    behind = behind_us(array)
    for lateness_us in (within_us(behind, share), proposed_us(behind, share)):
        assert (~late_rows(array, lateness_us)).sum() >= share * len(ends)
    assert proposed_us(behind, share) % STEP_US == 0


@given(ENDS.filter(bool), st.floats(0.01, 1.0))
def test_less_than_within_takes_less_than_that_share(ends: list[int], share: float) -> None:
    array = np.array(ends, np.int64)
    lateness_us = within_us(behind_us(array), share)
    if lateness_us:
        assert (~late_rows(array, lateness_us - 1)).sum() < share * len(ends)


@pytest.mark.parametrize(("behind", "proposed"), [([], 0), ([0] * 200, 0), ([0] * 99 + [7], 0), ([0, 1], STEP_US)])
def test_proposals_by_hand(behind: list[int], proposed: int) -> None:
    assert proposed_us(np.array(behind, np.int64)) == proposed
