"""With a ratio of two, work takes a third of the time at most, and what comes late enough waits for nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.worker import MAX_REST_S, REST_RATIO
from pipeline.runtime.spacing import Spacing

SECONDS = st.floats(0, 1e6)
SHORT = st.floats(0, 1)


@given(st.floats(0.1, 1e6), SHORT, SHORT)
def test_a_rest_follows_what_the_work_took_and_is_bounded(started_s: float, took_s: float, later_s: float) -> None:
    spacing, ended_s = Spacing(REST_RATIO, MAX_REST_S), started_s + took_s
    assert spacing.left_s(started_s) == 0, "the first waits for nothing"
    spacing.ended(started_s, ended_s)
    left_s = spacing.left_s(ended_s)
    assert 0 <= left_s <= MAX_REST_S
    assert abs(left_s - min(REST_RATIO * took_s, MAX_REST_S)) < 1e-6
    assert abs(spacing.left_s(ended_s + later_s) - max(left_s - later_s, 0)) < 1e-6


@pytest.mark.parametrize(("took_s", "rest_s"), [(0.001, 0.1), (0.04, 0.1), (0.06, 0.12), (1.0, 0.15)])
def test_a_rest_is_no_shorter_than_asked(took_s: float, rest_s: float) -> None:
    spacing = Spacing(REST_RATIO, 0.15, 0.1)
    spacing.ended(5.0, 5.0 + took_s)
    assert spacing.left_s(5.0 + took_s) == pytest.approx(rest_s)


def test_one_slow_piece_of_work_among_short_ones_counts_for_nothing() -> None:
    spacing, rests_s = Spacing(2.0, 1.0, of_last=3), []
    for took_s in (0.01, 0.2, 0.02, 0.3, 0.3, 0.3, 0.02):
        spacing.ended(0.0, took_s)
        rests_s.append(spacing.left_s(took_s))
    assert rests_s == pytest.approx([0.02, 0.02, 0.02, 0.04, 0.04, 0.6, 0.04])


@given(SECONDS, SECONDS, SECONDS)
def test_no_clock_makes_it_wait_longer(started_s: float, ended_s: float, now_s: float) -> None:
    spacing = Spacing(REST_RATIO, MAX_REST_S)
    spacing.ended(started_s, ended_s)
    assert 0 <= spacing.left_s(now_s) <= MAX_REST_S


@pytest.mark.parametrize(("took_s", "a_second"), [(0.006, 56), (0.012, 28), (0.05, 6.7), (0.5, 1.1)])
def test_so_many_transactions_a_second_at_most(took_s: float, a_second: float) -> None:
    """Where records come without a pause: each transaction starts as soon as it may."""
    spacing, now_s, transactions = Spacing(REST_RATIO, MAX_REST_S), 0.0, 0
    while now_s < 10:
        now_s += spacing.left_s(now_s)
        spacing.ended(now_s, now_s + took_s)
        now_s, transactions = now_s + took_s, transactions + 1
    assert transactions == pytest.approx(10 * a_second, rel=0.05, abs=2)
