"""What records of flow exporters (NetFlow, IPFIX) have in common, whichever collector wrote them as JSON.

A collector's module says under which keys it has what (`Layout`); everything after that is here, once. The names of
what a layout may have are those of `WANTED`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft, Mask, Wholes
from pipeline.ingest.formats.coalesce import Choice, Merge
from pipeline.ingest.formats.export_numbers import put_numbers
from pipeline.ingest.formats.protocols import (
    ETHER_TYPES,
    ICMP,
    ICMP6,
    IP4_ETHER_TYPE,
    IP6_ETHER_TYPE,
    TCP,
    WITH_PORTS,
    Numbers,
    derive_conn_states,
    ip_protocols,
    lookup,
    qualities,
)
from pipeline.ingest.scan.addresses import IP6, MAC
from pipeline.ingest.scan.cells import BARE, Cells, Ints
from pipeline.ingest.scan.scalars import OK, SECONDS

# What can be asked of a record, and which of several keys counts. Times and addresses every exporter has.
WANTED: dict[str, Choice] = {
    "kind": Choice.PRESENT,
    "start": Choice.NON_VOID_OR_NULL,
    "end": Choice.NON_VOID_OR_NULL,
    "duration": Choice.PRESENT,  # in seconds, instead of an end
    "src_mac": Choice.NON_VOID_OR_NULL,
    "dst_mac": Choice.NON_VOID_OR_NULL,
    "src_ip": Choice.FIRST_NON_VOID,
    "dst_ip": Choice.FIRST_NON_VOID,
    "src": Choice.PRESENT,  # the IP address, or the MAC where there is none
    "dst": Choice.PRESENT,
    "ether": Choice.PRESENT,
    "proto": Choice.PRESENT,
    "src_port": Choice.PRESENT,
    "dst_port": Choice.PRESENT,
    "icmp": Choice.FIRST_NON_VOID,  # type * 256 + code
    "icmp_type": Choice.PRESENT,
    "icmp_code": Choice.PRESENT,
    "flags": Choice.PRESENT,
    "rev_flags": Choice.PRESENT,
    "fwd_bytes": Choice.PRESENT,
    "rev_bytes": Choice.PRESENT,
    "fwd_pkts": Choice.PRESENT,
    "rev_pkts": Choice.PRESENT,
    "vlan": Choice.NON_VOID_OR_NULL,
    "ttl": Choice.NON_VOID_OR_NULL,
    "sampling": Choice.NON_VOID_OR_NULL,  # one packet in so many
    "sampled": Choice.NON_VOID_OR_NULL,  # whether it was, where the rate is not reported
    "app": Choice.PRESENT,
    "uid": Choice.PRESENT,
    # How the exporter numbers what it sends.
    "export_protocol": Choice.PRESENT,
    "exporter_addr": Choice.NON_VOID_OR_NULL,
    "domain": Choice.PRESENT,
    "sequence": Choice.PRESENT,
    "received": Choice.NON_VOID_OR_NULL,  # when the collector got the record, else when the exporter sent it
}
# An exporter sends a flow at most its active timeout (30 minutes by default, rarely more than an hour) after its last
# packet. What is said to have ended much earlier, or later than it was received, is of a clock that is wrong.
_MAX_BEHIND_US, _MAX_AHEAD_US = 7_200_000_000, 300_000_000
# Names that collectors write where they know no name for a protocol's number.
_NAMELESS = pa.array(["unknown", "unassigned", "experimental", "reserved"])


class Layout(NamedTuple):
    """Where a collector's JSON has what: columns of cells, and what a record's type must be.

    `merges` makes the columns that come after those of `paths`.
    """

    columns: tuple[str, ...]
    paths: dict[tuple[str, ...], int]
    merges: tuple[Merge, ...]
    kinds: tuple[str, ...] = ()  # lower case; a record without a type is a flow
    power: int = SECONDS  # of its times, where they are numbers
    received_power: int | None = None  # of the time of receipt, where it is another
    zero_is_no_icmp: bool = False  # whether type 0 and code 0 may mean that they were not exported
    export_protocol: str = ""  # of all its records, where they do not report it


def layout(keys: Mapping[str, Sequence[str]], **facts: tuple[str, ...] | int | bool | str) -> Layout:
    """The layout of a collector from `keys`: what it is asked for -> the keys to look under, first choice first.

    "a|b" are two spellings of one key, of which a record has at most one.
    """
    columns: list[str] = []
    index_of: dict[str, int] = {}
    paths: dict[tuple[str, ...], int] = {}
    for name, wanted in keys.items():
        for key in wanted:
            if key not in index_of:
                index_of[key] = len(columns)
                columns.append(f"{name}: {key}")
                paths |= {(spelling,): index_of[key] for spelling in key.split("|")}
    merges: list[Merge] = []
    for name, choice in WANTED.items():
        chosen = tuple(index_of[key] for key in keys.get(name, ()))
        if name in ("src", "dst"):
            chosen = tuple(columns.index(part) for part in (f"{name}_ip", f"{name}_mac") if part in columns)
        if chosen:
            merges.append((chosen, choice))
            columns.append(name)
    return Layout(tuple(columns), paths, tuple(merges), **facts)  # type: ignore[arg-type]


class _Record(NamedTuple):
    """What several steps need of the rows so far."""

    draft: Draft
    protocol: Numbers
    is_ip: Mask
    non_ip: Mask


def normalise(cells: Cells, wanted: Layout) -> Draft:
    """Flows of a collector's records: one direction each, but where the record counts the other one too.

    Counts are as the record has them: not multiplied by the sampling rate. What exporters write for "not reported" (a
    MAC or a VLAN of zeros, flags 0 of TCP, ports 0 and 0) is null.
    """
    draft = Draft(cells, wanted.columns)
    if "sequence" in draft.column:
        put_numbers(draft, wanted.export_protocol)
    _only_flows(draft, wanted.kinds)
    start, _ = draft.time_us("start", "start_ts_us", power=wanted.power)
    ending = "duration" if "duration" in draft.column else "end"
    if ending == "duration":
        end = start + draft.time_us("duration", "duration_us")[0]
    else:
        end, _ = draft.time_us("end", "end_ts_us", power=wanted.power)
    if (cells.kinds == BARE).any():  # a table, which a spreadsheet may have saved
        draft.no_serial_dates("start", "start_ts_us", start)
    draft.times(start, end, "start", ending)
    record = _addresses(draft)
    port, port_given, no_ports = _ports(record)
    _icmp(record, port, port_given, wanted.zero_is_no_icmp)
    reported = _counts(record)
    no_flags = _tcp(record, reported["rev"])
    for side, mac in (("src", "src_mac"), ("dst", "dst_mac")):
        if mac in draft.column:
            draft.mac(mac, f"{side}_mac")
    draft.put("vlan_id", *_whole(draft, "vlan", "vlan_id", "vlan_range"))
    for name, field in (("app", "app_proto"), ("uid", "sensor_uid")):
        if name in draft.column:
            draft.columns[field] = draft.text(name, field)
    if "ttl" in draft.column:
        draft.put("fwd_ttl_mean", *draft.measure("ttl", "fwd_ttl_mean"))
    rate, known = _whole(draft, "sampling", "sampling_rate")
    draft.put("sampling_rate", rate, known)
    sampled = _whole(draft, "sampled", "sampling_rate")[0]
    draft.put("is_biflow", reported["rev"])
    draft.columns["quality"] = qualities(
        clock=_wrong_clock(draft, end, wanted.power if wanted.received_power is None else wanted.received_power),
        no_bytes=~reported["bytes"],
        no_flags=no_flags,
        no_ports=no_ports,
        no_rev=~reported["rev"],
        non_ip=record.non_ip,
        one_way=~reported["rev"],
        sampled=(rate > 1) | (sampled > 0),
    )
    return draft


def _wrong_clock(draft: Draft, end_us: Ints, power: int) -> Mask:
    """Which flows did not end when their exporter can have sent them; none where the collector does not tell."""
    if "received" not in draft.column:
        return np.zeros(draft.count, np.bool_)
    received, statuses = draft.times_of("received", power)
    behind = received - end_us
    wrong: Mask = (statuses == OK) & ((behind > _MAX_BEHIND_US) | (behind < -_MAX_AHEAD_US))
    return wrong


def _only_flows(draft: Draft, kinds: tuple[str, ...]) -> None:
    if kinds and "kind" in draft.column:
        kind = pc.utf8_lower(draft.text("kind", "kind"))
        other = ~pc.is_in(kind, pa.array(kinds)).to_numpy(zero_copy_only=False)
        draft.reject(other & draft.has("kind"), "not_a_flow", "record type", "kind", f"type {' or '.join(kinds)}")


def _whole(draft: Draft, name: str, target: str, out_of_range: str = "count_range") -> tuple[Wholes, Mask]:
    """Whole numbers; none where the layout has no such column."""
    if name in draft.column:
        return draft.whole(name, target, out_of_range)
    return np.zeros(draft.count, np.uint64), np.zeros(draft.count, np.bool_)


def _addresses(draft: Draft) -> _Record:
    """Addresses, EtherType and IP protocol."""
    families = draft.address("src", "src_addr"), draft.address("dst", "dst_addr")
    non_ip = (families[0] == MAC) | (families[1] == MAC)
    six = (families[0] == IP6) | (families[1] == IP6)
    ether_type = np.where(six, IP6_ETHER_TYPE, IP4_ETHER_TYPE)
    reported = draft.text("ether", "ether_type") if "ether" in draft.column else pa.nulls(draft.count, pa.string())
    if non_ip.any():
        ether_type = np.where(non_ip, _ether_types(pc.utf8_lower(reported)), ether_type)
    draft.put("ether_type", ether_type)
    names = pc.utf8_lower(draft.text("proto", "ip_proto"))
    protocol, named = ip_protocols(names)
    nameless = pc.is_in(names, _NAMELESS).to_numpy(zero_copy_only=False)
    draft.reject(~named & ~nameless & ~non_ip, "protocol", "ip_proto", "proto")
    is_ip = named & ~non_ip
    protocol = np.where(six & (protocol == ICMP), ICMP6, protocol)
    draft.put("ip_proto", protocol, is_ip)
    return _Record(draft, protocol, is_ip, non_ip)


def _ether_types(names: pa.StringArray) -> npt.NDArray[np.int64]:
    """EtherTypes by name or as four hexadecimal digits (`arp`, `806`); 0 where unknown."""
    numbers, known = lookup(names, ETHER_TYPES)
    digits = pc.if_else(pc.match_substring_regex(names, "^(0x)?[0-9a-f]{3,4}$").fill_null(False), names, None)
    different = digits.dictionary_encode()
    values = np.array([int(text, 16) for text in different.dictionary.to_pylist()] + [0], np.int64)
    value_index = different.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
    return np.where(known, numbers, values[value_index])


def _ports(record: _Record) -> tuple[Wholes, Mask, Mask]:
    """Set the ports; the destination's and who has one, and which rows should have ports and have none."""
    draft = record.draft
    src, src_given = _whole(draft, "src_port", "src_port", "port_range")
    dst, dst_given = _whole(draft, "dst_port", "dst_port", "port_range")
    with_ports = np.isin(record.protocol, WITH_PORTS) & record.is_ip
    reported = with_ports & ((src > 0) | (dst > 0))
    draft.put("src_port", src, src_given & reported)
    draft.put("dst_port", dst, dst_given & reported)
    return dst, dst_given, with_ports & ~(src_given & dst_given & reported)


