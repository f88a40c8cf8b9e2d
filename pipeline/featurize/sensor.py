"""Sensors' featurize: flows in, flows in event-time order with their features out, and the state in between.

What costs the same for few rows as for many (columns gathered, made into arrays, into features) is done once for all
sensors of a message; only order and windows are computed sensor by sensor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.notices import Notice
from pipeline.featurize.baseline.judge import SensorBaseline, judge
from pipeline.featurize.baseline.sensor_baseline import Baseline, no_baseline
from pipeline.featurize.computations import COMPUTATIONS
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.flow_features import LARGEST
from pipeline.featurize.ordering import pairing
from pipeline.featurize.ordering.buffer import Keys, Pool, Waiting, keys_of, waiting_in
from pipeline.featurize.ordering.merge import merge_records
from pipeline.featurize.ordering.reorder import MAX_WAITING, NO_WATERMARK, Order, reorder
from pipeline.featurize.rows import Rows
from pipeline.featurize.windows.bounded_tables import Bounds
from pipeline.featurize.windows.calendars import NO_CALENDARS, Calendars
from pipeline.runtime.wire.batches import matrix_column
from schemas.fields import arrow_schema
from schemas.learning import SHIPPED_LEARNING, Learning

__all__ = [
    "BOUNDS",
    "LARGEST",
    "SensorInput",
    "SensorState",
    "advance",
    "advance_sensors",
    "featurize_file",
    "featurize_file_rows",
]

BOUNDS = Bounds()
ANY_LATENESS_US = 1 << 60

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SensorState:
    """Flows that wait, the latest end time seen, the windows the feature set needs, by calendar, and what is usual.

    `released_early` counts flows released before the watermark had passed them, because too many waited.

    `advance` takes a state over: the windows' arrays of the state it was given are written to.
    """

    waiting: Waiting
    latest_us: int
    windows: Mapping[str, Any]
    released_early: int = 0
    feature_set: FeatureSet = FEATURE_SET
    baseline: Baseline = field(default_factory=no_baseline)

    @property
    def is_idle(self) -> bool:
        """Whether no flow came since the source ended or the sensor was evicted: nothing but a baseline can be left."""
        return self.latest_us == NO_WATERMARK

    def watermark_us(self, lateness_us: int) -> int:
        """The watermark: every flow that ended before it has been released, and no on-time flow before it will come."""
        watermark_us = self.latest_us - lateness_us
        if not len(self.waiting):
            return watermark_us
        return min(watermark_us, int(self.waiting.keys.end_us[0]))  # a record that waits for its other half

    def tight(self) -> "SensorState":
        """The same, without the memory of messages whose other flows have been released (buffer.py)."""
        waiting = self.waiting.tight()
        return self if waiting is self.waiting else replace(self, waiting=waiting)

    @classmethod
    def empty(cls, feature_set: FeatureSet = FEATURE_SET) -> "SensorState":
        """The state of a sensor that has sent nothing yet."""
        return cls(Waiting.none(), NO_WATERMARK, {}, feature_set=feature_set)


class SensorInput(NamedTuple):
    """What a batch of several sensors' flows holds for one of them.

    state: what the sensor's earlier batches left, taken over; rows: its flows in the batch, in raw order;
    lateness_us: how far behind the latest end time a flow may come and still be on time; ended: the source's end
    follows, so release everything, then forget the windows and the watermark; silent: a tick follows, so release
    everything, and let the watermark rise to the latest end time; window_us: within which records of one flow are
    merged (pairing.py), 0: none are; site and sensor, its name; learning, for which it learns its baseline.
    """

    state: SensorState
    rows: Ints
    lateness_us: int
    ended: bool = False
    silent: bool = False
    window_us: int = 0
    site: str = ""
    learning: Learning = SHIPPED_LEARNING
    sensor: str = ""


class Advanced(NamedTuple):
    """What came of sensors' flows: the states after them, the released rows, and the notices of their baselines."""

    states: list[SensorState]
    rows: pa.RecordBatch
    notices: tuple[Notice, ...]


class OrderedInput(NamedTuple):
    """A sensor's flows in order: the pool indices of those that waited and those that came, their keys, their order."""

    indices: Ints
    keys: Keys
    order: Order

    @property
    def released(self) -> Ints:
        """Pool indices of the released flows."""
        return self.indices[self.order.released]

    @property
    def late(self) -> Ints:
        """Pool indices of the late flows."""
        return self.indices[self.order.late]


