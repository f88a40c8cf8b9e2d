"""Who is late, who waits, and in which order flows are released."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.lateness import UNSTATED_US
from pipeline.featurize.ordering.buffer import keys_of
from pipeline.featurize.ordering.clocks import LATEST, NO_WATERMARK, Clock, clocks_of
from pipeline.featurize.ordering.reorder import MAX_WAITING, Order, Sensors, reorder
from tests.examples import examples
from tests.featurize import oracle
from tests.featurize.flows import SECOND, START_US, batch, flow_rows


def reorder_one(
    flows: pa.RecordBatch, waited: int, latest_us: int, lateness_us: int, flush: bool, max_waiting: int = MAX_WAITING
) -> Order:
    """The order of one sensor's flows, of which the first waited."""
    sensor = Sensors(clocks_of([Clock(latest_us)], [lateness_us]), np.array([flush]), np.zeros(1, np.int64))
    counts = np.array([waited]), np.array([len(flows) - waited])
    stated = np.full(len(flows) - waited, UNSTATED_US)
    return reorder(keys_of(flows), *counts, stated, sensor, max_waiting)


def _offsets(indices: Any) -> list[int]:
    return [int(index) for index in indices]


def test_late_is_before_the_watermark_of_earlier_flows() -> None:
    flows = batch([{"at": 10.0}, {"at": 8.0}, {"at": 7.999999}, {"at": 12.0}, {"at": 9.0}])
    order = reorder_one(flows, 0, NO_WATERMARK, 2 * SECOND, flush=False)
    assert _offsets(order.late) == [2, 4]
    assert order.late_by_us.tolist() == [1, SECOND]
    assert _offsets(order.released) == [1]
    assert _offsets(order.waiting) == [0, 3]
    assert order.late_after.tolist() == [0, 1]
    assert order.clocks[:, LATEST].tolist() == [START_US + 12 * SECOND]


def test_a_tie_with_the_watermark_waits() -> None:
    """A flow of the same end may still come and go before it: released at once, order would depend on the batches."""
    order = reorder_one(batch([{"at": 1.0, "record_id": 9}]), 0, NO_WATERMARK, 0, flush=False)
    assert len(order.released) == 0 and len(order.waiting) == 1
    order = reorder_one(
        batch([{"at": 1.0, "record_id": 9}, {"at": 1.0, "record_id": 3}]), 1, START_US + SECOND, 0, flush=True
    )
    assert _offsets(order.released) == [1, 0] and len(order.late) == 0


def test_the_end_releases_everything() -> None:
    order = reorder_one(batch([{"at": 3.0}, {"at": 1.0}, {"at": 2.0}]), 0, NO_WATERMARK, 5 * SECOND, flush=True)
    assert _offsets(order.released) == [1, 2, 0] and len(order.waiting) == 0


@settings(max_examples=examples(40), deadline=None)
@given(flow_rows(), st.integers(0, 4), st.integers(1, 45))
def test_agrees_with_the_oracle(rows: list[dict[str, Any]], lateness_s: int, max_waiting: int) -> None:
    flows = batch(rows)
    order = reorder_one(flows, 0, NO_WATERMARK, lateness_s * SECOND, True, max_waiting)
    sequence: list[tuple[int, int]] = [(offset, 0) for offset in _offsets(order.released)]
    late = list(zip(_offsets(order.late), order.late_by_us.tolist(), order.late_after.tolist(), strict=True))
    for offset, late_by, after in reversed(late):
        sequence.insert(after, (offset, late_by))
    expected = oracle.in_event_order(flows.to_pylist(), lateness_s * SECOND, max_waiting)
    assert sequence == [(flow["raw_offset"], late_by) for flow, late_by in expected]
