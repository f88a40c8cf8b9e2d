"""The same features however the log is cut and whatever is saved in between, for anything a source may send."""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.sensor import BOUNDS, LARGEST, SensorState, advance, featurize_file_rows
from pipeline.featurize.snapshot import restore, snapshot
from pipeline.featurize.windows.bounded_tables import Bounds
from pipeline.featurize.windows.calendars import ORDINARY
from pipeline.featurize.windows.tables import EVICTED
from schemas.fields import arrow_schema
from tests.examples import examples
from tests.featurize.flows import SECOND, batch, by_position, flow_rows, matrix_of


def _cut(
    rows: list[dict[str, Any]], cuts: list[int], lateness_us: int, saved: bool, bounds: Bounds = BOUNDS
) -> list[pa.RecordBatch]:
    """Features batches of a log cut at these offsets, perhaps with the state saved and restored at each."""
    flows, state, out = batch(rows), SensorState.empty(), []
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(edges):
        state, part = advance(state, flows.slice(start, end - start), False, lateness_us, bounds)
        out.append(part)
        if saved:
            state = restore(snapshot(state), bounds)
    out.append(advance(state, flows.slice(0, 0), True, lateness_us, bounds)[1])
    return out


@pytest.mark.slow
@settings(max_examples=examples(40), deadline=None)
@given(flow_rows(most=60), st.lists(st.integers(0, 60), max_size=5), st.integers(0, 3), st.booleans())
def test_cuts_change_nothing(rows: list[dict[str, Any]], cuts: list[int], lateness_s: int, saved: bool) -> None:
    whole = featurize_file_rows(batch(rows), lateness_s * SECOND)
    parts = _cut(rows, cuts, lateness_s * SECOND, saved)
    assert by_position(parts) == by_position([whole])
    on_time = [
        part.column("raw_offset").to_pylist()[index]
        for part in parts
        for index, late in enumerate(part.column("late_by_us").to_pylist())
        if late == 0
    ]
    assert on_time == whole.column("raw_offset").to_pylist()[: len(on_time)]


@settings(max_examples=examples(25), deadline=None)
@given(flow_rows(), st.integers(0, 40))
def test_equal_states_have_equal_bytes(rows: list[dict[str, Any]], cut: int) -> None:
    """However the state came to be: in one batch, in two, or through a restart in between."""
    flows = batch(rows)
    whole, _ = advance(SensorState.empty(), flows, False, SECOND)
    state, _ = advance(SensorState.empty(), flows.slice(0, cut), False, SECOND)
    state, _ = advance(restore(snapshot(state)), flows.slice(cut), False, SECOND)
    assert snapshot(state) == snapshot(whole)
    assert snapshot(restore(snapshot(state))) == snapshot(state)


@settings(max_examples=examples(25), deadline=None)
@given(flow_rows())
def test_features_are_finite_and_not_negative(rows: list[dict[str, Any]]) -> None:
    got = featurize_file_rows(batch(rows), SECOND)
    assert got.schema.equals(arrow_schema("features", FEATURE_SET.width), check_metadata=False)
    assert len(got) == len(rows)
    values = matrix_of(got)
    assert values.shape == (len(rows), FEATURE_SET.width)
    assert np.isfinite(values).all() and (values >= 0).all() and (values <= np.float32(LARGEST)).all()


@settings(max_examples=examples(25), deadline=None)
@given(flow_rows())
def test_the_flows_pass_through_unchanged(rows: list[dict[str, Any]]) -> None:
    flows = batch(rows)
    before = flows.to_pylist()
    got = featurize_file_rows(flows, 0)
    assert flows.to_pylist() == before
    columns = arrow_schema("flow").names
    passed = sorted(got.select(columns).to_pylist(), key=lambda row: row["raw_offset"])
    assert passed == before


@pytest.mark.slow
@settings(max_examples=examples(40), deadline=None)
@given(flow_rows(most=40), flow_rows(most=20), st.integers(0, 40), st.integers(0, 3))
def test_a_tick_releases_what_waits_wherever_the_log_is_cut(
    before: list[dict[str, Any]], after: list[dict[str, Any]], cut: int, lateness_s: int
) -> None:
    lateness_us = lateness_s * SECOND
    head, tail = batch(before), batch(after)

    def run(cuts: list[int], ticks: int) -> tuple[list[list[Any]], bytes]:
        state, out = SensorState.empty(), []
        edges = [0, *cuts, len(head)]
        for start, end in pairwise(edges):
            silent = end == len(head)
            state, rows = advance(state, head.slice(start, end - start), False, lateness_us, silent=silent)
            out += rows.to_pylist()
        assert len(state.waiting) == 0 and len(out) == len(head)
        for _ in range(ticks):
            state, rows = advance(state, head.slice(0, 0), False, lateness_us, silent=True)
            assert len(rows) == 0
        state, rows = advance(state, tail, False, lateness_us)
        key = sorted([row["raw_offset"], row["end_ts_us"], row["late_by_us"], *row["features"]] for row in out)
        rest = [[row["raw_offset"], row["late_by_us"], *row["features"]] for row in rows.to_pylist()]
        return [*key, *rest], snapshot(state)

    once = run([], 0)
    assert run([min(cut, len(head))], 0) == once, "the same however the log is cut"
    assert run([], 2) == once, "a tick more changes nothing"


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_in_order_and_without_lateness_only_the_newest_end_waits(gaps: list[float], cuts: list[int]) -> None:
    """A row leaves with the message that brings one of a later end; the last one with a tick."""
    ends = np.cumsum(gaps)
    flows, state, out = batch([{"at": float(at)} for at in ends]), SensorState.empty(), 0
    for start, end in pairwise([0, *sorted(min(cut, len(ends)) for cut in cuts), len(ends)]):
        state, rows = advance(state, flows.slice(start, end - start), False, 0)
        out += len(rows)
        assert out == (int((ends[:end] < ends[end - 1]).sum()) if end else 0)
    state, rows = advance(state, flows.slice(0, 0), False, 0, silent=True)
    assert out + len(rows) == len(ends) and len(state.waiting) == 0


