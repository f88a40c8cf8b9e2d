"""What the flows of several incidents did, made ready for their deeds: whatever no incident is needed for, once."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.distinct import Coded, Parts, coded, keys_within, within
from pipeline.alert.turned_flows import Initiators
from pipeline.contracts.whole_numbers import integers
from pipeline.runtime.wire.batches import filled

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

TCP, UDP = 6, 17
TRANSPORTS = (TCP, UDP)
OPENED = pa.array(["S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "SH"])
"""Connection states of TCP in which the flow has the opening of its connection."""
REFUSED = "REJ"
WINDOWED = "icsflow"
"""A source whose flows are windows of time: a connection is several of them, or several connections are one."""
ONE_WAY = ("no_rev", "one_way")
COUNTS = ("opened", "unanswered", "refused", "attempts", "reads", "writes", "controls", "exceptions")
NUMBERS = range(-1, 65_536)
"""Of protocols, EtherTypes and ports, -1 where there is none."""


class Done(NamedTuple):
    """What n flows did, by parts: those of an incident are one.

    who: the columns for the first fields of a `Deed`; directed: (n,) the next. deeds: by whom and by which service.
    names: (m) each of them as a text. counts: (m, 1 + COUNTS) how many flows, and what is counted of them. pairs: a
    deed and whom it was done to; deed_of_pair, targets: (p) of each. asked: a deed and an industrial function;
    deed_of_function, codes, times: (f) of each, and how often it was asked for.
    """

    who: list[Coded]
    directed: Flags
    deeds: Parts
    names: list[str]
    counts: Ints
    pairs: Parts
    deed_of_pair: list[int]
    targets: list[str]
    asked: Parts
    deed_of_function: list[int]
    codes: list[int]
    times: list[int]


def done_of(rows: pa.RecordBatch, asked: Initiators, part: Coded) -> Done:
    """What the rows (schema `scored`) did; `part`: (n,) the part of each, ascending."""
    who = _who(rows, asked)
    names, deeds = keys_within(part, [*who, Coded(asked.directed.astype(np.int64), ("false", "true"))], "\x1f")
    counts = [np.bincount(deeds.number, values, len(names)) for values in _counts(rows, asked)]
    deed = Coded(deeds.number, range(len(names)))
    pairs = within(part, [deed, asked.target])
    deed_of_function, codes, times, functions = _functions(rows.column("ics_functions"), deed, part)
    return Done(
        who,
        asked.directed,
        deeds,
        names,
        np.stack([deeds.flows, *counts], axis=1).astype(np.int64),
        pairs,
        deed.of(pairs.first),
        asked.target.of(pairs.first),
        functions,
        deed_of_function,
        codes,
        times,
    )


def _who(rows: pa.RecordBatch, asked: Initiators) -> list[Coded]:
    """By whom and by which service each flow is: the first fields of a `Deed` but for `directed`."""
    ip_proto = integers(rows, "ip_proto", -1)
    has_ports = (ip_proto == TCP) | (ip_proto == UDP)  # of TRANSPORTS
    ether_type = np.where(ip_proto >= 0, -1, integers(rows, "ether_type", -1))
    numbers = (Coded(values + 1, NUMBERS) for values in (ip_proto, ether_type, np.where(has_ports, asked.port, -1)))
    industrial = coded(rows.column("ics_proto").fill_null(""))
    return [asked.source, *numbers, industrial]


def _counts(rows: pa.RecordBatch, asked: Initiators) -> list[npt.NDArray[Any]]:
    """The columns of COUNTS, a row a flow."""
    turned, state = asked.turned, rows.column("conn_state")
    is_tcp = integers(rows, "ip_proto", -1) == TCP
    opens = _mask(pc.is_in(state, value_set=OPENED)) & is_tcp & ~turned
    opens &= ~_mask(pc.equal(rows.column("source_type"), WINDOWED)) & _mask(pc.equal(rows.column("record_kind"), "end"))
    fwd, rev = (filled(rows, name, 0) for name in ("fwd_pkts", "rev_pkts"))
    fwd_syn, rev_syn = (filled(rows, name, 0).astype(np.int64) for name in ("fwd_syn_pkts", "rev_syn_pkts"))
    # Where the sensor does not count the way back, nobody can say that there was none.
    quality = coded(rows.column("quality"))
    is_blind = np.asarray([any(word in text for word in ONE_WAY) for text in quality.values], np.bool_)
    by_ports = turned & (fwd_syn == rev_syn)
    spoke, answered = np.where(turned, rev, fwd), np.where(turned, fwd, rev)
    silent = (spoke > 0) & (answered == 0) & asked.directed & ~by_ports
    return [
        opens,
        silent & ~is_blind[quality.codes] & ~asked.to_group,
        opens & _mask(pc.equal(state, REFUSED)),
        np.where(is_tcp, np.maximum(fwd_syn, rev_syn), 0),
        *(filled(rows, f"ics_{name}_cnt", 0) for name in ("read", "write", "control", "exception")),
    ]


def _functions(functions: pa.ListArray, deed: Coded, part: Coded) -> tuple[list[int], list[int], list[int], Parts]:
    """Code, count, code and so on of each row, by deed: (f) deeds, codes and counts, and where those of a part are."""
    flat, row = pc.list_flatten(functions).to_numpy(), pc.list_parent_indices(functions).to_numpy()[::2]
    code, counts = coded(pa.array(flat[::2])), flat[1::2]
    of, by = Coded(part.codes[row], part.values), Coded(deed.codes[row], deed.values)
    found = within(of, [by, code])
    times = np.bincount(found.number, counts, len(found.first)).astype(np.int64)
    return by.of(found.first), code.of(found.first), times.tolist(), found


def _mask(column: Any) -> Flags:
    mask: Flags = (column.fill_null(False) if column.null_count else column).to_numpy(zero_copy_only=False)
    return mask
