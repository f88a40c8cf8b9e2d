"""Sensors' featurize: flows in, flows in event-time order with their features out, and the state in between.

What costs the same for few rows as for many (columns gathered, made into arrays, into features) is done once for all
sensors of all messages that came together, and so is their order; only windows and baselines are computed sensor by
sensor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.envelope import SensorName
from pipeline.contracts.lateness import UNSTATED_US
from pipeline.contracts.notices import Notice
from pipeline.featurize.baseline.judge import SensorBaseline, judge
from pipeline.featurize.baseline.sensor_baseline import Baseline, no_baseline
from pipeline.featurize.computations import COMPUTATIONS
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.flow_features import LARGEST
from pipeline.featurize.ordering import pairing
from pipeline.featurize.ordering.buffer import Keys, Pool, Waiting, concatenated, keys_of, tight, waiting_in
from pipeline.featurize.ordering.clocks import NO_WATERMARK, STATED, Clock, clocks_in, clocks_of
from pipeline.featurize.ordering.merge import merge_records
from pipeline.featurize.ordering.reorder import MAX_WAITING, Order, Sensors, reorder
from pipeline.featurize.rows import Rows
from pipeline.featurize.windows.bounded_tables import Bounds
from pipeline.featurize.windows.calendars import NO_CALENDARS, Calendars
from pipeline.runtime.wire.batches import matrix_column
from schemas.fields import arrow_schema
from schemas.learning import SHIPPED_LEARNING, Learning

__all__ = [
    "BOUNDS",
    "LARGEST",
    "MessageInput",
    "SensorInput",
    "SensorState",
    "advance",
    "advance_messages",
    "advance_sensors",
    "featurize_file",
    "featurize_file_rows",
]

BOUNDS = Bounds()
ANY_LATENESS_US = 1 << 60

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SensorState:
    """Flows that wait, the sensor's clock, the windows the feature set needs, by calendar, and what is usual.

    `released_early` counts flows released before the watermark had passed them, because too many waited.

    `advance` takes a state over: the windows' arrays of the state it was given are written to.
    """

    waiting: Waiting
    clock: Clock
    windows: Mapping[str, Any]
    released_early: int = 0
    feature_set: FeatureSet = FEATURE_SET
    baseline: Baseline = field(default_factory=no_baseline)

    @property
    def is_idle(self) -> bool:
        """Whether no flow came since the source ended or the sensor was evicted: nothing but a baseline can be left."""
        return self.clock.latest_us == NO_WATERMARK

    def watermark_us(self, site_us: int) -> int:
        """The watermark: every flow that ended before it has been released, and no on-time flow before it will come.

        site_us: the lateness of the sensor's site.
        """
        watermark_us = self.clock.watermark_us(site_us)
        if not len(self.waiting):
            return watermark_us
        return min(watermark_us, int(self.waiting.keys.end_us[0]))  # a record that waits for its other half

    @classmethod
    def empty(cls, feature_set: FeatureSet = FEATURE_SET) -> "SensorState":
        """The state of a sensor that has sent nothing yet."""
        return cls(Waiting.none(), Clock(), {}, feature_set=feature_set)


class SensorInput(NamedTuple):
    """What a batch of several sensors' flows holds for one of them.

    state: what the sensor's earlier batches left, taken over; rows: its flows in the batch, in raw order;
    lateness_us: how far behind the latest end time a flow of its site may come and still be on time; ended: the
    source's end follows, so release everything, then forget the windows and the watermark; silent: a tick follows, so
    release everything, and let the watermark rise to the latest end time; window_us: within which records of one flow
    are merged (pairing.py), 0: none are; site and sensor: its name; learning: for how long it learns its baseline;
    stated: of each row the lateness that its message states, or UNSTATED_US; None: no message states one.
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
    stated: Ints | None = None


