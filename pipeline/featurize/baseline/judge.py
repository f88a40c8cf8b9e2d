"""A batch of several sensors' flows against their baselines: the columns of `features` that say what is new."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.baseline.coordinates import grid, points_of
from pipeline.featurize.baseline.keys import flow_relations
from pipeline.featurize.baseline.kinds import FAR, deviations
from pipeline.featurize.baseline.phases import LearningTimes
from pipeline.featurize.baseline.sensor_baseline import Baseline, advance, nothing_judged
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.rows import rows_of
from schemas.fields import load

COLUMNS = ("phase", "strangeness", "strange_from", "strange_p", "evidence", "others", "baseline")

Order = npt.NDArray[np.int64]


def has_baselines(feature_set: FeatureSet) -> bool:
    """Whether a set begins with the features that have coordinates."""
    return not feature_set.whole_file and feature_set.names[: FEATURE_SET.width] == FEATURE_SET.names


def judge(
    baselines: Sequence[Baseline],
    times: Sequence[LearningTimes],
    orders: Sequence[Order],
    on_time: int,
    flows: pa.RecordBatch,
    matrix: npt.NDArray[np.float32],
    feature_set: FeatureSet,
) -> tuple[list[Baseline], list[pa.Array]]:
    """Take sensors' flows through their baselines, which are taken over.

    Parameters
    ----------
    baselines, times, orders
        Of each sensor: what is usual there, for how long it learns, and its flows in the order they count.
    on_time
        Flows from this index on are late: they are judged and not learnt.
    flows, matrix, feature_set
        The batch (n flows), their features (n, F), and what these are.

    Returns
    -------
    The new baselines, and COLUMNS in order, n values each; null where the feature set has no coordinates.
    """
    if not has_baselines(feature_set) or not flows.num_rows:
        types = [load("features").field(name).arrow.type for name in COLUMNS]
        return list(baselines), [pa.nulls(flows.num_rows, of_type) for of_type in types]
    relations = flow_relations(flows, rows_of(flows))
    points = points_of(np.ascontiguousarray(matrix[:, : len(grid().centre)]))
    judged, end_us = nothing_judged(flows.num_rows), flows.column("end_ts_us").to_numpy()
    after = [
        advance(baseline, order, order >= on_time, end_us, points, relations, judged, of_sensor)
        for baseline, order, of_sensor in zip(baselines, orders, times, strict=True)
    ]
    seen = judged.seen
    arrays = (
        judged.phase,
        deviations(seen.squares),
        deviations(np.minimum(judged.bound, FAR)),
        judged.p_value,
        seen.evidence,
        seen.others,
        judged.number,
    )
    return after, [pa.array(array) for array in arrays]
