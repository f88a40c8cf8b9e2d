"""Lemay & Fernandez (CSET 2016): captures of a Modbus sandbox with a label a packet, as records of conversations.

A record is what one pair of hosts exchanged with one service within a second; it is an attack if any of its packets
is. Every capture holds one attack, so that to leave a capture out is to look for an attack nobody has seen.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from models.errors import RefusedModel
from models.lab.tables import pcap
from models.lab.tables.table import NORMAL, Column, Table
from models.rows import Doubles, Ints, Mask

WINDOW_US = 1_000_000
BLOCK_US = 60_000_000
BLOCKS_A_CAPTURE = 1_000_000
ATTACK = {  # the files name their attack; the labels only say 0 or 1
    "CnC": "command and control",
    "characterization": "characterization",
    "exploit": "exploit",
    "moving": "file transfer",
    "send": "fake command",
}
PROTOCOLS = ("other", "arp", "ipv6", "icmp", "tcp", "udp")
SERVICES = ("other", "modbus", "smb", "netbios")
READS, WRITES = (1, 2, 3, 4), (5, 6, 15, 16)


def captures(folder: Path) -> tuple[str, ...]:
    """Names of the captures a folder holds with their labels, ascending."""
    return tuple(
        sorted(path.stem for path in folder.glob("*.pcap") if path.with_name(f"{path.stem}_labeled.csv").is_file())
    )


@cache
def load(folder: Path) -> Table:
    """Records of all captures, without identifiers; RefusedModel where there is none or labels do not fit packets.

    Groups are minutes of a capture: `group // BLOCKS_A_CAPTURE` is its position in `captures`.
    """
    return _table(folder, identifying=False)


@cache
def identifiers(folder: Path) -> Table:
    """The same records with nothing but both addresses, the service's port and the second of the capture."""
    return _table(folder, identifying=True)


def _table(folder: Path, identifying: bool) -> Table:
    names = captures(folder)
    if not names:
        raise RefusedModel(f"{folder}: got no *.pcap with *_labeled.csv beside it, expected Lemay's captures")
    parts = []
    for number, name in enumerate(names):
        packets, hostile = hostile_packets(folder, name)
        records = _Records.of(packets)
        columns = _identifying(records) if identifying else _behaviour(records)
        attack = ATTACK.get(name.split("_")[0], name)
        label = np.where(records.any(hostile), attack, NORMAL)
        since = records.start_us - packets.time_us.min()
        group = since // BLOCK_US + number * BLOCKS_A_CAPTURE
        parts.append((columns, label, group, records.start_us + WINDOW_US))
    columns = parts[0][0]
    label = np.concatenate([part[1] for part in parts])
    return Table(
        "lemay",
        tuple(columns),
        np.concatenate([np.column_stack(list(part[0].values())) for part in parts]),
        label,
        label,
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
    )


def hostile_packets(folder: Path, name: str) -> tuple[pcap.Packets, Mask]:
    """Packets of one of the captures, and (packets,) which are hostile."""
    packets = pcap.read(folder / f"{name}.pcap")
    return packets, _labels(folder / f"{name}_labeled.csv", len(packets))


