"""A baseline from a stretch that a person calls quiet: anchored where it ends, whatever its length."""

import numpy as np
import pyarrow as pa

from pipeline.contracts.envelope import SensorName
from pipeline.featurize.baseline import kinds as of_kinds
from pipeline.featurize.baseline import relations as of_relations
from pipeline.featurize.baseline.advance import advance, nothing_judged
from pipeline.featurize.baseline.judge import flow_batch
from pipeline.featurize.baseline.learning import (
    BEGAN_US,
    BINS,
    BLOCK_ENDS_US,
    LAST_US,
    LEARNS_SINCE_US,
    LEARNT_US,
    SINCE_US,
    Judged,
    bins_of,
)
from pipeline.featurize.baseline.phases import anchor
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.runtime.wire.batches import matrix
from schemas.fields import arrow_schema
from schemas.learning import SHIPPED_LEARNING, Learning

SECOND_US = 1_000_000
SHORTEST_BLOCKS = 96
"""A block is this part of a stretch, and no longer than it is set: what came back came back in parts that matter to it.
On captures of 6 minutes to 1.5 hours such blocks separated attacks from what is usual."""
NOBODY: SensorName = ("", "")


def learning_in(learning: Learning, span_us: int) -> Learning:
    """How a stretch of that length is learnt."""
    shortest_s = max(1, span_us // SECOND_US // SHORTEST_BLOCKS)
    return learning.model_copy(update={"shortest_block_s": min(learning.shortest_block_s, shortest_s)})


def moved(baseline: Baseline, by_us: int) -> Baseline:
    """The baseline as if everything it has learnt had come so much later; taken over."""
    baseline.clock[[BEGAN_US, BLOCK_ENDS_US, SINCE_US, LEARNS_SINCE_US, LEARNT_US, LAST_US]] += by_us
    return baseline


def anchored(baseline: Baseline, rows: pa.RecordBatch, now_us: int, learning: Learning) -> Baseline:
    """The baseline fixed at `now_us`, behind its rows (schema `features`); taken over.

    P-values are those of these rows: they are what settled.
    """
    anchor(baseline.clock, baseline.blocks, baseline.relations, now_us, learning)
    baseline.kinds.counts[of_kinds.ADDED] = 0
    of_relations.begin_block(baseline.relations)
    squares = judged_again(baseline, rows).seen.squares
    baseline.histogram[:] = np.bincount(bins_of(squares), minlength=BINS)
    return baseline


def judged_again(baseline: Baseline, rows: pa.RecordBatch) -> Judged:
    """What a baseline says of rows (schema `features`) now, all at once; nothing is learnt."""
    flows = rows.select(arrow_schema("flow").names)
    judged, order = nothing_judged(rows.num_rows), np.arange(rows.num_rows)
    late = np.ones(rows.num_rows, np.bool_)
    advance(baseline, NOBODY, order, late, flow_batch(flows, matrix(rows)), judged, SHIPPED_LEARNING)
    return judged
