"""Where waiting flows lie: gathered rows are the right ones, and nobody holds the memory of others for long."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.featurize.messages import Cutting
from pipeline.featurize.ordering.buffer import (
    MAX_BATCHES,
    MAX_ROWS_PER_WAITING,
    NO_FLOWS,
    Pool,
    Waiting,
    keys_of,
    waiting_in,
)
from pipeline.featurize.partition import TIGHTEN_EVERY, PartitionState, advance_partition
from tests.contracts.facts import flows_facts
from tests.examples import examples
from tests.featurize.flows import SECOND, batch

_FLOWS = batch([{"src_port": number, "dst_addr": f"10.0.0.{number % 250}"} for number in range(300)])


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=200))
def test_gathered_rows_are_those_of_the_batches_side_by_side(sizes: list[int], wanted: list[int]) -> None:
    cuts = np.cumsum([0, *sizes]) % 200
    batches = [_FLOWS.slice(int(cut), size) for cut, size in zip(cuts, sizes, strict=False)]
    together = pa.Table.from_batches(batches).combine_chunks()
    indices = np.array(wanted, np.int64) % max(len(together), 1) if len(together) else np.zeros(0, np.int64)
    got = Pool((), *batches).rows(indices)
    assert pa.Table.from_batches([got]).equals(together.take(pa.array(indices)))
    assert Pool((), *batches).rows(indices, ["src_port"]).equals(got.select(["src_port"]))


def test_flows_of_many_messages_end_up_in_one_batch() -> None:
    pool = Pool((), *(_FLOWS.slice(at, 1) for at in range(MAX_BATCHES + 1)))
    indices = np.arange(MAX_BATCHES + 1)
    (waiting,) = waiting_in(pool, keys_of(pool.rows(indices)), indices, np.array([0, len(indices)]))
    assert len(waiting.batches) == 1 and waiting.flows().equals(_FLOWS.slice(0, MAX_BATCHES + 1))
    (few,) = waiting_in(pool, keys_of(pool.rows(indices[:3])), indices[:3], np.array([0, 3]))
    assert len(few.batches) == 3 and few.lowest == (0, 0)


def test_who_waits_with_few_flows_does_not_hold_the_keys_of_many() -> None:
    """Quiet sensors beside a busy one, each in a message of its own, would hold what all flows waited by, each anew."""
    flows = pa.Table.from_batches([_FLOWS] * 40).combine_chunks().to_batches()[0]
    pool, indices, most = Pool((), flows), np.arange(len(flows)), len(flows) - 2
    busy, quiet = waiting_in(pool, keys_of(flows), indices, np.array([0, most, len(flows)]))
    assert quiet.flows().equals(flows.slice(most)) and busy.flows().equals(flows.slice(0, most))
    assert all(held(values) == values.nbytes for values in (*quiet.keys, quiet.batch, quiet.row))
    assert all(held(values) <= MAX_ROWS_PER_WAITING * values.nbytes for values in (busy.batch, busy.row))


def held(values: np.ndarray[tuple[int], np.dtype[np.generic]]) -> int:
    """Bytes of the memory that an array keeps."""
    return held(values.base) if isinstance(values.base, np.ndarray) else values.nbytes


@pytest.mark.slow
def test_a_sensor_not_heard_again_gives_the_message_back() -> None:
    """One flow that waits must not keep a message of thousands: with many sensors that would be all memory."""
    state = PartitionState.empty()
    sensors, seconds = ["quiet", *["busy"] * 1000], [1.0, *(at / 1000 for at in range(1000))]
    for number in range(2 * TIGHTEN_EVERY + 2):
        rows = [{"sensor": sensor, "at": at + number} for sensor, at in zip(sensors, seconds, strict=True)]
        flows = batch(rows[number > 0 :], first_offset=1001 * number)
        state, _ = advance_partition(state, flows, flows_facts(), number, lambda _site: SECOND)
    quiet = state.sensors["plant", "quiet"].waiting
    assert len(quiet) == 1 and sum(map(len, quiet.batches)) <= MAX_ROWS_PER_WAITING
    assert quiet.flows().column("src_addr").buffers()[2].size < 64


def test_so_does_one_where_each_message_of_flows_counts_for_two_of_features() -> None:
    state = PartitionState.empty()
    for number in range(TIGHTEN_EVERY + 2):
        rows = [{"sensor": "busy", "at": number + at / 50} for at in range(40)]
        flows = batch([{"sensor": "quiet", "at": 1.0}, *rows] if number == 0 else rows, first_offset=100 * number)
        state, _ = advance_partition(
            state, flows, flows_facts(), number, lambda _site: SECOND, cutting=Cutting(max_rows=20)
        )
    assert state.seq == 2 * TIGHTEN_EVERY + 3
    assert sum(map(len, state.sensors["plant", "quiet"].waiting.batches)) == 1


def test_nothing_waits_is_one_object() -> None:
    assert len(Waiting.none()) == 0 and Waiting.none().lowest is None
    nothing = np.zeros(0, np.int64)
    assert waiting_in(Pool((), _FLOWS), keys_of(NO_FLOWS), nothing, np.zeros(2, np.int64)) == [Waiting.none()]
    assert Waiting.none().flows().equals(NO_FLOWS)
