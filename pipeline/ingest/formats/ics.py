"""What one record of an industrial protocol's log says, as a row of the flow table of the kind `ics`.

Such a row has a flow's 5-tuple and name, one point in time, no counts of bytes or packets, and what was asked of the
devices; featurize adds the rows of a flow up and into it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ingest.draft import Draft
from pipeline.ingest.formats.functions import CONTROL, READ, WRITE, Functions
from pipeline.ingest.formats.protocols import IP4_ETHER_TYPE, IP6_ETHER_TYPE, TCP, WITH_PORTS, qualities
from pipeline.ingest.scan.addresses import IP6, MAC
from pipeline.ingest.scan.cells import Ints
from pipeline.ingest.scan.ics_cells import distinct

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

MOST = 2**32 - 1
NO_COUNTS = ("fwd_bytes", "rev_bytes", "fwd_pkts", "rev_pkts")


def put_identity(draft: Draft, time: str, ends: Sequence[str], uid: str, ip_proto: Ints, ics_proto: str) -> None:
    """Set whose the records are and when they were.

    Parameters
    ----------
    time : column of the point in time.
    ends : columns of the originator's address and port, then the responder's.
    uid : column of the sensor's name of the flow.
    ip_proto : (n,) IP protocol; -1 where the record does not report it.
    ics_proto : the industrial protocol.
    """
    at, _ = draft.time_us(time, "start_ts_us")
    draft.times(at, at, time, time)
    source, target = draft.address(ends[0], "src_addr"), draft.address(ends[2], "dst_addr")
    non_ip = (source == MAC) | (target == MAC)
    six = (source == IP6) | (target == IP6)
    draft.put("ether_type", np.select([non_ip, six], [0, IP6_ETHER_TYPE], IP4_ETHER_TYPE))
    is_ip = ~non_ip & (ip_proto >= 0)
    draft.put("ip_proto", ip_proto, is_ip)
    src_port, src_given = draft.whole(ends[1], "src_port", "port_range")
    dst_port, dst_given = draft.whole(ends[3], "dst_port", "port_range")
    with_ports = np.isin(ip_proto, WITH_PORTS) & is_ip
    draft.put("src_port", src_port, src_given & with_ports)
    draft.put("dst_port", dst_port, dst_given & with_ports)
    draft.columns["sensor_uid"] = draft.text(uid, "sensor_uid")
    for name in NO_COUNTS:
        draft.put(name, np.zeros(draft.count, np.uint64))
    words = {"conn_state": "OTH", "record_kind": "ics", "ics_proto": ics_proto, "app_proto": ics_proto}
    draft.columns |= {name: pa.repeat(word, draft.count) for name, word in words.items()}
    every = np.ones(draft.count, np.bool_)
    draft.columns["quality"] = qualities(
        no_bytes=every,
        no_flags=is_ip & (ip_proto == TCP),
        no_ports=with_ports & ~(src_given & dst_given),
        non_ip=non_ip,
    )


def put_functions(draft: Draft, functions: Functions, *codes: Numbers) -> None:
    """Set which functions were asked for, and how many read, write and control; -1 is none."""
    columns = np.stack(codes)
    draft.columns["ics_functions"] = distinct(columns, with_counts=True)
    access = np.where(columns >= 0, functions.access_of(columns), 0)
    for name, bit in (("ics_read_cnt", READ), ("ics_write_cnt", WRITE), ("ics_control_cnt", CONTROL)):
        draft.put(name, (access & bit > 0).sum(axis=0))


def put_exceptions(draft: Draft, refused: Mask) -> None:
    """Set whether the device refused."""
    draft.put("ics_exception_cnt", refused.astype(np.uint32))


def put_units(draft: Draft, *units: Numbers) -> None:
    """Set the devices behind the address; -1 is none."""
    draft.columns["ics_units"] = distinct(np.stack(units), with_counts=False)


def put_points(draft: Draft, *ranges: tuple[Numbers, Numbers]) -> None:
    """Set which points were named: each range is first addresses (-1: none) and how many points (-1: not reported)."""
    low, high = np.full(draft.count, MOST + 1), np.full(draft.count, -1)
    quantity = np.zeros(draft.count, np.int64)
    counted = np.zeros(draft.count, np.bool_)
    for first, number in ranges:
        has_range = first >= 0
        low = np.where(has_range, np.minimum(low, first), low)
        high = np.where(has_range, np.maximum(high, first + np.maximum(number, 1) - 1), high)
        quantity += np.maximum(number, 0)
        counted |= number >= 0
    put_span(draft, np.where(high < 0, -1, low), np.minimum(high, MOST), np.where(counted, quantity, -1))


def put_span(draft: Draft, low: Numbers, high: Numbers, quantity: Numbers) -> None:
    """Set the least and greatest address of points and how many were named; -1 is none."""
    draft.put("ics_addr_min", low, low >= 0)
    draft.put("ics_addr_max", high, high >= 0)
    draft.put("ics_quantity", np.minimum(quantity, MOST), quantity >= 0)
