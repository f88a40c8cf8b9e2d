"""IP protocols by name, EtherTypes by name, and what else the decoders of flows share."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tcp import ACK, CONN_STATES, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP, UDP, URG, derive_conn_states

__all__ = [
    "ACK",
    "CONN_STATES",
    "ETHER_TYPES",
    "FIN",
    "ICMP",
    "ICMP6",
    "IP4_ETHER_TYPE",
    "IP6_ETHER_TYPE",
    "IP_PROTOCOLS",
    "PSH",
    "QUALITY",
    "RST",
    "SYN",
    "TCP",
    "UDP",
    "URG",
    "WITH_PORTS",
    "derive_conn_states",
    "ip_protocols",
    "lookup",
    "qualities",
]

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

# IANA's keywords of the IP protocols 0 to 145, in order, lower case.
_KEYWORDS = (
    "hopopt icmp igmp ggp ipv4 st tcp cbt egp igp bbn-rcc-mon nvp-ii pup argus emcon xnet chaos udp mux dcn-meas "
    "hmp prm xns-idp trunk-1 trunk-2 leaf-1 leaf-2 rdp irtp iso-tp4 netblt mfe-nsp merit-inp dccp 3pc idpr xtp ddp "
    "idpr-cmtp tp++ il ipv6 sdrp ipv6-route ipv6-frag idrp rsvp gre dsr bna esp ah i-nlsp swipe narp min-ipv4 tlsp "
    "skip ipv6-icmp ipv6-nonxt ipv6-opts any-host-internal-protocol cftp any-local-network sat-expak kryptolan rvd "
    "ippc any-distributed-file-system sat-mon visa ipcv cpnx cphb wsn pvp br-sat-mon sun-nd wb-mon wb-expak iso-ip "
    "vmtp secure-vmtp vines iptm nsfnet-igp dgp tcf eigrp ospfigp sprite-rpc larp mtp ax.25 ipip micp scc-sp etherip "
    "encap any-private-encryption-scheme gmtp ifmp pnni pim aris scps qnx a/n ipcomp snp compaq-peer ipx-in-ip vrrp "
    "pgm any-0-hop-protocol l2tp ddx iatp stp srp uti smp sm ptp isis-over-ipv4 fire crtp crudp sscopmce iplt sps "
    "pipe sctp fc rsvp-e2e-ignore mobility-header udplite mpls-in-ip manet hip shim6 wesp rohc ethernet aggfrag nsh"
)
# By the names that sensors write, lower case; the latter ones are what some write instead of IANA's.
IP_PROTOCOLS: dict[str, int] = {name: number for number, name in enumerate(_KEYWORDS.split())} | {
    "ip": 0,
    "ipencap": 4,
    "icmp6": 58,
    "icmpv6": 58,
    "ospf": 89,
    "isis over ipv4": 124,
    "mobility header": 135,
}
WITH_PORTS = (TCP, UDP, 33, 132, 136)

ETHER_TYPES: dict[str, int] = {
    "arp": 0x0806,
    "rarp": 0x8035,
    "lldp": 0x88CC,
    "profinet": 0x8892,
    "pn": 0x8892,
    "pn_io": 0x8892,
    "pn-io": 0x8892,
    "mrp": 0x88E3,
    "ethercat": 0x88A4,
    "goose": 0x88B8,
    "ptp": 0x88F7,
    "eapol": 0x888E,
    "vlan": 0x8100,
}
IP4_ETHER_TYPE, IP6_ETHER_TYPE = 0x0800, 0x86DD
# An IP packet's length has 16 bits.
MAX_PACKET_BYTES = 65_535


def lookup(names: pa.StringArray, table: dict[str, int]) -> tuple[Numbers, Mask]:
    """Numbers of lower-case names in `table`, and which were found."""
    indices = pc.index_in(names, pa.array(table, pa.string()))
    known = indices.is_valid().to_numpy(zero_copy_only=False)
    numbers = np.array(list(table.values()), np.int64)
    return numbers[indices.fill_null(0).to_numpy()], known


def ip_protocols(names: pa.StringArray) -> tuple[Numbers, Mask]:
    """IP protocol numbers of names or decimal numbers, and which are one."""
    numbers, known = lookup(names, IP_PROTOCOLS)
    if not known.all():
        decimal = pc.match_substring_regex(names, "^0*[0-9]{1,3}$").fill_null(False)
        read = pc.if_else(decimal, names, "0").cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        is_number = decimal.to_numpy(zero_copy_only=False) & (read <= 255) & ~known
        numbers, known = np.where(is_number, read, numbers), known | is_number
    return numbers, known


QUALITY = (
    "bytes_bounded",
    "clock",
    "gap",
    "no_bytes",
    "no_flags",
    "no_ports",
    "no_rev",
    "non_ip",
    "one_way",
    "pkts_split",
    "sampled",
)
_QUALITIES = pa.array(
    [",".join(name for bit, name in enumerate(QUALITY) if mask >> bit & 1) for mask in range(1 << len(QUALITY))]
)


def qualities(**missing: Mask) -> pa.StringArray:
    """The `quality` column from one mask per word of QUALITY; words that are not given are never set."""
    first = next(iter(missing.values()))
    bits = np.zeros(len(first), np.int64)
    for name, rows in missing.items():
        bits |= rows.astype(np.int64) << QUALITY.index(name)
    return _QUALITIES.take(pa.array(bits))
