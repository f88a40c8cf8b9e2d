"""Transactions take half of the time at most, and a record that comes late enough waits for nothing."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.transaction_spacing import MAX_REST_S, TransactionSpacing

SECONDS = st.floats(0, 1e6)
SHORT = st.floats(0, 1)


@given(st.floats(0.1, 1e6), SHORT, SHORT)
def test_a_rest_is_as_long_as_the_transaction_and_bounded(started_s: float, took_s: float, later_s: float) -> None:
    spacing, ended_s = TransactionSpacing(), started_s + took_s
    assert spacing.left_s(started_s) == 0, "the first waits for nothing"
    spacing.ended(started_s, ended_s)
    left_s = spacing.left_s(ended_s)
    assert 0 <= left_s <= MAX_REST_S
    assert abs(left_s - min(took_s, MAX_REST_S)) < 1e-6
    assert abs(spacing.left_s(ended_s + later_s) - max(left_s - later_s, 0)) < 1e-6


@given(SECONDS, SECONDS, SECONDS)
def test_no_clock_makes_it_wait_longer(started_s: float, ended_s: float, now_s: float) -> None:
    spacing = TransactionSpacing()
    spacing.ended(started_s, ended_s)
    assert 0 <= spacing.left_s(now_s) <= MAX_REST_S