def _labels(path: Path, packets: int) -> Mask:
    """(packets,) which are hostile, from lines `number;0|1`."""
    try:
        text = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedModel(f"{path}: got {error}, expected lines like 12;0") from error
    wanted = [f"{number};" for number in range(1, packets + 1)]
    if len(text) != packets or any(
        not line.startswith(begin) or line[len(begin) :] not in ("0", "1")
        for line, begin in zip(text, wanted, strict=True)
    ):
        raise RefusedModel(f"{path}: got {len(text)} lines for {packets} packets, expected one each, like 12;0")
    return np.array([line.endswith("1") for line in text], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class _Records:
    """Packets gathered into records: `of_packet` says which record each belongs to."""

    packets: pcap.Packets
    of_packet: Ints
    start_us: Ints
    server: Ints  # lower port of the conversation, −1 without ports
    upward: Mask  # towards the server
    first: Ints  # each record's first packet

    @classmethod
    def of(cls, packets: pcap.Packets) -> "_Records":
        begin = packets.time_us.min() if len(packets) else 0
        second = (packets.time_us - begin) // WINDOW_US
        server = np.minimum(packets.source_port, packets.destination_port)
        ends = np.sort(np.column_stack([packets.source, packets.destination]), axis=1)
        key = np.column_stack([second, packets.ethertype, packets.protocol, ends, server])
        _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
        return cls(
            packets,
            inverse.reshape(-1).astype(np.int64),
            begin + second[first] * WINDOW_US,
            server,
            (packets.destination_port == server) & (packets.source_port != server),
            first,
        )

    def __len__(self) -> int:
        return len(self.first)

    def count(self, which: Mask, weight: Ints | None = None) -> Doubles:
        """How many packets of each record a mask chooses, or their weights' sum."""
        weights = None if weight is None else weight[which].astype(np.float64)
        return np.bincount(self.of_packet[which], weights, minlength=len(self)).astype(np.float64)

    def any(self, which: Mask) -> Mask:
        """Which records hold such a packet."""
        result: Mask = self.count(which) > 0
        return result

    def different(self, value: Ints, which: Mask) -> Doubles:
        """How many different values such packets of each record have."""
        pairs = np.unique(np.column_stack([self.of_packet[which], value[which]]), axis=0)
        return np.bincount(pairs[:, 0], minlength=len(self)).astype(np.float64)

    def largest(self, value: Ints | Doubles, which: Mask) -> Doubles:
        """The largest value among such packets of each record, 0 where there is none."""
        result = np.zeros(len(self))
        np.maximum.at(result, self.of_packet[which], value[which].astype(np.float64))
        return result


def _behaviour(records: _Records) -> dict[Column, Doubles]:
    p = records.packets
    every = np.ones(len(p), dtype=np.bool_)
    up, down = records.upward, ~records.upward
    asked = up & (p.function >= 0)
    # Time since the packet before it in the same record; records interleave, so by a stable sort.
    order = np.argsort(records.of_packet, kind="stable")
    gap = np.zeros(len(p))
    gap[order[1:]] = np.diff(p.time_us[order])
    follows = every.copy()
    follows[records.first] = False
    number: dict[str, Doubles] = {
        "packets_up": records.count(up),
        "packets_down": records.count(down),
        "bytes_up": records.count(up, p.size),
        "bytes_down": records.count(down, p.size),
        "payload_up": records.count(up & (p.payload > 0), p.payload),
        "payload_down": records.count(down & (p.payload > 0), p.payload),
        "largest_packet": records.largest(p.size, every),
        "syn_packets": records.count((p.flags >= 0) & (p.flags & pcap.SYN > 0)),
        "fin_packets": records.count((p.flags >= 0) & (p.flags & pcap.FIN > 0)),
        "rst_packets": records.count((p.flags >= 0) & (p.flags & pcap.RST > 0)),
        "psh_packets": records.count((p.flags >= 0) & (p.flags & pcap.PSH > 0)),
        "connections": records.different(np.maximum(p.source_port, p.destination_port), p.source_port >= 0),
        "longest_gap_us": records.largest(gap, follows),
        "modbus_reads": records.count(asked & np.isin(p.function, READS)),
        "modbus_writes": records.count(asked & np.isin(p.function, WRITES)),
        "modbus_other_functions": records.count(asked & ~np.isin(p.function, READS + WRITES)),
        "modbus_exceptions": records.count(down & (p.function >= 0x80)),
        "modbus_functions": records.different(p.function, asked),
        "modbus_units": records.different(p.unit, asked),
        "modbus_addresses": records.different(p.address, asked & (p.address >= 0)),
        "modbus_largest_quantity": records.largest(p.quantity, asked & np.isin(p.function, READS) & (p.quantity >= 0)),
    }
    first = records.first
    ethertype, protocol, server = p.ethertype[first], p.protocol[first], records.server[first]
    transport = np.select(
        [ethertype == 0x0806, ethertype == 0x86DD, protocol == 1, protocol == pcap.TCP, protocol == pcap.UDP],
        [1, 2, 3, 4, 5],
    )
    service = np.select([server == pcap.MODBUS, np.isin(server, (139, 445)), np.isin(server, (137, 138))], [1, 2, 3])
    return {Column(name, "number"): value for name, value in number.items()} | {
        Column("protocol", "category", PROTOCOLS): transport.astype(np.float64),
        Column("service", "category", SERVICES): service.astype(np.float64),
    }


def _identifying(records: _Records) -> dict[Column, Doubles]:
    p, first = records.packets, records.first
    return {
        Column("source", "number"): p.source[first].astype(np.float64),
        Column("destination", "number"): p.destination[first].astype(np.float64),
        Column("port", "number"): records.server[first].astype(np.float64),
        Column("second", "number"): (records.start_us - p.time_us.min()) / 1e6,
    }
