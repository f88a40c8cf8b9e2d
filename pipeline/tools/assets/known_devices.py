"""What readers of alerts know of a device: the plant's name of it, and, where flows were read, its guessed role."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.runtime.terminal import printable
from pipeline.tools.assets.documents import Asset, known_by
from pipeline.tools.assets.label import MAX_NAME, Labels
from pipeline.tools.assets.roles import UNKNOWN


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as alerts name it. role, confidence: None where none was guessed. What the plant did not say is None."""

    address: str
    name: str | None = None
    role: str | None = None
    confidence: str | None = None
    criticality: str | None = None
    zone: str | None = None

    def document(self, address: str) -> dict[str, str | None]:
        """As JSON of an alert that has it by `address`, one of its own; `device` is the address it is called by."""
        return {
            "address": address,
            "device": self.address,
            "name": self.name,
            "role": self.role,
            "confidence": self.confidence,
            "criticality": self.criticality,
            "zone": self.zone,
        }


KnownDevices = Mapping[tuple[str, str], KnownDevice]
"""Devices by site and address, by each of a device's addresses and its hardware address."""


def known_devices(labels: Labels, assets: Iterable[Asset] = ()) -> dict[tuple[str, str], KnownDevice]:
    """All that is known by name or by role: at most as many entries as labels and the assets' addresses.

    A device that the plant did not name and whose role is unknown is left out: there is nothing to say of it.
    """
    known = {
        (site, address): KnownDevice(
            address, label.name or None, None, None, label.criticality or None, label.zone or None
        )
        for (site, address), label in labels.items()
    }
    for asset in assets:
        role, device = asset.guess, asset.device
        has_role = role.role != UNKNOWN
        if not has_role and not (asset.name or asset.criticality or asset.zone):
            continue
        entry = KnownDevice(
            device.key,
            asset.name,
            role.role if has_role else None,
            role.confidence,
            asset.criticality,
            asset.zone,
        )
        known.update({(device.site, each): entry for each in known_by(device)})
    return known


def with_names(text: str, assets: Iterable[Mapping[str, Any]]) -> str:
    """A sentence in which each address that the plant named reads `HMI north (10.0.0.7)`; said twice, it is the same.

    assets: `KnownDevice.document` of the sentence's addresses.
    """
    names = {asset["address"]: printable(asset["name"], MAX_NAME) for asset in assets if asset["name"]}
    if not names:
        return text
    longest_first = sorted(names, key=lambda address: (-len(address), address))
    # A whole address: neither part of another one, nor the beginning of address and port.
    pattern = rf"(?<![\w.:])(?:{'|'.join(map(re.escape, longest_first))})(?!\w|[.:]\w)"

    def named(match: re.Match[str]) -> str:
        name, address = names[match[0]], match[0]
        is_named = text.endswith(f"{name} (", 0, match.start())
        return address if is_named else f"{name} ({address})"

    return re.sub(pattern, named, text)
