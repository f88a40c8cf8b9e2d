"""Addresses of no single device: broadcast, multicast, unspecified. They link no flows and initiate none."""

import re

# The lowest bit of a hardware address's first byte says that it is a group's.
GROUP_MAC = r"^(?i:[0-9a-f][13579bdf](:[0-9a-f]{2}){5}|00:00:00:00:00:00)$"
GROUP_ADDRESS = r"^(?i:(22[4-9]|23[0-9])\.|255\.255\.255\.255$|0\.0\.0\.0$|ff[0-9a-f]{2}:|::$)"

EVERYBODY = r"^(?i:ff(:ff){5}|255\.255\.255\.255|224\.0\.0\.1|ff0[12]::1)$"
UNSPECIFIED = r"^(00(:00){5}|0\.0\.0\.0|::)$"

_EITHER = re.compile(f"{GROUP_MAC}|{GROUP_ADDRESS}")


def is_group_address(address: str) -> bool:
    """Whether the address is a group's, not one device's."""
    return _EITHER.match(address) is not None


def group_of(address: str) -> str:
    """Whom an address means, where not one device: `everybody`, `a group`; else, and where it means nobody, nothing."""
    if not is_group_address(address) or re.match(UNSPECIFIED, address):
        return ""
    return "everybody" if re.match(EVERYBODY, address) else "a group"
