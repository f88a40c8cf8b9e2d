"""Small files in the formats of the public data sets, for tests that need no real ones."""

import struct
from pathlib import Path

FIELDS = (
    *("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service", "duration", "orig_bytes"),
    *("resp_bytes", "conn_state", "local_orig", "local_resp", "missed_bytes", "history", "orig_pkts"),
    *("orig_ip_bytes", "resp_pkts", "resp_ip_bytes", "tunnel_parents"),
)


def conn_log(path: Path, flows: list[tuple[float, str, str, str, str]]) -> None:
    """A labelled conn.log of (ts, duration, bytes, label, detail)."""
    lines = ["#separator \\x09", "\t".join(["#fields", *FIELDS]) + "   label   detailed-label"]
    for number, (ts, duration, size, label, detail) in enumerate(flows):
        cells = (
            f"{ts:.6f} C{number} 192.168.1.{number % 9} 4{number % 7} 10.0.0.{number % 5} 80 tcp - {duration} {size} "
            f"0 S0 - - 0 S {number % 4} 60 0 0"
        )
        lines.append("\t".join([*cells.split(), f"-   {label}   {detail}"]))
    path.write_text("\n".join([*lines, "#close 2019"]) + "\n")


def tcp_packet(source: int, destination: int, ports: tuple[int, int], flags: int, payload: bytes = b"") -> bytes:
    """An Ethernet frame of one TCP segment between 10.0.0.source and 10.0.0.destination."""
    header = struct.pack(
        ">BBHHHBBH4B4B", 69, 0, 40 + len(payload), 1, 0, 64, 6, 0, 10, 0, 0, source, 10, 0, 0, destination
    )
    segment = struct.pack(">HHIIBBHHH", *ports, 1, 1, 0x50, flags, 100, 0, 0)
    return bytes(12) + b"\x08\x00" + header + segment + payload


def modbus(function: int, address: int, quantity: int, unit: int = 1) -> bytes:
    """A Modbus request."""
    return struct.pack(">HHHBBHH", 7, 0, 6, unit, function, address, quantity)


def pcap(path: Path, packets: list[tuple[int, bytes]], order: str = "<") -> None:
    """A capture of (microseconds, frame)."""
    parts = [struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)]
    for at_us, frame in packets:
        parts.append(struct.pack(f"{order}IIII", at_us // 1_000_000, at_us % 1_000_000, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(parts))


def lemay(folder: Path, name: str, hostile_port: int) -> None:
    """A capture of polling with some packets to another port, labelled as the set's are."""
    packets, labels = [], []
    for second in range(200):
        at = 1_400_000_000_000_000 + second * 1_000_000
        packets.append((at, tcp_packet(1, 2 + second % 3, (50_000, 502), 24, modbus(3, second, 2))))
        packets.append((at + 900 + second, tcp_packet(2 + second % 3, 1, (502, 50_000), 24, bytes(9 + second % 5))))
        labels += ["0", "0"]
        if second % 10 == 3:
            packets.append((at + 5_000, tcp_packet(9, 2, (40_000 + second, hostile_port), 2, bytes(second))))
            labels.append("1")
    pcap(folder / f"{name}.pcap", packets)
    lines = [f"{number};{label}" for number, label in enumerate(labels, start=1)]
    (folder / f"{name}_labeled.csv").write_text("\n".join(lines) + "\n")
