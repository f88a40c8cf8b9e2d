"""Which addresses lie outside a plant. Featurize has the same rule compiled, over a column (featurize/addresses.py)."""

import ipaddress
from functools import lru_cache

_INSIDE_IP4 = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"),
    )
)
_INSIDE_IP6 = tuple(ipaddress.ip_network(network) for network in ("::/127", "fe80::/10", "fc00::/7", "ff00::/8"))


LONGEST = 45
"""Characters of an address: of IPv4 in IPv6."""
REMEMBERED = 4_096
"""Addresses that are parsed once: those of one incident are asked for again and again."""


def is_public(address: str) -> bool:
    """Whether an address is public (RFC 6890), of IPv4 in IPv6 that of IPv4; a hardware address or a name is not."""
    text = address.partition("%")[0]
    return len(text) <= LONGEST and _is_public(text)


@lru_cache(REMEMBERED)
def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    if isinstance(parsed, ipaddress.IPv6Address):
        return not any(parsed in network for network in _INSIDE_IP6)
    return not any(parsed in network for network in _INSIDE_IP4)
