"""JSON of ipfixcol2's output plugins as flows (CESNET/ipfixcol2: src/plugins/output/json, json-kafka)."""

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats import exporter
from pipeline.ingest.scan.cells import Cells
from pipeline.ingest.scan.scalars import MILLISECONDS, SECONDS


def _key(name: str, number: int) -> str:
    """An IANA element's key: by name, or by number as the plugin's option numericNames has it."""
    return f"iana:{name}|en0:id{number}"


def _reverse(name: str, number: int) -> str:
    """The key of its reverse (RFC 5103, enterprise 29305)."""
    return f"iana@reverse:{name}@reverse|iana@reverse:{name}|en29305:id{number}"


_STARTS = tuple(
    _key(f"flowStart{unit}", number)
    for unit, number in (("Milliseconds", 152), ("Microseconds", 154), ("Nanoseconds", 156), ("Seconds", 150))
)
_ENDS = tuple(
    _key(f"flowEnd{unit}", number)
    for unit, number in (("Milliseconds", 153), ("Microseconds", 155), ("Nanoseconds", 157), ("Seconds", 151))
)
# Every spelling: flows can be moved in time in whichever they are.
TIMES = tuple(spelling for key in (*_STARTS, *_ENDS) for spelling in key.split("|"))
LAYOUT = exporter.layout(
    {
        "kind": ("@type",),
        "start": (*_STARTS, *_ENDS),
        "end": (*_ENDS, *_STARTS),
        "src_mac": (_key("sourceMacAddress", 56),),
        "dst_mac": (_key("destinationMacAddress", 80),),
        "src_ip": (_key("sourceIPv4Address", 8), _key("sourceIPv6Address", 27)),
        "dst_ip": (_key("destinationIPv4Address", 12), _key("destinationIPv6Address", 28)),
        "ether": (_key("ethernetType", 256),),
        "proto": (_key("protocolIdentifier", 4),),
        "src_port": (_key("sourceTransportPort", 7),),
        "dst_port": (_key("destinationTransportPort", 11),),
        "icmp": (_key("icmpTypeCodeIPv4", 32), _key("icmpTypeCodeIPv6", 139)),
        "icmp_type": (_key("icmpTypeIPv4", 176), _key("icmpTypeIPv6", 178)),
        "icmp_code": (_key("icmpCodeIPv4", 177), _key("icmpCodeIPv6", 179)),
        "flags": (_key("tcpControlBits", 6),),
        "rev_flags": (_reverse("tcpControlBits", 6),),
        "fwd_bytes": (_key("octetDeltaCount", 1), _key("octetTotalCount", 85)),
        "rev_bytes": (_reverse("octetDeltaCount", 1), _reverse("octetTotalCount", 85)),
        "fwd_pkts": (_key("packetDeltaCount", 2), _key("packetTotalCount", 86)),
        "rev_pkts": (_reverse("packetDeltaCount", 2), _reverse("packetTotalCount", 86)),
        "vlan": (_key("vlanId", 58), _key("dot1qVlanId", 243)),
        "ttl": (_key("ipTTL", 192),),
        "sampling": (_key("samplingInterval", 34),),
        "app": (_key("applicationName", 96),),
        "uid": (_key("flowId", 148),),
        # With the plugin's option detailedInfo.
        "exporter_addr": ("ipfix:srcAddr",),
        "domain": ("ipfix:odid",),
        "sequence": ("ipfix:seqNumber",),
        "received": ("ipfix:exportTime",),
    },
    kinds=("ipfix.entry",),
    power=MILLISECONDS,
    received_power=SECONDS,  # of a message's header, where times have no other unit
    export_protocol="ipfix",
)


def normalise(cells: Cells) -> Draft:
    """Flows of ipfixcol2's records: both directions where the exporter is one of biflows."""
    return exporter.normalise(cells, LAYOUT)
