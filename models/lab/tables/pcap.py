"""A classic capture file as arrays: one entry a packet, headers only, without a library.

Format: draft-ietf-opsawg-pcap (magic, link type, record headers); RFC 791 and 9293
for IPv4 and TCP; MBAP and function codes from the Modbus Messaging on TCP/IP Implementation Guide.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import RefusedModel
from models.rows import Ints, Mask

ORDER = {
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"M<\xb2\xa1": ("<", 1000),
    b"\xa1\xb2<M": (">", 1000),
}
ETHERNET = 1
LARGEST = 262_144  # bytes of one packet, as libpcap has it
IPV4, TCP, UDP = 0x0800, 6, 17
MODBUS = 502
FIN, SYN, RST, PSH = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets of a capture, (n,) each; −1 where a packet has no such field.

    Attributes
    ----------
    time_us : capture time
    size : bytes on the wire
    ethertype, protocol : of Ethernet and IPv4
    source, destination : IPv4 addresses as integers
    source_port, destination_port : of TCP and UDP
    flags : of TCP
    payload : bytes after the TCP or UDP header
    unit, function, address, quantity : of the first Modbus message in the packet; the last two as requests have them
    """

    time_us: Ints
    size: Ints
    ethertype: Ints
    protocol: Ints
    source: Ints
    destination: Ints
    source_port: Ints
    destination_port: Ints
    flags: Ints
    payload: Ints
    unit: Ints
    function: Ints
    address: Ints
    quantity: Ints

    def __len__(self) -> int:
        return len(self.time_us)


def read(path: Path) -> Packets:
    """Headers of every packet; RefusedModel where the file is no Ethernet capture or is cut inside a packet."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RefusedModel(f"{path}: got {error}, expected a capture file") from error
    order, per_us = ORDER.get(data[:4], ("", 0))
    if not order or len(data) < 24:
        raise RefusedModel(f"{path}: got no pcap file (first bytes {data[:4].hex()}); convert it with editcap -F pcap")
    (link,) = struct.unpack_from(f"{order}I", data, 20)
    if link & 0xFFFF != ETHERNET:
        raise RefusedModel(f"{path}: got link type {link & 0xFFFF}, expected Ethernet (1)")
    records = []
    at = 24
    while at < len(data):  # the start of a packet is only known from the packet before
        if at + 16 > len(data):
            raise RefusedModel(f"{path}: got an end inside the packet header at byte {at}; the file is cut")
        seconds, fraction, captured, size = struct.unpack_from(f"{order}IIII", data, at)
        at += 16
        if captured > LARGEST or at + captured > len(data):
            raise RefusedModel(f"{path}: got a packet of {captured} bytes at byte {at}; the file is cut or no capture")
        records.append((at, captured, size, seconds * 1_000_000 + fraction // per_us))
        at += captured
    begin, captured_bytes, size_bytes, time_us = np.array(records, dtype=np.int64).reshape(-1, 4).T
    # Room after the last packet, so that reading a field of a short packet stays inside; it is masked afterwards.
    fields = _Fields(np.frombuffer(data + bytes(128), dtype=np.uint8), begin, begin + captured_bytes)
    return _packets(fields, time_us, size_bytes)


@dataclass(frozen=True, slots=True)
class _Fields:
    """Big-endian numbers at an offset of every packet; −1 where it ends before them, or `where` is false."""

    data: npt.NDArray[np.uint8]
    begin: Ints
    end: Ints

    def at(self, offset: Ints | int, width: int, where: Mask | None = None) -> Ints:
        position = self.begin + offset
        whole = position + width <= self.end
        if where is not None:
            whole = whole & where
        position = np.where(whole, position, 0)
        value = np.zeros(len(position), dtype=np.int64)
        for byte in range(width):
            value = value << 8 | self.data[position + byte].astype(np.int64)
        result: Ints = np.where(whole, value, -1)
        return result


def _packets(fields: _Fields, time_us: Ints, size: Ints) -> Packets:
    ethertype = fields.at(12, 2)
    ip = ethertype == IPV4
    header = (fields.at(14, 1, ip) & 15) * 4
    total = fields.at(16, 2, ip)
    first = (fields.at(20, 2, ip) & 0x1FFF) == 0  # later fragments carry no ports
    protocol = fields.at(23, 1, ip)
    segment = 14 + header
    tcp, udp = ip & first & (protocol == TCP), ip & first & (protocol == UDP)
    source_port, destination_port = fields.at(segment, 2, tcp | udp), fields.at(segment + 2, 2, tcp | udp)
    ported = np.where(tcp, (fields.at(segment + 12, 1, tcp) >> 4) * 4, 8)
    payload = np.where(tcp | udp, np.maximum(total - header - ported, 0), -1)
    modbus = tcp & ((source_port == MODBUS) | (destination_port == MODBUS)) & (payload >= 8)
    begins = segment + ported
    modbus &= fields.at(begins + 2, 2, modbus) == 0  # MBAP's protocol number
    return Packets(
        time_us=time_us,
        size=size,
        ethertype=ethertype,
        protocol=protocol,
        source=fields.at(26, 4, ip),
        destination=fields.at(30, 4, ip),
        source_port=source_port,
        destination_port=destination_port,
        flags=fields.at(segment + 13, 1, tcp),
        payload=payload,
        unit=fields.at(begins + 6, 1, modbus),
        function=fields.at(begins + 7, 1, modbus),
        address=fields.at(begins + 8, 2, modbus & (payload >= 12)),
        quantity=fields.at(begins + 10, 2, modbus & (payload >= 12)),
    )
