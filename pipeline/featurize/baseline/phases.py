"""Blocks of event time and the phases of learning: what changes when a block closes.

A block is a sixteenth of the time learnt so far, at least a minute and at most a quarter of an hour: what comes back in
several blocks came back in stretches that matter at that age.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.contracts.baseline import Phase
from pipeline.contracts.sensor_retention import SENSOR_RETENTION_US
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline.change import count_absence, extension, is_present, is_replaced, news
from pipeline.featurize.baseline.kinds import FAR, squared
from pipeline.featurize.baseline.learning import (
    BEGAN_US,
    BLOCK,
    BLOCK_ENDS_US,
    BLOCK_ROWS,
    BLOCK_STRANGE,
    BOUND,
    CHANGING_BLOCKS,
    EXTENDED_BLOCKS,
    HIGHEST,
    LAST_US,
    LEARNS_SINCE_US,
    LEARNT_US,
    LEAST_BLOCKS,
    LEAST_SPAN_S,
    NEWS,
    PHASE,
    PRESENT_S,
    RESUMED_S,
    ROWS,
    SECOND,
    SINCE_US,
    UNHEARD_US,
    seconds,
)
from pipeline.featurize.baseline.relations import Relations
from schemas.learning import Learning

HOUR_US = 3_600_000_000
LONGEST_US = HOUR_US // 4
HISTORY = 24
"""Blocks whose figures are remembered."""
RECENT = 8
"""The last blocks that say whether a sensor is calm: half of the time learnt, as long as blocks grow."""
LEAST_ROWS = 100
"""With fewer flows nothing can have come back often enough to differ from what did not."""
CALM_PERCENT = 5
"""A block is calm where at most so many of its flows are strange."""
UNKNOWN_PERCENT = 50
"""A sensor of which more is strange does not end learning, however long it lasts: nobody could read its alerts."""
LOWEST_BOUND, HIGHEST_BOUND = 1.75, 2.1
"""Fixed ends of the bound, in deviations, measured on networks of several kinds: nobody can push it beyond them."""
ABOVE_USUAL = 0.3
"""The bound's distance above the median of the blocks' second highest strangeness."""
CHANGED_AFTER = 3
"""So many blocks in a row, 45 minutes at most, that are another plant's are a changed plant."""


class Blocks(NamedTuple):
    """Figures of the last blocks, ring by block number: (HISTORY,) flows, strange ones, second greatest distance."""

    rows: npt.NDArray[np.int64]
    strange: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]


def no_blocks() -> Blocks:
    """No block has closed."""
    return Blocks(*np.zeros((3, HISTORY), np.int64))


def await_first(clock: npt.NDArray[np.int64]) -> None:
    """Learn from the next flow on time: late ones that come before it are judged alike, whatever batch they are in."""
    clock[PHASE], clock[BOUND], clock[LEAST_BLOCKS] = Phase.LEARNING, FAR + 1, 3


def begin(clock: npt.NDArray[np.int64], now_us: int, learning: Learning) -> None:
    """Begin a baseline with its first flow on time."""
    clock[BEGAN_US] = clock[SINCE_US] = clock[LEARNS_SINCE_US] = clock[LAST_US] = now_us
    clock[BLOCK_ENDS_US] = now_us + 1_000_000 * learning.shortest_block_s


