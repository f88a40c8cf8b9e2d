"""The baseline of one sensor: its state, and what it says of the flows that come."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.coordinates import Points
from pipeline.featurize.baseline.keys import FlowRelations
from pipeline.featurize.baseline.kinds import Kinds, no_kinds
from pipeline.featurize.baseline.learning import BINS, BLOCK_ENDS_US, BOUND, CLOCK, NUMBER, PHASE, Seen, bins_of, take
from pipeline.featurize.baseline.phases import Blocks, LearningTimes, begin, close_block, no_blocks
from pipeline.featurize.baseline.relations import Relations, no_relations

RELATIONS_A_FLOW = 12
"""Most relations a flow adds, its functions aside."""


class Baseline(NamedTuple):
    """What is usual at one sensor; `advance` writes to the arrays.

    clock (CLOCK,), see learning.py; histogram (2, BINS): strangeness of the flows while it settled, up to now and up to
    the end of the last block.
    """

    clock: npt.NDArray[np.int64]
    blocks: Blocks
    histogram: npt.NDArray[np.int64]
    kinds: Kinds
    relations: Relations

    @property
    def has_begun(self) -> bool:
        """Whether a flow was learnt."""
        return bool(self.clock[BLOCK_ENDS_US])

    def p_values(self) -> npt.NDArray[np.float32]:
        """(BINS,) float32: share of the flows while the sensor settled that were at least so strange; never 0."""
        farther = self.histogram[1, ::-1].cumsum()[::-1]
        shares: npt.NDArray[np.float32] = ((farther + 1) / (farther[0] + 1)).astype(np.float32)
        return shares


class Judged(NamedTuple):
    """What a baseline says of n flows, (n,) each."""

    seen: Seen
    phase: npt.NDArray[np.uint8]
    bound: npt.NDArray[np.int64]
    p_value: npt.NDArray[np.float32]
    number: npt.NDArray[np.uint32]


def no_baseline() -> Baseline:
    """The baseline of a sensor that has sent nothing."""
    return Baseline(np.zeros(CLOCK, np.int64), no_blocks(), np.zeros((2, BINS), np.int64), no_kinds(), no_relations())


def nothing_judged(rows: int) -> Judged:
    """Room for what baselines say of so many flows."""
    seen = Seen(np.full(rows, of_kinds.FAR, np.int64), np.zeros(rows, np.uint32), np.zeros(rows, np.uint16))
    p_value = np.ones(rows, np.float32)
    return Judged(seen, np.zeros(rows, np.uint8), np.zeros(rows, np.int64), p_value, np.zeros(rows, np.uint32))


def advance(
    baseline: Baseline,
    order: npt.NDArray[np.int64],
    late: npt.NDArray[np.bool_],
    end_us: npt.NDArray[np.int64],
    points: Points,
    flow: FlowRelations,
    judged: Judged,
    times: LearningTimes,
) -> Baseline:
    """Take flows `order` of a batch, in event-time order, through the baseline, which is taken over.

    late: (len(order),) flows that are only judged. end_us, points, flow: of the whole batch. judged: what is written.
    """
    if not len(order):
        return baseline
    clock = baseline.clock
    # Late flows stand where they came; they close no block.
    reached_us = np.maximum.accumulate(np.where(late, np.iinfo(np.int64).min, end_us[order]))
    start = 0
    if clock[BLOCK_ENDS_US] == 0 and not late.all():
        begin(clock, int(end_us[order[~late][0]]), times)
    while start < len(order):
        stop = int(np.searchsorted(reached_us, clock[BLOCK_ENDS_US])) if clock[BLOCK_ENDS_US] else len(order)
        stop = max(stop, start)
        if stop > start:
            baseline = _within_block(baseline, order[start:stop], late[start:stop], end_us, points, flow, judged)
        if stop < len(order):
            baseline.histogram[1] = baseline.histogram[0]
            close_block(clock, baseline.blocks, baseline.kinds, baseline.relations, int(reached_us[stop]), times)
        start = stop
    return baseline


def _within_block(
    baseline: Baseline,
    order: npt.NDArray[np.int64],
    late: npt.NDArray[np.bool_],
    end_us: npt.NDArray[np.int64],
    points: Points,
    flow: FlowRelations,
    judged: Judged,
) -> Baseline:
    functions = int((flow.function_end[order] - flow.function_start[order]).sum())
    baseline = baseline._replace(
        kinds=of_kinds.grown(baseline.kinds, len(order)),
        relations=of_relations.grown(baseline.relations, RELATIONS_A_FLOW * len(order) + functions),
    )
    clock = baseline.clock
    judged.phase[order], judged.bound[order], judged.number[order] = clock[PHASE], clock[BOUND], clock[NUMBER]
    take(
        order, late, end_us, points, flow, baseline.kinds, baseline.relations, clock, baseline.histogram[0], judged.seen
    )
    judged.p_value[order] = baseline.p_values()[bins_of(judged.seen.squares[order])]
    return baseline
