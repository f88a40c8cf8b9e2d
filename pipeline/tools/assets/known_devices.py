"""What readers of alerts know of a device: the plant's name of it, and, where flows were read, its guessed role."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
    role_title: str | None = None
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
            address, label.name or None, None, None, None, label.criticality or None, label.zone or None
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
            role.title if has_role else None,
            role.confidence,
            asset.criticality,
            asset.zone,
        )
        known.update({(device.site, each): entry for each in known_by(device)})
    return known


def called(devices: KnownDevices, site: str, address: str) -> str:
    """An address as people read it: `HMI north (10.0.0.7)` where the plant named it, else the address; printable."""
    known = devices.get((site, address))
    shown = printable(address, MAX_NAME)
    return shown if known is None or known.name is None else f"{printable(known.name, MAX_NAME)} ({shown})"


def about(devices: KnownDevices, site: str, address: str) -> str:
    """The same with what it is: `HMI north (10.0.0.7), controller (medium), critical`; a guess has its confidence.

    Criticality is the plant's own word, shown beside an alert: it changes no severity.
    """
    known = devices.get((site, address))
    parts = [called(devices, site, address)]
    if known is not None and known.role_title is not None:
        parts.append(f"{known.role_title} ({known.confidence})")
    if known is not None and known.criticality is not None:
        parts.append(f"criticality {known.criticality}")
    return ", ".join(parts)
