"""Blocks, the bound, and the phases of learning: they end by themselves, and never while everything is new."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.baseline import Phase
from pipeline.contracts.notices import ANCHORED, LEARNT
from pipeline.featurize.baseline.judge import COLUMNS
from pipeline.featurize.baseline.kinds import FAR, squared
from pipeline.featurize.baseline.learning import BLOCK, BLOCK_ENDS_US, CLOCK
from pipeline.featurize.baseline.phases import (
    HIGHEST_BOUND,
    HISTORY,
    LEAST_ROWS,
    LOWEST_BOUND,
    Blocks,
    await_first,
    begin,
    bound,
    close_block,
    is_known,
    no_blocks,
)
from pipeline.featurize.baseline.relations import no_relations
from schemas.learning import Learning
from tests.examples import examples
from tests.featurize.baseline.plant import QUICK, advanced, columns_of, lived, poll, polls, state_after
from tests.featurize.flows import SECOND, START_US, batch

PHASE, EVIDENCE = COLUMNS.index("phase"), COLUMNS.index("evidence")


def _begins(rows: list[dict[str, Any]], learning: Learning = QUICK) -> dict[Phase, float]:
    """Seconds at which each phase has its first flow."""
    columns, _, _ = lived(rows, learning=learning)
    began: dict[Phase, float] = {}
    for number, row in enumerate(rows):
        began.setdefault(Phase(columns[number][PHASE]), row["at"])
    return began


def test_a_calm_sensor_learns_settles_and_is_anchored_in_its_time() -> None:
    began = _begins(polls(300, every_s=0.5))
    assert list(began) == [Phase.LEARNING, Phase.SETTLING, Phase.ANCHORED]
    longest_block_s = 200 / 16
    assert 60 <= began[Phase.SETTLING] <= 60 + longest_block_s
    assert 200 <= began[Phase.ANCHORED] <= 200 + longest_block_s
    _, notices, _ = lived(polls(300, every_s=0.5))
    assert [notice.kind for notice in notices if notice.kind in (LEARNT, ANCHORED)] == [LEARNT, ANCHORED]


def _hosts(every_s: float, seconds: float, of_new: int) -> list[dict[str, Any]]:
    """Every `of_new`-th flow is of a host that never was before, the others are polls."""
    rows = polls(seconds, every_s)
    for number in range(0, len(rows), of_new):
        rows[number] = poll(rows[number]["at"], f"10.{number >> 8 & 255}.9.{number & 255}", src_mac=None)
    return rows


def test_where_everything_is_new_learning_does_not_end() -> None:
    assert list(_begins(_hosts(1.0, 900, 1))) == [Phase.LEARNING]


def test_where_a_third_is_new_learning_takes_as_long_as_it_may() -> None:
    began = _begins(_hosts(0.5, 300, 3))
    assert 120 <= began[Phase.SETTLING] < 140
    assert began[Phase.ANCHORED] >= 200


def test_a_few_flows_are_not_enough_however_long_they_last() -> None:
    few = _begins(polls((LEAST_ROWS - 1) * 60.0, every_s=60.0))
    assert list(few) == [Phase.LEARNING]
    assert Phase.ANCHORED in _begins(polls((LEAST_ROWS + 2) * 60.0, every_s=60.0))


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(st.integers(1, 1_000), st.integers(0, 100)), min_size=1, max_size=60))
def test_a_sensor_is_known_where_the_median_of_the_last_blocks_is_calm(figures: list[tuple[int, int]]) -> None:
    blocks = no_blocks()
    for number, (rows, percent) in enumerate(figures):
        blocks.rows[number % HISTORY], blocks.strange[number % HISTORY] = rows, rows * percent // 100
    for is_long, most in ((False, 5), (True, 50)):
        shares = [100 * (rows * percent // 100) - most * rows for rows, percent in figures[-8:]]
        assert is_known(blocks, len(figures), is_long) == bool(np.median(shares) <= 0)
        if all(percent > most for _, percent in figures) and all(rows >= 100 for rows, _ in figures):
            assert not is_known(blocks, len(figures), is_long)


@settings(max_examples=examples(40))
@given(st.lists(st.floats(0, 6), min_size=1, max_size=HISTORY), st.integers(1, 200))
def test_nobody_pushes_the_bound_beyond_its_ends(seconds: list[float], closed: int) -> None:
    """Whatever the blocks' second greatest distances are, one nobody has measured among them."""
    second = np.full(HISTORY, FAR)
    second[: len(seconds)] = [squared(distance) for distance in seconds]
    got = bound(Blocks(second, second, second), closed)
    assert squared(LOWEST_BOUND) <= got <= squared(HIGHEST_BOUND)


def test_the_bound_lies_above_what_the_median_block_has_twice() -> None:
    second = np.zeros(HISTORY, np.int64)
    second[:5] = [squared(distance) for distance in (0.1, 1.6, 1.6, 1.6, 5.9)]
    assert abs(bound(Blocks(second, second, second), 5) / squared(1.9) - 1) < 0.01
    assert bound(Blocks(second, second, second), 1) == squared(LOWEST_BOUND)


@pytest.mark.parametrize(("age_s", "block_s"), [(30, 60), (960, 60), (3_200, 200), (14_400, 900), (86_000, 900)])
def test_a_block_is_a_sixteenth_of_what_was_learnt_a_minute_to_a_quarter_of_an_hour(age_s: int, block_s: int) -> None:
    clock, learning = np.zeros(CLOCK, np.int64), Learning()
    await_first(clock)
    begin(clock, START_US, learning)
    now_us = START_US + age_s * SECOND
    assert close_block(clock, no_blocks(), no_relations(), now_us, learning) is None
    assert clock[BLOCK] == 1 and clock[BLOCK_ENDS_US] == now_us + block_s * SECOND


@pytest.mark.parametrize("back_s", [50.0, 5_000.0])
def test_time_that_goes_back_after_an_end_of_source_changes_no_phase(back_s: float) -> None:
    state = state_after(polls(400))
    again = batch(polls(30, start_s=400 - back_s), first_offset=10_000)
    state, rows, _ = advanced(state, again, ended=True)
    assert {(said[PHASE], said[EVIDENCE]) for said in columns_of(rows).values()} == {(Phase.ANCHORED, 0)}
    state, rows, _ = advanced(state, batch(polls(300, start_s=420.0), first_offset=20_000), ended=True)
    assert {said[PHASE] for said in columns_of(rows).values()} == {Phase.ANCHORED}
