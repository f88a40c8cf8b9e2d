"""Several records as one flow: the columns of the records that pairing.py says belong together."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.featurize.ordering.merge_ics import merge_ics
from schemas.tcp import ACK, SYN, derive_conn_states

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

EXPORT = ("export_protocol", "exporter_addr", "export_domain", "export_sequence")
# What stays that of the record with the lowest raw position: it names the flow.
IDENTITY = (
    *("raw_partition", "raw_offset", "raw_index", "record_id", "source_record", "site", "sensor", "ingest_ts_us"),
    *EXPORT,
)
FROM_EITHER = ("vlan_id", "app_proto", "community_id", "sensor_uid", "icmp_type", "icmp_code", "missed_bytes")
ONE_WAY_WORDS = frozenset({"no_rev", "one_way"})


def merge_records(flows: pa.RecordBatch, others: pa.RecordBatch, into: Ints) -> pa.RecordBatch:
    """Flows (n rows) with other records (k rows, schema `flow`) merged into those at `into` (k,), ascending.

    Two halves become one whole: the originator is who sent the first packet, or at the same time who sent SYN without
    ACK, or has the higher port, or else the lower raw position; `fwd_` is its half, `rev_` the other's. Connection
    state and quality are derived anew, bytes and packets are never added up. Counts of an industrial conversation are
    added up (merge_ics.py). The row lists the others' raw positions, and how their exporters numbered them: its own
    number is the one of the record that names it.
    """
    everything = pa.concat_batches([flows, others])
    n = len(flows)
    forward, reverse = np.arange(n), np.full(n, -1)
    half = ~others.column("is_biflow").to_numpy(zero_copy_only=False)
    pair, partner = into[half], n + np.flatnonzero(half)
    swapped = _opened(everything, partner, pair)
    forward[pair] = np.where(swapped, partner, pair)
    reverse[pair] = np.where(swapped, pair, partner)
    flow = ~half & pc.not_equal(others.column("record_kind"), "ics").to_numpy(zero_copy_only=False)
    forward[into[flow]] = n + np.flatnonzero(flow)  # a flow that takes in the industrial records before it
    columns = dict(_columns(everything, forward, reverse))
    columns |= {name: flows.column(name) for name in IDENTITY}
    columns |= _times(everything, n, into)
    whole = reverse >= 0
    columns["is_biflow"] = pc.or_(columns["is_biflow"], pa.array(whole))
    columns["conn_state"] = _states(columns, whole)
    columns["quality"] = _quality(everything.column("quality"), forward, reverse)
    if everything.column("ics_proto").null_count < len(everything):
        columns |= merge_ics(everything, np.concatenate((np.arange(n), into)), n)
    columns["raw_also"] = _positions(others, into, n)
    columns["export_also"] = _numbers(others, into, n)
    return pa.RecordBatch.from_arrays([columns[name] for name in flows.schema.names], schema=flows.schema)


def _opened(everything: pa.RecordBatch, half: Ints, other: Ints) -> Mask:
    """Of pairs of records: whether `half` (k,), and not `other` (k,), is the originator's."""

    def numbers(name: str, rows: Ints) -> Ints:
        column = everything.column(name).take(pa.array(rows)).cast(pa.int64())
        return np.asarray(column.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)

    def opens(rows: Ints) -> Ints:
        flags = np.maximum(numbers("fwd_tcp_flags", rows), 0)
        return np.asarray((flags & SYN > 0) & (flags & ACK == 0), np.int64)

    comparisons = [
        numbers("start_ts_us", other) - numbers("start_ts_us", half),
        opens(half) - opens(other),
        numbers("src_port", half) - numbers("src_port", other),
        numbers("raw_offset", other) - numbers("raw_offset", half),
        numbers("raw_index", other) - numbers("raw_index", half),
    ]
    result: Mask = np.select([difference != 0 for difference in comparisons], comparisons, 0) > 0
    return result


