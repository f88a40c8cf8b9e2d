"""Counts by key of how two models agree on suspects, of a bounded number of keys."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Key: TypeAlias = tuple[str | int, ...]
"""Site and sensor, two classes, a model, an hour: of one tally all are of the same kind."""

NEITHER, DROPPED, ADDED, BOTH = OUTCOMES = range(4)
"""Who calls a row a suspect: nobody, the model in use alone, the candidate alone, both."""


class Tally:
    """(4,) rows by outcome, of at most `capacity` keys; the rows of all others are one entry.

    Which keys are kept depends on the keys alone, not on the order in which they come: the first ones as they sort, or
    with `newest` the last ones.
    """

    def __init__(self, capacity: int, newest: bool = False) -> None:
        self.by_key: dict[Key, Ints] = {}
        self.others: Ints = np.zeros(len(OUTCOMES), np.int64)
        self._capacity, self._newest = capacity, newest

    def add(self, keys: Sequence[Key], number: Ints, outcome: Ints) -> None:
        """Add n rows: of each (n,) the number of its key, and who calls it a suspect."""
        cells = np.bincount(number * len(OUTCOMES) + outcome, minlength=len(keys) * len(OUTCOMES))
        for key, counts in zip(keys, cells.reshape(len(keys), len(OUTCOMES)).astype(np.int64), strict=True):
            self._put(key, counts)
        self._keep_within()

    def _put(self, key: Key, counts: Ints) -> None:
        if counts.any():
            known = self.by_key.get(key)
            self.by_key[key] = counts if known is None else known + counts

    def _keep_within(self) -> None:
        if len(self.by_key) > self._capacity:
            for key in sorted(self.by_key, reverse=self._newest)[self._capacity :]:
                self.others = self.others + self.by_key.pop(key)

    @property
    def total(self) -> Ints:
        """(4,) of all rows."""
        return sum(self.by_key.values(), self.others)

    def document(self) -> dict[str, Any]:
        """As JSON knows it, keys in order."""
        kept = [[list(key), self.by_key[key].tolist()] for key in sorted(self.by_key)]
        return {"kept": kept, "others": self.others.tolist()}

    def read(self, document: Any) -> None:
        """Take over what `document` gave; ValueError, KeyError or TypeError where it is something else."""
        self.by_key = {tuple(key): counts_of(counts, len(OUTCOMES)) for key, counts in document["kept"]}
        self.others = counts_of(document["others"], len(OUTCOMES))


def counts_of(listed: Any, length: int) -> Ints:
    """Counts from JSON; ValueError unless they are so many whole numbers from 0."""
    if not (isinstance(listed, list) and len(listed) == length and all(type(each) is int for each in listed)):
        raise ValueError(f"got {str(listed)[:80]}, expected {length} whole numbers")
    counts = np.array(listed, np.int64)
    if (counts < 0).any():
        raise ValueError(f"got {str(listed)[:80]}, expected whole numbers from 0")
    return counts
