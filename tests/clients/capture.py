"""A packet capture of polls as `exporters.polls` has them: whole TCP connections, both directions."""

import struct
from ipaddress import IPv4Address
from pathlib import Path

from tests.clients.exporters import Packets

CLIENT_MAC, SERVER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SYN, SYN_ACK, ACK, PSH_ACK, FIN_ACK = 0x02, 0x12, 0x10, 0x18, 0x11
REQUEST, RESPONSE = bytes(12), bytes(27)
# From the client, flags, payload.
EXCHANGE = (
    (True, SYN, b""),
    (False, SYN_ACK, b""),
    (True, ACK, b""),
    (True, PSH_ACK, REQUEST),
    (False, PSH_ACK, RESPONSE),
    (True, FIN_ACK, b""),
    (False, FIN_ACK, b""),
    (True, ACK, b""),
)
FORWARD_PACKETS = sum(forward for forward, _, _ in EXCHANGE)
REVERSE_PACKETS = len(EXCHANGE) - FORWARD_PACKETS


def write_capture(path: Path, flows: list[Packets]) -> None:
    """One exchange a flow, its packets spread over the flow's duration."""
    packets = [packet for flow in flows for packet in _exchange(flow)]
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        for time_us, frame in sorted(packets):
            file.write(struct.pack("=IIII", time_us // 1_000_000, time_us % 1_000_000, len(frame), len(frame)) + frame)


def _exchange(flow: Packets) -> list[tuple[int, bytes]]:
    step_us = (flow.end_us - flow.start_us) // (len(EXCHANGE) - 1)
    numbers = {True: 1000, False: 5000}
    packets = []
    for place, (forward, flags, payload) in enumerate(EXCHANGE):
        last = place == len(EXCHANGE) - 1
        time_us = flow.end_us if last else flow.start_us + place * step_us
        packets.append((time_us, _frame(flow, forward, flags, payload, numbers[forward], numbers[not forward])))
        numbers[forward] += len(payload) + (flags in (SYN, SYN_ACK, FIN_ACK))
    return packets


def _frame(flow: Packets, forward: bool, flags: int, payload: bytes, number: int, acknowledged: int) -> bytes:
    ends = [(flow.src, flow.src_port, CLIENT_MAC), (flow.dst, flow.dst_port, SERVER_MAC)]
    (src, src_port, src_mac), (dst, dst_port, dst_mac) = ends if forward else reversed(ends)
    acknowledged = 0 if flags == SYN else acknowledged
    addresses = IPv4Address(src).packed + IPv4Address(dst).packed
    segment = struct.pack("!HHIIBBHHH", src_port, dst_port, number, acknowledged, 5 << 4, flags, 8192, 0, 0) + payload
    pseudo = addresses + struct.pack("!BBH", 0, 6, len(segment))
    segment = segment[:16] + struct.pack("!H", _checksum(pseudo + segment)) + segment[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0) + addresses
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return dst_mac + src_mac + b"\x08\x00" + head + segment


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