def _columns(everything: pa.RecordBatch, forward: Ints, reverse: Ints) -> Iterator[tuple[str, pa.Array]]:
    """Every column as the originator's record has it, the responder's side from the other half where there is one."""
    here = pa.array(forward)
    there = pa.array(reverse, mask=reverse < 0)
    whole = pa.array(reverse >= 0)
    opposite = {"dst_mac": "src_mac", "src_mac": "dst_mac", "dst_mac_count": "src_mac_count"}
    for name in everything.schema.names:
        column = everything.column(name).take(here)
        if name.startswith("rev_"):
            theirs = everything.column("fwd_" + name.removeprefix("rev_")).take(there)
            yield name, pc.if_else(whole, theirs, column)
        elif name in opposite:
            yield name, pc.coalesce(column, everything.column(opposite[name]).take(there))
        elif name in FROM_EITHER:
            yield name, pc.coalesce(column, everything.column(name).take(there))
        else:
            yield name, column


def _times(everything: pa.RecordBatch, n: int, into: Ints) -> dict[str, pa.Array]:
    start, end = (everything.column(name).to_numpy() for name in ("start_ts_us", "end_ts_us"))
    first, last = start[:n].copy(), end[:n].copy()
    np.minimum.at(first, into, start[n:])
    np.maximum.at(last, into, end[n:])
    return {"start_ts_us": pa.array(first), "end_ts_us": pa.array(last), "duration_us": pa.array(last - first)}


def _states(columns: dict[str, pa.Array], whole: Mask) -> pa.Array:
    """Connection states derived from both sides' flags where two halves were merged; the record's own elsewhere."""
    flags = [columns[f"{side}_tcp_flags"] for side in ("fwd", "rev")]
    fwd, rev = (column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) for column in flags)
    known = flags[0].is_valid().to_numpy(zero_copy_only=False)
    protocol = columns["ip_proto"].fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    replied = columns["rev_pkts"].to_numpy(zero_copy_only=False) > 0
    derived = derive_conn_states(protocol, fwd, rev, replied, known)
    return pc.if_else(pa.array(whole), derived, columns["conn_state"])


def _quality(words: pa.StringArray, forward: Ints, reverse: Ints) -> pa.Array:
    """What either half lacks, but not that it was alone; few different texts, so each pair of them is made once."""
    coded = words.dictionary_encode()
    texts, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy()
    pairs = np.column_stack([codes[forward], np.where(reverse >= 0, codes[reverse], -1)])
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    made = [texts[half] if other < 0 else _lacking([texts[half], texts[other]]) for half, other in distinct.tolist()]
    return pa.array(made, pa.string()).take(pa.array(which.reshape(-1)))


def _lacking(texts: Iterable[str]) -> str:
    return ",".join(sorted({word for text in texts for word in text.split(",") if word} - ONE_WAY_WORDS))


def _positions(others: pa.RecordBatch, into: Ints, n: int) -> pa.Array:
    """The raw positions of the others, for each flow in raw order: offset, index, offset, index and so on."""
    offset, index = (others.column(name).to_numpy().astype(np.int64) for name in ("raw_offset", "raw_index"))
    flat = np.column_stack([offset, index])[_in_raw_order(others, into)].reshape(-1)
    counts = np.bincount(into, minlength=n)
    bounds = np.concatenate(([0], np.cumsum(2 * counts))).astype(np.int32)
    item = pa.field("item", pa.int64(), nullable=False)
    return pa.ListArray.from_arrays(pa.array(bounds), pa.array(flat), type=pa.list_(item), mask=pa.array(counts == 0))


def _in_raw_order(others: pa.RecordBatch, into: Ints) -> Ints:
    offset, index = (others.column(name).to_numpy().astype(np.int64) for name in ("raw_offset", "raw_index"))
    return np.lexsort((index, offset, into))


def _numbers(others: pa.RecordBatch, into: Ints, n: int) -> pa.Array:
    """How the others were numbered, for each flow in raw order: comma-separated texts, empty where one was not."""
    known = others.column("export_sequence").is_valid()
    if not known.true_count:
        return pa.nulls(n, pa.string())
    parts = [others.column(name).cast(pa.string()).fill_null("-") for name in EXPORT]
    texts = pc.if_else(known, pc.binary_join_element_wise(*parts, " "), "").take(pa.array(_in_raw_order(others, into)))
    bounds = np.concatenate(([0], np.cumsum(np.bincount(into, minlength=n)))).astype(np.int32)
    some = np.bincount(into[known.to_numpy(zero_copy_only=False)], minlength=n) > 0
    return pc.if_else(pa.array(some), pc.binary_join(pa.ListArray.from_arrays(pa.array(bounds), texts), ","), None)
