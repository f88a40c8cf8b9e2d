"""A batch of flows as plain arrays, the form in which order, windows and features read it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.featurize.addresses import BROADCAST, MULTICAST, UNSPECIFIED, address_keys

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.uint8]

SYN_ERRORS = pa.array(["S0", "S1", "S2", "S3", "SH"])
REJECTIONS = pa.array(["REJ", "RSTO", "RSTR", "RSTOS0"])
SERROR, RERROR = 1, 2
TCP, UDP, IGMP, ICMP, ICMP6 = 6, 17, 2, 1, 58
ETHERTYPE_ARP = 0x0806


class Rows(NamedTuple):
    """n flows, each field an array of n; unknown counts are 0, unknown means are NaN, unknown ports are -1."""

    end_us: Ints
    duration_us: Floats
    src: Keys
    dst: Keys
    src_kind: Flags
    dst_kind: Flags
    src_mac: Keys
    dst_mac: Keys
    src_mac_known: Flags
    dst_mac_known: Flags
    mac_count: Floats  # the larger of the two ends, at least 1
    protocol: Ints  # IP protocol, or 0x10000 + EtherType where there is no IP
    service: Keys  # protocol and destination port
    src_port: Ints
    dst_port: Ints
    errors: Flags  # SERROR | RERROR
    fwd_bytes: Floats
    rev_bytes: Floats
    fwd_pkts: Floats
    rev_pkts: Floats
    fwd_syn: Floats
    rev_syn: Floats
    fwd_rst: Floats
    rev_rst: Floats
    fwd_fin: Floats
    rev_fin: Floats
    fwd_psh: Floats
    rev_psh: Floats
    fwd_ttl: Floats
    rev_ttl: Floats
    fwd_window: Floats
    rev_window: Floats
    fwd_iat_us: Floats
    rev_iat_us: Floats


def _known(column: pa.Array) -> npt.NDArray[np.bool_]:
    """(n,) True where the column is not null."""
    bits = np.frombuffer(column.buffers()[0], np.uint8)
    return np.unpackbits(bits, count=column.offset + len(column), bitorder="little")[column.offset :].view(np.bool_)


def _values(column: pa.Array) -> npt.NDArray[np.generic]:
    """(n,) the values of a column of numbers, anything where null; a view of its buffer."""
    values: npt.NDArray[np.generic] = np.frombuffer(
        column.buffers()[1], column.type.to_pandas_dtype(), len(column), column.offset * column.type.bit_width // 8
    )
    return values


def floats(column: pa.Array, missing: float) -> Floats:
    """(n,) a column of numbers as float64, `missing` where null."""
    if column.null_count == len(column):
        return np.full(len(column), missing)
    values = _values(column).astype(np.float64)
    if column.null_count:
        values[~_known(column)] = missing
    return values


def ints(column: pa.Array, missing: int) -> Ints:
    """(n,) a column of numbers, `missing` where null."""
    if column.null_count == len(column):
        return np.full(len(column), missing, np.int64)
    values = _values(column).astype(np.int64)
    if column.null_count:
        values[~_known(column)] = missing
    return values


def lists(column: pa.ListArray) -> tuple[Ints, Ints, Ints]:
    """Values of a column of lists, and where each row's begin and end; a null has none."""
    if column.null_count == len(column):
        nowhere = np.zeros(len(column), np.int64)
        return np.zeros(1, np.int64), nowhere, nowhere
    offsets = column.offsets.to_numpy().astype(np.int64)
    # A column that never had a null bears no bits of which are known.
    known = _known(column) if column.null_count else np.ones(len(column), np.bool_)
    starts = offsets[:-1]
    return column.values.to_numpy().astype(np.int64), starts, np.where(known, offsets[1:], starts)


def _flag_packets(flows: pa.RecordBatch, side: str, flag: str, bit: int, seen: Ints) -> Floats:
    """Packets with a TCP flag; where the source counts none, 1 if the flag was seen at all, else 0."""
    counted = flows.column(f"{side}_{flag}_pkts")
    if counted.null_count == len(counted):
        seen_at_all: Floats = (seen & bit != 0).astype(np.float64)
        return seen_at_all
    packets = floats(counted, np.nan)
    if not counted.null_count:
        return packets
    return np.where(np.isnan(packets), (seen & bit != 0).astype(np.float64), packets)