def advance_sensors(
    inputs: Sequence[SensorInput],
    flows: pa.RecordBatch,
    bounds: Bounds = BOUNDS,
    max_waiting: int = MAX_WAITING,
    calendars: Calendars = NO_CALENDARS,
) -> Advanced:
    """Take sensors' next flows and give back those that are released, with features.

    Parameters
    ----------
    inputs
        One or more sensors, all of one feature set.
    flows
        Batch of the `flow` schema, in raw order; not written to, and held in memory as long as one of its flows waits.
    calendars
        A flow is taken through the windows of the calendar its end falls under, and of no other.

    Returns
    -------
    The new states, and a batch of the `features` schema with the feature matrix last: each sensor's on-time flows
    sorted by (end_ts_us, record_id, raw position), sensors as in `inputs`; then all late flows in raw order. Values do
    not depend on how the log is cut into batches, or on what other sensors there are.
    """
    pool = Pool([batch for sensor in inputs for batch in sensor.state.waiting.batches] + [flows])
    ordered = _all_ordered(inputs, pool, keys_of(flows), max_waiting)
    released = _released(ordered, pool)
    leaving, on_time = released.flows, released.on_time
    feature_set = inputs[0].state.feature_set
    computation = COMPUTATIONS[feature_set.name]
    matrix = np.empty((len(leaving), feature_set.width), np.float32)
    rows = computation.rows(leaving, matrix)
    end_us = leaving.column("end_ts_us").to_numpy()
    windows_of = []
    for sensor, order in zip(inputs, released.orders, strict=True):
        windows = {name: window for name, window in sensor.state.windows.items() if name in calendars.names}
        calendar_of = calendars.of(sensor.site, end_us[order])
        for number in [0] if calendar_of is None else np.unique(calendar_of).tolist():
            chosen, name = order if calendar_of is None else order[calendar_of == number], calendars.names[number]
            before = windows[name] if name in windows else computation.empty()
            windows[name] = computation.windows(before, rows, chosen, chosen >= on_time, bounds, matrix)
        windows_of.append(windows)
    of_sensors = [
        SensorBaseline(sensor.state.baseline, (sensor.site, sensor.sensor), sensor.learning) for sensor in inputs
    ]
    read = rows if isinstance(rows, Rows) else None
    baselines, judged, notices = judge(of_sensors, released.orders, on_time, leaving, read, matrix, feature_set)
    states = []
    for base, sensor, each, windows, baseline in zip(
        released.bases, inputs, ordered, windows_of, baselines, strict=False
    ):
        last_us = int(end_us[base + len(each.order.released) - 1]) if len(each.order.released) else NO_WATERMARK
        states.append(_after(sensor, each, pool, windows, baseline, last_us))
    columns = [*leaving.columns, pa.array(released.late_by_us), *judged, matrix_column(matrix)]
    rows_out = pa.RecordBatch.from_arrays(columns, schema=arrow_schema("features", feature_set.width))
    return Advanced(states, rows_out, tuple(notices))


def _all_ordered(inputs: Sequence[SensorInput], pool: Pool, new_keys: Keys, max_waiting: int) -> list[OrderedInput]:
    """Each sensor's flows in event-time order; the pool holds what waited, sensor by sensor, and then what came."""
    first, ordered = 0, []
    for sensor in inputs:
        ordered.append(_ordered(sensor, pool, first, new_keys, max_waiting))
        first += len(sensor.state.waiting.batches)
    return ordered


class Released(NamedTuple):
    """Flows that leave: of `flow`, each sensor's on-time ones, sensors in turn, then all late ones in raw order.

    bases (sensors + 1,): where each sensor's on-time flows begin, and where they end. late_by_us (n,): 0 on time.
    orders: of each sensor the indices of its flows in the order they count, late ones where they came.
    """

    flows: pa.RecordBatch
    bases: Ints
    late_by_us: Ints
    orders: list[Ints]

    @property
    def on_time(self) -> int:
        """How many flows are on time."""
        return int(self.bases[-1])


def _released(ordered: Sequence[OrderedInput], pool: Pool) -> Released:
    """The flows that sensors release, records of one flow merged."""
    bases = np.cumsum([0, *(len(each.order.released) for each in ordered)])
    late = np.sort(np.concatenate([each.late for each in ordered]))
    leaving = pool.rows(np.concatenate([*(each.released for each in ordered), late]))
    joining = np.concatenate([each.indices[each.order.joining] for each in ordered])
    if len(joining):
        into = np.concatenate([base + each.order.into for base, each in zip(bases, ordered, strict=False)])
        leaving = merge_records(leaving, pool.rows(joining), into)
    # Views, merged and restored rows lie in memory differently, and the wire would show it; copied, they do not.
    leaving = leaving.take(pa.array(np.arange(len(leaving))))
    late_by_us, orders = np.zeros(len(leaving), np.int64), []
    for base, each in zip(bases, ordered, strict=False):
        late_rows = int(bases[-1]) + np.searchsorted(late, each.late)
        late_by_us[late_rows] = each.order.late_by_us
        orders.append(np.insert(base + np.arange(len(each.order.released)), each.order.late_after, late_rows))
    return Released(leaving, bases, late_by_us, orders)


