"""The feature set as data, and the flow's own features."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.featurize.addresses import BROADCAST, MULTICAST, UNICAST, UNSPECIFIED, address_keys
from pipeline.featurize.feature_set import COUNT, FEATURE_SET, FLOW, HOST, IDENTITY, PAIR, TCP, TIME
from pipeline.featurize.flow_features import FLOW_FEATURES, flow_features
from pipeline.featurize.rows import rows_of
from pipeline.featurize.windows.sensor_windows import WINDOW_FEATURES
from tests.featurize.flows import NOBODY, batch


def test_names_are_distinct_and_complete() -> None:
    assert len(set(FEATURE_SET.names)) == FEATURE_SET.width
    assert len(TIME + COUNT + HOST + PAIR + IDENTITY) == WINDOW_FEATURES
    assert FEATURE_SET.width == len(FLOW + TCP) + WINDOW_FEATURES
    for feature in FEATURE_SET.features:
        assert feature.scale in ("log1p", "linear") and feature.label and feature.unit and feature.group


def test_the_hash_follows_definitions_and_not_words() -> None:
    first = FEATURE_SET.features[0]

    def changed(**fields: Any) -> str:
        return replace(FEATURE_SET, features=(replace(first, **fields), *FEATURE_SET.features[1:])).hash

    assert len(FEATURE_SET.hash) == 64 and changed() == FEATURE_SET.hash == changed(label="another wording")
    others = [changed(name="x"), changed(scale="linear"), replace(FEATURE_SET, version=99).hash]
    others += [replace(FEATURE_SET, parameters=FEATURE_SET.parameters[1:]).hash]
    assert len({FEATURE_SET.hash, *others}) == 5


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("198.18.134.99", UNICAST),
        ("10.0.0.255", BROADCAST),
        ("255.255.255.255", BROADCAST),
        ("224.0.0.22", MULTICAST),
        ("239.1.2.3", MULTICAST),
        ("240.0.0.1", UNICAST),
        (NOBODY, UNSPECIFIED),
        ("", UNSPECIFIED),
        ("::", UNSPECIFIED),
        ("fe80::1", UNICAST),
        ("ff02::1", MULTICAST),
        ("2001:db8::ff", UNICAST),
        ("b8:27:eb:6d:4f:4b", UNICAST),
        ("01:80:c2:00:00:0e", MULTICAST),
        ("33:33:00:00:00:01", MULTICAST),
        ("ff:ff:ff:ff:ff:ff", BROADCAST),
        ("00:00:00:00:00:00", UNSPECIFIED),
        ("x", UNICAST),
    ],
)
def test_kinds_of_addresses(address: str, kind: int) -> None:
    _, kinds = address_keys(batch([{"src_addr": address}]).column("src_addr"))
    assert kinds.tolist() == [kind]


KEY_OF_99, KEY_OF_NOTHING = 0x9DCF2D756BA36B60, 0xF52A15E9A9B5E89B


def test_address_keys_never_change() -> None:
    """State saved by one version must mean the same to the next."""
    keys, _ = address_keys(batch([{"src_mac": mac} for mac in ("198.18.134.99", None, "")]).column("src_mac"))
    assert keys.tolist() == [KEY_OF_99, KEY_OF_NOTHING, KEY_OF_NOTHING]
    keys, kinds = address_keys(batch([{"src_mac": None}] * 2).column("src_mac"))
    assert keys.tolist() == [KEY_OF_NOTHING] * 2 and kinds.tolist() == [UNSPECIFIED] * 2
    assert keys.dtype == np.uint64 and kinds.dtype == np.uint8


def _flow_values(**flow: Any) -> dict[str, float]:
    matrix = np.empty((1, FLOW_FEATURES), np.float32)
    flow_features(rows_of(batch([flow])), matrix)
    (row,) = matrix
    return {feature.name: float(value) for feature, value in zip(FLOW + TCP, row, strict=True)}


def test_own_features_of_a_scan() -> None:
    got = _flow_values(
        fwd_pkts=0, rev_pkts=290, fwd_bytes=0, rev_bytes=12760, rev_syn_pkts=290, fwd_syn_pkts=0, duration_us=500_000
    )
    assert got["packets"] == 290 and got["packet_rate"] == 580 and got["unanswered"] == 1
    assert got["rev_packet_size"] == 44 and got["fwd_packet_size"] == 0 and got["packet_imbalance"] == 1
    assert got["syn_share"] == 1 and got["syn_imbalance"] == 1 and got["is_tcp"] == 1 and got["has_ports"] == 0


def test_own_features_of_an_arp_announcement() -> None:
    got = _flow_values(
        ether_type=0x0806,
        ip_proto=None,
        src_addr="00:07:7c:88:6e:63",
        dst_addr="ff:ff:ff:ff:ff:ff",
        rev_pkts=0,
        duration_us=7_133,
        fwd_iat_mean_us=1426.0,
        conn_state="OTH",
    )
    assert got["is_arp"] == got["to_broadcast"] == 1 and got["unanswered"] == 0 and got["is_other_l2"] == 0
    assert got["broadcast_spread_us"] == 7_133 and got["iat_high_us"] == got["iat_low_us"] == 1426


def test_flags_stand_in_for_counts_that_a_source_does_not_give() -> None:
    got = _flow_values(fwd_tcp_flags=2, rev_tcp_flags=4, conn_state="REJ", dst_port=502)
    assert got["syn_packets"] == 1 and got["rst_packets"] == 1 and got["rerror"] == 1
    assert got["to_system_port"] == got["to_ics_port"] == got["has_ports"] == 1
    assert np.isclose(got["syn_share"], 0.2)
