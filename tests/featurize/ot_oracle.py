"""The OT windows again, a flow at a time over whole histories: what the compiled ones must agree with."""

import math
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.featurize.addresses import address_keys
from tests.featurize.oracle import Flow, protocol, service

DECAYS = (5.0, 3.0, 1.0, 0.1, 0.01)
_WORD = (1 << 64) - 1


def mixed(key: int) -> int:
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _WORD
    return key ^ (key >> 31)


def address_bucket(address: str) -> int:
    return mixed(int(address_keys(pa.array([address]))[0][0])) % 32


def service_bucket(flow: Flow) -> int:
    return mixed(protocol(flow) << 32 | service(flow)[1] + 1) % 32


class Damped:
    """A key's flows: when, bytes, packets, gap."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float, float, float | None]] = []

    def features(self, flow: Flow, late: bool) -> list[float]:
        now = max([flow["end_ts_us"], *(t for t, *_ in self.seen)])
        gap = float(now - max(t for t, *_ in self.seen)) if self.seen and not late else None
        size, packets = float(flow["fwd_bytes"] + flow["rev_bytes"]), float(flow["fwd_pkts"] + flow["rev_pkts"])
        rows = [*self.seen, (now, size, packets, gap)]
        columns: list[list[float]] = [[] for _ in range(7)]
        for decay in DECAYS:
            weights = np.array([2 ** (-decay * (now - t) / 1e6) for t, *_ in rows])
            columns[0].append(weights.sum())
            for field in (1, 2, 3):
                known = np.array([row[field] is not None for row in rows])
                values = np.array([row[field] for row, is_known in zip(rows, known, strict=True) if is_known], float)
                present = weights[known]
                total = present.sum()
                mean = (present * values).sum() / total if total > 1e-300 else 0.0
                spread = (present * (values - mean) ** 2).sum() / total if total > 1e-300 else 0.0
                columns[2 * field - 1].append(mean)
                columns[2 * field].append(math.sqrt(spread))
        if not late:
            self.seen.append((now, size, packets, gap))
        return [value for column in columns for value in column]


class Sketch:
    """Which bucket was used when."""

    def __init__(self) -> None:
        self.used: list[tuple[int, int]] = []

    def features(self, now: int, bucket: int, late: bool) -> list[float]:
        now = max([now, *(t for t, _ in self.used)])
        used = [*self.used, (now, bucket)]
        weights = [sum(2 ** (-(now - t) / 60e6) for t, other in used if other == number) for number in range(32)]
        distinct = sum(
            2 ** (-(now - max(t for t, other in used if other == number)) / 60e6) for number in {b for _, b in used}
        )
        shares = [weight / sum(weights) for weight in weights if weight > 0]
        if not late:
            self.used = used
        entropy = -sum(share * math.log2(share) for share in shares if share > 0)
        return [-32 * math.log(1 - min(distinct, 31.5) / 32), entropy]


class Edge:
    """What went between two ends: gaps, and the sums that fade."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.gaps: list[np.float32] = []
        self.scores: list[float] = []
        self.usual = 0.0
        self.sums: list[tuple[int, list[float]]] = []
        self.functions: set[int] = set()
        self.units: set[int] = set()
        self.range: tuple[int, int] | None = None

    def rhythm(self, flow: Flow, late: bool) -> list[float]:
        gap = float(max(flow["end_ts_us"] - self.ends[-1], 0)) if self.ends else 0.0
        if self.ends and not late:
            self.gaps.append(np.float32(gap))
        newest = np.array(self.gaps[-32:], float)
        if len(newest) < 3:
            return [0.0] * 6
        low, median, high = np.quantile(newest, [0.25, 0.5, 0.75])
        even = 1 - abs((low + high - 2 * median) / (high - low)) if low < median < high else 1.0
        steady = max((median - np.median(np.abs(newest - median))) / median, 0.0) if median > 0 else 0.0
        present = (even + steady) / 2
        loss = max(self.usual - present, 0.0) if len(self.scores) >= 8 else 0.0
        change = 0.0 if late else abs(math.log1p(gap) - math.log1p(median))
        out = [even, steady, present, self.usual, loss, change]
        if not late:
            self.usual += (present - self.usual) / min(len(self.scores) + 1, 256)
            self.scores.append(present)
        return out

    def fading(self, flow: Flow, late: bool) -> tuple[list[float], list[float]]:
        """Shares of bytes and packets; the first six of the industrial features."""
        now = max([flow["end_ts_us"], *self.ends])
        before = [sum(added[at] * 2 ** (-(now - t) / 60e6) for t, added in self.sums) for at in range(7)]
        reads, writes, control, refused = (
            float(flow[f"ics_{name}_cnt"] or 0) for name in ("read", "write", "control", "exception")
        )
        size, packets = flow["fwd_bytes"] + flow["rev_bytes"], flow["fwd_pkts"] + flow["rev_pkts"]
        added = [flow["fwd_bytes"], size, flow["fwd_pkts"], packets, reads + writes + control, writes, refused]
        shares: list[float] = []
        for at in (0, 2):
            part, whole = added[at], added[at + 1]
            share = part / whole if whole else 0.5
            usual = before[at] / before[at + 1] if before[at + 1] else share
            total = before[at + 1] + whole
            both = (before[at] + part) / total if total else 0.5
            shares += [share, both, abs(share - usual) if whole else 0.0]
        asked, total = added[4], before[4] + added[4]
        write = writes / asked if asked else 0.0
        change = abs(write - before[5] / before[4]) if asked and before[4] else 0.0
        exceptions = refused / max(asked, refused) if refused else 0.0
        together = [(before[5] + writes) / total, min((before[6] + refused) / total, 1.0)] if total else [0.0, 0.0]
        if not late:
            self.sums.append((now, added))
        return shares, [write, together[0], change, control, exceptions, together[1]]

    def first_asked(self, flow: Flow, late: bool, warm: float) -> list[float]:
        functions = {code % 256 for code in (flow["ics_functions"] or [])[::2]} - self.functions
        units = {unit % 256 for unit in flow["ics_units"] or []} - self.units
        low, high, growth = flow["ics_addr_min"], flow["ics_addr_max"], 0.0
        known = low is not None and high is not None
        if known and self.range is not None:
            growth = max(self.range[0] - low, 0) + max(high - self.range[1], 0)
        if not late:
            self.functions |= functions
            self.units |= units
            if known:
                self.range = (low, high) if self.range is None else (min(low, self.range[0]), max(high, self.range[1]))
        asked = sum(flow[f"ics_{name}_cnt"] or 0 for name in ("read", "write", "control"))
        return [len(functions) * warm, len(units) * warm, growth, asked]


