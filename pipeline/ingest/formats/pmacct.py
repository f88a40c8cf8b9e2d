"""JSON of pmacct's daemons as flows (pmacct: CONFIG-KEYS, aggregate, timestamps_*; sql_common JSON output)."""

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import exporter
from pipeline.ingest.scan.cells import Cells

# The flow's own times where they are aggregated by; then those of what was stitched; then of arrival.
_STARTS = ("timestamp_start", "timestamp_min", "timestamp_arrival")
_ENDS = ("timestamp_end", "timestamp_max")
TIMES = (*_STARTS, *_ENDS, "timestamp_export", "stamp_inserted", "stamp_updated")
LAYOUT = exporter.layout(
    {
        "kind": ("event_type",),
        "start": (*_STARTS, *_ENDS),
        "end": (*_ENDS, *_STARTS),
        "src_mac": ("mac_src",),
        "dst_mac": ("mac_dst",),
        "src_ip": ("ip_src",),
        "dst_ip": ("ip_dst",),
        "ether": ("etype",),
        "proto": ("ip_proto",),
        "src_port": ("port_src",),
        "dst_port": ("port_dst",),
        "flags": ("tcp_flags",),
        "fwd_bytes": ("bytes",),
        "fwd_pkts": ("packets",),
        "vlan": ("vlan", "vlan_in", "vlan_out"),
        "sampling": ("sampling_rate",),
        "app": ("class",),
        "export_protocol": ("export_proto_version",),
        "exporter_addr": ("peer_ip_src",),
        "domain": ("export_proto_sysid",),
        "sequence": ("export_proto_seqno",),
        # Of the daemon; else when the exporter sent it, by its own clock, which flows end before all the same.
        "received": ("timestamp_arrival", "stamp_updated", "timestamp_export"),
    },
    # purge_init and purge_close frame what a plugin writes at once.
    kinds=("purge", "log"),
)


def normalise(cells: Cells) -> Draft:
    """Flows of pmacct's records."""
    return exporter.normalise(cells, LAYOUT)
