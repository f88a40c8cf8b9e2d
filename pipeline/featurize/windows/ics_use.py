"""What an edge asks of industrial devices: writes, control, exceptions, and what it never asked before."""

import numpy as np
import numpy.typing as npt

from pipeline.featurize.compiled import compiled

ICS_FEATURES = 10
FUNCTION_WORDS, UNIT_WORDS = 4, 4  # of 64 bits: codes and units are distinguished modulo 256
FWD_BYTES, BYTES, FWD_PACKETS, PACKETS, REQUESTS, WRITES, EXCEPTIONS, LOWEST, HIGHEST = range(9)
"""Columns of an edge's sums: seven damped (half-life 60 s), then the addresses named so far, plus 1; 0 for none."""
EDGE_SUMS = 9

Values = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint64]


@compiled
def never_seen(bits: Bits, codes: npt.NDArray[np.int64], start: int, end: int, step: int, late: bool) -> int:
    """How many different of codes[start:end:step] are not among the bits (256 of them); they are set unless late."""
    new, first, second, third, fourth = 0, bits[0], bits[1], bits[2], bits[3]
    for index in range(start, end, step):
        code = codes[index] & 255
        word, bit = code >> 6, np.uint64(1) << np.uint64(code & 63)
        if bits[word] & bit == np.uint64(0):
            new += 1
            bits[word] |= bit
    if late:
        bits[0], bits[1], bits[2], bits[3] = first, second, third, fourth
    return new


@compiled
def ics_use(
    e: Values,
    left: float,
    reads: float,
    writes: float,
    control: float,
    exceptions: float,
    late: bool,
    out: npt.NDArray[np.float32],
) -> None:
    """Write shares of writes, control requests and exceptions into out[0:6]; add to the sums unless late.

    e (9,): the edge's sums; left: what is left of them now.
    """
    requests = reads + writes + control
    before, wrote = e[REQUESTS] * left, e[WRITES] * left
    refused = e[EXCEPTIONS] * left
    share = writes / requests if requests > 0.0 else 0.0
    out[0] = share
    out[1] = (wrote + writes) / (before + requests) if before + requests > 0.0 else 0.0
    out[2] = abs(share - wrote / before) if requests > 0.0 and before > 0.0 else 0.0
    out[3] = control
    out[4] = min(exceptions / max(requests, exceptions), 1.0) if exceptions > 0.0 else 0.0
    out[5] = min((refused + exceptions) / (before + requests), 1.0) if before + requests > 0.0 else 0.0
    if not late:
        e[REQUESTS], e[WRITES], e[EXCEPTIONS] = before + requests, wrote + writes, refused + exceptions


@compiled
def range_growth(e: Values, lowest: float, highest: float, late: bool) -> float:
    """By how many addresses a flow goes beyond those its edge named before; 0 for its first, or where none is known."""
    if lowest < 0.0 or highest < 0.0:
        return 0.0
    grown = 0.0
    if e[HIGHEST] > 0.0:
        grown = max(e[LOWEST] - 1.0 - lowest, 0.0) + max(highest - (e[HIGHEST] - 1.0), 0.0)
    if not late:
        e[LOWEST] = min(e[LOWEST], lowest + 1.0) if e[HIGHEST] > 0.0 else lowest + 1.0
        e[HIGHEST] = max(e[HIGHEST], highest + 1.0)
    return grown