class MessageInput(NamedTuple):
    """What a message holds: of each sensor that it touches, and its flows, of the `flow` schema in raw order.

    The flows are not written to, and held in memory as long as one of them waits.
    """

    sensors: Sequence[SensorInput]
    flows: pa.RecordBatch


class Advanced(NamedTuple):
    """What came of sensors' flows: the states after them, the released rows, and the notices of their baselines.

    stated_us: of each state, which lateness its messages had stated, or UNSTATED_US; before the end of its source.
    """

    states: list[SensorState]
    rows: pa.RecordBatch
    notices: tuple[Notice, ...]
    stated_us: list[int]


def tight_sensors(sensors: Mapping[SensorName, SensorState]) -> dict[SensorName, SensorState]:
    """The same sensors, without the memory of messages whose other flows have been released (buffer.py)."""
    waiting = tight([sensor.waiting for sensor in sensors.values()])
    return {
        name: sensor if sensor.waiting is each else replace(sensor, waiting=each)
        for (name, sensor), each in zip(sensors.items(), waiting, strict=True)
    }


class Ordered(NamedTuple):
    """All sensors' flows in order: pool indices of those that waited and those that came, their keys, their order."""

    indices: Ints
    keys: Keys
    order: Order

    @property
    def released(self) -> Ints:
        """Pool indices of the released flows, sensor by sensor."""
        return self.indices[self.order.released]

    @property
    def late(self) -> Ints:
        """Pool indices of the late flows, sensor by sensor."""
        return self.indices[self.order.late]


def advance_sensors(
    inputs: Sequence[SensorInput],
    flows: pa.RecordBatch,
    bounds: Bounds = BOUNDS,
    max_waiting: int = MAX_WAITING,
    calendars: Calendars = NO_CALENDARS,
) -> Advanced:
    """`advance_messages` of one message."""
    return advance_messages([MessageInput(inputs, flows)], bounds, max_waiting, calendars)[0]


def advance_messages(
    messages: Sequence[MessageInput],
    bounds: Bounds = BOUNDS,
    max_waiting: int = MAX_WAITING,
    calendars: Calendars = NO_CALENDARS,
) -> list[Advanced]:
    """Take sensors' next flows and give back those that are released, with features.

    Parameters
    ----------
    messages
        Each of one or more sensors that are in no other message; all of one feature set.
    calendars
        A flow is taken through the windows of the calendar its end falls under, and of no other.

    Returns
    -------
    Of each message the new states, and a batch of the `features` schema with the feature matrix last: each sensor's
    on-time flows sorted by (end_ts_us, record_id, raw position), sensors as in its input; then all its late flows in
    raw order. Values do not depend on how the log is cut into batches, on what other sensors there are, or on what
    other messages.
    """
    inputs = [sensor for message in messages for sensor in message.sensors]
    pool = Pool((sensor.state.waiting for sensor in inputs), *(message.flows for message in messages))
    ordered = _ordered(messages, pool, max_waiting)
    message_of = np.repeat(np.arange(len(messages)), [len(message.sensors) for message in messages])
    released = _released(ordered, pool, message_of)
    leaving, late = released.flows, released.late_by_us > 0
    feature_set = inputs[0].state.feature_set
    computation = COMPUTATIONS[feature_set.name]
    matrix = np.empty((len(leaving), feature_set.width), np.float32)
    rows = computation.rows(leaving, matrix)
    end_us = leaving.column("end_ts_us").to_numpy()
    windows_of = []
    for sensor, order in zip(inputs, released.orders, strict=True):
        windows = {name: window for name, window in sensor.state.windows.items() if name in calendars.names}
        calendar_of = calendars.of(sensor.site, end_us[order])
        numbers = [0] if calendar_of is None else np.unique(calendar_of).tolist()
        for number in numbers if len(order) else ():  # most sensors of a message may release nothing
            chosen, name = order if calendar_of is None else order[calendar_of == number], calendars.names[number]
            before = windows[name] if name in windows else computation.empty()
            windows[name] = computation.windows(before, rows, chosen, late[chosen], bounds, matrix)
        windows_of.append(windows)
    of_sensors = [
        SensorBaseline(sensor.state.baseline, (sensor.site, sensor.sensor), sensor.learning) for sensor in inputs
    ]
    read = rows if isinstance(rows, Rows) else None
    baselines, judged, notices = judge(of_sensors, released.orders, late, leaving, read, matrix, feature_set)
    states = _after(inputs, ordered, pool, windows_of, baselines, end_us[released.on_time])
    columns = [*leaving.columns, pa.array(released.late_by_us), *judged, matrix_column(matrix)]
    rows_out = pa.RecordBatch.from_arrays(columns, schema=arrow_schema("features", feature_set.width))
    stated_us = ordered.order.clocks[:, STATED].tolist()
    return _message_by_message(messages, states, rows_out, notices, released, stated_us)