def _icmp(record: _Record, port: Wholes, port_given: Mask, zero_is_none: bool) -> None:
    """ICMP type and code: their own keys, both in one, or what exporters hide in the destination's port.

    There it is type * 256 + code (NetFlow's custom), or the type alone: no code goes with type 0.
    """
    draft = record.draft
    icmp = np.isin(record.protocol, (ICMP, ICMP6)) & record.is_ip
    kind, kind_given = _whole(draft, "icmp_type", "icmp_type", "icmp_range")
    code, code_given = _whole(draft, "icmp_code", "icmp_code", "icmp_range")
    both, both_given = _whole(draft, "icmp", "src_port", "port_range")
    if zero_is_none:
        exported = (kind > 0) | (code > 0)
        kind_given, code_given, both_given = kind_given & exported, code_given & exported, both_given & (both > 0)
    hidden = icmp & ~kind_given & (both_given | (port_given & (port > 0)))
    packed = np.where(both_given, both, port)
    alone = ~both_given & (packed < 256)
    kind = np.where(hidden, np.where(alone, packed, packed >> np.uint64(8)), kind)
    code = np.where(hidden, np.where(alone, 0, packed & np.uint64(255)), code)
    draft.put("icmp_type", kind, icmp & (kind_given | hidden))
    draft.put("icmp_code", code, icmp & (code_given | hidden))


