"""A batch of several sensors' flows against their baselines: the columns of `features` that say what is new."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.envelope import SensorName
from pipeline.contracts.notices import Notice
from pipeline.featurize.baseline.advance import FlowBatch, advance, functions_of, nothing_judged
from pipeline.featurize.baseline.coordinates import grid, points_of
from pipeline.featurize.baseline.keys import flow_relations
from pipeline.featurize.baseline.kinds import FAR, deviations
from pipeline.featurize.baseline.sensor_baseline import Baseline
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.rows import Rows, rows_of
from schemas.fields import load
from schemas.learning import Learning

COLUMNS = ("phase", "strangeness", "strange_from", "strange_p", "evidence", "others", "baseline")

Order = npt.NDArray[np.int64]


class SensorBaseline(NamedTuple):
    """One sensor's baseline, its name, and for how long it learns."""

    baseline: Baseline
    name: SensorName
    learning: Learning


def has_baselines(feature_set: FeatureSet) -> bool:
    """Whether a set begins with the features that have coordinates."""
    return not feature_set.whole_file and feature_set.names[: FEATURE_SET.width] == FEATURE_SET.names


def flow_batch(flows: pa.RecordBatch, matrix: npt.NDArray[np.float32], rows: Rows | None = None) -> FlowBatch:
    """N flows with their features (n, F) as baselines read them; rows: their `rows_of`, where it is at hand."""
    relations = flow_relations(flows, rows_of(flows) if rows is None else rows)
    return FlowBatch(
        flows.column("start_ts_us").to_numpy(),
        flows.column("end_ts_us").to_numpy(),
        points_of(np.ascontiguousarray(matrix[:, : len(grid().centre)])),
        relations,
        functions_of(relations),
        flows.column("src_addr"),
        flows.column("dst_addr"),
    )


def judge(
    sensors: Sequence[SensorBaseline],
    orders: Sequence[Order],
    late: npt.NDArray[np.bool_],
    flows: pa.RecordBatch,
    rows: Rows | None,
    matrix: npt.NDArray[np.float32],
    feature_set: FeatureSet,
) -> tuple[list[Baseline], list[pa.Array], list[list[Notice]]]:
    """Take sensors' flows through their baselines, which are taken over.

    Parameters
    ----------
    sensors, orders
        Of each sensor: what is usual there, and its flows in the order they count.
    late
        (n,) flows that are judged and not learnt.
    flows, rows, matrix, feature_set
        The batch (n flows), its `rows_of` where it is at hand, their features (n, F), and what these are.

    Returns
    -------
    The new baselines; COLUMNS in order, n values each, null where the feature set has no coordinates; and the notices
    of each sensor.
    """
    if not has_baselines(feature_set) or not flows.num_rows:
        types = [load("features").field(name).arrow.type for name in COLUMNS]
        nothing = [pa.nulls(flows.num_rows, of_type) for of_type in types]
        return [sensor.baseline for sensor in sensors], nothing, [[] for _ in sensors]
    batch = flow_batch(flows, matrix, rows)
    judged = nothing_judged(flows.num_rows)
    after, notices = list[Baseline](), list[list[Notice]]()
    for sensor, order in zip(sensors, orders, strict=True):
        baseline, of_sensor = advance(sensor.baseline, sensor.name, order, late[order], batch, judged, sensor.learning)
        after.append(baseline)
        notices.append(of_sensor)
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
    return after, [pa.array(array) for array in arrays], notices
