"""Flows turned so that their source is who asked: not the end that a sensor lists first, nor a service that answers."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.distinct import Coded, coded
from pipeline.contracts.group_addresses import GROUP_ADDRESS, GROUP_MAC
from pipeline.contracts.initiators import UNORDERED, answering
from pipeline.contracts.services import is_answer
from pipeline.contracts.whole_numbers import integers
from pipeline.runtime.wire.batches import filled

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
GROUPS = rf"{GROUP_MAC}|{GROUP_ADDRESS}|^[0-9.]+\.255$"
"""Addresses that no single device answers for; the broadcast address of a network among them."""


class Initiators(NamedTuple):
    """Who asked whom in n flows, as far as that is known.

    source, target: (n,) addresses. port: (n,) the target's, -1 where none is known. turned: (n,) those that the sensor
    has the other way round. directed: (n,) whether it is known who asked. unordered: (n,) those of a sensor that orders
    ends by address. to_group: (n,) whether the target is no single device. answers: (n,) those that the sensor has from
    a service to who uses it (contracts/initiators.py).
    """

    source: Coded
    target: Coded
    port: Ints
    turned: Flags
    directed: Flags
    unordered: Flags
    to_group: Flags
    answers: Flags


def from_initiators(rows: pa.RecordBatch) -> Initiators:
    """Who asked whom in the rows (schema `scored`).

    Where the sensor orders ends by address, the end with more SYNs asked; else the ports say it, or nothing does.
    """
    src_port, dst_port = (integers(rows, name, -1) for name in ("src_port", "dst_port"))
    unordered = _mask(pc.equal(rows.column("source_type"), UNORDERED))
    fwd_syn, rev_syn = (filled(rows, name, 0) for name in ("fwd_syn_pkts", "rev_syn_pkts"))
    answers = answering(rows)
    asks = is_answer(dst_port, src_port)
    by_syn = unordered & (fwd_syn != rev_syn)
    codes, addresses = coded(pa.concat_arrays([rows.column("src_addr"), rows.column("dst_addr")]))
    first, second = codes.reshape(2, rows.num_rows)
    # A group initiates nothing, whichever end a sensor calls it.
    of_group = _mask(pc.match_substring_regex(pa.array(addresses, pa.string()), GROUPS))
    by_group = of_group[first] != of_group[second]
    turned = np.where(by_group, of_group[first] & unordered, np.where(by_syn, rev_syn > fwd_syn, answers))
    source, target = np.where(turned, second, first), np.where(turned, first, second)
    return Initiators(
        Coded(source, addresses),
        Coded(target, addresses),
        np.where(turned, src_port, dst_port),
        turned,
        ~unordered | by_syn | answers | asks | by_group,
        unordered,
        of_group[target],
        answers,
    )


def _mask(column: Any) -> Flags:
    mask: Flags = column.to_numpy(zero_copy_only=False).astype(np.bool_)
    return mask
