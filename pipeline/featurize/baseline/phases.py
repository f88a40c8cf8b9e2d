"""Blocks of event time and the phases of learning: what changes when a block closes.

A block is a sixteenth of the baseline's age, at least a minute and at most a quarter of an hour: what comes back in
several blocks came back in stretches that matter at that age.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.contracts.baseline import Phase
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.kinds import FAR, Kinds, squared
from pipeline.featurize.baseline.learning import (
    BEGAN_US,
    BLOCK,
    BLOCK_ENDS_US,
    BLOCK_ROWS,
    BLOCK_STRANGE,
    BOUND,
    HIGHEST,
    LEAST_BLOCKS,
    LEAST_SPAN_S,
    NUMBER,
    PHASE,
    ROWS,
    SECOND,
    SINCE_US,
)
from pipeline.featurize.baseline.relations import Relations
from pipeline.settings import Settings
from schemas.learning import Learning

HOUR_US = 3_600_000_000
LONGEST_US = HOUR_US // 4
HISTORY = 24
"""Blocks whose figures are remembered."""
LEAST_ROWS = 100
"""With fewer flows nothing can have come back often enough to be told from what did not."""
CALM_PERCENT = 5
"""A block is calm where at most so many of its flows are strange."""
UNKNOWN_PERCENT = 20
"""A sensor of which more is strange does not end learning, however long it lasts: nobody could read its alerts."""
LOWEST_BOUND, HIGHEST_BOUND = 1.75, 2.1
"""Fixed ends of the bound, in deviations, measured on networks of several kinds: nobody can push it beyond them."""
ABOVE_USUAL = 0.3
"""The bound's distance above the median of the blocks' second highest strangeness."""


@dataclass(frozen=True, slots=True)
class LearningTimes:
    """Event time a sensor learns for (schemas/learning.py), in microseconds."""

    least_us: int
    most_us: int
    anchor_us: int
    admit_us: int
    shortest_block_us: int

    @classmethod
    def of(cls, learning: Learning) -> "LearningTimes":
        """As it is set."""
        seconds = (
            learning.least_s,
            learning.most_s,
            learning.anchor_s,
            learning.admit_s,
            learning.shortest_block_s,
        )
        return cls(*(1_000_000 * each for each in seconds))


def times_of(settings: Settings) -> Callable[[str], LearningTimes]:
    """For how long the sensors of a site learn."""
    return lambda site: LearningTimes.of(settings.learning_of(site))


SHIPPED_TIMES = LearningTimes.of(Learning())


class Blocks(NamedTuple):
    """Figures of the last blocks, ring by block number: (HISTORY,) flows, strange ones, second greatest distance."""

    rows: npt.NDArray[np.int64]
    strange: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]


def no_blocks() -> Blocks:
    """No block has closed."""
    return Blocks(*np.zeros((3, HISTORY), np.int64))


def begin(clock: npt.NDArray[np.int64], now_us: int, times: LearningTimes) -> None:
    """Begin a baseline with its first flow."""
    clock[BEGAN_US] = clock[SINCE_US] = now_us
    clock[PHASE], clock[BOUND], clock[LEAST_BLOCKS] = Phase.LEARNING, FAR + 1, 3
    clock[BLOCK_ENDS_US] = now_us + times.shortest_block_us


def close_block(
    clock: npt.NDArray[np.int64], blocks: Blocks, kinds: Kinds, relations: Relations, now_us: int, times: LearningTimes
) -> None:
    """Close the block that ended before `now_us`, the end of the first flow after it, and begin the next."""
    at = int(clock[BLOCK]) % HISTORY
    blocks.rows[at], blocks.strange[at], blocks.second[at] = clock[BLOCK_ROWS], clock[BLOCK_STRANGE], clock[SECOND]
    age_us = now_us - int(clock[BEGAN_US])
    _advance_phase(clock, blocks, age_us, now_us, times)
    length_us = min(max(times.shortest_block_us, age_us // 16), LONGEST_US)
    clock[BLOCK] += 1
    clock[BLOCK_ENDS_US] = now_us + length_us
    is_anchored = clock[PHASE] == Phase.ANCHORED
    clock[LEAST_SPAN_S] = (times.admit_us if is_anchored else min(age_us // 10, times.admit_us)) // 1_000_000
    clock[[BLOCK_ROWS, BLOCK_STRANGE, HIGHEST, SECOND]] = 0
    kinds.counts[of_kinds.ADDED] = relations.counts[of_relations.ADDED] = 0


def _advance_phase(
    clock: npt.NDArray[np.int64], blocks: Blocks, age_us: int, now_us: int, times: LearningTimes
) -> None:
    phase = Phase(int(clock[PHASE]))
    if phase != Phase.LEARNING:
        clock[BOUND] = bound(blocks, int(clock[BLOCK]) + 1)
    closed = int(clock[BLOCK]) + 1
    has_seen_enough = age_us >= times.least_us and clock[ROWS] >= LEAST_ROWS
    if phase == Phase.LEARNING and has_seen_enough and is_known(blocks, closed, age_us >= times.most_us):
        phase = Phase.SETTLING
        clock[BOUND] = bound(blocks, closed)
    if phase == Phase.SETTLING and age_us >= times.anchor_us:
        phase = Phase.ANCHORED
    if phase != clock[PHASE]:
        clock[PHASE], clock[SINCE_US] = phase, now_us
        clock[NUMBER] += 1


def _last(blocks: Blocks, closed: int) -> slice:
    return slice(0, min(closed, HISTORY))


def is_known(blocks: Blocks, closed: int, is_long: bool) -> bool:
    """Whether in the median block at most CALM_PERCENT of the flows were strange; UNKNOWN_PERCENT after long."""
    percent, last = UNKNOWN_PERCENT if is_long else CALM_PERCENT, _last(blocks, closed)
    return bool(np.median(100 * blocks.strange[last] - percent * blocks.rows[last]) <= 0)


def bound(blocks: Blocks, closed: int) -> int:
    """Sum of squares from which on a flow is strange: a little above what the median block has twice."""
    second = np.sort(blocks.second[_last(blocks, closed)])
    median = int(second[(len(second) - 1) // 2])
    distance = float(of_kinds.deviations(np.array([median]))[0]) + ABOVE_USUAL
    return squared(min(max(distance, LOWEST_BOUND), HIGHEST_BOUND))
