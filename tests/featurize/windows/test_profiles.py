"""Endpoint and pair profiles against an oracle; identities of addresses and devices by example."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.featurize.feature_set import FEATURE_SET, HOST, PAIR
from pipeline.featurize.sensor import featurize_file_rows
from tests.examples import examples
from tests.featurize import oracle
from tests.featurize.flows import GROUPS, MACS, NOBODY, batch, flow_rows, matrix_of

HOST_COLUMNS = [FEATURE_SET.names.index(feature.name) for feature in HOST]
PAIR_COLUMNS = [FEATURE_SET.names.index(feature.name) for feature in PAIR[:4]]


def _named(rows: list[dict[str, Any]], *names: str) -> list[list[float]]:
    """These features of each row, in event-time order."""
    columns = [FEATURE_SET.names.index(name) for name in names]
    return [
        [round(float(value), 4) for value in row] for row in matrix_of(featurize_file_rows(batch(rows)))[:, columns]
    ]


@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None)
@given(flow_rows(span_s=100.0))
def test_agrees_with_the_oracle(rows: list[dict[str, Any]]) -> None:
    got = featurize_file_rows(batch(rows), 10_000_000)
    values = dict(zip(got.column("raw_offset").to_pylist(), matrix_of(got), strict=True))
    hosts, pairs, start_us = oracle.Hosts(), oracle.Pairs(), None
    for flow, late in oracle.in_event_order(batch(rows).to_pylist(), 10_000_000):
        start_us = flow["end_ts_us"] if start_us is None and not late else start_us
        watched = 0 if start_us is None else max(flow["end_ts_us"] - start_us, 0)
        warm = min(watched / 60e6, 1.0)
        new, pair = pairs.features(flow, late > 0, watched, warm)
        ends = [flow["src_addr"]] if flow["src_addr"] not in (NOBODY, *GROUPS) else []
        ends += [flow["dst_addr"]] if flow["dst_addr"] not in GROUPS else []
        row = values[flow["raw_offset"]]
        expected = hosts.features(flow, late > 0, warm, new, ends)
        np.testing.assert_allclose(row[HOST_COLUMNS], expected, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(row[PAIR_COLUMNS], pair, rtol=2e-5, atol=1e-5)


def test_new_counts_in_proportion_to_the_time_watched() -> None:
    rows = [{"at": float(second), "dst_addr": f"10.0.1.{second}"} for second in (0, 15, 60, 200)]
    assert _named(rows, "pair_new", "new_endpoints") == [[0, 0], [0.25, 0.25], [1, 1], [1, 1]]


def test_a_quiet_pair() -> None:
    rows = [{"at": 0.0}, {"at": 7.0}, {"at": 1000.0}, {"at": 1001.0, "ip_proto": 17}]
    assert _named(rows, "pair_quiet_us") == [[0], [7e6], [300e6], [300e6]]


def test_another_device_behind_an_address() -> None:
    """What a man in the middle looks like: the address stays, the hardware address behind it changes."""
    flows = [{"at": number, "dst_mac": MACS[0], "src_mac": MACS[2]} for number in range(3)]
    flows += [{"at": 3, "dst_mac": MACS[1], "src_mac": MACS[2]}, {"at": 4, "dst_mac": MACS[0], "src_mac": MACS[2]}]
    flows += [{"at": 5, "dst_mac": MACS[0], "src_mac": MACS[2], "dst_mac_count": 2}]
    got = _named(flows, "mac_changed")
    assert [value for (value,) in got] == [0, 0, 0, 1, 1, 1]
    ((flips,),) = _named(flows, "mac_flips")[-1:]
    assert 2.9 < flips < 3


def test_a_device_with_another_address() -> None:
    flows = [{"at": 0, "src_mac": MACS[0]}, {"at": 1, "src_mac": MACS[0], "src_addr": "10.9.9.9"}]
    assert _named(flows, "address_changed", "mac_changed") == [[0, 0], [1, 0]]


def test_groups_and_nobody_are_no_devices() -> None:
    flows = [
        {"at": number, "src_addr": NOBODY, "dst_addr": GROUPS[0], "src_mac": mac, "dst_mac": "ff:ff:ff:ff:ff:ff"}
        for number, mac in enumerate(MACS)
    ]
    assert _named(flows, "mac_changed", "address_changed", "host_flows", "unanswered") == [[0, 0, 0, 0]] * 4


def test_a_usual_flow_changes_nothing_and_an_unusual_one_does() -> None:
    usual = {"fwd_ttl_mean": 64.0, "fwd_window_mean": 500.0, "fwd_iat_mean_us": 100.0}
    rows = [{"at": number, **usual} for number in range(10)]
    rows.append({"at": 10, "fwd_ttl_mean": 60.0, "fwd_window_mean": 5000.0, "fwd_pkts": 300, "fwd_iat_mean_us": 1.0})
    got = _named(rows, "pair_ttl_change", "pair_window_change", "pair_packets_change", "pair_iat_change")
    assert got[9] == [0, 0, 0, 0]
    assert got[10][0] == 4 and got[10][1] > 2 and got[10][2] > 3 and got[10][3] > 3
