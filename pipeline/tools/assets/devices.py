"""Devices and who talks to whom, from an inventory's tables: which addresses are one device, and when it was seen."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from pipeline.alert.endpoints import is_mac
from pipeline.contracts.services import ethertype_words, protocol_words
from pipeline.tools.assets.inventory import CAME_BACK_US, Inventory
from pipeline.tools.assets.sightings import (
    ADDRESSES,
    EDGES,
    FUNCTIONS,
    HARDWARE,
    HIGH_PORT,
    MAX_PROTO,
    NO_PORT,
    PUBLIC,
    SENSORS,
    Kind,
)

GATEWAY_ADDRESSES = 3
"""A hardware address that sends for so many IPv4 addresses at a time passes on what others send: two may be one
device's, three networks on one card are rare."""


@dataclass(frozen=True, slots=True)
class Span:
    """First and last event time."""

    first_us: int
    last_us: int

    def __or__(self, other: "Span") -> "Span":
        return Span(min(self.first_us, other.first_us), max(self.last_us, other.last_us))


class Service(NamedTuple):
    """A service: IP protocol (from 256 on EtherType + 256), port (NO_PORT, HIGH_PORT), and the sensor's names of it."""

    transport: int
    port: int
    app: str = ""
    ics: str = ""

    @property
    def words(self) -> str:
        """As people write it: 502/tcp (modbus), high ports/udp, arp."""
        if self.transport > MAX_PROTO:
            return ethertype_words(self.transport - MAX_PROTO - 1)
        name = protocol_words(self.transport)
        if self.port != NO_PORT:
            name = f"{'high ports' if self.port == HIGH_PORT else self.port}/{name}"
        called = self.ics or self.app
        return f"{name} ({called})" if called else name


@dataclass(frozen=True, slots=True)
class Edge:
    """What a client asked of a server by one service. Counts are those of the sensor that saw most: two that see the
    same flow count it once. client, server: a device's `key`, PUBLIC, a group's address, or one that never sent.
    """

    client: str
    server: str
    service: Service
    span: Span
    sensors: tuple[str, ...]
    flows: int
    answered: int
    client_bytes: int
    server_bytes: int
    reads: int
    writes: int
    controls: int
    exceptions: int
    functions: tuple[tuple[int, int], ...] = ()  # code and requests, ascending by code; of the edge's `ics` protocol

    @property
    def bytes(self) -> int:
        """Both directions."""
        return self.client_bytes + self.server_bytes


@dataclass(slots=True)
class Device:
    """A device of a site. key: the address it is called by, of all it has the newest, of IPv4 if it has one."""

    site: str
    key: str
    addresses: dict[str, Span]
    span: Span
    sensors: dict[str, Span]
    flows: int
    two_way: int = 0
    """In how many flows the other end was heard too."""
    mac: str | None = None
    other_macs: tuple[str, ...] = ()
    behind: str | None = None
    """The hardware address that passes its flows on, where its own was not seen."""
    carries: int = 0
    """For how many IPv4 addresses inside its hardware address sends, where that is a gateway's."""
    carries_public: bool = False
    serves: list[Edge] = field(default_factory=list)
    uses: list[Edge] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)
    """The devices it talks with: both sides were heard."""
    talks_to_public: bool = False

    @property
    def is_confirmed(self) -> bool:
        """Whether it was heard in a talk, or came back: one packet with a forged source makes no device."""
        came_back = self.span.last_us - self.span.first_us >= CAME_BACK_US
        return self.two_way > 0 or came_back or self.carries > 0


@dataclass(slots=True)
class SiteAssets:
    """A site's devices by key, its edges, and the newest event time of each of its sensors."""

    site: str
    devices: dict[str, Device]
    edges: list[Edge]
    sensors: dict[str, Span]


def assets_of(inventory: Inventory) -> dict[str, SiteAssets]:
    """Everything that an inventory shows, by site; a function of its tables."""
    by_site = {kind.name: _by_site(inventory, kind) for kind in (SENSORS, ADDRESSES, HARDWARE, EDGES, FUNCTIONS)}
    return {
        site: _site(site, {name: tables.get(site, []) for name, tables in by_site.items()})
        for site in sorted(by_site[SENSORS.name])
    }


def _by_site(inventory: Inventory, kind: Kind) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in inventory.table(kind).to_pylist():
        rows[row["site"]].append(row)
    return rows