def is_one_of(column: pa.Array, names: pa.Array) -> npt.NDArray[np.bool_]:
    """(n,) whether a string is one of the names; null is none."""
    matches: npt.NDArray[np.bool_] = pc.is_in(column, value_set=names).to_numpy(zero_copy_only=False)
    return matches


def protocols(flows: pa.RecordBatch) -> Ints:
    """(n,) IP protocol, or 0x10000 + EtherType where there is no IP."""
    ip_proto = ints(flows.column("ip_proto"), -1)
    return np.where(ip_proto >= 0, ip_proto, 0x10000 + ints(flows.column("ether_type"), 0))


def services(protocol: Ints, dst_port: Ints) -> Keys:
    """(n,) one key for protocol and destination port."""
    return (protocol.astype(np.uint64) << np.uint64(32)) | (dst_port + 1).astype(np.uint64)


def rows_of(flows: pa.RecordBatch) -> Rows:
    """The arrays of a batch of the `flow` schema; the batch is left as it is."""
    src, src_kind = address_keys(flows.column("src_addr"))
    dst, dst_kind = address_keys(flows.column("dst_addr"))
    src_mac, src_mac_kind = address_keys(flows.column("src_mac"))
    dst_mac, dst_mac_kind = address_keys(flows.column("dst_mac"))
    protocol = protocols(flows)
    src_port = ints(flows.column("src_port"), -1)
    dst_port = ints(flows.column("dst_port"), -1)
    service = services(protocol, dst_port)
    state = flows.column("conn_state")
    tcp = protocol == TCP  # UDP and the rest are never in error by KDD's rules: their state is always SF there
    serror = is_one_of(state, SYN_ERRORS) & tcp
    rerror = is_one_of(state, REJECTIONS) & tcp
    seen = {side: ints(flows.column(f"{side}_tcp_flags"), 0) for side in ("fwd", "rev")}
    counts = {
        f"{side}_{flag}": _flag_packets(flows, side, flag, bit, seen[side])
        for flag, bit in (("syn", 2), ("rst", 4), ("fin", 1), ("psh", 8))
        for side in ("fwd", "rev")
    }
    volumes = {
        name: floats(flows.column(name), 0.0)
        for name in ("fwd_bytes", "rev_bytes", "fwd_pkts", "rev_pkts", "duration_us")
    }
    means = {
        name: floats(flows.column(source), np.nan)
        for name, source in (
            ("fwd_ttl", "fwd_ttl_mean"),
            ("rev_ttl", "rev_ttl_mean"),
            ("fwd_window", "fwd_window_mean"),
            ("rev_window", "rev_window_mean"),
            ("fwd_iat_us", "fwd_iat_mean_us"),
            ("rev_iat_us", "rev_iat_mean_us"),
        )
    }
    return Rows(
        end_us=ints(flows.column("end_ts_us"), 0),
        src=src,
        dst=dst,
        src_kind=src_kind,
        dst_kind=dst_kind,
        src_mac=src_mac,
        dst_mac=dst_mac,
        src_mac_known=((src_mac_kind != UNSPECIFIED) & (src_mac_kind != MULTICAST)).astype(np.uint8),
        dst_mac_known=(
            (dst_mac_kind != UNSPECIFIED) & (dst_mac_kind != MULTICAST) & (dst_mac_kind != BROADCAST)
        ).astype(np.uint8),
        mac_count=np.maximum(
            np.maximum(floats(flows.column("src_mac_count"), 1.0), floats(flows.column("dst_mac_count"), 1.0)), 1.0
        ),
        protocol=protocol,
        service=service,
        src_port=src_port,
        dst_port=dst_port,
        errors=(serror * SERROR + rerror * RERROR).astype(np.uint8),
        **counts,
        **volumes,
        **means,
    )
