"""The KDD windows against an oracle, and the identities they must obey."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.featurize.feature_set import COUNT, FEATURE_SET, TIME
from pipeline.featurize.sensor import featurize_file_rows
from tests.examples import examples
from tests.featurize import oracle
from tests.featurize.flows import batch, flow_rows, matrix_of

COLUMNS = [FEATURE_SET.names.index(feature.name) for feature in TIME + COUNT]


def _table(rows: list[dict[str, Any]], lateness_us: int) -> dict[int, list[float]]:
    """The compiled windows' features by raw offset."""
    got = featurize_file_rows(batch(rows), lateness_us, batch_rows=7)
    return {
        offset: values.tolist()
        for offset, values in zip(got.column("raw_offset").to_pylist(), matrix_of(got)[:, COLUMNS], strict=True)
    }


def _expected(rows: list[dict[str, Any]], lateness_us: int) -> dict[int, list[float]]:
    windows = oracle.Kdd()
    flows = oracle.in_event_order(batch(rows).to_pylist(), lateness_us)
    return {flow["raw_offset"]: windows.features(flow, late > 0) for flow, late in flows}


@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None)
@given(flow_rows())
def test_agrees_with_the_oracle(rows: list[dict[str, Any]]) -> None:
    for lateness_us in (0, 1_500_000):
        got, expected = _table(rows, lateness_us), _expected(rows, lateness_us)
        assert got.keys() == expected.keys()
        for offset, values in expected.items():
            np.testing.assert_allclose(got[offset], values, rtol=1e-6, err_msg=str(offset))


@pytest.mark.slow
def test_rings_longer_than_their_window() -> None:
    rng = np.random.default_rng(4)
    rows = [
        {
            "at": number * 0.01,
            "dst_addr": f"10.0.0.{rng.choice([1, 1, 1, 1, 1, 2, 3, 4 + number % 90])}",
            "dst_port": int(rng.choice([22, 22, 22, 502, number % 30])),
            "src_port": int(rng.choice([1000, 2000])),
            "conn_state": str(rng.choice(["SF", "S0", "REJ"])),
        }
        for number in range(800)
    ]
    got, expected = _table(rows, 0), _expected(rows, 0)
    assert max(values[9] for values in got.values()) == 255
    for offset, values in expected.items():
        np.testing.assert_allclose(got[offset], values, rtol=1e-6, err_msg=str(offset))


@settings(max_examples=examples(30), deadline=None)
@given(flow_rows())
def test_identities_of_nsl_kdd(rows: list[dict[str, Any]]) -> None:
    for n, m, *rates in (window for row in _table(rows, 0).values() for window in (row[:9], row[9:18])):
        assert n >= 1 and m >= 1
        assert all(0 <= rate <= 1 for rate in rates)
        serror, _, rerror, _, same, diff_srv, diff_host = rates
        both = round(same * n)
        assert 1 <= both <= min(n, m)
        assert diff_srv == 0 or diff_srv * n > 1.5  # s distinct services, s > 1
        assert diff_host == 0 or diff_host * m > 1.5
        if n == 1:  # the flow alone: the rates are its own flags
            assert serror in (0, 1) and rerror in (0, 1) and same == 1 and diff_srv == 0


def test_two_seconds_are_open_at_the_far_end() -> None:
    rows = [{"at": 0.0}, {"at": 1.999999}, {"at": 2.0}, {"at": 3.999999}]
    assert [row[0] for row in _table(rows, 0).values()] == [1, 2, 2, 2]


@pytest.mark.parametrize(
    ("state", "serror", "rerror"), [("S0", 1, 0), ("SH", 1, 0), ("RSTR", 0, 1), ("SF", 0, 0), ("RSTRH", 0, 0)]
)
def test_which_states_are_errors(state: str, serror: int, rerror: int) -> None:
    (row,) = _table([{"conn_state": state}], 0).values()
    assert row[2:6] == [serror, serror, rerror, rerror]
    (row,) = _table([{"conn_state": state, "ip_proto": 17}], 0).values()
    assert row[2:6] == [0, 0, 0, 0]


def test_counts_are_capped_at_511() -> None:
    rows = [{"at": number / 1000} for number in range(600)]
    assert max(row[0] for row in _table(rows, 0).values()) == 511
