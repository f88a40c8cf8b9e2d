"""Whole random numbers for a purpose: a function of the seed and the purpose's name, the same on every machine."""

from zlib import crc32

import numpy as np
import numpy.typing as npt

from loadtest.conn_json import mixed

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


class Chance:
    """A stream of numbers of its own for each purpose, so that what is added to a plant changes nothing else of it."""

    def __init__(self, seed: int, *purpose: str | int) -> None:
        named = [part if isinstance(part, int) else crc32(part.encode()) for part in purpose]
        self._key = int(mixed(seed, *named)[0])
        self._drawn = 0

    def words(self, count: int) -> Words:
        """(count,) uint64, no two alike within a plant but by an accident of 1 in 10^7."""
        first = self._drawn
        self._drawn += count
        return mixed(self._key, np.arange(first, first + count))

    def below(self, bound: int | Ints, count: int) -> Ints:
        """(count,) whole numbers from 0 to below `bound`, one bound or one a number."""
        limits = np.broadcast_to(np.asarray(bound, np.int64), (count,))
        return ((self.words(count) >> np.uint64(1)).astype(np.int64)) % np.maximum(limits, 1)

    def between(self, low: int, high: int, count: int) -> Ints:
        """(count,) whole numbers from `low` to `high`."""
        return low + self.below(high - low + 1, count)

    def near(self, middle: int | Ints, percent: int, count: int) -> Ints:
        """(count,) whole numbers around `middle`, most of them close, none farther than so many percent."""
        centre = np.broadcast_to(np.asarray(middle, np.int64), (count,))
        reach = np.maximum(centre * percent // 100, 1)
        numbers: Ints = np.maximum(centre + self.below(reach, count) + self.below(reach, count) - reach + 1, 0)
        return numbers

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return int(self.between(low, high, 1)[0])