def _message_by_message(
    messages: Sequence[MessageInput],
    states: Sequence[SensorState],
    rows: pa.RecordBatch,
    notices: Sequence[Sequence[Notice]],
    released: "Released",
    stated_us: Sequence[int],
) -> list[Advanced]:
    """What came of all messages' sensors as what came of each message."""
    advanced, first, start = [], 0, 0
    for message in messages:
        last = first + len(message.sensors)
        end = start + sum(map(len, released.orders[first:last]))
        # On the wire a slice may end with what lies behind it in memory; copied, it does not.
        whole = rows if len(messages) == 1 else pa.concat_batches([rows.slice(start, end - start)])
        of_message = tuple(notice for of_sensor in notices[first:last] for notice in of_sensor)
        advanced.append(Advanced(list(states[first:last]), whole, of_message, list(stated_us[first:last])))
        first, start = last, end
    return advanced


class Released(NamedTuple):
    """Flows that leave: of `flow`, message by message each sensor's on-time ones, sensors in turn, then all late ones
    in raw order.

    on_time: where the on-time flows are, sensor by sensor. late_by_us (n,): 0 on time. orders: of each sensor the
    indices of its flows in the order they count, late ones where they came.
    """

    flows: pa.RecordBatch
    on_time: Ints
    late_by_us: Ints
    orders: list[Ints]


def _released(ordered: Ordered, pool: Pool, message_of: Ints) -> Released:
    """The flows that sensors, of which message_of (k,) says the message, release, records of one flow merged."""
    order, bases, late = ordered.order, ordered.order.released_bounds, np.sort(ordered.late)
    indices = np.concatenate((ordered.released, late))
    place = np.arange(len(indices))  # of each of these, where it leaves
    late_of = message_of[np.repeat(np.arange(len(message_of)), np.diff(order.late_bounds))]
    if len(late) and message_of[-1] > 0:
        # Late flows are new, and lie in the pool message by message: sorted, they are of these messages in turn.
        message = np.concatenate((np.repeat(message_of, np.diff(bases)), late_of))
        sequence = np.argsort(message, kind="stable")
        place[sequence] = np.arange(len(indices))
        indices = indices[sequence]
    leaving = pool.rows(indices)
    if len(order.joining):
        leaving = merge_records(leaving, pool.rows(ordered.indices[order.joining]), place[order.into])
        # Merged rows lie in memory differently, and the wire would show it; copied, they do not.
        leaving = leaving.take(pa.array(np.arange(len(leaving))))
    late_by_us, counted = np.zeros(len(leaving), np.int64), place[: bases[-1]]
    if len(late):
        late_rows = place[bases[-1] + np.searchsorted(late, ordered.late)]
        late_by_us[late_rows] = order.late_by_us
        counted = np.insert(counted, np.repeat(bases[:-1], np.diff(order.late_bounds)) + order.late_after, late_rows)
    bounds = (bases + order.late_bounds).tolist()
    orders = [counted[start:end] for start, end in pairwise(bounds)]
    return Released(leaving, place[: bases[-1]], late_by_us, orders)