def _span(row: dict[str, Any]) -> Span:
    return Span(row["first_us"], row["last_us"])


def _site(site: str, rows: dict[str, list[dict[str, Any]]]) -> SiteAssets:
    sensors = {row["sensor"]: _span(row) for row in rows[SENSORS.name]}
    devices, device_of = _devices(site, rows[ADDRESSES.name], _Hardware(rows[HARDWARE.name]))
    edges = _edges(rows[EDGES.name], rows[FUNCTIONS.name], device_of)
    for edge in edges:
        if edge.client == edge.server:
            continue  # with itself, as a forged packet says
        if edge.client in devices:
            devices[edge.client].uses.append(edge)
        if edge.server in devices:
            devices[edge.server].serves.append(edge)
        for end, other in ((edge.client, edge.server), (edge.server, edge.client)):
            if edge.answered and end in devices:
                devices[end].talks_to_public |= other == PUBLIC
                devices[end].peers |= {other} & devices.keys()
    return SiteAssets(site, devices, edges, sensors)


class _Hardware:
    """Which hardware addresses send for which addresses of a site, and which of them are gateways'.

    One carries the IPv4 addresses of which it sent most flows: who speaks for an address now and then, as a man in the
    middle or a wrong setting makes it, is not the way to it.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._of_address: dict[str, list[tuple[int, str, Span]]] = defaultdict(list)
        self._carries: dict[str, list[Span]] = defaultdict(list)
        self._public: set[str] = set()
        self.seen: dict[str, tuple[Span, int]] = {}
        for row in rows:
            mac, span = row["mac"], _span(row)
            self._of_address[row["address"]].append((-row["flows"], mac, span))
            seen, flows = self.seen.get(mac, (span, 0))
            self.seen[mac] = seen | span, flows + row["flows"]
            if row["address"] == PUBLIC:
                self._public.add(mac)
        for address, several in self._of_address.items():
            several.sort(key=lambda each: each[:2])
            if _is_ip4(address):
                self._carries[several[0][1]].append(several[0][2])
        self._shared = {mac for mac, spans in self._carries.items() if _overlap(spans)}
        for several in self._of_address.values():
            # A gateway's comes last: from beyond one, everything comes from it.
            several.sort(key=lambda each: (self.is_gateway(each[1]), *each[:2]))

    def macs(self, address: str) -> list[str]:
        """The hardware addresses that send for an address, its own first where it is among them."""
        if is_mac(address):
            return [address]  # of what has no IP, such as ARP and PROFINET
        return [mac for _, mac, _ in self._of_address.get(address, ())]

    def carries(self, mac: str) -> int:
        """For how many IPv4 addresses inside it sends."""
        return len(self._carries.get(mac, ()))

    def carries_public(self, mac: str) -> bool:
        """Whether it sends for public addresses."""
        return mac in self._public

    def is_gateway(self, mac: str) -> bool:
        """Whether it passes on what others send."""
        return mac in self._public or (self.carries(mac) >= GATEWAY_ADDRESSES and mac in self._shared)

    def own(self, address: str) -> str | None:
        """The address's own hardware address; None where only a gateway's is seen, and that sends for others too."""
        macs = self.macs(address)
        if not macs or (self.is_gateway(macs[0]) and self.carries(macs[0]) != 1 and macs[0] != address):
            return None
        return macs[0]

    def owner(self, address: str) -> str:
        """What makes addresses one device: the hardware address they share, or the address itself.

        Two IPv4 addresses at a time may be two devices behind a third; one after the other they are one device's.
        """
        mac = self.own(address)
        return address if mac is None or (_is_ip4(address) and mac in self._shared) else mac


def _overlap(spans: list[Span]) -> bool:
    """Whether any two of these times overlap."""
    ordered = sorted(spans, key=lambda span: (span.first_us, span.last_us))
    return any(later.first_us <= earlier.last_us for earlier, later in pairwise(ordered))


def _is_ip4(address: str) -> bool:
    return address.count(".") == 3 and ":" not in address


def _devices(site: str, rows: list[dict[str, Any]], hardware: _Hardware) -> tuple[dict[str, Device], dict[str, str]]:
    """The devices by key, and the key of each address's."""
    owned: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["address"] != PUBLIC:
            owned[hardware.owner(row["address"])].append(row)
    devices, device_of = {}, {}
    for mac in hardware.seen:
        if hardware.is_gateway(mac) and mac not in owned:
            owned[mac] = []
    for owner, several in sorted(owned.items()):
        device = _device(site, owner, several, hardware) if several else _gateway(site, owner, hardware)
        devices[device.key] = device
        device_of.update(dict.fromkeys(device.addresses, device.key))
    return devices, device_of


