"""The windows again, a flow at a time in plain Python, nothing incremental: what the compiled ones must agree with."""

import math
from typing import Any

SERRORS = {"S0", "S1", "S2", "S3", "SH"}
RERRORS = {"REJ", "RSTO", "RSTR", "RSTOS0"}
WINDOW_US = 2_000_000
LN2 = 0.6931471805599453

Flow = dict[str, Any]


def in_event_order(flows: list[Flow], lateness_us: int, max_waiting: int = 10**9) -> list[tuple[Flow, int]]:
    """(flow, late by) in the order of evaluation, flow by flow through a heap-like list: the definition, slowly."""
    waiting: list[Flow] = []
    done: list[tuple[Flow, int]] = []
    latest: int | None = None

    def release(before: float) -> None:
        waiting.sort(key=lambda f: (f["end_ts_us"], f["record_id"], f["raw_offset"]))
        while waiting and waiting[0]["end_ts_us"] < before:
            done.append((waiting.pop(0), 0))

    for flow in flows:
        watermark = -math.inf if latest is None else latest - lateness_us
        release(watermark)
        if flow["end_ts_us"] < watermark:
            done.append((flow, int(watermark) - flow["end_ts_us"]))
        else:
            waiting.append(flow)
        latest = max(flow["end_ts_us"], flow["end_ts_us"] if latest is None else latest)
        release(latest - lateness_us)
        while len(waiting) > max_waiting:
            latest = max(latest, min(f["end_ts_us"] for f in waiting) + 1 + lateness_us)
            release(latest - lateness_us)
    release(math.inf)
    return done


def protocol(flow: Flow) -> int:
    return 0x10000 + int(flow["ether_type"]) if flow["ip_proto"] is None else int(flow["ip_proto"])


def service(flow: Flow) -> tuple[int, int]:
    port = flow["dst_port"]
    return protocol(flow), -1 if port is None else port


def error(flow: Flow, kinds: set[str]) -> int:
    return int(flow["conn_state"] in kinds and protocol(flow) == 6)


def kdd_features(flow: Flow, same_dst: list[Flow], others: list[Flow]) -> list[float]:
    """The ten features over D = same_dst and the window's remaining flows, all containing the flow itself once."""
    window = same_dst + others
    v = [f for f in window if service(f) == service(flow)]
    n, m = len(same_dst), len(v)
    s, h = len({service(f) for f in same_dst}), len({f["dst_addr"] for f in v})
    both = sum(service(f) == service(flow) for f in same_dst)
    same_port = sum(flow["src_port"] is not None and f["src_port"] == flow["src_port"] for f in same_dst)
    return [
        min(n, 511),
        min(m, 511),
        sum(error(f, SERRORS) for f in same_dst) / n,
        sum(error(f, SERRORS) for f in v) / m,
        sum(error(f, RERRORS) for f in same_dst) / n,
        sum(error(f, RERRORS) for f in v) / m,
        both / n,
        s / n if s > 1 else 0.0,
        h / m if h > 1 else 0.0,
        same_port / n,
    ]


class Kdd:
    """Both KDD windows as the full history of the flows that moved them."""

    def __init__(self) -> None:
        self.seen: list[Flow] = []

    def features(self, flow: Flow, late: bool) -> list[float]:
        newest = self.seen[-1]["end_ts_us"] if self.seen and late else flow["end_ts_us"]
        recent = [f for f in self.seen if f["end_ts_us"] > newest - WINDOW_US]
        time = kdd_features(
            flow,
            [flow, *(f for f in recent if f["dst_addr"] == flow["dst_addr"])],
            [f for f in recent if f["dst_addr"] != flow["dst_addr"]],
        )
        last = self.seen[::-1]
        same = [flow, *[f for f in last if f["dst_addr"] == flow["dst_addr"]][:254]]
        fill = [f for f in last[:254] if f["dst_addr"] != flow["dst_addr"]][: 255 - len(same)]
        if not late:
            self.seen.append(flow)
        return time[:9] + kdd_features(flow, same, fill)


def half(elapsed_us: float, half_life_us: float) -> float:
    return math.exp(-LN2 * max(elapsed_us, 0) / half_life_us)


class Hosts:
    """An endpoint's damped sums, each as the list of what was added and when."""

    def __init__(self) -> None:
        self.added: dict[str, list[tuple[int, list[float]]]] = {}

    def features(self, flow: Flow, late: bool, warm: float, new_pair: bool, ends: list[str]) -> list[float]:
        packets = flow["fwd_pkts"] + flow["rev_pkts"]
        silent = len(ends) > 0 and ends[-1] == flow["dst_addr"] and 0 in (flow["fwd_pkts"], flow["rev_pkts"])
        now = [1.0, flag_packets(flow, "syn", 2), flag_packets(flow, "rst", 4), packets, float(silent), new_pair * warm]
        out = [0.0] * 8
        for end in dict.fromkeys(ends):
            history = self.added.get(end, [])
            sums = list(now)
            last = max((t for t, _ in history), default=0)
            for t, values in history:
                # A late flow does not turn the clock back: what has decayed stays decayed.
                keep = half(max(flow["end_ts_us"], last) - t, 30e6)
                sums = [total + value * keep for total, value in zip(sums, values, strict=True)]
            size = max(sums[3], 1.0)
            got = [sums[0], sums[1], sums[2], sums[4] / sums[0], sums[5], sums[1] / size, sums[2] / size]
            out[:7] = [max(old, new) for old, new in zip(out[:7], got, strict=True)]
            out[7] += 0.0 if history else warm
        if not late:
            for end in dict.fromkeys(ends):
                self.added.setdefault(end, []).append((flow["end_ts_us"], now))
        return out


