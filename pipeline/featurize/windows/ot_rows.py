"""A batch of flows as the OT windows read it."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.featurize.rows import Floats, Ints, Keys, Rows, floats, lists

MOST = 1e18
"""Bytes and packets are taken as at most this: so is then every mean and deviation of them."""


class OtRows(NamedTuple):
    """n flows, each field an array of n; requests are 0 and addresses -1 where they are not known."""

    end_us: Ints
    src: Keys
    dst: Keys
    service: Keys
    fwd_bytes: Floats
    bytes: Floats
    fwd_packets: Floats
    packets: Floats
    reads: Floats
    writes: Floats
    control: Floats
    exceptions: Floats
    lowest: Floats
    highest: Floats
    functions: Ints  # code, count, code, count, ... of all flows
    functions_start: Ints  # (n,) where a flow's begin
    functions_end: Ints
    units: Ints
    units_start: Ints
    units_end: Ints


def ot_rows(flows: pa.RecordBatch, rows: Rows) -> OtRows:
    """The arrays of a batch of the `flow` schema whose `rows_of` is at hand."""
    functions, functions_start, functions_end = lists(flows.column("ics_functions"))
    units, units_start, units_end = lists(flows.column("ics_units"))
    return OtRows(
        end_us=rows.end_us,
        src=rows.src,
        dst=rows.dst,
        service=rows.service,
        fwd_bytes=np.minimum(rows.fwd_bytes, MOST),
        bytes=np.minimum(rows.fwd_bytes + rows.rev_bytes, MOST),
        fwd_packets=np.minimum(rows.fwd_pkts, MOST),
        packets=np.minimum(rows.fwd_pkts + rows.rev_pkts, MOST),
        reads=floats(flows.column("ics_read_cnt"), 0.0),
        writes=floats(flows.column("ics_write_cnt"), 0.0),
        control=floats(flows.column("ics_control_cnt"), 0.0),
        exceptions=floats(flows.column("ics_exception_cnt"), 0.0),
        lowest=floats(flows.column("ics_addr_min"), -1.0),
        highest=floats(flows.column("ics_addr_max"), -1.0),
        functions=functions,
        functions_start=functions_start,
        functions_end=functions_end,
        units=units,
        units_start=units_start,
        units_end=units_end,
    )
