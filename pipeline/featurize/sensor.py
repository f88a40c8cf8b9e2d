"""Sensors' featurize: flows in, flows in event-time order with their features out, and the state in between.

What costs the same for few rows as for many (columns gathered, made into arrays, into features) is done once for all
sensors of a message; only order and windows are a sensor's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.computations import COMPUTATIONS
from pipeline.featurize.feature_set import FEATURE_SET, FeatureSet
from pipeline.featurize.flow_features import LARGEST
from pipeline.featurize.ordering import pairing
from pipeline.featurize.ordering.buffer import Keys, Pool, Waiting, keys_of, left_in
from pipeline.featurize.ordering.merge import join
from pipeline.featurize.ordering.reorder import MOST_WAITING, NO_WATERMARK, Order, sort_out
from pipeline.featurize.windows.bounded_tables import Bounds
from pipeline.featurize.windows.calendars import NO_CALENDARS, Calendars
from pipeline.runtime.wire.batches import matrix_column
from schemas.fields import arrow_schema

__all__ = ["BOUNDS", "LARGEST", "SensorState", "Turn", "advance", "advance_together", "featurize_file_rows"]

BOUNDS = Bounds()
ANY_LATENESS_US = 1 << 60

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SensorState:
    """Flows waiting for their turn, the latest end time seen, and the windows its feature set needs, by calendar.

    `hurried` counts flows that went before their time because too many waited.

    `advance` takes a state over: the windows' arrays of the state it was given are written to.
    """

    waiting: Waiting
    latest_us: int
    windows: Mapping[str, Any]
    hurried: int = 0
    feature_set: FeatureSet = FEATURE_SET

    def gone_on_us(self, lateness_us: int) -> int:
        """The watermark: every flow that ended before it has gone on, and none on time will come."""
        watermark_us = self.latest_us - lateness_us
        if not len(self.waiting):
            return watermark_us
        return min(watermark_us, int(self.waiting.keys.end_us[0]))  # what waits for its other half

    def tight(self) -> "SensorState":
        """The same, without the memory of messages that others have left (waiting.py)."""
        waiting = self.waiting.tight()
        return self if waiting is self.waiting else replace(self, waiting=waiting)

    @classmethod
    def empty(cls, feature_set: FeatureSet = FEATURE_SET) -> "SensorState":
        """The state of a sensor never heard of."""
        return cls(Waiting.none(), NO_WATERMARK, {}, feature_set=feature_set)


class Turn(NamedTuple):
    """What a batch of several sensors' flows holds for one of them.

    state: what the sensor's earlier batches left, taken over; places: its flows in the batch, in raw order;
    lateness_us: how far behind the latest end time a flow may come and still be on time; ended: the source's end
    follows, so release everything, then forget the windows and the watermark; silent: a tick follows, so release
    everything, and let the watermark rise to the latest end time; window_us: within which records of one flow are put
    together (stitch.py), 0: none are; site, by which its calendars are known.
    """

    state: SensorState
    places: Ints
    lateness_us: int
    ended: bool = False
    silent: bool = False
    window_us: int = 0
    site: str = ""


class _Sorted(NamedTuple):
    """A turn's flows: the places in the pool of those that waited and those that came, their keys, and who goes on."""

    places: Ints
    keys: Keys
    order: Order

    @property
    def released(self) -> Ints:
        """Places of the flows that go on."""
        return self.places[self.order.released]

    @property
    def late(self) -> Ints:
        """Places of the late flows."""
        return self.places[self.order.late]


