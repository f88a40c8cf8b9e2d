"""Connection states where a sensor reports what happened on both sides together, not which side did it."""

import numpy as np
import pyarrow as pa

from pipeline.ingest.draft import Mask, Wholes
from pipeline.ingest.formats.protocols import CONN_STATES


def states_of_totals(opened: Mask, ended: Mask, reset: Mask, fwd_pkts: Wholes, rev_pkts: Wholes) -> pa.StringArray:
    """Zeek's connection state of TCP flows, (n,) strings.

    Parameters
    ----------
    opened, ended, reset : (n,) whether the connection was opened, and whether a FIN or a RST was seen of either side.
    fwd_pkts, rev_pkts : (n,) packets of each side.

    Without an answer: RSTOS0, SH, S0. A reset after at most one packet of each side refuses the connection, REJ; which
    side sent a later one is not known: RSTO. A FIN is taken for that of both sides: SF. Not opened: OTH.
    """
    answered = rev_pkts > 0
    refused = reset & (fwd_pkts <= 1) & (rev_pkts <= 1)
    conditions = [
        ~opened,
        ~answered & reset,
        ~answered & ended,
        ~answered,
        refused,
        reset,
        ended,
    ]
    states = ("OTH", "RSTOS0", "SH", "S0", "REJ", "RSTO", "SF")
    index = {state: number for number, state in enumerate(CONN_STATES)}
    chosen = np.select(conditions, [index[state] for state in states], index["S1"])
    return pa.array(CONN_STATES).take(pa.array(chosen))