def _ordered(sensor: SensorInput, pool: Pool, first: int, new_keys: Keys, max_waiting: int) -> OrderedInput:
    """A sensor's flows in event-time order; its waiting batches begin at number `first` of the pool."""
    waiting = sensor.state.waiting
    waited = pool.starts[first + waiting.batch] + waiting.row
    indices = np.concatenate((waited, pool.starts[-2] + sensor.rows))
    new = new_keys if len(sensor.rows) == len(new_keys.end_us) else new_keys.at(sensor.rows)
    keys = waiting.keys.concatenated(new) if len(waited) else new
    order = reorder(
        keys,
        len(waited),
        sensor.state.latest_us,
        sensor.lateness_us,
        sensor.ended or sensor.silent,
        max_waiting,
        sensor.window_us,
        lambda chosen: pool.rows(indices[chosen], pairing.COLUMNS),
    )
    return OrderedInput(indices, keys, order)


def _after(
    sensor: SensorInput,
    ordered: OrderedInput,
    pool: Pool,
    windows: Mapping[str, Any],
    baseline: Baseline,
    last_us: int,
) -> SensorState:
    """The sensor's state after a batch whose last on-time flow ended at `last_us`."""
    state, order = sensor.state, ordered.order
    if sensor.ended:
        return SensorState(Waiting.none(), NO_WATERMARK, {}, feature_set=state.feature_set, baseline=baseline)
    latest_us = order.latest_us
    if sensor.silent and len(order.released):  # a second tick finds nothing that waits, and changes nothing
        latest_us = max(latest_us, last_us + sensor.lateness_us)
    waiting = waiting_in(pool, ordered.keys.at(order.waiting), ordered.indices[order.waiting])
    released_early = state.released_early + order.released_early
    return SensorState(waiting, latest_us, windows, released_early, state.feature_set, baseline)


def advance(
    state: SensorState,
    flows: pa.RecordBatch,
    ended: bool,
    lateness_us: int,
    bounds: Bounds = BOUNDS,
    max_waiting: int = MAX_WAITING,
    silent: bool = False,
    window_us: int = 0,
    calendars: Calendars = NO_CALENDARS,
    site: str = "",
    learning: Learning = SHIPPED_LEARNING,
) -> tuple[SensorState, pa.RecordBatch]:
    """`advance_sensors` of one sensor, whose flows these are."""
    sensor = SensorInput(state, np.arange(len(flows)), lateness_us, ended, silent, window_us, site, learning)
    (after,), rows, _notices = advance_sensors([sensor], flows, bounds, max_waiting, calendars)
    return after, rows


def featurize_file_rows(
    flows: pa.RecordBatch,
    lateness_us: int = 0,
    batch_rows: int = 65_536,
    window_us: int = 0,
    feature_set: FeatureSet = FEATURE_SET,
    calendars: Calendars = NO_CALENDARS,
    site: str = "",
    learning: Learning = SHIPPED_LEARNING,
) -> pa.RecordBatch:
    """The rows of `featurize_file`."""
    return featurize_file(flows, lateness_us, batch_rows, window_us, feature_set, calendars, site, learning).rows


def featurize_file(
    flows: pa.RecordBatch,
    lateness_us: int = 0,
    batch_rows: int = 65_536,
    window_us: int = 0,
    feature_set: FeatureSet = FEATURE_SET,
    calendars: Calendars = NO_CALENDARS,
    site: str = "",
    learning: Learning = SHIPPED_LEARNING,
    sensor: str = "",
    baseline: Baseline | None = None,
) -> Advanced:
    """All flows of one sensor, in raw order, with features: what the live path gives, in one batch of the `features`
    schema; and its state and notices. baseline: what is usual at the sensor already, taken over.

    A feature set over a whole file takes it at once, so none of its flows is late, and no calendar counts.
    """
    state, max_waiting = SensorState.empty(feature_set), MAX_WAITING
    if baseline is not None:
        state = replace(state, baseline=baseline)
    if feature_set.whole_file:
        lateness_us, batch_rows, max_waiting = ANY_LATENESS_US, max(len(flows), 1), max(len(flows), 1)
        calendars = NO_CALENDARS
    batches, notices = list[pa.RecordBatch](), list[Notice]()
    for start in range(0, max(len(flows), 1), batch_rows):
        part = flows.slice(start, batch_rows)
        ended = start + batch_rows >= len(flows)
        of_part = SensorInput(state, np.arange(len(part)), lateness_us, ended, False, window_us, site, learning, sensor)
        (state,), rows, of_batch = advance_sensors([of_part], part, BOUNDS, max_waiting, calendars)
        batches.append(rows)
        notices += of_batch
    return Advanced([state], pa.concat_batches(batches), tuple(notices))
