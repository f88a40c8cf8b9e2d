"""What the plant itself says of a device: its name, how critical it is, and the zone it stands in."""

from typing import NamedTuple

CRITICALITIES = ("low", "medium", "high", "critical")
MAX_NAME = 128
MAX_ZONE = 64


class Label(NamedTuple):
    """A device's label; all empty: what is known is taken away. zone: None where a file says nothing of zones."""

    name: str
    criticality: str
    zone: str | None = ""


Labels = dict[tuple[str, str], Label]
"""Labels by site and address."""
NOTHING = Label("", "")
