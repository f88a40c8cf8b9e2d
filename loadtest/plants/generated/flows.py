"""Flow records and industrial operations of a generated plant, as columns, and how a conversation becomes a record."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loadtest.plants.generated.chance import Chance, Ints, Words

Mask = npt.NDArray[np.bool_]

TCP, UDP, ICMP, IGMP = 6, 17, 1, 2
# What became of a connection: Zeek's state and history.
STATES = (
    ("SF", "ShADadFf"),
    ("S0", "S"),
    ("REJ", "Sr"),
    ("RSTO", "ShR"),
    ("OTH", "ShADad"),  # it lasted when the sensor lost sight of it
    ("SF", "ShADTadtFf"),  # each packet seen twice, as where somebody in the middle passes it on
    ("S0", "D"),  # UDP without an answer
    ("SF", "Dd"),
    ("OTH", "-"),
)
FINISHED, UNANSWERED, REFUSED, OPENED, LOST_SIGHT, PASSED_ON, UDP_UNANSWERED, UDP_ANSWERED, NO_STATE = range(
    len(STATES)
)
SERVICES = (
    *("-", "modbus", "cotp,s7comm", "enip", "ssl", "dns", "ntp", "dhcp", "krb_tcp", "ldap_tcp", "gssapi,smb"),
    *("http", "ssh", "rdp", "snmp", "dce_rpc"),
)
SERVICE_OF = {"modbus": "modbus", "s7comm": "cotp,s7comm", "enip": "enip"}
KINDS = (
    *("poll", "supervision", "historian", "operator", "engineering", "time", "names", "domain", "broadcast"),
    *("monitoring", "backup", "weekly", "printing", "vendor", "updates", "attack"),
)
NO_EVENT = -1
_SEGMENT_BYTES = 1_460


class Flows(NamedTuple):
    """n flow records; codes are indices into the tuples of this module."""

    start_us: Ints
    duration_us: Ints
    src: Ints  # IPv4 as a number
    src_port: Ints
    dst: Ints
    dst_port: Ints
    protocol: Ints  # of IP
    service: Ints  # of SERVICES
    state: Ints  # of STATES
    orig_bytes: Ints
    resp_bytes: Ints
    orig_pkts: Ints
    resp_pkts: Ints
    src_mac: Ints  # of the device that uses the address; 0: the plant's host
    dst_mac: Ints
    kind: Ints  # of KINDS
    event: Ints  # index among the plant's events, or NO_EVENT
    uid: Words

    @property
    def end_us(self) -> Ints:
        """(n,) when each ended."""
        return self.start_us + self.duration_us


class Operations(NamedTuple):
    """m industrial operations of flows: request and answer."""

    flow: Ints  # index of the flow
    at_us: Ints
    operation: Ints  # index into OPERATIONS of operations.py
    address: Ints
    quantity: Ints


class Traffic(NamedTuple):
    """Flow records and the operations in them."""

    flows: Flows
    operations: Operations


NO_OPERATIONS = Operations(*[np.zeros(0, np.int64)] * len(Operations._fields))


def joined(parts: Iterable[Traffic]) -> Traffic:
    """The traffic of several sources as one."""
    every = list(parts)
    firsts = np.cumsum([0, *(len(part.flows.uid) for part in every)])
    moved = [
        part.operations._replace(flow=part.operations.flow + first)
        for part, first in zip(every, firsts.tolist(), strict=False)
    ]
    flows = Flows._make(np.concatenate(columns) for columns in zip(*(part.flows for part in every), strict=True))
    return Traffic(flows, Operations(*(np.concatenate(columns) for columns in zip(*moved, strict=True))))


def taken(flows: Flows, rows: Ints | Mask) -> Flows:
    """The flows at some indices, or of a mask."""
    return Flows._make(column[rows] for column in flows)


def chosen(traffic: Traffic, rows: Mask) -> Traffic:
    """The flows of a mask, and their operations."""
    index = np.cumsum(rows) - 1
    flow = traffic.operations.flow
    inside = rows[flow]
    operations = Operations(*(column[inside] for column in traffic.operations))
    return Traffic(taken(traffic.flows, rows), operations._replace(flow=index[flow[inside]]))


def packets(octets: Ints, exchanges: Ints) -> Ints:
    """(n,) packets that carry so many bytes in so many messages."""
    return np.maximum(exchanges, -(-octets // _SEGMENT_BYTES))


class Source:
    """Makes the flow records of one kind of traffic; every argument may be one number or one a record."""

    def __init__(self, seed: int, kind: str, name: str, event: int = NO_EVENT) -> None:
        self.chance = Chance(seed, kind, name)
        self._kind = KINDS.index(kind)
        self.event = event

    def tcp(
        self,
        start_us: Ints,
        src: int | Ints,
        dst: int | Ints,
        dst_port: int | Ints,
        *,
        service: str = "-",
        duration_us: int | Ints = 20_000,
        orig_bytes: int | Ints = 0,
        resp_bytes: int | Ints = 0,
        exchanges: int | Ints = 1,
        state: int = FINISHED,
        src_mac: int = 0,
    ) -> Flows:
        """Connections that were opened, used for so many exchanges, and closed."""
        count = len(start_us)
        sent, received, times = (_column(value, count) for value in (orig_bytes, resp_bytes, exchanges))
        out, back = packets(sent, times), packets(received, times)
        return self._flows(
            start_us,
            (src, dst, dst_port),
            TCP,
            service,
            _column(state, count),
            duration_us,
            (sent, received, 4 + out + back // 2, 3 + back + out // 2),
            src_mac,
        )

    def probes(
        self,
        start_us: Ints,
        src: int | Ints,
        dst: int | Ints,
        dst_port: int | Ints,
        state: int | Ints,
        src_mac: int = 0,
    ) -> Flows:
        """Connections that came to nothing: unanswered, refused, or opened and reset at once."""
        count = len(start_us)
        states = _column(state, count)
        answered = states != UNANSWERED
        duration = np.where(answered, self.chance.between(150, 900, count), 0)
        sent = np.where(states == OPENED, 2, 1)
        none = np.zeros(count, np.int64)
        volumes = (none, none, sent, answered.astype(np.int64))
        return self._flows(start_us, (src, dst, dst_port), TCP, "-", states, duration, volumes, src_mac)

    def udp(
        self,
        start_us: Ints,
        src: int | Ints,
        dst: int | Ints,
        dst_port: int | Ints,
        *,
        service: str = "-",
        src_port: int | Ints | None = None,
        duration_us: int | Ints = 0,
        orig_bytes: int | Ints = 48,
        resp_bytes: int | Ints = 0,
        exchanges: int | Ints = 1,
        src_mac: int = 0,
    ) -> Flows:
        """Datagrams between two ports, answered where `resp_bytes` is not 0."""
        count = len(start_us)
        sent, received, times = (_column(value, count) for value in (orig_bytes, resp_bytes, exchanges))
        answered = received > 0
        states = np.where(answered, UDP_ANSWERED, UDP_UNANSWERED)
        volumes = (sent, received, times, np.where(answered, times, 0))
        made = self._flows(start_us, (src, dst, dst_port), UDP, service, states, duration_us, volumes, src_mac)
        return made if src_port is None else made._replace(src_port=_column(src_port, count))

    def bare(self, start_us: Ints, src: int | Ints, dst: int | Ints, protocol: int, octets: int, answers: int) -> Flows:
        """Messages of a protocol without ports: ICMP echo, IGMP."""
        count = len(start_us)
        sent, received = _column(octets, count), _column(octets * answers, count)
        volumes = (sent, received, _column(1, count), _column(answers, count))
        duration = self.chance.between(300, 1_500, count) if answers else 0
        made = self._flows(start_us, (src, dst, 0), protocol, "-", _column(NO_STATE, count), duration, volumes, 0)
        return made._replace(src_port=_column(8 if protocol == ICMP else 0, count))

    def _flows(
        self,
        start_us: Ints,
        ends: tuple[int | Ints, int | Ints, int | Ints],
        protocol: int,
        service: str,
        state: Ints,
        duration_us: int | Ints,
        volumes: tuple[Ints, Ints, Ints, Ints],
        src_mac: int,
    ) -> Flows:
        count = len(start_us)
        src, dst, dst_port = (_column(value, count) for value in ends)
        return Flows(
            start_us,
            _column(duration_us, count),
            src,
            self.chance.between(49_152, 65_535, count),
            dst,
            dst_port,
            _column(protocol, count),
            _column(SERVICES.index(service), count),
            state,
            *volumes,
            src_mac=_column(src_mac, count),
            dst_mac=_column(0, count),
            kind=_column(self._kind, count),
            event=_column(self.event, count),
            uid=self.chance.words(count),
        )


def _column(value: int | Ints, count: int) -> Ints:
    return np.broadcast_to(np.asarray(value, np.int64), (count,)).copy()


def plain(*flows: Flows) -> Traffic:
    """Flow records without industrial operations."""
    every = Flows._make(np.concatenate(columns) for columns in zip(*flows, strict=True))
    return Traffic(every, NO_OPERATIONS)
