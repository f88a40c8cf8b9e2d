"""Flows of one sensor through its baseline, block by block."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.baseline import Phase
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.notices import Notice
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.address_names import forget_unnamed, remember, tidy
from pipeline.featurize.baseline.baseline_notices import notices_of_block
from pipeline.featurize.baseline.coordinates import Points
from pipeline.featurize.baseline.keys import LEARNT, RELATIONS_A_FLOW, FlowRelations
from pipeline.featurize.baseline.learning import (
    BINS,
    BLOCK,
    BLOCK_ENDS_US,
    Judged,
    Seen,
    take,
)
from pipeline.featurize.baseline.phases import await_first, begin, close_block
from pipeline.featurize.baseline.sensor_baseline import Baseline
from schemas.learning import Learning

Order = npt.NDArray[np.int64]


class FlowBatch(NamedTuple):
    """n flows of any sensors as baselines read them: times, points, relations, how many industrial functions each asked
    for, None where none did, and both addresses in words.
    """

    start_us: npt.NDArray[np.int64]
    end_us: npt.NDArray[np.int64]
    points: Points
    relations: FlowRelations
    functions: npt.NDArray[np.int64] | None
    src_addr: pa.Array
    dst_addr: pa.Array


def functions_of(relations: FlowRelations) -> npt.NDArray[np.int64] | None:
    """(n,) for how many industrial functions each flow asked; None where none did."""
    functions = relations.function_end - relations.function_start
    return functions if functions.any() else None


def nothing_judged(rows: int) -> Judged:
    """Room for what baselines say of so many flows."""
    seen = Seen(np.full(rows, of_kinds.FAR, np.int64), np.zeros(rows, np.uint32), np.zeros(rows, np.uint16))
    p_value = np.ones(rows, np.float32)
    return Judged(seen, np.zeros(rows, np.uint8), np.zeros(rows, np.int64), p_value, np.zeros(rows, np.uint32))


def advance(
    baseline: Baseline,
    name: SensorName,
    order: Order,
    late: npt.NDArray[np.bool_],
    flows: FlowBatch,
    judged: Judged,
    learning: Learning,
) -> tuple[Baseline, list[Notice]]:
    """Take flows `order` of a batch, in event-time order, through a sensor's baseline, which is taken over.

    late: (len(order),) flows that are only judged. judged: what is written.
    """
    notices: list[Notice] = []
    if not len(order):
        return baseline, notices
    clock = baseline.clock
    # Late flows stand where they came; they close no block.
    reached_us = flows.end_us[order]
    if late.any():
        reached_us = np.maximum.accumulate(np.where(late, np.iinfo(np.int64).min, reached_us))
    if baseline.phase == Phase.NONE:
        await_first(clock)
    if not baseline.has_begun and not late.all():
        begin(clock, int(flows.end_us[order[~late][0]]), learning)
    start = 0
    while start < len(order):
        stop = int(np.searchsorted(reached_us, clock[BLOCK_ENDS_US])) if baseline.has_begun else len(order)
        stop = max(stop, start)
        if stop > start:
            baseline = _within_block(baseline, order[start:stop], late[start:stop], flows, judged)
        if stop < len(order):
            notices += _close_block(baseline, name, int(reached_us[stop]), learning)
        start = stop
    return baseline, notices


def _close_block(baseline: Baseline, name: SensorName, now_us: int, learning: Learning) -> list[Notice]:
    forget_unnamed(baseline.names, baseline.relations, int(baseline.clock[BLOCK]))
    baseline.histogram[1] = baseline.histogram[0]
    began = close_block(baseline.clock, baseline.blocks, baseline.relations, now_us, learning)
    notices = notices_of_block(baseline, name, began, now_us)
    baseline.kinds.counts[of_kinds.ADDED] = 0
    of_relations.begin_block(baseline.relations)
    tidy(baseline.names, baseline.relations)
    return notices


def _within_block(
    baseline: Baseline, order: Order, late: npt.NDArray[np.bool_], flows: FlowBatch, judged: Judged
) -> Baseline:
    baseline = baseline._replace(kinds=of_kinds.grown(baseline.kinds, len(order)))
    room_to_work = np.empty(LEARNT, np.int64), np.empty(BINS, np.float32)
    taken = new = 0
    while True:
        more, more_new = take(
            order[taken:],
            late[taken:],
            flows.start_us,
            flows.end_us,
            flows.points,
            flows.relations,
            baseline.kinds,
            baseline.relations,
            baseline.clock,
            baseline.histogram,
            judged,
            *room_to_work,
        )
        taken, new = taken + more, new + more_new
        if taken == len(order):
            break
        functions = 0 if flows.functions is None else int(flows.functions[order[taken]])
        keys, block = RELATIONS_A_FLOW + functions, int(baseline.clock[BLOCK])
        baseline = baseline._replace(relations=of_relations.made_ready(baseline.relations, keys, block))
    if new:
        rows = order[(judged.seen.evidence[order] != 0) & ~late]
        room = int(baseline.relations.counts[of_relations.ROOM])
        remember(baseline.names, rows, flows.relations, flows.src_addr, flows.dst_addr, room)
    return baseline
