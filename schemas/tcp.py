"""TCP flags, and the connection states that follow from them: one rule for decoders and for stitching."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.fields import load

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
CONN_STATES = load("flow").field("conn_state").enum


def derive_conn_states(protocol: Numbers, fwd: Numbers, rev: Numbers, replied: Mask, known: Mask) -> pa.StringArray:
    """Zeek's connection state from each side's flags, whose order is unknown.

    Parameters
    ----------
    protocol : (n,) IP protocol, 0 where there is no IP.
    fwd, rev : (n,) OR of the originator's and responder's TCP flags.
    replied : (n,) whether the responder sent anything.
    known : (n,) whether the sensor reports flags at all.

    UDP and ICMP are SF, as in the KDD data; other protocols, and TCP that shows no opening, OTH.
    """
    both = (fwd & SYN > 0) & (rev & SYN > 0)
    opened = (fwd & SYN > 0) & (rev & SYN == 0)
    conditions = [
        opened & (rev & RST > 0),
        opened & (fwd & RST > 0),
        opened & (fwd & FIN > 0),
        opened & ~replied,
        both & (fwd & RST > 0),
        both & (rev & RST > 0),
        both & (fwd & FIN > 0) & (rev & FIN > 0),
        both & (fwd & FIN > 0),
        both & (rev & FIN > 0),
        both,
    ]
    states = ["REJ", "RSTOS0", "SH", "S0", "RSTO", "RSTR", "SF", "S2", "S3", "S1"]
    index = {state: number for number, state in enumerate(CONN_STATES)}
    chosen = np.select(conditions, [index[state] for state in states], index["OTH"])
    chosen = np.where((protocol == TCP) & known, chosen, index["OTH"])
    chosen = np.where(np.isin(protocol, (UDP, ICMP, ICMP6)), index["SF"], chosen)
    return pa.array(CONN_STATES).take(pa.array(chosen))
