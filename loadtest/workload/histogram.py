"""Latencies as an HdrHistogram: buckets of three significant digits, whole arrays at a time, percentiles to p99.99.

The layout is HdrHistogram's (1 us to an hour, 2,048 sub-buckets), so that `.hgrm` texts can be read by its tools.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from loadtest.conn_json import Ints

MAX_US = 3_600_000_000
_HALF, _HALF_BITS = 1_024, 10
_BUCKETS = 22  # 2,048 << 21 is beyond MAX_US
SHOWN = (50.0, 90.0, 95.0, 99.0, 99.9)


def _index(values: Ints) -> Ints:
    """(n,) the bucket of each value."""
    # frexp gives the number of bits: exact, since no value has more than 53.
    bits = np.frexp(np.maximum(values, 1).astype(np.float64))[1].astype(np.int64)
    bucket = np.maximum(bits - _HALF_BITS - 1, 0)
    index: Ints = (bucket << _HALF_BITS) + (values >> bucket)
    return index


def _highest(index: Ints) -> Ints:
    """(n,) the highest value of each bucket."""
    bucket = np.maximum((index >> _HALF_BITS) - 1, 0)
    within = index - (bucket << _HALF_BITS)
    highest: Ints = ((within + 1) << bucket) - 1
    return highest


@dataclass(slots=True)
class Histogram:
    """Counts of latencies; those below 0 count as 0, those above an hour as an hour."""

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((_BUCKETS << _HALF_BITS) + _HALF, np.int64))
    max_us: int = 0
    total_us: int = 0

    def add(self, latencies_us: Ints) -> None:
        """Count (n,) latencies."""
        if len(latencies_us):
            values = np.clip(latencies_us.astype(np.int64), 0, MAX_US)
            np.add.at(self.counts, _index(values), 1)
            self.max_us = max(self.max_us, int(values.max()))
            self.total_us += int(values.sum())

    @property
    def count(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    def percentile_us(self, percent: float) -> int | None:
        """The value that so many percent do not exceed, as exact as its bucket; None where nothing was counted."""
        count = self.count
        if not count:
            return None
        wanted = max(1, int(np.ceil(count * percent / 100 - 1e-9)))
        index = np.searchsorted(np.cumsum(self.counts), wanted)
        return min(int(_highest(np.array([index]))[0]), self.max_us)

    def document(self) -> dict[str, float | int | None]:
        """Count, mean, percentiles and maximum in ms."""
        count = self.count
        shown = {f"p{percent:g}": _ms(self.percentile_us(percent)) for percent in SHOWN}
        mean = round(self.total_us / count / 1e3, 3) if count else None
        return {"count": count, "mean": mean, **shown, "max": _ms(self.max_us) if count else None}

    def curve(self, percents: Sequence[float]) -> list[tuple[float, float]]:
        """(percent, ms) of each of the percents; none where nothing was counted."""
        values = [(percent, self.percentile_us(percent)) for percent in percents]
        return [(percent, value / 1e3) for percent, value in values if value is not None]

    def hgrm(self) -> str:
        """The percentile distribution as HdrHistogram writes it, in ms."""
        lines = ["       Value     Percentile TotalCount 1/(1-Percentile)", ""]
        cumulative, count = np.cumsum(self.counts), self.count
        filled = np.flatnonzero(self.counts)
        values = np.minimum(_highest(filled), self.max_us) / 1e3
        for value, so_far in zip(values.tolist(), cumulative[filled].tolist(), strict=True):
            share = so_far / count
            inverse = f"{1 / (1 - share):16.2f}" if share < 1 else "inf"
            lines.append(f"{value:12.3f} {share:14.12f} {so_far:10d} {inverse:>16}")
        mean = self.total_us / count / 1e3 if count else 0.0
        lines += [
            "",
            f"#[Mean    = {mean:12.3f}]",
            f"#[Max     = {self.max_us / 1e3:12.3f}, Total count = {count:10d}]",
        ]
        return "\n".join(lines) + "\n"


def _ms(value_us: int | None) -> float | None:
    return None if value_us is None else round(value_us / 1e3, 3)
