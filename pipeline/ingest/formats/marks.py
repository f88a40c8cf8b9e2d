r"""What tells the formats' JSON records apart: the keys that they have, as data (pipeline/ingest/recognise.py).

A rule names a kind of record and what a record of it must have: each of `needs` is one or more marks, separated by
`|`, of which one suffices. The first rule that fits decides. No rule needs a
record's neighbours: a stream may mix logs.

    {"ts":1,"id.orig_h":"a","id.resp_h":"b","conn_state":"SF"}          zeek-conn+json    by its columns
    {"_path":"conn-internal","ts":1,"id":{..},"conn_state":"SF"}       zeek-conn+json    whatever it is called
    {"_path":"dns","ts":1,"query":"x"}                                 another log: dns
    {"event_type":"alert","timestamp":".."}                            another log: alert
    {"message":"{\"ts\":1, .."}                                          a record in a shipper's wrapper
"""

from typing import NamedTuple

from pipeline.contracts.raw import (
    DELIMITED,
    GOFLOW2_JSON,
    IPFIXCOL2_JSON,
    NFDUMP_JSON,
    PMACCT_JSON,
    SURICATA_EVENTS,
    SURICATA_JSON,
    ZEEK_ICS_LOGS,
    ZEEK_JSON,
)

Path = tuple[str, ...]

# Kinds that are no content-type.
OTHER_LOG = "another log"
WRAPPED = "wrapped"
# One direction of a flow that Suricata may write beside the flow: read where no flow event is.
NETFLOW_EVENT = "netflow event"
ECS, GOFLOW2_V1, IPFIXCOL1, ZEEK_RENAMED = "ecs", "goflow2-1", "ipfixcol-1", "zeek-renamed"

# Kinds that are known and not read: what such a record is, and what to send instead.
NEAR_MISSES: dict[str, str] = {
    ECS: "a document of the Elastic Common Schema, which Filebeat's modules write; send the sensor's log lines as they "
    "are (Filebeat: input filestream without module or processors)",
    GOFLOW2_V1: "JSON of GoFlow2 1.x; GoFlow2 2.x writes what is read (-format json)",
    IPFIXCOL1: "JSON of ipfixcol 1; ipfixcol2 writes what is read (output json or json-kafka)",
    ZEEK_RENAMED: "a record of Zeek whose fields were renamed (id_orig_h, or @timestamp for ts); send Zeek's log lines "
    "as they are",
}

# Logs of Zeek that are neither flows nor operations, and that zeek-kafka wraps by name.
OTHER_ZEEK_LOGS = (
    *(
        "analyzer",
        "capture_loss",
        "cip_identity",
        "cip_io",
        "cluster",
        "conn_long",
        "cotp",
        "dce_rpc",
        "dhcp",
        "dns",
        "dpd",
        "ethercat",
    ),
    *("ecat_registers", "ftp", "files", "hart_ip", "http", "intel", "irc", "iso_cotp", "kerberos", "known_certs"),
    *(
        "known_devices",
        "known_hosts",
        "known_modbus",
        "known_services",
        "ldap",
        "loaded_scripts",
        "modbus_register_change",
    ),
    *("modbus_read_device_identification", "mqtt_connect", "mqtt_publish", "mqtt_subscribe", "mysql", "notice", "ntlm"),
    *("ntp", "ocsp", "opcua_binary_browse", "opcua_binary_read", "packet_filter", "pe", "profinet", "quic", "radius"),
    *("rdp", "reporter", "rfb", "s7comm_read_szl", "s7comm_upload_download", "sip", "smb_files", "smb_mapping", "smtp"),
    *("snmp", "socks", "software", "ssh", "ssl", "stats", "syslog", "telemetry", "tunnel", "weird", "x509"),
)

# Where documents of shippers, and what is exported from stores, have the record that they carry: Filebeat, Vector,
# Fluent Bit, Docker, journald; Elasticsearch, Kafka Connect, kcat -J, Splunk, Graylog.
WRAPPER_PATHS: tuple[Path, ...] = (
    *(("message",), ("log",), ("MESSAGE",), ("event", "original"), ("_source",), ("_source", "message")),
    *(("payload",), ("value",), ("event",), ("json",), ("msg",), ("data",), ("_raw",), ("raw",), ("full_message",)),
)
# Where it may be an object there, parsed already, and which keys a record has of which it has one.
_OBJECT_WRAPPERS: tuple[Path, ...] = tuple((key,) for key in ("message", "log", "event", "_source", "payload", "value"))
_OBJECT_WRAPPERS += (("json",), ("data",))
_OBJECT_KEYS = ("ts", "event_type", "time_flow_start_ns", "first", "t_first", "@type")