def close_block(
    clock: npt.NDArray[np.int64], blocks: Blocks, relations: Relations, now_us: int, learning: Learning
) -> Phase | None:
    """Close the block that ended before `now_us`, the end of the first flow after it, and begin the next.

    Returns the phase that begins, or None where none does.
    """
    at = int(clock[BLOCK]) % HISTORY
    blocks.rows[at], blocks.strange[at], blocks.second[at] = clock[BLOCK_ROWS], clock[BLOCK_STRANGE], clock[SECOND]
    _compare_with_plant(clock, relations)
    before = int(clock[PHASE])
    if (idle_us := now_us - int(clock[LAST_US])) > SENSOR_RETENTION_US:
        clock[UNHEARD_US] += idle_us
    _advance_phase(clock, blocks, now_us, learning)
    if clock[PHASE] == Phase.ANCHORED != before:
        count_absence(relations, seconds(clock, int(clock[LAST_US])), int(clock[RESUMED_S]))
    age_us = learnt_us(clock, now_us)
    clock[NEWS] = news(relations, seconds(clock, now_us), age_us // 1_000_000)
    clock[BLOCK] += 1
    clock[BLOCK_ENDS_US] = now_us + min(max(1_000_000 * learning.shortest_block_s, age_us // 16), LONGEST_US)
    is_anchored = clock[PHASE] == Phase.ANCHORED
    clock[LEAST_SPAN_S] = learning.admit_s if is_anchored else min(age_us // 10_000_000, learning.admit_s)
    clock[[BLOCK_ROWS, BLOCK_STRANGE, HIGHEST, SECOND]] = 0
    return Phase(int(clock[PHASE])) if clock[PHASE] != before else None


def _compare_with_plant(clock: npt.NDArray[np.int64], relations: Relations) -> None:
    """Note whether the block that closes was the plant's, another's, or more than the plant's."""
    block, rows, strange, present_s = clock[[BLOCK, BLOCK_ROWS, BLOCK_STRANGE, PRESENT_S]].tolist()
    is_another = is_replaced(relations, rows, strange, present_s)
    clock[CHANGING_BLOCKS] = clock[CHANGING_BLOCKS] + 1 if is_another else 0
    if not is_another and is_present(relations, present_s):
        clock[PRESENT_S] = seconds(clock, int(clock[LAST_US]))
    is_more = not is_another and len(extension(relations, block)) > 0
    clock[EXTENDED_BLOCKS] = clock[EXTENDED_BLOCKS] + 1 if is_more else 0


def learnt_us(clock: npt.NDArray[np.int64], now_us: int) -> int:
    """For how long everything has been learnt; a weekend without a flow does not count, a night does."""
    return now_us - int(clock[LEARNS_SINCE_US]) - int(clock[UNHEARD_US])


def _advance_phase(clock: npt.NDArray[np.int64], blocks: Blocks, now_us: int, learning: Learning) -> None:
    phase = Phase(int(clock[PHASE]))
    age_us, closed = learnt_us(clock, now_us), int(clock[BLOCK]) + 1
    is_learning = phase in (Phase.LEARNING, Phase.CHANGED)
    has_seen_enough = age_us >= 1_000_000 * learning.least_s and clock[ROWS] >= LEAST_ROWS
    if not is_learning:
        clock[BOUND] = bound(blocks, closed)
    if is_learning and has_seen_enough and is_known(blocks, closed, age_us >= 1_000_000 * learning.most_s):
        phase = Phase.SETTLING
        clock[BOUND], clock[LEARNT_US] = bound(blocks, closed), now_us
    if phase == Phase.SETTLING and age_us >= 1_000_000 * learning.anchor_s:
        phase = Phase.ANCHORED
    elif phase == Phase.ANCHORED and clock[CHANGING_BLOCKS] >= CHANGED_AFTER:
        phase = Phase.CHANGED
        clock[BOUND], clock[ROWS], clock[LEARNS_SINCE_US] = squared(HIGHEST_BOUND), 0, now_us
        clock[UNHEARD_US] = 0
    if phase != clock[PHASE]:
        clock[PHASE], clock[SINCE_US] = phase, now_us


def anchor(clock: npt.NDArray[np.int64], blocks: Blocks, relations: Relations, now_us: int, learning: Learning) -> None:
    """Close the block at `now_us` and fix the baseline as it is, whatever it has learnt."""
    close_block(clock, blocks, relations, now_us, learning)
    if clock[PHASE] == Phase.ANCHORED:
        return
    clock[PHASE], clock[SINCE_US], clock[LEAST_SPAN_S] = Phase.ANCHORED, now_us, learning.admit_s
    clock[LEARNT_US] = clock[LEARNT_US] or now_us
    clock[BOUND] = bound(blocks, int(clock[BLOCK]))
    count_absence(relations, seconds(clock, int(clock[LAST_US])), int(clock[RESUMED_S]))


def is_known(blocks: Blocks, closed: int, is_long: bool) -> bool:
    """Whether in the median block at most CALM_PERCENT of the flows were strange; UNKNOWN_PERCENT after long."""
    percent = UNKNOWN_PERCENT if is_long else CALM_PERCENT
    last = np.arange(max(closed - RECENT, 0), closed) % HISTORY
    return bool(np.median(100 * blocks.strange[last] - percent * blocks.rows[last]) <= 0)


def bound(blocks: Blocks, closed: int) -> int:
    """Sum of squares from which on a flow is strange: a little above what the median block has twice."""
    second = np.sort(blocks.second[: min(closed, HISTORY)])
    median = int(second[(len(second) - 1) // 2])
    distance = float(of_kinds.deviations(np.array([median]))[0]) + ABOVE_USUAL
    return squared(min(max(distance, LOWEST_BOUND), HIGHEST_BOUND))
