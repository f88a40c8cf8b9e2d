"""Which addresses are public, beside Python's own reading of them."""

import ipaddress

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.contracts.public_addresses import is_public
from pipeline.featurize.addresses import outside
from tests.examples import examples
from tests.featurize.flows import MACS

INSIDE = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"),
        *("::/128", "::1/128", "fe80::/10", "fc00::/7", "ff00::/8"),
    )
]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NEAR_EDGES = st.builds(
    lambda network, before, by: network[0 if before else -1] + by if int(network[0]) + by >= 0 else network[0],
    st.sampled_from(INSIDE),
    st.booleans(),
    st.integers(-2, 0),
)


def _expected(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return not any(address in network for network in INSIDE if network.version == address.version)


def _as_ingest_writes_it(address: Address) -> str:
    """Lower case, shortest form; what is of IPv4 in an address of IPv6 in hexadecimal digits."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        low = int(address) & 0xFFFF_FFFF
        return f"::ffff:{low >> 16:x}:{low & 0xFFFF:x}"
    return str(address)


@settings(max_examples=examples(300))
@given(
    st.one_of(st.ip_addresses(), NEAR_EDGES, st.builds(ipaddress.IPv6Address, st.integers(0xFFFF << 32, (1 << 48) - 1)))
)
@example(ipaddress.IPv6Address("fe8::1"))
@example(ipaddress.IPv6Address("fc::"))
@example(ipaddress.IPv6Address("::2"))
@example(ipaddress.IPv6Address("::ffff:0:0:1"))
@example(ipaddress.IPv6Address("::ffff:10.0.0.1"))
@example(ipaddress.IPv6Address("::ffff:203.0.113.1"))
def test_an_address_is_public_where_python_finds_it_in_no_other_range(address: Address) -> None:
    texts = {_as_ingest_writes_it(address), str(address)}
    assert outside(pa.array(sorted(texts))).tolist() == [_expected(address)] * len(texts)
    assert {is_public(text) for text in texts} == {_expected(address)}, "alert has the same rule"


@pytest.mark.parametrize("text", [*MACS, "ff:ff:ff:ff:ff:ff", "", None])
def test_what_is_no_address_of_ip_is_not_public(text: str | None) -> None:
    assert outside(pa.array([text, "203.0.113.9"], pa.string())).tolist() == [False, True]


def test_a_slice_is_read_from_where_it_begins() -> None:
    column = pa.array(["10.0.0.1", "203.0.113.9", "fe80::1", "2001:db8::1"])
    assert outside(column.slice(1, 2)).tolist() == [True, False]
    assert outside(column.slice(0, 0)).tolist() == []