# Elements of which every flow record of ipfixcol2 has some.
_IANA = (
    *("sourceIPv4Address", "sourceIPv6Address", "destinationIPv4Address", "destinationIPv6Address"),
    *("sourceMacAddress", "octetDeltaCount", "packetDeltaCount", "flowStartMilliseconds", "protocolIdentifier"),
)
# Marks by name: the paths of keys of which a record that has it has at least one.
KEYS: dict[str, tuple[Path, ...]] = {
    "ts": (("ts",),),
    "uid": (("uid",),),
    "path": (("_path",),),
    "orig": (("id.orig_h",), ("id", "orig_h")),
    "resp": (("id.resp_h",), ("id", "resp_h")),
    # Columns that of all Zeek's logs conn alone has; a filter may leave out any of them.
    "conn": tuple(
        (name,) for name in ("conn_state", "history", "missed_bytes", "orig_pkts", "orig_ip_bytes", "orig_bytes")
    ),
    "event": (("event_type",),),
    "goflow2": (("time_flow_start_ns",),),
    "sampler": (("sampler_address",),),
    "sampled source": (("src_addr",),),
    "iana": tuple((f"iana:{name}",) for name in _IANA),
    "en0": (("en0:id8",), ("en0:id27",), ("en0:id1",), ("en0:id2",)),
    "ipfix type": (("@type",),),
    "bare ipfix": tuple(
        (name,) for name in ("sourceIPv4Address", "sourceIPv6Address", "octetDeltaCount", "packetDeltaCount")
    ),
    "nfdump packets": (("in_packets",),),
    "nfdump start": (("first",), ("t_first",)),
    "pmacct count": (("packets",), ("bytes",)),
    "pmacct end": (("ip_src",), ("ip_dst",), ("port_src",), ("writer_id",)),
    "goflow2 1.x": (
        *(("TimeFlowStart",), ("TimeFlowStartMs",), ("TimeReceived",)),
        *(("time_flow_start",), ("time_received",)),
    ),
    "goflow2 1.x ends": (("SrcAddr",), ("SamplerAddress",)),
    "ecs": (("ecs", "version"), ("event", "dataset"), ("event", "category"), ("ecs.version",), ("event.dataset",)),
    "ecs end": (
        *(("source", "ip"), ("destination", "ip"), ("source.ip",), ("destination.ip",)),
        *(("zeek",), ("suricata",), ("event", "module"), ("event.module",)),
    ),
    "zeek renamed": (("id_orig_h",), ("id_resp_h",)),
    "timestamp": (("@timestamp",),),
    # What the bulk interface of Elasticsearch has between documents.
    "bulk": (("index", "_index"), ("create", "_index"), ("index", "_id"), ("create", "_id")),
    # zeek-kafka with tag_json: the record lies under its log's name.
    **{f"under {log}": ((log, "ts"),) for log in ("conn", *ZEEK_ICS_LOGS)},
    **{f"in {'.'.join(path)}": (path,) for path in WRAPPER_PATHS},
}
# Columns that tell one log of operations from its siblings; Zeek leaves unset ones out, so a record need not have all.
_LOG_SIGNS: dict[str, tuple[str, ...]] = {
    "modbus_read_write_multiple_registers": ("write_start_address", "read_start_address"),
    "modbus_mask_write_register": ("and_mask", "or_mask"),
    "modbus_detailed": ("request_values", "response_values", "matched"),
    "dnp3": ("fc_request", "fc_reply"),
    "dnp3_control": ("index_number", "trip_control_code"),
    "dnp3_objects": ("object_type", "object_count"),
    "s7comm": ("rosctr_code",),
    "s7comm_plus": ("opcode_name",),
    "enip": ("enip_command_code",),
    "cip": ("cip_service_code",),
    "opcua_binary": ("req_identifier", "res_identifier", "sec_channel_id"),
    "bacnet": ("pdu_service",),
}
# Columns of logs of the same packages that are not read, though they share columns with those above.
_SIBLING_SIGNS = (
    *("mei_type", "conformity_level", "object_id_code", "device_id_code"),  # modbus_read_device_identification
    *("register", "old_val", "new_val"),  # modbus_register_change
    *("szl_id", "szl_index", "blocklength", "block_type", "session_id"),  # s7comm_read_szl, s7comm_upload_download
    *(
        "instance_number",
        "time_duration",
        "device_state",
        "array_index",
        *("vendor", "range", "password"),
    ),  # bacnet_discovery, _property, _device_control
    *("originator_to_target_connection_id", "socket_address"),  # cip_io, cip_identity
)
KEYS |= {f"sign of {log}": tuple((name,) for name in names) for log, names in _LOG_SIGNS.items()}
KEYS |= {"sign of a sibling": tuple((name,) for name in _SIBLING_SIGNS), "func": (("func",),)}