class Ot:
    """The 173 features of a flow, in the order of ot_set.OT."""

    def __init__(self) -> None:
        self.damped: dict[Any, Damped] = {}
        self.sketches: dict[Any, Sketch] = {}
        self.edges: dict[tuple[str, str], Edge] = {}
        self.offers: set[Any] = set()
        self.start_us: int | None = None

    def features(self, flow: Flow, late: bool) -> list[float]:
        src, dst, what, end = flow["src_addr"], flow["dst_addr"], service(flow), flow["end_ts_us"]
        if self.start_us is None and not late:
            self.start_us = end
        warm = 0.0 if self.start_us is None else min(max(end - self.start_us, 0) / 60e6, 1.0)
        new_service = warm * (("service", what) not in self.damped)
        new_offer = warm * ((dst, what) not in self.offers)
        out: list[float] = []
        for key in (("src", src), ("dst", dst), ("edge", src, dst), ("service", what)):
            out += self._of(self.damped, key, Damped(), late).features(flow, late)
        for role, key, peer in (("src", src, dst), ("dst", dst, src)):
            for thing, bucket in (("peer", address_bucket(peer)), ("port", service_bucket(flow))):
                out += self._of(self.sketches, (role, thing, key), Sketch(), late).features(end, bucket, late)
        edge = self._of(self.edges, (src, dst), Edge(), late)
        rhythm = edge.rhythm(flow, late)
        shares, asked = edge.fading(flow, late)
        out += [*shares, *rhythm, 0.0 if edge.ends else warm, new_service, new_offer]
        out += [*asked, *edge.first_asked(flow, late, warm)]
        if not late:
            edge.ends.append(max([end, *edge.ends]))
            self.offers.add((dst, what))
        return out

    @staticmethod
    def _of(entries: dict[Any, Any], key: Any, fresh: Any, late: bool) -> Any:
        return entries.get(key, fresh) if late else entries.setdefault(key, fresh)
