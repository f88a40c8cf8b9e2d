"""Formula, source and window of the features of `forebay-ics-1`: words for the docs, not part of its hash."""

_KDD_2S, _KDD_255 = "2 s, the flow included", "the flow, 254 before it to its destination, filled with the newest"
_FLOW_ITSELF, _HOST = "the flow itself", "half-life 30 s; the larger of both ends"
_NSL, _OURS = "KDD'99 {}, as NSL-KDD reads it", "Forebay"
_PAIR = "running mean, weight ≥ 1/32, of source, destination and protocol"
_FLIP = "half-life 60 s"

_RATES = {
    "count": ("n = flows to this destination", 23, 32),
    "srv_count": ("m = flows of this protocol and port", 24, 33),
    "serror_rate": ("S0-S3, SH among n / n", 25, 38),
    "srv_serror_rate": ("S0-S3, SH among m / m", 26, 39),
    "rerror_rate": ("REJ, RSTO, RSTR, RSTOS0 among n / n", 27, 40),
    "srv_rerror_rate": ("the same among m / m", 28, 41),
    "same_srv_rate": ("of this service among n / n", 29, 34),
    "diff_srv_rate": ("s / n if s > 1, else 0; s services among n", 30, 35),
    "srv_diff_host_rate": ("h / m if h > 1, else 0; h destinations among m", 31, 37),
}
_FLOW = {
    "duration_us": "end - start",
    "packets": "fwd + rev",
    "bytes": "fwd + rev",
    "packet_rate": "packets / max(duration, 1 ms)",
    "fwd_packet_size": "fwd bytes / fwd packets",
    "rev_packet_size": "rev bytes / rev packets",
    "packet_imbalance": "|fwd - rev| / packets",
    "byte_imbalance": "|fwd - rev| / bytes",
    "unanswered": "one direction without packets, destination no group",
    "iat_high_us": "the larger mean of both directions",
    "iat_low_us": "the smaller mean of both directions",
    "mac_count": "the larger count of both ends, at least 1",
    "to_broadcast": "destination is a broadcast address",
    "to_multicast": "destination is a multicast address",
    "broadcast_spread_us": "duration × to_broadcast",
    "from_nobody": "source address is unspecified",
    "is_tcp": "IP protocol 6",
    "is_udp": "IP protocol 17",
    "is_icmp": "IP protocol 1 or 58",
    "is_igmp": "IP protocol 2",
    "is_arp": "EtherType 0x0806",
    "is_other_l2": "another EtherType without IP",
    "has_ports": "destination port known",
    "to_system_port": "destination port < 1024",
    "to_ics_port": "destination port in services.INDUSTRIAL_PORTS",
    "syn_packets": "fwd + rev",
    "rst_packets": "fwd + rev",
    "fin_packets": "fwd + rev",
    "syn_share": "SYN / packets",
    "rst_share": "RST / packets",
    "psh_share": "PSH / packets",
    "syn_imbalance": "|fwd - rev| / SYN",
    "serror": "TCP in state S0-S3 or SH",
    "rerror": "TCP in state REJ, RSTO, RSTR or RSTOS0",
}
_HOSTS = {
    "host_flows": "Σ flows, fading",
    "host_syn": "Σ SYN packets, fading",
    "host_rst": "Σ RST packets, fading",
    "host_unanswered_share": "Σ unanswered / Σ flows",
    "host_new_peers": "Σ pair_new, fading",
    "host_syn_share": "Σ SYN / Σ packets",
    "host_rst_share": "Σ RST / Σ packets",
    "new_endpoints": "ends not in the table × min(time watched / 60 s, 1)",
}
_PAIRS = {
    "pair_new": "not in the table × min(time watched / 60 s, 1)",
    "pair_quiet_us": "time since its flow before, at most 300 s",
    "pair_flows": "Σ flows, half-life 300 s",
    "pair_packets_change": "|ln(1 + packets) - usual| × min(seen / 8, 1)",
    "pair_size_change": "the same of bytes / packet",
    "pair_duration_change": "the same of duration",
    "pair_iat_change": "the same of the time between packets",
    "pair_gap_change": "the same of pair_quiet_us",
    "pair_ttl_change": "|TTL - usual| × min(seen / 8, 1), the end that differs more",
    "pair_window_change": "|ln(1 + window) - usual| × min(seen / 8, 1), the end that differs more",
}
_IDENTITY = {
    "mac_changed": "an end's MAC is not the one before, or several",
    "mac_flips": "Σ mac_changed, fading",
    "address_changed": "the source MAC's address is not the one before",
    "address_flips": "Σ address_changed, fading",
}


def _as(rows: dict[str, str], window: str) -> dict[str, dict[str, str]]:
    return {name: {"formula": formula, "source": _OURS, "window": window} for name, formula in rows.items()}


DEFINITIONS: dict[str, dict[str, str]] = {
    **_as(_FLOW, _FLOW_ITSELF),
    **{
        name: {"formula": formula, "source": _NSL.format(time), "window": _KDD_2S}
        for name, (formula, time, _) in _RATES.items()
    },
    **{
        f"dst_host_{name}": {"formula": formula, "source": _NSL.format(count), "window": _KDD_255}
        for name, (formula, _, count) in _RATES.items()
    },
    "dst_host_same_src_port_rate": {
        "formula": "of this source port among n / n",
        "source": _NSL.format(36),
        "window": _KDD_255,
    },
    **_as(_HOSTS, _HOST),
    **_as(_PAIRS, _PAIR),
    **_as(_IDENTITY, _FLIP),
}
