"""Lines of Argus's `ra -c ,` as flows (openargus/clients: ra(1); the columns are those that ra was asked for)."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.draft import Draft, Mask, Wholes
from pipeline.ingest.formats.argus_words import ASKED, ENDED, NAMELESS, PROTOCOLS, RESET, SERVICES, STATES
from pipeline.ingest.formats.argus_words import SPELLINGS as SPELLINGS
from pipeline.ingest.formats.cell_repair import swap_cells, without_no_numbers
from pipeline.ingest.formats.protocols import (
    CONN_STATES,
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
from pipeline.ingest.formats.tcp_totals import states_of_totals
from pipeline.ingest.scan.addresses import IP6, MAC
from pipeline.ingest.scan.cells import Cells
from pipeline.ingest.scan.ics_cells import read_code
from pipeline.ingest.scan.scalars import MALFORMED, OK, OUT_OF_RANGE
from pipeline.ingest.scan.text import text_column

COLUMNS = tuple(dict.fromkeys(name for name in SPELLINGS.values() if name != "LastTime"))
# A header without these is not Argus's.
REQUIRED = ("StartTime", "Dur", "Proto", "SrcAddr", "DstAddr")
# Nor is one without bytes of both sides, and packets of both or in all.
COUNTS = (
    (("SrcBytes", "DstBytes"), ("TotBytes", "SrcBytes"), ("TotBytes", "DstBytes")),
    (("SrcPkts", "DstPkts"), ("TotPkts",)),
)
# What each side has a column of.
_SIDES = (
    ("SrcMac", "DstMac"),
    ("SrcAddr", "DstAddr"),
    ("Sport", "Dport"),
    ("sTtl", "dTtl"),
    ("SrcPkts", "DstPkts"),
    ("SrcBytes", "DstBytes"),
    ("SAppBytes", "DAppBytes"),
    ("SIntPkt", "DIntPkt"),
)
_MEASURES = ("sTtl", "dTtl", "SIntPkt", "DIntPkt")
_FLAGS = "FSRPAUEC"
_PORT = "0..65535 (ra -n writes numbers) or a well-known service's name"


class _Row(NamedTuple):
    """Values of the rows that several steps need."""

    draft: Draft
    protocol: Numbers
    is_ip: Mask
    non_ip: Mask
    backward: Mask  # whether the destination of the line is the originator
    unsure: Mask  # whether Argus saw no start


def normalise(cells: Cells) -> Draft:
    """Flows of ra's lines; where `Dir` points to the left (`<-`), the sides are exchanged.

    Bytes are those of frames. What is reported of both sides together (`TotPkts`) is divided where one side is
    not reported.
    """
    column = {name: index for index, name in enumerate(COLUMNS)}
    without_no_numbers(cells, [column[name] for name in _MEASURES])
    arrow, _ = text_column(cells, column["Dir"])
    backward = _true(pc.and_(pc.starts_with(arrow, "<"), pc.invert(pc.match_substring(arrow, ">"))))
    if backward.any():
        swap_cells(cells, backward, [(column[left], column[right]) for left, right in _SIDES])
    draft = Draft(cells, COLUMNS)
    draft.text("Dir", "Dir")
    start, _ = draft.time_us("StartTime", "start_ts_us")
    duration, _ = draft.time_us("Dur", "duration_us")
    draft.no_serial_dates("StartTime", "start_ts_us", start)
    draft.times(start, start + duration, "StartTime", "Dur")
    protocol, is_ip, non_ip = _protocols(draft)
    row = _Row(draft, protocol, is_ip, non_ip, backward, _true(pc.match_substring(arrow, "?")))
    draft.mac("SrcMac", "src_mac")
    draft.mac("DstMac", "dst_mac")
    no_ports = _ports(row)
    packets, split = _counts(row)
    for side, letter in (("fwd", "s"), ("rev", "d")):
        draft.put(f"{side}_payload_bytes", *draft.whole(f"{letter.upper()}AppBytes", f"{side}_payload_bytes"))
        draft.put(f"{side}_ttl_mean", *draft.measure(f"{letter}Ttl", f"{side}_ttl_mean"))
        draft.put(f"{side}_iat_mean_us", *draft.measure(f"{letter.upper()}IntPkt", f"{side}_iat_mean_us", 1e3))
    no_flags = _states(row, *packets)
    draft.columns["quality"] = qualities(no_flags=no_flags, no_ports=no_ports, non_ip=non_ip, pkts_split=split)
    return draft


def _true(values: pa.BooleanArray) -> Mask:
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask


def _protocols(draft: Draft) -> tuple[Numbers, Mask, Mask]:
    """Set addresses, EtherType and IP protocol; the latter, where there is one, and where there is no IP."""
    families = draft.address("SrcAddr", "src_addr"), draft.address("DstAddr", "dst_addr")
    names = pc.utf8_lower(draft.text("Proto", "ip_proto"))
    # Records of the sensor itself, not of flows.
    draft.reject(_true(pc.equal(names, "man")), "not_a_flow", "Proto", "Proto")
    protocol, named = ip_protocols(names)
    carried, is_known = lookup(names, PROTOCOLS)
    protocol, named = np.where(is_known, carried, protocol), named | is_known
    ether, known = lookup(names, ETHER_TYPES)
    non_ip = (families[0] == MAC) | (families[1] == MAC) | (known & ~named)
    nameless = _true(pc.is_in(names, pa.array(NAMELESS)))
    draft.reject(~named & ~nameless & ~non_ip, "protocol", "ip_proto", "Proto")
    is_ip = named & ~non_ip
    six = (families[0] == IP6) | (families[1] == IP6)
    protocol = np.where(six & (protocol == ICMP), ICMP6, protocol)
    ip_type = np.where(six, IP6_ETHER_TYPE, IP4_ETHER_TYPE)
    draft.put("ether_type", np.where(non_ip, np.where(known, ether, 0), ip_type))
    draft.put("ip_proto", protocol, is_ip)
    return protocol, is_ip, non_ip


def _port(row: _Row, source: str, target: str, wanted: Mask) -> tuple[Numbers, Mask]:
    """Numbers, 0x numbers or names of services, and which rows have one; only `wanted` rows can be wrong."""
    draft = row.draft
    values, statuses = np.empty(draft.count, np.int64), np.empty(draft.count, np.uint8)
    read_code(*draft.where(source), 65535, values, statuses)
    if (statuses[wanted] == MALFORMED).any():
        names, _ = text_column(draft.cells, draft.column[source])
        numbers, is_service = lookup(pc.utf8_lower(names), SERVICES)
        by_name = is_service & (statuses == MALFORMED)
        values, statuses = np.where(by_name, numbers, values), np.where(by_name, OK, statuses)
    wrong = (statuses == MALFORMED) | (statuses == OUT_OF_RANGE)
    draft.reject(wrong & wanted, "port_range", target, source, _PORT)
    return values, wanted & (statuses == OK)


def _ports(row: _Row) -> Mask:
    """Set ports, and ICMP's type and code, which stand there in hexadecimal; which rows lack ports.

    0x0403 is type 3, code 4; of 0x03 and 0x03 the second one is the code.
    """
    draft = row.draft
    with_ports = np.isin(row.protocol, WITH_PORTS) & row.is_ip
    icmp = np.isin(row.protocol, (ICMP, ICMP6)) & row.is_ip
    src, src_given = _port(row, "Sport", "src_port", with_ports | icmp)
    dst, dst_given = _port(row, "Dport", "dst_port", with_ports | icmp)
    draft.put("src_port", src, src_given & with_ports)
    draft.put("dst_port", dst, dst_given & with_ports)
    if icmp.any():
        # Of a line whose sides were exchanged, the type stands at the destination now.
        kind, kind_given = np.where(row.backward, dst, src), np.where(row.backward, dst_given, src_given)
        code, code_given = np.where(row.backward, src, dst), np.where(row.backward, src_given, dst_given)
        lengths = [ends - starts for _, starts, ends, _ in (draft.where("Sport"), draft.where("Dport"))]
        wide = np.where(row.backward, lengths[1], lengths[0]) > len("0x03")
        narrow = np.where(row.backward, lengths[0], lengths[1]) <= len("0x03")
        draft.put("icmp_type", kind & 255, icmp & kind_given)
        draft.put(
            "icmp_code", np.where(wide, kind >> 8, code & 255), icmp & kind_given & (wide | (code_given & narrow))
        )
    return with_ports & ~(src_given & dst_given)


def _both(draft: Draft, what: str, field: str) -> tuple[Wholes, Wholes, Mask, Wholes, Mask]:
    """Counts of both sides, where both are known, and the total and where it is reported."""
    total, has_total = draft.whole(f"Tot{what}", f"fwd_{field}")
    fwd, has_fwd = draft.whole(f"Src{what}", f"fwd_{field}")
    rev, has_rev = draft.whole(f"Dst{what}", f"rev_{field}")
    less_fwd, less_rev = has_total & has_fwd & ~has_rev, has_total & has_rev & ~has_fwd
    short = (less_fwd & (total < fwd)) | (less_rev & (total < rev))
    draft.reject(short, "count_range", f"fwd_{field}", f"Tot{what}", "a total that is not below one side's")
    rev, fwd = np.where(less_fwd, total - fwd, rev), np.where(less_rev, total - rev, fwd)
    return fwd, rev, (has_fwd & has_rev) | less_fwd | less_rev, total, has_total


def _counts(row: _Row) -> tuple[tuple[Wholes, Wholes], Mask]:
    """Set bytes and packets; the packets of each side, and where they are a share of the total by bytes."""
    draft = row.draft
    fwd_bytes, rev_bytes, known, _, _ = _both(draft, "Bytes", "bytes")
    draft.reject(~known, "missing", "fwd_bytes", "SrcBytes")
    draft.put("fwd_bytes", fwd_bytes)
    draft.put("rev_bytes", rev_bytes)
    fwd, rev, reported, total, has_total = _both(draft, "Pkts", "pkts")
    draft.reject(~reported & ~has_total, "missing", "fwd_pkts", "TotPkts")
    both = (fwd_bytes > 0) & (rev_bytes > 0)
    sum_bytes = np.maximum(fwd_bytes.astype(np.float64) + rev_bytes, 1.0)
    share = np.rint(total * (fwd_bytes / sum_bytes)).astype(np.uint64)
    least, most = np.minimum(total, 1), np.maximum(total, 2) - 1
    share = np.where(both, np.clip(share, least, most), np.where(rev_bytes > 0, 0, total)).astype(np.uint64)
    divided = ~reported & has_total
    fwd, rev = np.where(divided, share, fwd), np.where(divided, total - np.minimum(share, total), rev)
    draft.put("fwd_pkts", fwd)
    draft.put("rev_pkts", rev)
    return (fwd, rev), divided & both & (total > 2)


def _states(row: _Row, fwd_pkts: Wholes, rev_pkts: Wholes) -> Mask:
    """Set flags and connection states; which TCP rows do not report their flags.

    `State` is a word (FIN), each side's flags (SPA_SRPA: ra -Z b), the steps taken (sSEfF: ra -z) or Zeek's state.
    """
    draft = row.draft
    tcp = row.is_ip & (row.protocol == TCP)
    encoded = draft.text("State", "conn_state").dictionary_encode()
    words = pc.cast(encoded.dictionary, pa.string())
    word_index = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    sides = pc.extract_regex(words, f"^(?P<src>[{_FLAGS}]*)_(?P<dst>[{_FLAGS}]*)$")
    reported = np.append(_true(sides.is_valid()), False)[word_index] & tcp
    bits = [np.append(_bits(pc.struct_field(sides, side)), 0)[word_index] for side in ("src", "dst")]
    fwd, rev = np.where(row.backward, bits[1], bits[0]), np.where(row.backward, bits[0], bits[1])
    draft.put("fwd_tcp_flags", fwd, reported)
    draft.put("rev_tcp_flags", rev, reported & (rev_pkts > 0))
    by_flags = derive_conn_states(np.where(row.is_ip, row.protocol, 0), fwd, rev, rev_pkts > 0, reported)
    said = np.append(_said(words), 0)[word_index]
    opened = (said > 0) & ~row.unsure & ~((said == ASKED) & (rev_pkts > 0))
    by_word = states_of_totals(opened, said == ENDED, said == RESET, fwd_pkts, rev_pkts)
    zeeks = words.take(pa.array(np.where(word_index < len(words), word_index, 0))) if len(words) else by_flags
    is_zeek_state = np.append(_true(pc.is_in(words, pa.array(CONN_STATES))), False)[word_index] & tcp
    states = pc.if_else(pa.array(tcp & ~reported), by_word, by_flags)
    draft.columns["conn_state"] = pc.if_else(pa.array(is_zeek_state), zeeks, states) if is_zeek_state.any() else states
    unreported: Mask = tcp & ~reported
    return unreported


def _bits(letters: pa.StringArray) -> Numbers:
    """TCP flags of texts such as FSRPA."""
    bits = np.zeros(len(letters), np.int64)
    for bit, letter in enumerate(_FLAGS):
        bits |= _true(pc.match_substring(letters, letter)).astype(np.int64) << bit
    return bits


def _said(words: pa.StringArray) -> Numbers:
    """What each word says of a TCP connection, as in STATES; 0 where nothing."""
    said, is_state = lookup(words, STATES)
    steps = _true(pc.match_substring_regex(words, "^s?S?E?f?F?R?$"))
    reset, fin = (_true(pc.match_substring_regex(words, letters)) for letters in ("R", "[fF]"))
    asked = _true(pc.equal(words, "s"))
    by_steps = np.select([reset, fin, asked], [RESET, ENDED, ASKED], STATES["CON"])
    return np.where(is_state, said, np.where(steps, by_steps, 0))
