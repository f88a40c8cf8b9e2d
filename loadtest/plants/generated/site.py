"""The hosts of a generated plant: servers and stations in one segment, cells with controllers in others.

    10.20.0.0/24   router, domain controller, SCADA servers, historian, engineering and operator stations, printer
    10.20.1.0/24   cell 1: router, panel, gateway, switch, controllers
    10.20.2.0/24   cell 2, and so on; cells speak Modbus, S7comm and EtherNet/IP in turn

Between segments hosts speak through the router, whose hardware address then stands for the other end.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loadtest.plants.generated.chance import Ints

SITE = "generated"
NETWORK = (10 << 24) + (20 << 16)
CORE = 0
PROTOCOLS = ("modbus", "s7comm", "enip")
PORTS = {"modbus": 502, "s7comm": 102, "enip": 44_818}
BROADCAST_MAC = (1 << 48) - 1

# The first three bytes of hardware addresses, of makers whose devices such hosts are.
_MAKERS = {
    "router": 0x00_0A_DC,
    "server": 0xD0_94_66,
    "station": 0xF8_B1_56,
    "printer": 0x00_80_77,
    "switch": 0x00_90_E8,
    "panel": 0x00_1C_06,
    "gateway": 0x00_30_DE,
    "modbus": 0x00_80_F4,
    "s7comm": 0x00_1B_1B,
    "enip": 0x00_00_BC,
    "intruder": 0xB8_27_EB,
}
_SERVERS = (("dc", 10), ("scada-1", 11), ("scada-2", 12), ("historian", 13), ("backup", 14), ("jump", 25))
_STATIONS = (("eng-1", 20), ("eng-2", 21), ("op-1", 41), ("op-2", 42), ("op-3", 43), ("op-4", 44), ("op-5", 45))
WINDOWS_HOSTS = ("scada-1", "scada-2", "historian", "jump", "eng-1", "eng-2", "op-1", "op-2", "op-3", "op-4", "op-5")


@dataclass(frozen=True, slots=True)
class Size:
    """How large a plant is."""

    cells: int
    plcs: int
    """Controllers of each cell."""
    slowness: int = 1
    """How many times as long as usual panels and servers wait between two polls."""


SIZES = {"small": Size(3, 3, 4), "medium": Size(3, 4), "large": Size(6, 6)}


@dataclass(frozen=True, slots=True)
class Host:
    """A device with one address; `kind` says what it is, of a controller which protocol it speaks."""

    name: str
    kind: str
    segment: int
    address: int
    mac: int


def address_of(segment: int, last: int) -> int:
    """The IPv4 address of a host in a segment, as a number."""
    return NETWORK + (segment << 8) + last


def dotted(address: int) -> str:
    """An IPv4 address as text."""
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def mac_text(mac: int) -> str:
    """A hardware address as text."""
    return ":".join(f"{mac >> shift & 255:02x}" for shift in range(40, -8, -8))


@dataclass(frozen=True)
class Site:
    """The hosts of a plant of a size."""

    size: Size

    @cached_property
    def hosts(self) -> dict[str, Host]:
        """Every host by its name, those included that come during the week, or for an attack."""
        hosts = [self._host("router", "router", CORE, 1), self._host("printer", "printer", CORE, 30)]
        hosts += [self._host(name, "server", CORE, last) for name, last in _SERVERS]
        hosts += [self._host(name, "station", CORE, last) for name, last in _STATIONS]
        for cell in self.cells:
            names = (("router", 1), ("panel", 50), ("gateway", 60), ("switch", 70))
            hosts += [self._host(f"cell-{cell}-{kind}", kind, cell, last) for kind, last in names]
            hosts += [
                self._host(f"cell-{cell}-plc-{plc}", self.protocol(cell), cell, 10 + plc)
                for plc in range(1, self.size.plcs + 1)
            ]
        hosts.append(self._host("cell-1-plc-new", self.protocol(1), 1, 30))
        hosts += [self._host(f"intruder-{number}", "intruder", CORE, 160 + number) for number in range(1, 7)]
        hosts.append(self._host("cell-1-intruder", "intruder", 1, 160))
        return {host.name: host for host in hosts}

    @property
    def cells(self) -> range:
        """The numbers of the cells, which are those of their segments."""
        return range(1, self.size.cells + 1)

    def protocol(self, cell: int) -> str:
        """What a cell's controllers speak."""
        return PROTOCOLS[(cell - 1) % len(PROTOCOLS)]

    def cell_of(self, protocol: str) -> int:
        """The first cell with a protocol."""
        return PROTOCOLS.index(protocol) + 1

    def plcs(self, cell: int) -> list[Host]:
        """The controllers of a cell, without the one that comes during the week."""
        return [self.hosts[f"cell-{cell}-plc-{plc}"] for plc in range(1, self.size.plcs + 1)]

    def address(self, name: str) -> int:
        """The address of a host."""
        return self.hosts[name].address

    def names_of(self, address: int) -> str:
        """A host's name and address as people write them; the address alone where no host of ours has it."""
        named = {host.address: host.name for host in self.hosts.values()}
        return f"{named[address]} ({dotted(address)})" if address in named else dotted(address)

    def _host(self, name: str, kind: str, segment: int, last: int) -> Host:
        # The last three bytes tell devices of one maker apart.
        mac = (_MAKERS[kind] << 24) + (0x21 << 16) + (segment << 8) + last
        return Host(name, kind, segment, address_of(segment, last), mac)

    @cached_property
    def _sorted(self) -> tuple[Ints, Ints]:
        hosts = sorted(self.hosts.values(), key=lambda host: host.address)
        return np.array([host.address for host in hosts]), np.array([host.mac for host in hosts])

    def router_macs(self, segments: Ints) -> Ints:
        """(n,) the router's hardware address in each segment."""
        routers = [self.hosts["router"], *(self.hosts[f"cell-{cell}-router"] for cell in self.cells)]
        return np.array([router.mac for router in routers], np.int64)[segments]

    def segments(self, addresses: Ints) -> Ints:
        """(n,) the segment of each address, -1 where it is none of the plant's."""
        segment = (addresses >> 8) & 255
        inside = (addresses >> 16 == NETWORK >> 16) & (segment <= self.size.cells)
        return np.where(inside, segment, -1)

    def device_macs(self, addresses: Ints) -> Ints:
        """(n,) the hardware address of the host that has each address; 0 where no host of the plant has it."""
        known, macs = self._sorted
        index = np.minimum(np.searchsorted(known, addresses), len(known) - 1)
        return np.where(known[index] == addresses, macs[index], 0)

    def macs(self, addresses: Ints, seen_in: Ints, devices: Ints) -> Ints:
        """(n,) the hardware address that stands for each address in the segment it is seen in.

        `devices` (n,) are those of the devices that use the addresses.
        """
        routed = np.where(self.segments(addresses) == seen_in, devices, self.router_macs(seen_in))
        multicast = addresses >> 28 == 0xE
        group = 0x01_00_5E << 24 | (addresses & 0x7F_FF_FF)
        broadcast = (addresses & 255 == 255) & (self.segments(addresses) == seen_in) | (addresses == 0xFFFFFFFF)
        return np.select([multicast, broadcast, addresses == 0], [group, BROADCAST_MAC, 0], routed)
