"""How often labelled rows count where a candidate's network is fitted: a person's verdict more than other labels.

Rows of the base set and of label files count once: a rule or a time gave them their labels. A verdict's rows count
several times, and all of a verdict together no more than so many: an incident of thousands of flows is one thing that
somebody looked at.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.runtime.hashing import mix64

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VerdictWeight:
    """times: how often a row counts that a verdict has labelled. max_rows: what one verdict's rows count in all."""

    times: int = 4
    max_rows: int = 512


def counts_of(verdict: npt.NDArray[np.str_], positions: Ints, weight: VerdictWeight) -> Ints:
    """(n,) how often each row counts, from the verdict (n,) that labels it, empty for none, and raw positions (3, n).

    Where a verdict labels more rows than may count, a hash of their positions draws those that do; the others count 0.
    """
    _, number, rows = np.unique(verdict, return_inverse=True, return_counts=True)
    total = np.minimum(rows * weight.times, weight.max_rows)[number]
    order = np.lexsort((_drawn(positions), number))
    rank = np.empty(len(verdict), np.int64)
    rank[order] = np.arange(len(verdict)) - np.searchsorted(number[order], number[order])
    each, further = total // rows[number], total % rows[number]
    counts: Ints = np.where(verdict == "", 1, each + (rank < further))
    return counts


def _drawn(positions: Ints) -> npt.NDArray[np.uint64]:
    """(n,) numbers that do not depend on how the rows lie."""
    key = np.zeros(positions.shape[1], np.uint64)
    for part in positions:
        key = mix64((key ^ part.astype(np.uint64)) + np.uint64(1))
    return key