def test_empty_batches() -> None:
    state, rows = advance(SensorState.empty(), batch([]), False, 0)
    assert len(rows) == 0 and rows.schema.equals(arrow_schema("features", FEATURE_SET.width), check_metadata=False)
    _, rows = advance(state, batch([]), True, 0)
    assert len(rows) == 0


def test_one_flow_with_all_that_may_be_null_null() -> None:
    nullable = {field.name: None for field in arrow_schema("flow") if field.nullable}
    got = featurize_file_rows(batch([nullable]), 0)
    assert len(got) == 1 and np.isfinite(matrix_of(got)).all()


def test_the_largest_values_are_clipped() -> None:
    most = {f"{side}_{name}": 2**64 - 1 for side in ("fwd", "rev") for name in ("pkts", "bytes")}
    got = featurize_file_rows(batch([{**most, "duration_us": 0}, {**most, "at": 1.0}]), 0)
    values = matrix_of(got)
    assert np.isfinite(values).all() and values.max() == np.float32(LARGEST)


def test_late_flows_get_features_but_leave_the_windows_alone() -> None:
    on_time: list[dict[str, Any]] = [{"at": 0.0}, {"at": 10.0, "dst_addr": "10.0.0.3"}, {"at": 10.5}]
    late: dict[str, Any] = {"at": 1.0, "dst_addr": "10.0.0.99", "src_mac": "00:07:7c:88:6e:83"}
    without = featurize_file_rows(batch(on_time), 0)
    got = featurize_file_rows(batch([*on_time[:2], late, on_time[2]]), 0)
    assert got.column("late_by_us").to_pylist() == [0, 0, 0, 9 * SECOND]
    assert np.array_equal(matrix_of(got)[:3], matrix_of(without))
    assert matrix_of(got)[3, FEATURE_SET.names.index("count")] == 1


def test_the_end_forgets() -> None:
    state, _ = advance(SensorState.empty(), batch([{"at": 100.0}]), True, 0)
    _, rows = advance(state, batch([{"at": 1.0}]), True, 0)
    assert rows.column("late_by_us").to_pylist() == [0]
    assert matrix_of(rows)[0, FEATURE_SET.names.index("dst_host_count")] == 1


@pytest.mark.parametrize("lateness_s", [0, 1, 100])
def test_a_sliced_batch_is_read_from_its_own_rows(lateness_s: int) -> None:
    rows = [{"at": float(number), "src_port": None if number % 3 else number} for number in range(20)]
    flows = batch(rows)
    sliced = featurize_file_rows(flows.slice(7, 9), lateness_s * SECOND)
    copied = featurize_file_rows(batch(rows[7:16]), lateness_s * SECOND)
    assert np.array_equal(matrix_of(sliced), matrix_of(copied))


TIGHT = Bounds(queue=40, ring_dsts=40, hosts=40, pairs=40, identities=40)


def _crowd(flows: int, seed: int) -> list[dict[str, Any]]:
    """More endpoints, pairs and flows within 2 s than TIGHT has room for."""
    pick = np.random.default_rng(seed)
    return [
        {
            "at": number / 100,
            "src_addr": f"10.0.{pick.integers(9)}.{pick.integers(20)}",
            "dst_addr": f"10.1.0.{pick.integers(90)}",
            "src_mac": f"00:00:00:00:00:{pick.integers(90):02x}",
        }
        for number in range(flows)
    ]


@settings(max_examples=examples(10), deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 400), max_size=5), st.booleans())
def test_cuts_change_nothing_when_tables_overflow(seed: int, cuts: list[int], saved: bool) -> None:
    rows = _crowd(400, seed)
    assert by_position(_cut(rows, cuts, 0, saved, TIGHT)) == by_position(_cut(rows, [], 0, False, TIGHT))


def test_tables_stay_within_their_bounds_and_count_what_they_lose() -> None:
    state, _ = advance(SensorState.empty(), batch(_crowd(1000, 1)), False, 0, TIGHT)
    time, newest, profiles = state.windows[ORDINARY]
    assert len(time.queue) == 40 and time.queued[2] > 500
    for table in (newest.dsts, profiles.hosts, profiles.pairs, profiles.addresses, profiles.devices):
        assert len(table.cells) - 1 == 40 and table.cells[0, EVICTED] > 40
    assert max(len(table.cells) for table in (time.dsts, time.services, time.pairs)) <= 43
    counts = time.dst_counts[1:, 0]
    assert counts.min() >= 0 and counts.sum() == 40


@settings(max_examples=examples(20), deadline=None)
@given(flow_rows(), st.lists(st.integers(0, 40), max_size=4), st.integers(1, 10))
def test_cuts_change_nothing_when_too_many_wait(rows: list[dict[str, Any]], cuts: list[int], most: int) -> None:
    flows, results = batch(rows), []
    for offsets in ([], cuts):
        state, out = SensorState.empty(), []
        for start, end in pairwise([0, *sorted(min(cut, len(rows)) for cut in offsets), len(rows)]):
            state, part = advance(state, flows.slice(start, end - start), False, 3 * SECOND, max_waiting=most)
            assert len(state.waiting) <= most
            out.append(part)
        released_early = state.released_early
        out.append(advance(state, flows.slice(0, 0), True, 3 * SECOND, max_waiting=most)[1])
        results.append((by_position(out), released_early))
    assert results[0] == results[1]
