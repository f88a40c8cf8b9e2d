"""One sensor's featurize: flows in, flows in event-time order with their features out, and the state in between."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.flow_features import flow_features
from pipeline.featurize.join import join
from pipeline.featurize.order import MOST_WAITING, NO_WATERMARK, sort_out
from pipeline.featurize.rows import rows_of
from pipeline.featurize.windows import Bounds, Windows, advance_windows, new_windows
from pipeline.wire.batches import matrix_column
from schemas.fields import arrow_schema

BOUNDS = Bounds()
LARGEST = 1e18
"""Features are clipped to [0, LARGEST]: finite as float32, whatever the sensor sent."""


@dataclass(frozen=True, slots=True)
class SensorState:
    """Flows waiting for their turn (`flow` schema, event-time order), the latest end time seen, and the windows.

    `hurried` counts flows that went before their time because too many waited.

    `advance` takes a state over: the windows' arrays of the state it was given are written to.
    """

    waiting: pa.RecordBatch
    latest_us: int
    windows: Windows
    hurried: int = 0

    def gone_on_us(self, lateness_us: int) -> int:
        """The watermark: every flow that ended before it has gone on, and none on time will come."""
        watermark_us = self.latest_us - lateness_us
        if not len(self.waiting):
            return watermark_us
        return min(watermark_us, int(self.waiting.column("end_ts_us")[0].as_py()))  # what waits for its other half

    @classmethod
    def empty(cls) -> "SensorState":
        """The state of a sensor never heard of."""
        schema = arrow_schema("flow")
        return cls(
            pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema),
            NO_WATERMARK,
            new_windows(),
        )


def advance(
    state: SensorState,
    flows: pa.RecordBatch,
    ended: bool,
    lateness_us: int,
    bounds: Bounds = BOUNDS,
    most_waiting: int = MOST_WAITING,
    silent: bool = False,
    window_us: int = 0,
) -> tuple[SensorState, pa.RecordBatch]:
    """Take one sensor's next flows, in raw order, and give back those whose turn has come, with features.

    Parameters
    ----------
    state
        What the sensor's earlier batches left; it is taken over and must not be used again.
    flows
        Batch of the `flow` schema, one sensor's, in raw order; left as it is.
    ended
        The source's end follows these flows: release everything, then forget the windows and the watermark.
    lateness_us
        How far behind the latest end time a flow may come and still be on time.
    window_us
        Within which records of one flow are put together (stitch.py); 0: none are.
    silent
        A tick follows these flows: release everything, and let the watermark rise to the latest end time.

    Returns
    -------
    The new state, and a batch of the `features` schema with the feature matrix last: on-time flows sorted by
    (end_ts_us, record_id, raw position), then late flows in raw order. Values do not depend on how the log is cut
    into batches.
    """
    everything = pa.concat_batches([state.waiting, flows]) if len(state.waiting) else flows
    order = sort_out(
        everything, len(state.waiting), state.latest_us, lateness_us, ended or silent, most_waiting, window_us
    )
    chosen = np.concatenate((order.released, order.late))
    late_by_us = np.zeros(len(chosen), np.int64)
    late_by_us[len(order.released) :] = order.late_by_us
    leaving = rows_at(everything, chosen)
    if len(order.joining):
        leaving = join(leaving, rows_at(everything, order.joining), order.into)
    windows, matrix = _features(state.windows, leaving, len(order.released), order.late_after, bounds)
    columns = [*leaving.columns, pa.array(late_by_us), matrix_column(matrix)]
    rows = pa.RecordBatch.from_arrays(columns, schema=arrow_schema("features", FEATURE_SET.width))
    if ended:
        return SensorState.empty(), rows
    latest_us = order.latest_us
    if silent and len(order.released):  # a second tick finds nothing that waits, and changes nothing
        latest_us = max(latest_us, int(leaving["end_ts_us"][len(order.released) - 1].as_py()) + lateness_us)
    return SensorState(rows_at(everything, order.waiting), latest_us, windows, state.hurried + order.hurried), rows


def rows_at(flows: pa.RecordBatch, places: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """The rows at these places, in this order; where they stand side by side, a view."""
    if len(places) == 0:
        return flows.slice(0, 0)
    first = int(places[0])
    if int(places[-1]) - first + 1 == len(places) and np.array_equal(places, np.arange(first, first + len(places))):
        return flows.slice(first, len(places))
    return flows.take(pa.array(places))


def _features(
    windows: Windows, flows: pa.RecordBatch, on_time: int, late_after: npt.NDArray[np.int64], bounds: Bounds
) -> tuple[Windows, npt.NDArray[np.float32]]:
    """Windows after the flows, and their features (n, F) float32; the first `on_time` flows move the windows, the
    rest only look.
    """
    rows = rows_of(flows)
    sequence = np.insert(np.arange(on_time), late_after, np.arange(on_time, len(flows)))
    windows, out = advance_windows(windows, rows, sequence, sequence >= on_time, bounds)
    own = flow_features(rows)
    matrix = np.empty((len(flows), FEATURE_SET.width), np.float32)
    matrix[:, : own.shape[1]] = own
    matrix[:, own.shape[1] :] = out if len(sequence) == on_time else out[np.argsort(sequence)]
    np.clip(matrix, 0.0, LARGEST, out=matrix)
    return windows, matrix


def featurize_file_rows(
    flows: pa.RecordBatch, lateness_us: int = 0, batch_rows: int = 65_536, window_us: int = 0
) -> pa.RecordBatch:
    """All flows of one sensor, in raw order, with features: what the live path gives, in one batch of the `features`
    schema.
    """
    state, batches = SensorState.empty(), []
    for start in range(0, max(len(flows), 1), batch_rows):
        part = flows.slice(start, batch_rows)
        state, rows = advance(state, part, start + batch_rows >= len(flows), lateness_us, window_us=window_us)
        batches.append(rows)
    return pa.concat_batches(batches)
