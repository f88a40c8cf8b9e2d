"""Datagrams as exporters of NetFlow, IPFIX and sFlow send them."""

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import NamedTuple

UP_MS = 3_600_000  # how long the exporter has been running
SFLOW_AGENT = "192.0.2.1"
# NetFlow 9 and IPFIX: addresses, ports, protocol, flags, octets, packets, as `_common` has them.
_COMMON = ((8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 1), (1, 8), (2, 8))
_TEMPLATE = 256


class Packets(NamedTuple):
    """One direction of a TCP flow."""

    src: str
    src_port: int
    dst: str
    dst_port: int
    flags: int
    octets: int
    packets: int
    start_us: int
    end_us: int


def polls(now_us: int, count: int) -> list[Packets]:
    """Polls of `count` controllers, the first a minute before `now_us`, one a second; times to the millisecond."""
    first_us = (now_us // 1000 - 60_000) * 1000
    return [
        Packets(
            "192.0.2.7", 40_000 + number, f"198.51.100.{number + 1}", 502, 0x1B, 1000 + number, 10 + number,
            first_us + number * 1_000_000, first_us + number * 1_000_000 + 250_000,
        )
        for number in range(count)
    ]  # fmt: skip


def netflow5(flows: list[Packets], now_us: int) -> list[bytes]:
    """One datagram: at most 30 flows; times are milliseconds since the exporter started."""
    seconds, rest_us = divmod(now_us, 1_000_000)
    head = struct.pack("!HHIIIIBBH", 5, len(flows), UP_MS, seconds, rest_us * 1000, 0, 0, 0, 0)
    records = [
        struct.pack(
            "!4s4s4xHHIIIIHHxBB9x",
            _packed(each.src), _packed(each.dst), 1, 2, each.packets, each.octets,
            _up_ms(each.start_us, now_us), _up_ms(each.end_us, now_us), each.src_port, each.dst_port, each.flags, 6,
        )
        for each in flows
    ]  # fmt: skip
    return [head + b"".join(records)]


def netflow9(flows: list[Packets], now_us: int) -> list[bytes]:
    """One datagram with its template; times are milliseconds since the exporter started."""
    records = [
        _common(each) + struct.pack("!II", _up_ms(each.start_us, now_us), _up_ms(each.end_us, now_us))
        for each in flows
    ]  # fmt: skip
    sets = _template(0, ((22, 4), (21, 4))) + _set(_TEMPLATE, b"".join(records))
    return [struct.pack("!HHIIII", 9, 1 + len(flows), UP_MS, now_us // 1_000_000, 0, 7) + sets]


def ipfix(flows: list[Packets], now_us: int) -> list[bytes]:
    """One message with its template; times are milliseconds since 1970."""
    records = [_common(each) + struct.pack("!QQ", each.start_us // 1000, each.end_us // 1000) for each in flows]
    sets = _template(2, ((152, 8), (153, 8))) + _set(_TEMPLATE, b"".join(records))
    return [struct.pack("!HHIII", 10, 16 + len(sets), now_us // 1_000_000, 0, 7) + sets]


def sflow5(flows: list[Packets], _now_us: int) -> list[bytes]:
    """A datagram a flow, with one sampled packet of it as long as the flow has octets; every packet is sampled."""
    return [_sflow5(flow, number) for number, flow in enumerate(flows, 1)]


def _sflow5(flow: Packets, number: int) -> bytes:
    ethernet = bytes.fromhex("0200000000020200000000010800")
    network = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, flow.octets - 14, 1, 0, 64, 6, 0, _packed(flow.src), _packed(flow.dst)
    )
    transport = struct.pack("!HHIIBBHHH", flow.src_port, flow.dst_port, 1, 1, 5 << 4, flow.flags, 8192, 0, 0)
    packet = ethernet + network + transport
    header = struct.pack("!IIII", 1, flow.octets, 0, len(packet)) + packet + bytes(-len(packet) % 4)
    sample = struct.pack("!IIIIIII", number, 1, 1, number, 0, 1, 2) + struct.pack("!III", 1, 1, len(header)) + header
    head = struct.pack("!II4sIIII", 5, 1, _packed(SFLOW_AGENT), 0, number, UP_MS, 1)
    return head + struct.pack("!II", 1, len(sample)) + sample


def send(datagrams: Iterable[bytes], port: int) -> None:
    """Send datagrams to a UDP port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))


def _packed(address: str) -> bytes:
    return IPv4Address(address).packed


def _up_ms(time_us: int, now_us: int) -> int:
    return UP_MS - (now_us // 1000 - time_us // 1000)


def _common(flow: Packets) -> bytes:
    octets = (flow.octets, flow.packets)
    ports = (flow.src_port, flow.dst_port, 6, flow.flags)
    return struct.pack("!4s4sHHBBQQ", _packed(flow.src), _packed(flow.dst), *ports, *octets)


def _template(number: int, times: tuple[tuple[int, int], ...]) -> bytes:
    fields = (*_COMMON, *times)
    return _set(number, struct.pack("!HH", _TEMPLATE, len(fields)) + b"".join(struct.pack("!HH", *f) for f in fields))


def _set(number: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("!HH", number, 4 + len(body)) + body