def flag_packets(flow: Flow, flag: str, bit: int) -> float:
    """Packets with a flag, both ways: as counted, else 1 where the flag was seen."""
    total = 0.0
    for side in ("fwd", "rev"):
        counted = flow[f"{side}_{flag}_pkts"]
        total += float((flow[f"{side}_tcp_flags"] or 0) & bit != 0) if counted is None else counted
    return total


class Pairs:
    """When two endpoints spoke a protocol, and the running mean of their flows' packet counts."""

    def __init__(self) -> None:
        self.spoke: dict[tuple[str, str, int], list[int]] = {}
        self.packets: dict[tuple[str, str, int], float] = {}

    def features(self, flow: Flow, late: bool, watched_us: float, warm: float) -> tuple[bool, list[float]]:
        """Whether the pair is new; and new, quiet time, damped flows, change of the packet count."""
        key = (flow["src_addr"], flow["dst_addr"], protocol(flow))
        times = self.spoke.get(key, [])
        packets = math.log1p(flow["fwd_pkts"] + flow["rev_pkts"])
        out = [warm, min(watched_us, 300e6), 0.0, 0.0]
        if times:
            end = max(flow["end_ts_us"], max(times))
            usual = self.packets[key]
            settled = min(min(len(times), 32) / 8, 1)
            out = [0.0, min(end - max(times), 300e6), sum(half(end - t, 300e6) for t in times)]
            out.append(settled * abs(packets - usual))
        if not late:
            mean = self.packets.get(key, packets)
            self.packets[key] = mean + (packets - mean) / min(len(times) + 1, 32)
            self.spoke.setdefault(key, []).append(flow["end_ts_us"])
        return not times, out


def extractor_service(flow: Flow) -> tuple[str, int]:
    """KDD's service name, of the few ports the tests use."""
    port, kind = flow["dst_port"], protocol(flow)
    if kind == 6 and flow["src_port"] == 20:
        return ("ftp_data", 0)
    names = {6: {22: "ssh", 53: "domain", 80: "http", 8080: "http", 102: "iso_tsap"}, 17: {53: "domain_u"}}
    if kind == 1:
        return ("icmp", {0: 1, 8: 2}.get(flow["icmp_type"], 3) if flow["icmp_code"] is not None else 3)
    if kind not in names or port is None:
        return ("other", 0)
    return (names[kind].get(port, "private" if port >= 49_152 else "other"), 0)


def share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


class Extractor:
    """Features 23-41 as the kdd99 extractor computes them: over lists, c excluded, evicted after computing."""

    def __init__(self) -> None:
        self.recent: list[Flow] = []
        self.last: list[Flow] = []

    def _over(self, flow: Flow, window: list[Flow]) -> list[float]:
        d = [f for f in window if f["dst_addr"] == flow["dst_addr"]]
        v = [f for f in window if extractor_service(f) == extractor_service(flow)]
        both = sum(extractor_service(f) == extractor_service(flow) for f in d)
        same = share(both, len(d))
        port = sum(flow["src_port"] is not None and f["src_port"] == flow["src_port"] for f in v)
        syn, rejected = {"S0", "S1", "S2", "S3"}, {"REJ"}
        return [
            len(d),
            len(v),
            share(sum(error(f, syn) for f in d), len(d)),
            share(sum(error(f, syn) for f in v), len(v)),
            share(sum(error(f, rejected) for f in d), len(d)),
            share(sum(error(f, rejected) for f in v), len(v)),
            same,
            1.0 - same if d else 0.0,
            share(len(v) - both, len(v)),
            port / (len(v) + 1),
        ]

    def features(self, flow: Flow, late: bool) -> list[float]:
        time, count = self._over(flow, self.recent), self._over(flow, self.last)
        if not late:
            self.recent = [f for f in self.recent if f["end_ts_us"] > flow["end_ts_us"] - WINDOW_US] + [flow]
            self.last = [*self.last, flow][-100:]
        return [round(value, 2) for value in time[:9] + kdd_order(count)]


def kdd_order(count: list[float]) -> list[float]:
    """The ten features of a count window in KDD's order, 32 to 41."""
    n, m, serror, srv_serror, rerror, srv_rerror, same, diff, diff_host, port = count
    return [n, m, same, diff, port, diff_host, serror, srv_serror, rerror, srv_rerror]


def nsl(flows: list[Flow]) -> dict[int, list[float]]:
    """Features 23-41 of a file as NSL-KDD has them, by raw offset."""
    in_time = sorted(flows, key=lambda f: (f["end_ts_us"], f["record_id"], f["raw_offset"]))
    windows, features_of = Kdd(), {}
    for flow in in_time:
        features_of[flow["raw_offset"]] = windows.features(flow, False)[:9]
    by_host = sorted(in_time, key=lambda f: f["dst_addr"])
    for index, flow in enumerate(by_host):
        window = by_host[max(0, index - 254) : index + 1]
        same = [f for f in window if f["dst_addr"] == flow["dst_addr"]]
        rest = [f for f in window if f["dst_addr"] != flow["dst_addr"]]
        features_of[flow["raw_offset"]] += kdd_order(kdd_features(flow, same, rest))
    return {offset: [round(value, 2) for value in values] for offset, values in features_of.items()}
