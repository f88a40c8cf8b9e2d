"""What a feature set is: names, meaning and units of the columns of a feature matrix, as data, and the hash that names
them; and the first, `forebay-ics-1`. The others stand in feature_sets.py.

The hash covers the names and scales in order, every parameter the definitions use, and VERSION, which is raised
whenever a definition's code changes what it computes. Models and saved state carry it; a mismatch is refused.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property

from pipeline.featurize.windows import kdd, profiles
from pipeline.featurize.windows.bounded_tables import Bounds

VERSION = 1


@dataclass(frozen=True, slots=True)
class Feature:
    """One column: its group, unit, the words explanations use for it, and how a model should scale it."""

    name: str
    group: str
    unit: str
    label: str
    scale: str  # "log1p": heavy-tailed, take log1p first; "linear": as it is
    formula: str = ""
    source: str = ""  # the paper or tool the definition is from
    window: str = ""  # what it looks back on


@dataclass(frozen=True)
class FeatureSet:
    """A named, ordered set of features and the parameters their definitions use."""

    name: str
    version: int
    features: tuple[Feature, ...]
    parameters: tuple[tuple[str, float], ...]
    about: str = ""
    whole_file: bool = False  # defined over a whole file: there are no such features of a stream

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the order of the matrix's columns."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over the version, the names and scales in order, and the parameters."""
        document = {
            "version": self.version,
            "features": [[feature.name, feature.scale] for feature in self.features],
            "parameters": dict(self.parameters),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def width(self) -> int:
        """F, the number of features."""
        return len(self.features)


def _group(group: str, *rows: tuple[str, str, str, str]) -> tuple[Feature, ...]:
    return tuple(Feature(name, group, unit, label, scale) for name, unit, scale, label in rows)


FLOW = _group(
    "flow",
    ("duration_us", "us", "log1p", "duration"),
    ("packets", "packets", "log1p", "packets, both ways"),
    ("bytes", "bytes", "log1p", "bytes, both ways"),
    ("packet_rate", "packets/s", "log1p", "packets a second"),
    ("fwd_packet_size", "bytes", "log1p", "mean size of the originator's packets"),
    ("rev_packet_size", "bytes", "log1p", "mean size of the responder's packets"),
    ("packet_imbalance", "share", "linear", "how one-sided the packets are"),
    ("byte_imbalance", "share", "linear", "how one-sided the bytes are"),
    ("unanswered", "flag", "linear", "one end never spoke"),
    ("iat_high_us", "us", "log1p", "mean time between packets, slower end"),
    ("iat_low_us", "us", "log1p", "mean time between packets, faster end"),
    ("mac_count", "MACs", "linear", "hardware addresses speaking for one end"),
    ("to_broadcast", "flag", "linear", "sent to everybody"),
    ("to_multicast", "flag", "linear", "sent to a group"),
    ("broadcast_spread_us", "us", "log1p", "duration, where sent to everybody"),
    ("from_nobody", "flag", "linear", "sender without an address yet"),
    ("is_tcp", "flag", "linear", "TCP"),
    ("is_udp", "flag", "linear", "UDP"),
    ("is_icmp", "flag", "linear", "ICMP"),
    ("is_igmp", "flag", "linear", "IGMP"),
    ("is_arp", "flag", "linear", "ARP"),
    ("is_other_l2", "flag", "linear", "neither IP nor ARP"),
    ("has_ports", "flag", "linear", "ports are known"),
    ("to_system_port", "flag", "linear", "to a port below 1024"),
    ("to_ics_port", "flag", "linear", "to an industrial protocol's port"),
)

TCP = _group(
    "tcp",
    ("syn_packets", "packets", "log1p", "SYN packets, both ways"),
    ("rst_packets", "packets", "log1p", "RST packets, both ways"),
    ("fin_packets", "packets", "log1p", "FIN packets, both ways"),
    ("syn_share", "share", "linear", "share of packets with SYN"),
    ("rst_share", "share", "linear", "share of packets with RST"),
    ("psh_share", "share", "linear", "share of packets with PSH"),
    ("syn_imbalance", "share", "linear", "how one-sided the SYN packets are"),
    ("serror", "flag", "linear", "connection attempt without answer or end"),
    ("rerror", "flag", "linear", "connection refused or reset"),
)


def _kdd(prefix: str, window: str, names: tuple[str, ...]) -> tuple[tuple[str, str, str, str], ...]:
    rows = (
        ("flows", "log1p", f"flows to this destination {window}"),
        ("flows", "log1p", f"flows of this service {window}"),
        ("share", "linear", f"share of unfinished connections to this destination {window}"),
        ("share", "linear", f"share of unfinished connections of this service {window}"),
        ("share", "linear", f"share of refused connections to this destination {window}"),
        ("share", "linear", f"share of refused connections of this service {window}"),
        ("share", "linear", f"share of this service among flows to this destination {window}"),
        ("share", "linear", f"distinct services per flow to this destination {window}"),
        ("share", "linear", f"distinct destinations per flow of this service {window}"),
        ("share", "linear", f"share of this source port among flows to this destination {window}"),
    )
    return tuple((prefix + name, *row) for name, row in zip(names, rows, strict=False))


_SHARED = ("serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate", "same_srv_rate", "diff_srv_rate")
TIME = _group("kdd-2s", *_kdd("", "in 2 s", ("count", "srv_count", *_SHARED, "srv_diff_host_rate")))
COUNT = _group(
    "kdd-255",
    *_kdd(
        "dst_host_",
        "among the last 255",
        ("count", "srv_count", *_SHARED, "srv_diff_host_rate", "same_src_port_rate"),
    ),
)

HOST = _group(
    "host",
    ("host_flows", "flows", "log1p", "recent flows of the busier end"),
    ("host_syn", "packets", "log1p", "recent SYN packets of the busier end"),
    ("host_rst", "packets", "log1p", "recent RST packets of the busier end"),
    ("host_unanswered_share", "share", "linear", "share of one end's recent flows without an answer"),
    ("host_new_peers", "peers", "log1p", "peers one end recently spoke to for the first time"),
    ("host_syn_share", "share", "linear", "share of SYN among one end's recent packets"),
    ("host_rst_share", "share", "linear", "share of RST among one end's recent packets"),
    ("new_endpoints", "ends", "linear", "ends never seen before"),
)

PAIR = _group(
    "pair",
    ("pair_new", "flag", "linear", "these two never spoke this protocol before"),
    ("pair_quiet_us", "us", "log1p", "time since these two last spoke"),
    ("pair_flows", "flows", "log1p", "recent flows between these two"),
    ("pair_packets_change", "log ratio", "linear", "packets against what is usual for these two"),
    ("pair_size_change", "log ratio", "linear", "packet size against what is usual for these two"),
    ("pair_duration_change", "log ratio", "linear", "duration against what is usual for these two"),
    ("pair_iat_change", "log ratio", "linear", "time between packets against what is usual for these two"),
    ("pair_gap_change", "log ratio", "linear", "rhythm of flows against what is usual for these two"),
    ("pair_ttl_change", "hops", "log1p", "TTL against what is usual for these two"),
    ("pair_window_change", "log ratio", "linear", "TCP window against what is usual for these two"),
)

IDENTITY = _group(
    "identity",
    ("mac_changed", "flag", "linear", "an address came from another device than last time"),
    ("mac_flips", "changes", "log1p", "recent changes of the device behind an address"),
    ("address_changed", "flag", "linear", "a device sent from another address than last time"),
    ("address_flips", "changes", "log1p", "recent changes of a device's address"),
)

FEATURE_SET = FeatureSet(
    name="forebay-ics-1",
    version=VERSION,
    features=FLOW + TCP + TIME + COUNT + HOST + PAIR + IDENTITY,
    about="What the shipped model sees: the flow itself, both KDD windows, endpoints, pairs and identities.",
    parameters=(
        ("kdd_window_us", kdd.WINDOW_US),
        ("kdd_count_cap", kdd.COUNT_CAP),
        ("kdd_ring", kdd.RING + 1),
        ("host_half_life_us", profiles.HALF_LIFE_US),
        ("flip_half_life_us", profiles.FLIP_HALF_LIFE_US),
        ("pair_half_life_us", profiles.PAIR_HALF_LIFE_US),
        ("quiet_cap_us", profiles.QUIET_CAP_US),
        ("warm_us", profiles.WARM_US),
        ("memory_flows", profiles.MEMORY),
        *((f"bound_{name}", value) for name, value in asdict(Bounds()).items()),
    ),
)
