"""GoFlow2's JSON as flows (netsampler/goflow2 2.x: pb/flow.proto, producer/proto, format json)."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import exporter
from pipeline.ingest.scan.cells import Cells
from pipeline.ingest.scan.scalars import NANOSECONDS

_START, _END = "time_flow_start_ns", "time_flow_end_ns"
LAYOUT = exporter.layout(
    {
        "exporter": ("type",),
        "start": (_START, _END),
        "end": (_END, _START),
        "src_mac": ("src_mac",),
        "dst_mac": ("dst_mac",),
        "src_ip": ("src_addr",),
        "dst_ip": ("dst_addr",),
        "ether": ("etype",),
        "proto": ("proto",),
        "src_port": ("src_port",),
        "dst_port": ("dst_port",),
        "icmp_type": ("icmp_type",),
        "icmp_code": ("icmp_code",),
        "flags": ("tcp_flags",),
        "fwd_bytes": ("bytes",),
        "fwd_pkts": ("packets",),
        "vlan": ("vlan_id", "src_vlan", "dst_vlan"),
        "ttl": ("ip_ttl",),
        "sampling": ("sampling_rate",),
        "export_protocol": ("type",),
        "exporter_addr": ("sampler_address",),
        "domain": ("observation_domain_id",),
        "sequence": ("sequence_num",),
        "received": ("time_received_ns",),
    },
    power=NANOSECONDS,
    # GoFlow2 writes every key, 0 where the exporter's template has no such field.
    zero_is_no_icmp=True,
)


def normalise(cells: Cells) -> Draft:
    """Flows of GoFlow2's records; of sFlow, which samples packets, bytes are whole frames."""
    draft = exporter.normalise(cells, LAYOUT)
    kind = draft.text("exporter: type", "byte_semantics")
    sflow = pc.starts_with(kind, "SFLOW").fill_null(False)
    draft.columns["byte_semantics"] = pc.if_else(sflow, pa.scalar("frame"), pa.scalar("ip"))
    return draft
