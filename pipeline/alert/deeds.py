"""What the flows of an incident did: who used which service, of whom, how often, and how that went; bounded."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.distinct import combinations, keys_of, of_distinct
from pipeline.alert.turned_flows import Initiators, is_group
from pipeline.runtime.wire.batches import filled

MAX_DEEDS = 256
MAX_TARGETS = 2_048
"""Of all deeds of an incident together."""
MAX_FUNCTIONS = 16
"""Of a deed."""

OPENED = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "SH")
"""Connection states of TCP in which the flow has the opening of its connection."""
REFUSED = "REJ"
WINDOWED = "icsflow"
"""A source whose flows are windows of time: a connection is several of them, or several connections are one."""
TCP, UDP = 6, 17
TRANSPORTS = (TCP, UDP)
ONE_WAY = "no_rev|one_way"
Ints = npt.NDArray[np.int64]

COUNTS = ("opened", "unanswered", "refused", "attempts", "reads", "writes", "controls", "exceptions")
_WHO = ("source", "ip_proto", "ether_type", "port", "industrial", "directed")


@dataclass(slots=True)
class Deed:
    """Flows from one address by one service.

    ip_proto, ether_type, port: -1 where there is none, or it is not known. industrial: the protocol whose requests the
    sensor read, else empty. directed: whether it is known that the source asked. targets: flows by address, not all
    where `more_targets`. opened: flows in which the opening of a TCP connection was seen; unanswered: in which only the
    source spoke, to one device; refused: whose connection was. attempts: SYNs of whoever sent more. functions: how
    often each was asked for, by code.
    """

    source: str
    ip_proto: int
    ether_type: int
    port: int
    industrial: str
    directed: bool
    flows: int = 0
    opened: int = 0
    unanswered: int = 0
    refused: int = 0
    attempts: int = 0
    reads: int = 0
    writes: int = 0
    controls: int = 0
    exceptions: int = 0
    targets: dict[str, int] = field(default_factory=dict)
    more_targets: bool = False
    functions: dict[int, int] = field(default_factory=dict)
    more_functions: bool = False


@dataclass(slots=True)
class Deeds:
    """The deeds of an incident, the first 256 in the order of its flows."""

    of: dict[str, Deed] = field(default_factory=dict)

    @property
    def flows(self) -> int:
        """Flows that are in a deed; the incident has more where it has more deeds."""
        return sum(deed.flows for deed in self.of.values())

    def add(self, asked: Initiators) -> None:
        """Add flows, in the order they count. They are looked at in whole columns, and by deed: a flood ends here."""
        rows = _facts(asked)
        names, codes, first = keys_of([rows.column(name) for name in _WHO], "\x1f", "")
        retained = _retained(names, list(self.of), MAX_DEEDS - len(self.of))
        if not len(retained):
            return
        retained_names = names.take(pa.array(retained)).to_pylist()
        fresh = [number for number, name in enumerate(retained_names) if name not in self.of]
        whos = rows.select(_WHO).take(pa.array(first[retained[fresh]])).to_pylist()
        self.of |= {retained_names[number]: Deed(**who) for number, who in zip(fresh, whos, strict=True)}
        if len(retained) < len(names):
            taken = _at(retained, len(names))[codes]
            rows, codes = rows.filter(pa.array(taken)), codes[taken]
        of = np.searchsorted(retained, codes)
        deeds = [self.of[name] for name in retained_names]
        for name in COUNTS:
            _add(deeds, name, np.bincount(of, rows.column(name).to_numpy(), len(deeds)))
        _add(deeds, "flows", np.bincount(of, minlength=len(deeds)))
        self._add_targets(deeds, of, rows.column("target"))
        _add_functions(deeds, of, rows.column("functions"))

    def _add_targets(self, deeds: list[Deed], of: Ints, targets: pa.Array) -> None:
        """Add targets; `of` is the index in `deeds` of each."""
        codes, first = combinations([pa.array(of), targets])
        deed_of, names = of[first], targets.take(pa.array(first))
        pairs = pc.binary_join_element_wise(pa.array(deed_of).cast(pa.string()), names, "\x1e")
        known = [f"{number}\x1e{target}" for number, deed in enumerate(deeds) for target in deed.targets]
        free = MAX_TARGETS - sum(len(deed.targets) for deed in self.of.values())
        retained = _retained(pairs, known, free)
        counts = np.bincount(codes, minlength=len(first))
        for at in retained.tolist():
            of_deed, name = deeds[int(deed_of[at])].targets, names[at].as_py()
            of_deed[name] = of_deed.get(name, 0) + int(counts[at])
        for deed in np.unique(deed_of[~_at(retained, len(first))]).tolist():
            deeds[deed].more_targets = True

    def as_document(self) -> list[list[Any]]:
        """As JSON values, for the saved state."""
        names = [name for name in Deed.__slots__ if name != "functions"]
        return [
            [key, [getattr(deed, name) for name in names], [[code, count] for code, count in deed.functions.items()]]
            for key, deed in self.of.items()
        ]

    @classmethod
    def of_document(cls, document: list[list[Any]]) -> "Deeds":
        """What `as_document` wrote."""
        names = [name for name in Deed.__slots__ if name != "functions"]
        of = {}
        for key, values, functions in document:
            of[key] = Deed(
                **dict(zip(names, values, strict=True)), functions={code: count for code, count in functions}
            )
        return cls(of)


def _retained(names: pa.Array, known: list[str], free: int) -> Ints:
    """Indices of the names that are known, and of as many others as still fit, in the order of the names."""
    is_known = pc.is_in(names, value_set=pa.array(known, pa.string())).to_numpy(zero_copy_only=False)
    return np.union1d(np.flatnonzero(is_known), np.flatnonzero(~is_known)[: max(0, free)])


def _at(indices: Ints, length: int) -> npt.NDArray[np.bool_]:
    """(length,) true at the indices."""
    mask = np.zeros(length, np.bool_)
    mask[indices] = True
    return mask


def _add(deeds: list[Deed], name: str, sums: npt.NDArray[Any]) -> None:
    for at in np.flatnonzero(sums).tolist():
        setattr(deeds[at], name, getattr(deeds[at], name) + int(sums[at]))


def _add_functions(deeds: list[Deed], of: Ints, functions: pa.ListArray) -> None:
    """Add code, count, code and so on of each row to its deed."""
    flat, row = pc.list_flatten(functions).to_numpy(), pc.list_parent_indices(functions).to_numpy()[::2]
    if not len(row):
        return
    codes, counts = flat[::2], flat[1::2]
    pairs, first, inverse = np.unique(
        np.stack([of[row], codes], axis=1), axis=0, return_index=True, return_inverse=True
    )
    sums = np.bincount(inverse.reshape(-1), counts, len(pairs))
    for at in np.argsort(first).tolist():
        deed, code = deeds[int(pairs[at, 0])], int(pairs[at, 1])
        if code in deed.functions or len(deed.functions) < MAX_FUNCTIONS:
            deed.functions[code] = deed.functions.get(code, 0) + int(sums[at])
        else:
            deed.more_functions = True


def _facts(asked: Initiators) -> pa.RecordBatch:
    """What deeds are made of: who, what, and the counts (`COUNTS`), a row a flow."""
    rows, turned = asked.rows, asked.turned
    ip_proto, port = _ints(rows, "ip_proto", -1), _ints(rows, "dst_port", -1)
    port = np.where((ip_proto == TCP) | (ip_proto == UDP), port, -1)  # of TRANSPORTS
    ether_type = np.where(ip_proto >= 0, -1, _ints(rows, "ether_type", -1))
    state = rows.column("conn_state")
    opens = _mask(pc.is_in(state, value_set=pa.array(OPENED))) & (ip_proto == TCP)
    opens &= ~_mask(pc.equal(rows.column("source_type"), WINDOWED)) & _mask(pc.equal(rows.column("record_kind"), "end"))
    fwd, rev = (filled(rows, name, 0) for name in ("fwd_pkts", "rev_pkts"))
    fwd_syn, rev_syn = (filled(rows, name, 0).astype(np.int64) for name in ("fwd_syn_pkts", "rev_syn_pkts"))
    # Where the sensor does not count the way back, nobody can say that there was none.
    blind = _mask(of_distinct(rows.column("quality"), lambda quality: pc.match_substring_regex(quality, ONE_WAY)))
    group = is_group(rows.column("dst_addr"))
    by_ports = turned & (fwd_syn == rev_syn)
    spoke, answered = np.where(turned, rev, fwd), np.where(turned, fwd, rev)
    silent = (spoke > 0) & (answered == 0) & asked.directed & ~by_ports
    counts = {
        "opened": opens & ~turned,
        "unanswered": silent & ~blind & ~group,
        "refused": opens & ~turned & _mask(pc.equal(state, REFUSED)),
        "attempts": np.where(ip_proto == TCP, np.maximum(fwd_syn, rev_syn), 0),
        "reads": filled(rows, "ics_read_cnt", 0),
        "writes": filled(rows, "ics_write_cnt", 0),
        "controls": filled(rows, "ics_control_cnt", 0),
        "exceptions": filled(rows, "ics_exception_cnt", 0),
    }
    who: dict[str, Any] = {
        "source": rows.column("src_addr").cast(pa.string()),
        "ip_proto": pa.array(ip_proto),
        "ether_type": pa.array(ether_type),
        "port": pa.array(port),
        "industrial": rows.column("ics_proto").cast(pa.string()).fill_null(""),
        "directed": pa.array(asked.directed),
    }
    return pa.RecordBatch.from_pydict(
        {
            **who,
            "target": rows.column("dst_addr").cast(pa.string()),
            "functions": rows.column("ics_functions").cast(pa.list_(pa.int64())),
            **{name: np.asarray(values).astype(np.int64) for name, values in counts.items()},
        }
    )


def _ints(rows: pa.RecordBatch, name: str, missing: int) -> Ints:
    values: Ints = rows.column(name).cast(pa.int64()).fill_null(missing).to_numpy(zero_copy_only=False)
    return values


def _mask(column: Any) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return mask
