"""Who asked: the end of a flow that opened the connection, as far as its record shows it."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.services import is_answer
from pipeline.contracts.whole_numbers import integers

Mask = npt.NDArray[np.bool_]

UNORDERED = "icsflow"
"""The source that orders a flow's ends by address."""
READ = ("source_type", "ip_proto", "is_biflow", "history", "conn_state", "fwd_tcp_flags", "ics_proto")
OPENING = "[SsHh]"
"""In Zeek's history: a SYN, or its answer, of either side."""
OPENED = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SHR")
"""States of connections whose opening was seen."""
TCP = 6
SYN, ACK = 2, 16


def opened(rows: pa.RecordBatch) -> Mask:
    """(n,) whether a flow's source is known to have opened its connection: both ways are one record with its opening.

    Zeek's history says it better than its state: RSTOS0 is also data and a reset, and nothing before (DR).
    """
    is_tcp = _mask(pc.equal(rows.column("ip_proto"), TCP)) & _mask(rows.column("is_biflow"))
    history = rows.column("history").cast(pa.string())
    by_state = _mask(pc.is_in(rows.column("conn_state"), value_set=pa.array(OPENED)))
    is_known: Mask = history.is_valid().to_numpy(zero_copy_only=False)
    is_open: Mask = is_tcp & np.where(is_known, _mask(pc.match_substring_regex(history, OPENING)), by_state)
    return is_open


def asked(rows: pa.RecordBatch) -> Mask:
    """(n,) whether a flow's source is known to have asked: it opened the connection, or sent industrial requests."""
    flags = integers(rows, "fwd_tcp_flags", 0)
    by_syn = ((flags & (SYN | ACK)) == SYN) & _mask(pc.equal(rows.column("ip_proto"), TCP))
    by_request: Mask = rows.column("ics_proto").is_valid().to_numpy(zero_copy_only=False)
    of_source: Mask = opened(rows) | by_syn | by_request
    return of_source


def answering(rows: pa.RecordBatch) -> Mask:
    """(n,) whether flows go from a service to who uses it: by their ports, unless the source is shown to have asked.

    A sensor that orders ends by address (UNORDERED) shows nothing by them.
    """
    answers = is_answer(integers(rows, "src_port", -1), integers(rows, "dst_port", -1))
    at = np.flatnonzero(answers)
    if len(at):
        few = rows.select(READ).take(pa.array(at))
        ordered = ~_mask(pc.equal(few.column("source_type"), UNORDERED))
        answers[at] = ~(asked(few) & ordered)
    return answers


def _mask(column: pa.Array) -> Mask:
    mask: Mask = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return mask