def _device(site: str, owner: str, rows: list[dict[str, Any]], hardware: _Hardware) -> Device:
    addresses: dict[str, Span] = {}
    sensors: dict[str, Span] = {}
    flows: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    two_way: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        address, sensor, span = row["address"], row["sensor"], _span(row)
        addresses[address] = addresses.get(address, span) | span
        sensors[sensor] = sensors.get(sensor, span) | span
        flows[address][sensor] += row["flows"]
        two_way[address][sensor] += row["two_way"]
    # A person knows an IP address better than a hardware address, and one of IPv4 better than one of IPv6.
    # Of several, the newest is where it can be found.
    key = min(
        addresses, key=lambda address: (is_mac(address), not _is_ip4(address), -addresses[address].last_us, address)
    )
    macs = [mac for address in sorted(addresses) for mac in hardware.macs(address)]
    mac = hardware.own(key) if not is_mac(owner) else owner
    behind = macs[0] if mac is None and macs else None
    whole = list(addresses.values())
    span = Span(min(each.first_us for each in whole), max(each.last_us for each in whole))
    by_sensor = [sum(flows[address][sensor] for address in addresses) for sensor in sensors]
    device = Device(site, key, dict(sorted(addresses.items())), span, dict(sorted(sensors.items())), max(by_sensor))
    device.mac, device.behind = mac, behind
    device.other_macs = tuple(sorted({*macs} - {mac, behind}))
    device.two_way = max(sum(two_way[address][sensor] for address in addresses) for sensor in sensors)
    if mac is not None and hardware.is_gateway(mac):
        device.carries, device.carries_public = hardware.carries(mac), hardware.carries_public(mac)
    return device


def _gateway(site: str, mac: str, hardware: _Hardware) -> Device:
    """A gateway of which no flow of its own was seen."""
    span, flows = hardware.seen[mac]
    device = Device(site, mac, {mac: span}, span, {}, flows, mac=mac)
    device.carries, device.carries_public = hardware.carries(mac), hardware.carries_public(mac)
    return device


def _edges(rows: list[dict[str, Any]], functions: list[dict[str, Any]], device_of: dict[str, str]) -> list[Edge]:
    """The edges between devices, in order; of each, the functions that were asked."""
    by_edge: dict[tuple[str, str, int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        client, server = (device_of.get(row[end], row[end]) for end in ("client", "server"))
        by_edge[client, server, row["transport"], row["port"]].append(row)
    asked: dict[tuple[str, str, str], dict[int, dict[str, int]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(int))
    )
    for row in functions:
        client, server = (device_of.get(row[end], row[end]) for end in ("client", "server"))
        asked[client, server, row["ics"]][row["code"]][row["sensor"]] += row["requests"]
    edges = []
    for (client, server, transport, port), several in sorted(by_edge.items()):
        service = Service(transport, port, max(row["app"] for row in several), max(row["ics"] for row in several))
        codes = asked.get((client, server, service.ics), {}) if service.ics else {}
        edges.append(_edge(client, server, service, several, codes))
    return edges


_COUNTS = ("flows", "answered", "client_bytes", "server_bytes", "reads", "writes", "controls", "exceptions")


def _edge(
    client: str, server: str, service: Service, rows: list[dict[str, Any]], codes: dict[int, dict[str, int]]
) -> Edge:
    span = _span(rows[0])
    counts: dict[str, dict[str, int]] = {name: defaultdict(int) for name in _COUNTS}
    for row in rows:
        span |= _span(row)
        for name in _COUNTS:
            counts[name][row["sensor"]] += row[name]
    most = {name: max(by_sensor.values()) for name, by_sensor in counts.items()}
    functions = tuple(sorted((code, max(by_sensor.values())) for code, by_sensor in codes.items()))
    return Edge(
        client, server, service, span, tuple(sorted({row["sensor"] for row in rows})), functions=functions, **most
    )
