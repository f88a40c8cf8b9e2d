"""Records of `nfdump -o json` (an array in a file, objects a line in Kafka) as flows (phaag/nfdump: output_json.c)."""

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import exporter
from pipeline.ingest.scan.cells import Cells
from pipeline.ingest.scan.scalars import UNPADDED

_START, _END = "first|t_first", "last|t_last"
LAYOUT = exporter.layout(
    {
        "sampled": ("sampled",),
        "kind": ("type",),
        "start": (_START, _END),
        "end": (_END, _START),
        "src_mac": ("in_src_mac",),
        "dst_mac": ("in_dst_mac", "out_dst_mac"),
        "src_ip": ("src4_addr", "src6_addr"),
        "dst_ip": ("dst4_addr", "dst6_addr"),
        "proto": ("proto",),
        "src_port": ("src_port",),
        "dst_port": ("dst_port",),
        "icmp_type": ("icmp_type",),
        "icmp_code": ("icmp_code",),
        "flags": ("tcp_flags",),
        "fwd_bytes": ("in_bytes",),
        "rev_bytes": ("out_bytes",),
        "fwd_pkts": ("in_packets",),
        "rev_pkts": ("out_packets",),
        "vlan": ("src_vlan", "dst_vlan"),
        "received": ("received|t_received",),
    },
    kinds=("flow",),
    power=UNPADDED,
)


def normalise(cells: Cells) -> Draft:
    """Flows of nfdump's records; its events (of firewalls) are none.

    `sampled` 1 says that nfdump has multiplied the counts by a rate that it does not report.
    """
    return exporter.normalise(cells, LAYOUT)