MARKS = tuple(KEYS)
# A column for each path, and which mark it is of: a record may have several keys of one mark.
PATHS: dict[Path, int] = {path: column for column, path in enumerate(path for paths in KEYS.values() for path in paths)}
MARK_OF = tuple(mark for mark, paths in enumerate(KEYS.values()) for _ in paths)
# A record of another log under its name: which of them does not matter, so they share a column.
OTHER_WRAPPER = len(PATHS)
OTHER_WRAPPERS: dict[Path, int] = {(log, "ts"): OTHER_WRAPPER for log in OTHER_ZEEK_LOGS}
# Of each wrapper whose record is an object, a column for whichever of the keys it has.
INSIDE: dict[Path, int] = {path: OTHER_WRAPPER + 1 + number for number, path in enumerate(_OBJECT_WRAPPERS)}
INSIDE_PATHS: dict[Path, int] = {(*path, key): column for path, column in INSIDE.items() for key in _OBJECT_KEYS}
MARK_COLUMNS = OTHER_WRAPPER + 1 + len(INSIDE)

PMACCT_MARKS = ("purge_init", "purge_close", "log_init", "log_close", "dump_init", "dump_close")

# Words that some marks' values are tested for, and what the test is called in the rules.
WORDS: dict[str, tuple[Path, tuple[str, ...]]] = {
    "path conn": (("_path",), ("conn",)),
    "path other": (("_path",), OTHER_ZEEK_LOGS),
    **{f"path {log}": (("_path",), (log,)) for log in ZEEK_ICS_LOGS},
    "event read": (("event_type",), SURICATA_EVENTS),
    "event netflow": (("event_type",), ("netflow",)),
    # What pmacct's daemons write around the records that they write at once, and their daemons of BGP and BMP.
    "event pmacct": (("event_type",), PMACCT_MARKS),
    "ipfix entry": (("@type",), ("ipfix.entry", "ipfix.template", "ipfix.optionsTemplate", "ipfix.options")),
}


class Rule(NamedTuple):
    """A kind of record: the marks that it must have, and those that it must not have."""

    kind: str
    needs: tuple[str, ...]
    without: tuple[str, ...] = ()


RULES: tuple[Rule, ...] = (
    Rule(GOFLOW2_JSON, ("goflow2",)),
    Rule(GOFLOW2_V1, ("goflow2 1.x", "goflow2 1.x ends|sampled source")),
    Rule(GOFLOW2_JSON, ("sampler", "sampled source")),
    Rule(IPFIXCOL2_JSON, ("iana|en0",)),
    Rule(IPFIXCOL1, ("ipfix type", "bare ipfix")),
    Rule(IPFIXCOL2_JSON, ("ipfix entry",)),
    Rule(NFDUMP_JSON, ("nfdump packets", "nfdump start")),
    Rule(OTHER_LOG, ("event pmacct",)),
    Rule(PMACCT_JSON, ("pmacct count", "pmacct end")),
    Rule(SURICATA_JSON, ("event read",)),
    Rule(NETFLOW_EVENT, ("event netflow",)),
    Rule(OTHER_LOG, ("event",)),
    # Zeek: a name that is known decides, then the columns. Who renames a log (path_func) does not change its columns.
    Rule(ZEEK_JSON, ("ts", "path conn")),
    Rule(ZEEK_JSON, ("under conn",)),
    *(Rule(f"zeek-{log}+json", (f"under {log}|path {log}",)) for log in ZEEK_ICS_LOGS),
    Rule(OTHER_LOG, ("path other|other wrapper",)),
    Rule(ZEEK_JSON, ("ts", "orig", "resp", "conn")),
    Rule(OTHER_LOG, ("ts", "sign of a sibling")),
    *(
        Rule(
            f"zeek-{log}+json",
            ("ts", f"sign of {log}"),
            tuple(f"sign of {other}" for other in _LOG_SIGNS if other != log),
        )
        for log in _LOG_SIGNS
    ),
    Rule("zeek-modbus+json", ("ts", "func"), tuple(f"sign of {log}" for log in _LOG_SIGNS)),
    # Shippers put the line that they read into a field of theirs; some have a time `ts` of their own.
    Rule(WRAPPED, ("|".join(f"{'.'.join(path)} text" for path in WRAPPER_PATHS),)),
    Rule(ZEEK_RENAMED, ("zeek renamed",)),
    Rule(ECS, ("ecs", "ecs end")),
    # Where they have parsed the line it is an object there.
    Rule(WRAPPED, ("|".join(f"{'.'.join(path)} object" for path in INSIDE),)),
    Rule(OTHER_LOG, ("ts",)),
    Rule(OTHER_LOG, ("bulk",)),
    Rule(ZEEK_RENAMED, ("timestamp", "orig", "resp")),
)
# Kinds by number: 0 is a record of no kind that is known, which also a record is that is no JSON object.
# Delimited lines have no marks: that they are of a kind is known from elsewhere.
KINDS: tuple[str, ...] = ("", *dict.fromkeys(rule.kind for rule in RULES), *DELIMITED)