def advance_together(
    turns: Sequence[Turn],
    flows: pa.RecordBatch,
    bounds: Bounds = BOUNDS,
    most_waiting: int = MOST_WAITING,
    calendars: Calendars = NO_CALENDARS,
) -> tuple[list[SensorState], pa.RecordBatch]:
    """Take sensors' next flows and give back those whose turn has come, with features.

    Parameters
    ----------
    turns
        One or more sensors, all of one feature set.
    flows
        Batch of the `flow` schema, in raw order; left as it is, and kept as long as one of its flows waits.
    calendars
        A flow is taken through the windows of the calendar its end falls under, and of no other.

    Returns
    -------
    The new states, and a batch of the `features` schema with the feature matrix last: each sensor's on-time flows
    sorted by (end_ts_us, record_id, raw position), sensors as in `turns`; then all late flows in raw order. Values do
    not depend on how the log is cut into batches, or on what other sensors there are.
    """
    pool = Pool([batch for turn in turns for batch in turn.state.waiting.batches] + [flows])
    came, first, sorted_out = keys_of(flows), 0, []
    for turn in turns:
        sorted_out.append(_sorted(turn, pool, first, came, most_waiting))
        first += len(turn.state.waiting.batches)
    bases = np.cumsum([0, *(len(one.order.released) for one in sorted_out)])
    late = np.sort(np.concatenate([one.late for one in sorted_out]))
    leaving = pool.rows(np.concatenate([*(one.released for one in sorted_out), late]))
    joining = np.concatenate([one.places[one.order.joining] for one in sorted_out])
    if len(joining):
        into = np.concatenate([base + one.order.into for base, one in zip(bases, sorted_out, strict=False)])
        leaving = join(leaving, pool.rows(joining), into)
    # Views, joined and restored rows lie in memory differently, and the wire would show it; copied, they do not.
    leaving = leaving.take(pa.array(np.arange(len(leaving))))
    late_by_us = np.zeros(len(leaving), np.int64)
    on_time, orders = int(bases[-1]), []
    for base, one in zip(bases, sorted_out, strict=False):
        own_late = on_time + np.searchsorted(late, one.late)
        late_by_us[own_late] = one.order.late_by_us
        orders.append(np.insert(base + np.arange(len(one.order.released)), one.order.late_after, own_late))
    width = turns[0].state.feature_set.width
    how = COMPUTATIONS[turns[0].state.feature_set.name]
    matrix = np.empty((len(leaving), width), np.float32)
    rows = how.rows(leaving, matrix)
    states, end_us = [], leaving.column("end_ts_us").to_numpy()
    for base, turn, one, order in zip(bases, turns, sorted_out, orders, strict=False):
        windows = {name: kept for name, kept in turn.state.windows.items() if name in calendars.names}
        of = calendars.of(turn.site, end_us[order])
        for number in [0] if of is None else np.unique(of).tolist():
            own, name = order if of is None else order[of == number], calendars.names[number]
            before = windows[name] if name in windows else how.empty()
            windows[name] = how.windows(before, rows, own, own >= on_time, bounds, matrix)
        last_us = int(end_us[base + len(one.order.released) - 1]) if len(one.order.released) else NO_WATERMARK
        states.append(_after(turn, one, pool, windows, last_us))
    columns = [*leaving.columns, pa.array(late_by_us), matrix_column(matrix)]
    return states, pa.RecordBatch.from_arrays(columns, schema=arrow_schema("features", width))


def _sorted(turn: Turn, pool: Pool, first: int, came: Keys, most_waiting: int) -> _Sorted:
    """Who of a sensor's flows goes on; its waiting batches begin at number `first` of the pool."""
    waiting = turn.state.waiting
    own = pool.starts[first + waiting.batch] + waiting.row
    places = np.concatenate((own, pool.starts[-2] + turn.places))
    new = came if len(turn.places) == len(came.end_us) else came.at(turn.places)
    keys = waiting.keys.and_then(new) if len(own) else new
    order = sort_out(
        keys,
        len(own),
        turn.state.latest_us,
        turn.lateness_us,
        turn.ended or turn.silent,
        most_waiting,
        turn.window_us,
        lambda chosen: pool.rows(places[chosen], pairing.COLUMNS),
    )
    return _Sorted(places, keys, order)


def _after(turn: Turn, sorted_out: _Sorted, pool: Pool, windows: Mapping[str, Any], last_us: int) -> SensorState:
    """The state after a turn whose last flow on time ended at `last_us`."""
    state, order = turn.state, sorted_out.order
    if turn.ended:
        return SensorState.empty(state.feature_set)
    latest_us = order.latest_us
    if turn.silent and len(order.released):  # a second tick finds nothing that waits, and changes nothing
        latest_us = max(latest_us, last_us + turn.lateness_us)
    waiting = left_in(pool, sorted_out.keys.at(order.waiting), sorted_out.places[order.waiting])
    return SensorState(waiting, latest_us, windows, state.hurried + order.hurried, state.feature_set)


def advance(
    state: SensorState,
    flows: pa.RecordBatch,
    ended: bool,
    lateness_us: int,
    bounds: Bounds = BOUNDS,
    most_waiting: int = MOST_WAITING,
    silent: bool = False,
    window_us: int = 0,
    calendars: Calendars = NO_CALENDARS,
    site: str = "",
) -> tuple[SensorState, pa.RecordBatch]:
    """`advance_together` of one sensor, whose flows these are."""
    turn = Turn(state, np.arange(len(flows)), lateness_us, ended, silent, window_us, site)
    (after,), rows = advance_together([turn], flows, bounds, most_waiting, calendars)
    return after, rows


def featurize_file_rows(
    flows: pa.RecordBatch,
    lateness_us: int = 0,
    batch_rows: int = 65_536,
    window_us: int = 0,
    feature_set: FeatureSet = FEATURE_SET,
    calendars: Calendars = NO_CALENDARS,
    site: str = "",
) -> pa.RecordBatch:
    """All flows of one sensor, in raw order, with features: what the live path gives, in one batch of the `features`
    schema.

    A feature set over a whole file takes it at once, so none of its flows is late, and no calendar counts.
    """
    state, batches, most_waiting = SensorState.empty(feature_set), [], MOST_WAITING
    if feature_set.whole_file:
        lateness_us, batch_rows, most_waiting = ANY_LATENESS_US, max(len(flows), 1), max(len(flows), 1)
        calendars = NO_CALENDARS
    for start in range(0, max(len(flows), 1), batch_rows):
        part = flows.slice(start, batch_rows)
        ended = start + batch_rows >= len(flows)
        state, rows = advance(
            state, part, ended, lateness_us, BOUNDS, most_waiting, window_us=window_us, calendars=calendars, site=site
        )
        batches.append(rows)
    return pa.concat_batches(batches)
