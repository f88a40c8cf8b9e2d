"""Tables, texts and JSON of other tools: what such a record is, and what to do, in one sentence.

Nothing here is read: the sentences save people a search among formats that their file almost has.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.ingest.formats.marks import NEAR_MISSES, ZEEK_RENAMED

_ZEEK_OR_SURICATA = "write flows with Zeek or Suricata"
_NO_TIMES = f"a data set without what a flow needs (addresses, ports or times); {_ZEEK_OR_SURICATA} from its captures"
_CLOUD = "records of a cloud's flow log, which are not read; mirror the traffic to Zeek or Suricata"
_NPROBE = "fields as nProbe and data sets made with it name them; have it export to GoFlow2, nfcapd or pmacct"
_TSHARK = "packets as tshark writes them, not flows; zeek -C -r CAPTURE or suricata -r CAPTURE makes some"
_YAF = "fields as YAF and super_mediator write them; send YAF's IPFIX to ipfixcol2, pmacct or nfcapd"
_JOY = f"records of joy, which are not read; {_ZEEK_OR_SURICATA}"
_RA = (
    "what ra prints for people; ra -n -u -c , -s stime dur proto saddr sport dir daddr dport state spkts dpkts sbytes "
)
_RA += "dbytes writes what is read"

# Tables by names in their header, in lower case: all of one of the sets.
_HEADERS: tuple[tuple[tuple[frozenset[str], ...], str], ...] = (
    (
        (frozenset({"flow_duration", "tot_fwd_pkts", "totlen_fwd_pkts"}),),
        "the columns of CICFlowMeter's Python port, whose durations are in seconds or microseconds as its version "
        "has it; write flows with Zeek, or with the Java program CICFlowMeter",
    ),
    (
        (
            frozenset({"frame.time_epoch"}),
            frozenset({"frame.number"}),
            frozenset({"no.", "source", "destination", "info"}),
            frozenset({"ip.src", "ip.dst"}),
        ),
        "a table of packets, not of flows; zeek -C -r CAPTURE or suricata -r CAPTURE makes some",
    ),
    (
        (frozenset({"address a", "address b", "packets"}),),
        "Wireshark's table of conversations, whose times are relative; zeek -C -r CAPTURE or suricata -r CAPTURE "
        "makes flows",
    ),
    ((frozenset({"ipv4_src_addr", "ipv4_dst_addr"}), frozenset({"l4_src_port", "in_bytes"})), _NPROBE),
    (
        (frozenset({"srcip", "dstip", "dsport", "sbytes"}),),
        "the columns of the data set UNSW-NB15, which are not read; its captures are: zeek -C -r CAPTURE",
    ),
    (
        (
            frozenset({"protocol_type", "src_bytes", "dst_bytes"}),
            frozenset({"dur", "spkts", "dpkts", "rate", "sttl"}),
        ),
        _NO_TIMES,
    ),
    (
        (frozenset({"flowind", "timefirst", "timelast"}),),
        f"flows of Tranalyzer, which are not read; {_ZEEK_OR_SURICATA}",
    ),
    ((frozenset({"sip", "dip", "stime"}), frozenset({"sip", "dip", "sport", "dport", "pro"})), ""),
    ((frozenset({"start-time", "end-time", "sip", "dip"}),), _YAF),
    ((frozenset({"sourceipv4address", "destinationipv4address"}),), _YAF),
    (
        (frozenset({"account-id", "interface-id"}), frozenset({"account_id", "interface_id", "srcaddr"})),
        _CLOUD,
    ),
    (
        (frozenset({"src_ip", "dst_ip", "src_port", "dst_port", "protocol", "packets", "bytes"}),),
        "a table of pmacct or of a program of the like; print_output: json, or the kafka plugin, writes what is read",
    ),
    (
        (frozenset({"sa", "da", "sp", "dp", "pr", "num_pkts_out"}), frozenset({"time_start", "time_end", "sa", "da"})),
        _JOY,
    ),
)
_SILK = "what SiLK's rwcut prints, which is not read; collect with nfcapd, or write flows with Zeek"

# Texts by what one of their first lines looks like.
_TEXTS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"^\s*Date (first seen|flow start)\s+.*(Duration|Event|Proto)"),
        "what nfdump prints for people, with rounded counts; nfdump -r FILE -o json writes what is read",
    ),
    (
        re.compile(rb"^(2|10)\|\d{9,}\|\d+\|\d{9,}\|\d+\|\d+\|"),
        "nfdump's output for other programs (-o pipe); nfdump -r FILE -o json writes what is read",
    ),
    (re.compile(rb"^\s*(StartTime|SrcAddr|Rank)\s+\S.*\b(Flgs|Proto|Dir)\b.*\bState\b"), _RA),
    (re.compile(rb"^\s*sIP\|\s*dIP\||^[^,;]*\|\s*sIP\s*\|"), _SILK),
    (re.compile(rb"^start-time\s*\|\s*end-time\s*\|"), _YAF),
    (re.compile(rb"^srcIP\s+dstIP\s+prot\s"), "what flow-print prints; flow-export -f2, or nfdump -o json, writes CSV"),
    (re.compile(rb"^%?dir\tflowInd\t"), f"flows of Tranalyzer, which are not read; {_ZEEK_OR_SURICATA}"),
    (re.compile(rb"^(version account-id|[2-9] \d{12} eni-)"), _CLOUD),
    (
        re.compile(rb"^SRC_IP\s+DST_IP|^ID\s+CLASS\s+SRC_MAC"),
        "what pmacct prints for people; print_output: json, or the kafka plugin, writes what is read",
    ),
    (
        re.compile(rb"^type:\s*\"?(NETFLOW_V5|NETFLOW_V9|IPFIX|SFLOW_5)\"?\s.*time_received_ns:"),
        "GoFlow2's output of text; -format json writes what is read",
    ),
    (
        re.compile(rb"^\d{9,}\.\d{6}\t(C[A-Za-z0-9]{10,}\t)?[0-9a-fA-F.:]+\t\d+\t[0-9a-fA-F.:]+\t\d+(\t|$)"),
        "lines of a Zeek log without its header; send the file from its first line on (zeek-cut -c, tail -n +1 -F)",
    ),
    (
        re.compile(rb"^#Software: Microsoft|^#Fields: "),
        f"a log in the W3C's format, as Windows writes it, which is not read; {_ZEEK_OR_SURICATA}",
    ),
    (
        re.compile(rb"^(\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\.\d+\s+\[\*\*\]|\[\*\*\] \[\d+:\d+:)"),
        "alerts of Suricata or Snort, not flows; in suricata.yaml switch on type flow under outputs, eve-log, types",
    ),
    (re.compile(rb"^Date: \d+/\d+/\d{4} -- "), "Suricata's stats.log, which holds no flows; send eve.json"),
    (re.compile(rb"\b(CEF:[01]\||LEEF:[12]\.0\|)"), f"events in CEF or LEEF, which are not read; {_ZEEK_OR_SURICATA}"),
    (
        re.compile(rb"\bSRC=\S+ DST=\S+ .*PROTO=|^\s*(\[[A-Z]+\]\s+)?(tcp|udp|icmp)\s+\d+ .*\bsrc=\S+ dst="),
        f"the kernel's log of packets or connections, which is not read; {_ZEEK_OR_SURICATA}",
    ),
    (
        re.compile(rb"^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d+ (IP6?|ARP)[ ,]"),
        "packets as tcpdump prints them; zeek -C -r CAPTURE or suricata -r CAPTURE makes flows",
    ),
    (
        re.compile(rb"^\s*\{'[\w.@]+': "),
        "objects as Python prints them, which is no JSON; json.dumps writes what is read",
    ),
)

# JSON by paths of keys, with dots between them: all of one of the sets.
_RECORDS: tuple[tuple[tuple[tuple[str, ...], ...], str], ...] = (
    ((("IPV4_SRC_ADDR",), ("IPV6_SRC_ADDR",), ("8", "12")), _NPROBE),
    ((("sa", "da", "pr"), ("sa", "da", "time_start")), _JOY),
    ((("flows.sourceIPv4Address",), ("flows.sourceIPv6Address",), ("flows.flowStartMilliseconds",)), _YAF),
    ((("flowStartMilliseconds",), ("sourceIPv4Address",)), _YAF),
    (
        (
            ("interface_id", "srcaddr"),
            ("jsonPayload.connection",),
            ("records",),
            ("category", "properties.flows"),
            ("flowRecords",),
        ),
        _CLOUD,
    ),
    (
        (("netflow.ipv4_src_addr",), ("netflow.version",), ("netflow.type",)),
        "records of Logstash's or Filebeat's own collector of NetFlow; let GoFlow2, pmacct or nfcapd collect",
    ),
    (
        (("flow.client",), ("flow.client.ip.addr",), ("flow.server.ip.addr",), ("flow.export.type",)),
        "records of ElastiFlow; let GoFlow2, pmacct or nfcapd collect",
    ),
    (
        (("timeFlowStartNs",), ("timeReceivedNs",), ("timeFlowStart", "srcAddr")),
        "GoFlow2's protobuf made into JSON by another program; let GoFlow2 write JSON (-format json)",
    ),
    ((("AgentID", "DataSets"),), "records of vFlow; let GoFlow2, pmacct or nfcapd collect"),
    ((("ExporterAddress", "SrcAddr"),), "records of Akvorado; let GoFlow2, pmacct or nfcapd collect"),
    ((("_source.layers",), ("layers",)), _TSHARK),
    ((("class_uid", "category_uid"),), "an event of OCSF; send the sensor's log lines as they are"),
    ((("resourceLogs",), ("resource", "scopeLogs")), "OpenTelemetry's logs; send the sensor's log lines as they are"),
    ((("streams",),), "a document for Loki; send the sensor's log lines as they are"),
    (
        (("hits.hits",),),
        "an answer of Elasticsearch; write each _source.event.original, or the sensor's log lines as they are",
    ),
    ((("name", "tags", "fields"),), "a metric of Telegraf; let GoFlow2, pmacct or nfcapd collect"),
    ((("id_orig_h",), ("id.orig_h",), ("id_resp_h",)), NEAR_MISSES[ZEEK_RENAMED]),
)


def kind_of_header(names: set[str]) -> str:
    """What a table is whose header has these names, where it is known and not read; empty otherwise."""
    lower = {name.strip().lower().lstrip("%#") for name in names}
    return next((sentence or _SILK for sets, sentence in _HEADERS if any(wanted <= lower for wanted in sets)), "")


def kind_of_text(lines: Iterable[bytes]) -> str:
    """What a text is whose first lines are these, where it is known and not read; empty otherwise."""
    return next((sentence for line in lines for pattern, sentence in _TEXTS if pattern.search(line)), "")


def kind_of_record(record: Any) -> str:
    """What a JSON record is, where it is known and not read; empty otherwise."""
    if not isinstance(record, Mapping):
        return ""
    return next(
        (sentence for sets, sentence in _RECORDS if any(all(_has(record, path) for path in wanted) for wanted in sets)),
        "",
    )


def _has(record: Mapping[str, Any], path: str) -> bool:
    if path in record:
        return True
    value: Any = record
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True