def _counts(record: _Record) -> dict[str, Mask]:
    """Set bytes and packets; where bytes are reported, and where the record counts the other direction too."""
    draft = record.draft
    counts = {name: _whole(draft, name, name) for name in ("fwd_bytes", "rev_bytes", "fwd_pkts", "rev_pkts")}
    for name, (values, _) in counts.items():
        draft.put(name, values)
    octets, octets_given = counts["fwd_bytes"]
    packets = counts["fwd_pkts"][0]
    rev = (counts["rev_pkts"][0] > 0) | (counts["rev_bytes"][0] > 0)
    # Exporters pad datagrams with zeros, which collectors take for records.
    blank = (packets == 0) & (octets == 0) & ~rev
    if blank.any():
        nowhere = pa.array(["0.0.0.0", "::"])  # noqa: S104 (compared with, not bound to)
        for name in ("src_addr", "dst_addr"):
            blank &= pc.is_in(draft.columns[name], nowhere).to_numpy(zero_copy_only=False)
        draft.reject(blank, "not_a_flow", "record", "src")
    return {"bytes": octets_given & ((octets > 0) | (packets == 0)), "rev": rev}


def _tcp(record: _Record, replied: Mask) -> Mask:
    """Set flags and the state they stand for; which TCP rows have no flags. Flags 0 are not reported: TCP has some."""
    draft = record.draft
    tcp = record.is_ip & (record.protocol == TCP)
    flags: dict[str, Wholes] = {}
    for side, name in (("fwd", "flags"), ("rev", "rev_flags")):
        flags[side] = np.zeros(draft.count, np.uint64)
        if name in draft.column:
            flags[side], _ = draft.tcp_flags(name, f"{side}_tcp_flags")
        draft.put(f"{side}_tcp_flags", flags[side], tcp & (flags[side] > 0))
    known = flags["fwd"] > 0
    draft.columns["conn_state"] = derive_conn_states(
        np.where(record.is_ip, record.protocol, 0),
        flags["fwd"].astype(np.int64),
        flags["rev"].astype(np.int64),
        replied,
        known,
    )
    missing: Mask = tcp & ~(known & (~replied | (flags["rev"] > 0)))
    return missing
