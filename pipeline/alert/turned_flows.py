"""Flows turned so that their source is who asked: not the end that a sensor lists first, nor a service that answers."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.distinct import of_distinct
from pipeline.contracts.group_addresses import GROUP_ADDRESS, GROUP_MAC
from pipeline.contracts.initiators import UNORDERED, answering
from pipeline.contracts.services import is_answer
from pipeline.runtime.wire.batches import filled

Flags = npt.NDArray[np.bool_]
GROUPS = rf"{GROUP_MAC}|{GROUP_ADDRESS}|^[0-9.]+\.255$"
"""Addresses that no single device answers for; the broadcast address of a network among them."""
TURNED = (("src_addr", "dst_addr"), ("src_mac", "dst_mac"), ("src_port", "dst_port"))


class Initiators(NamedTuple):
    """Rows whose source is who asked, as far as that is known.

    rows: ends swapped where turned. turned: (n,) those that came the other way round. directed: (n,) whether it is
    known who asked. unordered: whether some are of a sensor that orders ends by address.
    """

    rows: pa.RecordBatch
    turned: Flags
    directed: Flags
    unordered: bool


def from_initiators(rows: pa.RecordBatch) -> Initiators:
    """The rows (schema `scored`) as who asked sent them.

    Where the sensor orders ends by address, the end with more SYNs asked; else the ports say it, or nothing does.
    """
    unordered = _mask(pc.equal(rows.column("source_type"), UNORDERED))
    fwd_syn, rev_syn = (filled(rows, name, 0) for name in ("fwd_syn_pkts", "rev_syn_pkts"))
    answers = answering(rows)
    asks = is_answer(ports(rows, "dst_port"), ports(rows, "src_port"))
    by_syn = unordered & (fwd_syn != rev_syn)
    # A group initiates nothing, whichever end a sensor calls it.
    from_group, to_group = (is_group(rows.column(name)) for name in ("src_addr", "dst_addr"))
    by_group = from_group != to_group
    turned = np.where(by_group, from_group & unordered, np.where(by_syn, rev_syn > fwd_syn, answers))
    directed = ~unordered | by_syn | answers | asks | by_group
    return Initiators(_turned(rows, turned), turned, directed, bool(unordered.any()))


def is_group(addresses: pa.Array) -> Flags:
    """(n,) whether addresses are of no single device."""
    return _mask(of_distinct(addresses, lambda distinct: pc.match_substring_regex(distinct, GROUPS)))


def _turned(rows: pa.RecordBatch, turned: Flags) -> pa.RecordBatch:
    if not turned.any():
        return rows
    mask = pa.array(turned)
    for name_a, name_b in TURNED:
        first, second = rows.column(name_a), rows.column(name_b)
        for name, column in ((name_a, pc.if_else(mask, second, first)), (name_b, pc.if_else(mask, first, second))):
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows


def ports(rows: pa.RecordBatch, name: str) -> npt.NDArray[np.int64]:
    """(n,) ports; -1 where none is known."""
    numbers: npt.NDArray[np.int64] = rows.column(name).cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return numbers


def _mask(column: Any) -> Flags:
    mask: Flags = column.to_numpy(zero_copy_only=False).astype(np.bool_)
    return mask
