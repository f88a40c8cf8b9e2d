"""Whatever a sensor sends: a baseline judges it, the same in any batch, and goes on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.baseline import Evidence, Phase
from pipeline.featurize.baseline.judge import COLUMNS, SensorBaseline, judge
from pipeline.featurize.baseline.sensor_baseline import no_baseline
from pipeline.featurize.feature_set import FEATURE_SET
from tests.examples import examples
from tests.featurize.baseline.plant import (
    MONTH_S,
    QUICK,
    advanced,
    columns_of,
    lived,
    poll,
    polls,
    state_after,
)
from tests.featurize.flows import NOBODY, batch, flow_rows

PHASE, EVIDENCE, STRANGENESS = (COLUMNS.index(name) for name in ("phase", "evidence", "strangeness"))


@settings(max_examples=examples(12), deadline=None)
@given(flow_rows(most=60, span_s=900.0), st.lists(st.integers(0, 60), max_size=4), st.booleans())
def test_extreme_values_nulls_and_ties(rows: list[dict[str, Any]], cuts: list[int], saved: bool) -> None:
    whole = lived(rows)
    assert lived(rows, cuts, saved) == whole
    assert len(whole[0]) == len(rows)


@settings(max_examples=examples(12), deadline=None)
@given(flow_rows(most=40, span_s=60.0))
def test_extreme_values_at_a_sensor_that_is_anchored(rows: list[dict[str, Any]]) -> None:
    odd = [{**row, "at": 400.0 + row["at"]} for row in rows]
    columns, _, _ = lived([*polls(400), *odd, *polls(60, start_s=470.0)])
    assert {columns[len(odd) + 400 + number][EVIDENCE] & ~Evidence.STRANGE for number in range(60)} == {0}


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38])
def test_features_that_are_no_numbers(value: float) -> None:
    """Featurize makes none; a baseline does not rely on that."""
    flows = batch(polls(40))
    matrix = np.full((40, FEATURE_SET.width), value, np.float32)
    sensor = SensorBaseline(no_baseline(), ("plant", "left"), QUICK)
    [baseline], said, _ = judge([sensor], [np.arange(40)], np.zeros(40, np.bool_), flows, None, matrix, FEATURE_SET)
    assert baseline.kinds.counts[0] == 1
    assert np.abs(baseline.kinds.points[0].astype(int)).max() == 120
    assert len(said) == len(COLUMNS) and all(array.null_count == 0 for array in said)


ODD_ENDS = [
    {"src_addr": "", "dst_addr": ""},
    {"src_addr": NOBODY, "dst_addr": "255.255.255.255"},
    {"src_addr": "2001:db8::1", "dst_addr": "2001:db8::2"},
    {"src_addr": "fe80::1", "dst_addr": "ff02::fb"},
    {"src_addr": "::ffff:a00:1", "dst_addr": "::"},
    {"src_addr": "00:07:7c:00:00:01", "dst_addr": "01:80:c2:00:00:0e"},
    {"src_addr": "10.0.0.1", "dst_addr": "10.0.0.1"},
]
NOTHING = {"src_port": None, "dst_port": None, "src_mac": None, "dst_mac": None, "ip_proto": None, "ether_type": None}


@pytest.mark.parametrize("ends", ODD_ENDS, ids=lambda ends: f"{ends['src_addr']} to {ends['dst_addr']}")
@pytest.mark.parametrize("rest", [{}, NOTHING], ids=["a poll", "nothing else known"])
def test_odd_ends_become_usual_like_any(ends: dict[str, Any], rest: dict[str, Any]) -> None:
    again = [poll(at) | ends | rest for at in range(0, 400, 2)]
    rows = sorted([*polls(400), *again], key=lambda row: float(row["at"]))
    columns, _, _ = whole = lived(rows)
    assert columns[len(rows) - 1][PHASE] == Phase.ANCHORED
    assert {columns[number][EVIDENCE] for number in range(len(rows) - 40, len(rows))} == {0}
    assert lived(rows, range(0, len(rows), 31), saved=True) == whole


def test_a_sensor_whose_flows_have_no_addresses_is_restored() -> None:
    rows = [poll(at) | ODD_ENDS[0] for at in range(100)]
    assert lived(rows, range(0, 100, 7), saved=True) == lived(rows)


def test_a_clock_that_was_set_after_the_first_flow_stops_no_learning() -> None:
    unset = poll(0.0) | {"start_ts_us": 0, "end_ts_us": 5_000_000}
    columns, _, _ = lived([unset, *polls(400)])
    assert (columns[400][PHASE], columns[400][EVIDENCE]) == (Phase.ANCHORED, 0)


def test_a_gap_of_a_month_ends_nothing() -> None:
    """Neither learning, by the calendar alone, nor what was usual before."""
    later = polls(20, start_s=MONTH_S)
    columns, _, _ = lived([*polls(20), *later])
    assert {said[PHASE] for said in columns.values()} == {Phase.LEARNING}
    columns, notices, _ = lived([*polls(400), *later])
    assert {columns[400 + number][EVIDENCE] for number in range(1, 20)} == {0}, "the first ends a long silence"
    assert not [notice for notice in notices if notice.kind in ("silent", "changed")]


def test_flows_that_are_all_late_begin_no_baseline() -> None:
    state, rows, notices = advanced(state_after([]), batch([poll(100.0)]))
    state, rows, notices = advanced(state, batch([poll(at) for at in range(50)], first_offset=10))
    assert rows.num_rows == 50 and not notices and not state.baseline.has_begun
    assert {said[PHASE] for said in columns_of(rows).values()} == {Phase.LEARNING}
    assert {said[STRANGENESS] for said in columns_of(rows).values()} == {float("inf")}
    state, rows, _ = advanced(state, batch([]), ended=True)
    assert state.baseline.has_begun and columns_of(rows)[0][PHASE] == Phase.LEARNING


def test_no_flows_say_nothing() -> None:
    assert lived([])[:2] == ({}, [])
