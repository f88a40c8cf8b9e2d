"""What the flows of several incidents did, made ready for their deeds: whatever no incident is needed for, once."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.distinct import Parts, keys_within, of_distinct, within
from pipeline.alert.turned_flows import Initiators
from pipeline.runtime.wire.batches import filled, integers

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

TCP, UDP = 6, 17
TRANSPORTS = (TCP, UDP)
OPENED = pa.array(["S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "SH"])
"""Connection states of TCP in which the flow has the opening of its connection."""
REFUSED = "REJ"
WINDOWED = "icsflow"
"""A source whose flows are windows of time: a connection is several of them, or several connections are one."""
ONE_WAY = "no_rev|one_way"
COUNTS = ("opened", "unanswered", "refused", "attempts", "reads", "writes", "controls", "exceptions")
WHO = ("source", "ip_proto", "ether_type", "port", "industrial", "directed")


class Done(NamedTuple):
    """What n flows did, by parts: those of an incident are one.

    deeds: by whom and by which service. names, whos: (m,) each of them as a text, and as `name` and WHO. counts:
    (m, 1 + COUNTS) how many flows, and what is counted of them. pairs: a deed and whom it was done to; deed_of_pair,
    targets: (p,) each. asked: a deed and an industrial function; deed_of_function, codes, times: (f,) each, and how
    often it was asked for.
    """

    deeds: Parts
    names: pa.Array
    whos: pa.RecordBatch
    counts: Ints
    pairs: Parts
    deed_of_pair: Ints
    targets: pa.Array
    asked: Parts
    deed_of_function: Ints
    codes: Ints
    times: Ints


def done_of(rows: pa.RecordBatch, asked: Initiators, part: Ints, parts: int) -> Done:
    """What the rows (schema `scored`) did; `part`: (n,) the part of each, ascending."""
    who = _who(rows, asked)
    names, deeds = keys_within(part, parts, list(who.values()), "\x1f", "")
    firsts = pa.array(deeds.first)
    whos = {name: _plain(column.take(firsts)) for name, column in who.items()}
    counts = [np.bincount(deeds.number, values, len(deeds.first)) for values in _counts(rows, asked)]
    pairs = within(part, parts, [pa.array(deeds.number), asked.target])
    deed_of_function, codes, times, functions = _functions(rows.column("ics_functions"), deeds.number, part, parts)
    return Done(
        deeds,
        names,
        pa.RecordBatch.from_pydict({"name": names, **whos}),
        np.stack([deeds.flows, *counts], axis=1).astype(np.int64),
        pairs,
        deeds.number[pairs.first],
        _plain(asked.target.take(pa.array(pairs.first))),
        functions,
        deed_of_function,
        codes,
        times,
    )


def _who(rows: pa.RecordBatch, asked: Initiators) -> dict[str, pa.Array]:
    """The columns of WHO, a row a flow; -1 where there is none."""
    ip_proto = integers(rows, "ip_proto", -1)
    has_ports = (ip_proto == TCP) | (ip_proto == UDP)  # of TRANSPORTS
    return {
        "source": asked.source,
        "ip_proto": pa.array(ip_proto),
        "ether_type": pa.array(np.where(ip_proto >= 0, -1, integers(rows, "ether_type", -1))),
        "port": pa.array(np.where(has_ports, asked.port, -1)),
        "industrial": rows.column("ics_proto").fill_null(""),
        "directed": pa.array(asked.directed),
    }


def _counts(rows: pa.RecordBatch, asked: Initiators) -> list[npt.NDArray[Any]]:
    """The columns of COUNTS, a row a flow."""
    turned, state = asked.turned, rows.column("conn_state")
    is_tcp = integers(rows, "ip_proto", -1) == TCP
    opens = _mask(pc.is_in(state, value_set=OPENED)) & is_tcp & ~turned
    opens &= ~_mask(pc.equal(rows.column("source_type"), WINDOWED)) & _mask(pc.equal(rows.column("record_kind"), "end"))
    fwd, rev = (filled(rows, name, 0) for name in ("fwd_pkts", "rev_pkts"))
    fwd_syn, rev_syn = (filled(rows, name, 0).astype(np.int64) for name in ("fwd_syn_pkts", "rev_syn_pkts"))
    # Where the sensor does not count the way back, nobody can say that there was none.
    blind = _mask(of_distinct(rows.column("quality"), lambda quality: pc.match_substring_regex(quality, ONE_WAY)))
    by_ports = turned & (fwd_syn == rev_syn)
    spoke, answered = np.where(turned, rev, fwd), np.where(turned, fwd, rev)
    silent = (spoke > 0) & (answered == 0) & asked.directed & ~by_ports
    return [
        opens,
        silent & ~blind & ~asked.to_group,
        opens & _mask(pc.equal(state, REFUSED)),
        np.where(is_tcp, np.maximum(fwd_syn, rev_syn), 0),
        *(filled(rows, f"ics_{name}_cnt", 0) for name in ("read", "write", "control", "exception")),
    ]


def _functions(functions: pa.ListArray, deed: Ints, part: Ints, parts: int) -> tuple[Ints, Ints, Ints, Parts]:
    """Code, count, code and so on of each row, by deed: (f,) deeds, codes and counts, and where those of a part are."""
    flat, row = pc.list_flatten(functions).to_numpy(), pc.list_parent_indices(functions).to_numpy()[::2]
    codes, counts = flat[::2].astype(np.int64), flat[1::2]
    found = within(part[row], parts, [pa.array(deed[row]), pa.array(codes)])
    times = np.bincount(found.number, counts, len(found.first)).astype(np.int64)
    return deed[row][found.first], codes[found.first], times, found


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _mask(column: Any) -> Flags:
    mask: Flags = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return mask
