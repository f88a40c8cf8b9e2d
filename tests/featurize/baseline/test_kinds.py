"""Kinds of flow: the nearest of them, what begins one, and what a flood of them does."""

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline.coordinates import MOST_STEPS, WIDTH
from pipeline.featurize.baseline.kinds import (
    ADDED,
    ADDITIONS,
    FAR,
    FEATURES,
    MOST_KINDS,
    RADIUS,
    TURNED_AWAY,
    USED,
    USUAL_KINDS,
    Kinds,
    deviations,
    grown,
    learn,
    nearest_usual,
    no_kinds,
    squared,
    squares,
)
from pipeline.featurize.baseline.recurrence import BLOCKS, CELLS, USUAL
from tests.examples import examples


def _points(count: int, seed: int, reach: int = MOST_STEPS) -> npt.NDArray[np.int8]:
    points = np.zeros((count, WIDTH), np.int8)
    points[:, :FEATURES] = np.random.default_rng(seed).integers(-reach, reach + 1, (count, FEATURES))
    return points


def _kinds(points: npt.NDArray[np.int8], usual: int) -> Kinds:
    cells = np.zeros((len(points), CELLS), np.int32)
    cells[:usual, USUAL] = 1
    return Kinds(points, cells, np.array([len(points), usual, 0, 0]))


def _sum(one: npt.NDArray[np.int8], other: npt.NDArray[np.int8]) -> int:
    return int(((one.astype(np.int64) - other.astype(np.int64)) ** 2).sum())


@settings(max_examples=examples(30))
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 5, MOST_STEPS]))
def test_a_distance_is_that_of_plain_arithmetic(seed: int, reach: int) -> None:
    points = _points(5, seed, reach)
    for kind in range(4):
        assert squares(points, kind, points[4]) == _sum(points[kind], points[4])


def test_the_farthest_points_do_not_overflow() -> None:
    points = np.full((2, WIDTH), MOST_STEPS, np.int8)
    points[1] = -MOST_STEPS
    assert squares(points, 0, points[1]) == WIDTH * (2 * MOST_STEPS) ** 2 < FAR


@settings(max_examples=examples(30))
@given(st.integers(0, 2**32), st.integers(0, 20), st.integers(-1, 20))
def test_the_nearest_usual_kind_is_found_wherever_the_search_begins(seed: int, usual: int, last: int) -> None:
    points = _points(20, seed, 30)
    row = _points(1, seed + 1, 30)[0]
    got = nearest_usual(_kinds(points, usual), row, last)
    nearest = min((_sum(points[kind], row) for kind in range(usual)), default=FAR)
    assert got == (nearest, -1), "points so far apart are of no kind"
    near = points[usual - 1].copy()
    near[0] += 3
    if usual:
        assert nearest_usual(_kinds(points, usual), near, last) == (9, usual - 1)


def test_a_distance_in_deviations_there_and_back() -> None:
    assert squared(1.0) == FEATURES * 400 and squared(0.25) == RADIUS
    assert deviations(np.array([squared(1.5), FAR])).tolist() == [1.5, np.inf]


def test_a_kind_is_usual_once_it_came_back() -> None:
    kinds, row = no_kinds(), _points(1, 1)[0]
    for block, now_s in ((0, 0), (0, 50), (3, 300)):
        assert learn(kinds, row, -1, block, now_s, 3, 600, False) == 0
        assert kinds.counts[USUAL_KINDS] == 0
    assert learn(kinds, row, -1, 4, 599, 3, 600, False) == 0 and kinds.counts[USUAL_KINDS] == 0, "too soon"
    assert learn(kinds, row, -1, 4, 600, 3, 600, False) == 0 and kinds.counts[USUAL_KINDS] == 1
    assert kinds.cells[0, BLOCKS] == 3


def test_usual_kinds_come_first() -> None:
    kinds, rows = no_kinds(), _points(6, 2)
    for row in rows:
        learn(kinds, row, -1, 0, 0, 2, 0, False)
    assert learn(kinds, rows[4], -1, 1, 1, 2, 0, False) == 0
    assert kinds.points[0].tolist() == rows[4].tolist() and kinds.points[4].tolist() == rows[0].tolist()
    assert nearest_usual(kinds, rows[4], -1) == (0, 0) and nearest_usual(kinds, rows[0], 4)[1] == -1


def _flood(kinds: Kinds, block: int, count: int, seed: int) -> Kinds:
    kinds = grown(kinds, count)
    for row in _points(count, seed):
        learn(kinds, row, nearest_usual(kinds, row, -1)[1], block, 1_000 + block, 3, 600, False)
    return kinds


def test_a_flood_displaces_no_usual_kind_and_none_of_its_block() -> None:
    usual = _points(60, 3)
    kinds = no_kinds()
    for block in range(3):
        kinds = grown(kinds, len(usual))
        for row in usual:
            learn(kinds, row, nearest_usual(kinds, row, -1)[1], block, 400 * block, 3, 600, False)
    assert kinds.counts[USUAL_KINDS] == 60
    kept = kinds.points[:60].copy()
    for block in range(3, 12):
        kinds.counts[ADDED] = 0
        kinds = _flood(kinds, block, 2_000, 100 + block)
        assert kinds.counts[ADDED] == ADDITIONS
        # What is of this block already stays: the table's last additions are the block's first.
        first = _points(2_000, 100 + block)[0]
        assert (kinds.points[60 : int(kinds.counts[USED])] == first).all(axis=1).any()
    assert (kinds.points[:60] == kept).all() and kinds.counts[USUAL_KINDS] == 60
    assert kinds.counts[USED] == MOST_KINDS == len(kinds.points)
    assert kinds.counts[TURNED_AWAY] == 9 * (2_000 - ADDITIONS)


def test_when_all_kinds_are_usual_new_ones_are_turned_away() -> None:
    points = _points(MOST_KINDS, 5)
    kinds = Kinds(points, np.zeros((MOST_KINDS, CELLS), np.int32), np.zeros(4, np.int64))
    for block in range(2):
        for start in range(0, MOST_KINDS, ADDITIONS):
            kinds.counts[ADDED] = 0
            for row in points[start : start + ADDITIONS].copy():
                learn(kinds, row, nearest_usual(kinds, row, -1)[1], block, block, 2, 0, False)
    assert kinds.counts[USED] == MOST_KINDS
    assert kinds.counts[USUAL_KINDS] == of_kinds.MOST_USUAL, "what has not come back yet needs room as well"
    kinds.counts[ADDED] = 0
    for row in _points(300, 6):
        learn(kinds, row, -1, 2, 2, 2, 0, False)
    assert kinds.counts[USUAL_KINDS] == of_kinds.MOST_USUAL
    assert kinds.counts[ADDED] == MOST_KINDS - of_kinds.MOST_USUAL == ADDITIONS