def _new_keys(message: MessageInput) -> tuple[Ints, Keys]:
    """Where a message's flows are in it, sensor by sensor, and their keys."""
    new, keys = np.concatenate([sensor.rows for sensor in message.sensors]), keys_of(message.flows)
    return new, keys.at(new) if len(message.sensors) > 1 or len(new) < len(message.flows) else keys


def _ordered(messages: Sequence[MessageInput], pool: Pool, max_waiting: int) -> Ordered:
    """All sensors' flows in event-time order: those that wait, and those that came in messages, all in the pool."""
    inputs = [sensor for message in messages for sensor in message.sensors]
    waiting = [sensor.state.waiting for sensor in inputs if len(sensor.state.waiting)]
    came = [_new_keys(message) for message in messages]
    keys = [*(each.keys for each in waiting), *(keys for _, keys in came)]
    new = [pool.start_of(message.flows) + rows for message, (rows, _) in zip(messages, came, strict=True)]
    indices = np.concatenate([*(pool.indices_of(each) for each in waiting), *new])
    sensors = Sensors(
        clocks_of([sensor.state.clock for sensor in inputs], [sensor.lateness_us for sensor in inputs]),
        np.array([sensor.ended or sensor.silent for sensor in inputs], np.bool_),
        np.array([sensor.window_us for sensor in inputs], np.int64),
    )
    together = concatenated(keys) if len(keys) > 1 else keys[0]
    order = reorder(
        together,
        np.array([len(sensor.state.waiting) for sensor in inputs], np.int64),
        np.array([len(sensor.rows) for sensor in inputs], np.int64),
        _stated(inputs),
        sensors,
        max_waiting,
        lambda chosen: pool.rows(indices[chosen], pairing.COLUMNS),
    )
    return Ordered(indices, together, order)


def _stated(inputs: Sequence[SensorInput]) -> Ints:
    """(n,) of the new flows, sensor by sensor, the lateness that each one's message states, or UNSTATED_US."""
    stated = np.full(sum(len(sensor.rows) for sensor in inputs), UNSTATED_US, np.int64)
    start = 0
    for sensor in inputs:
        if sensor.stated is not None:
            stated[start : start + len(sensor.rows)] = sensor.stated
        start += len(sensor.rows)
    return stated


def _after(
    inputs: Sequence[SensorInput],
    ordered: Ordered,
    pool: Pool,
    windows_of: Sequence[Mapping[str, Any]],
    baselines: Sequence[Baseline],
    end_us: Ints,
) -> list[SensorState]:
    """The sensors' states after their flows; end_us: of those that left on time, sensor by sensor."""
    order = ordered.order
    waiting_of = waiting_in(pool, ordered.keys.at(order.waiting), ordered.indices[order.waiting], order.waiting_bounds)
    released, states = order.released_bounds.tolist(), []
    of_sensors = zip(
        inputs, waiting_of, clocks_in(order.clocks), order.released_early.tolist(), windows_of, baselines, strict=True
    )
    for number, (sensor, waiting, clock, released_early, windows, baseline) in enumerate(of_sensors):
        state = sensor.state
        if sensor.ended:
            states.append(replace(SensorState.empty(state.feature_set), baseline=baseline))
            continue
        # A second tick finds nothing that waits, and changes nothing.
        if sensor.silent and released[number + 1] > released[number]:
            clock = clock.passed(int(end_us[released[number + 1] - 1]))
        early = state.released_early + released_early
        states.append(SensorState(waiting, clock, windows, early, state.feature_set, baseline))
    return states


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
    (after,), rows, *_ = advance_sensors([sensor], flows, bounds, max_waiting, calendars)
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
        (state,), rows, of_batch, _ = advance_sensors([of_part], part, BOUNDS, max_waiting, calendars)
        batches.append(rows)
        notices += of_batch
    return Advanced([state], pa.concat_batches(batches), tuple(notices), [UNSTATED_US])
