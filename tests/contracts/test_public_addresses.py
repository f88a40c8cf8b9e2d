import ipaddress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.public_addresses import is_public
from pipeline.featurize.addresses import outside

ADDRESS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    *(
        st.ip_addresses(network=network).map(str)
        for network in ("172.0.0.0/8", "100.0.0.0/8", "198.16.0.0/12", "fc00::/6", "fe80::/9", "::/123")
    ),
)


@given(addresses=st.lists(ADDRESS, min_size=1, max_size=20))
def test_an_address_is_public_to_alert_where_it_is_to_featurize(addresses: list[str]) -> None:
    assert [is_public(address) for address in addresses] == outside(pa.array(addresses)).tolist()


def test_an_address_of_ipv6_as_long_as_a_hardware_address_is_public() -> None:
    assert is_public("2001:3:f4b:d800::")
    assert outside(pa.array(["2001:3:f4b:d800::", "00:07:7c:88:6e:83"])).tolist() == [True, False]


@pytest.mark.parametrize("address", ["", "plc-1", "00:07:7c:88:6e:83", "fe80::1%eth0", str(ipaddress.IPv4Address(0))])
def test_what_is_no_public_address(address: str) -> None:
    assert not is_public(address)
