"""How much a stage has counted lately: of counters that start anew with every worker. Pure."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.contracts.envelope import SensorName
from pipeline.tools.triage.figures.readings import RECORDS, Reading, Series

HOUR_US = 3_600_000_000
WINDOW_US = 24 * HOUR_US
MAX_WORKERS = 4_096


@dataclass(slots=True)
class Bucket:
    """What was counted within an hour; in the first one, since the workers started."""

    from_us: int
    until_us: int
    counts: Counter[Series] = field(default_factory=Counter)


class Growth:
    """One stage's counts of a day, by sensor.

    `since_us` says from when on they are, and is true to an hour: counts of a worker that started longer ago than a day
    before the first round are of the rounds alone.
    """

    def __init__(self) -> None:
        self.totals: Counter[Series] = Counter()
        self.seen_us: dict[SensorName, int] = {}
        """When a sensor's records were last seen to grow in number."""
        self._buckets: deque[Bucket] = deque()
        self._last: dict[str, tuple[int, Reading]] = {}

    @property
    def since_us(self) -> int | None:
        """From when on it counts; None before the first round."""
        return self._buckets[0].from_us if self._buckets else None

    def take(self, workers: Mapping[str, Reading], now_us: int) -> None:
        """One round: what each worker of the stage that answers says, by its address."""
        if not workers:
            return
        is_first = not self._buckets
        if is_first:
            started_us = [each.started_us for each in workers.values()]
            young = min(started_us) >= now_us - WINDOW_US
            self._buckets.append(Bucket(min(*started_us, now_us) if young else now_us, now_us))
        elif now_us - self._buckets[-1].from_us >= HOUR_US:
            self._buckets.append(Bucket(self._buckets[-1].until_us, now_us))
        for name, reading in workers.items():
            grown = self._grown(name, reading)
            self._buckets[-1].counts.update(grown)
            self.totals.update(grown)
            for series in grown if not is_first else ():
                if series.figure == RECORDS:
                    self.seen_us[series.site, series.sensor] = now_us
            self._last[name] = now_us, reading
        self._buckets[-1].until_us = now_us
        self._forget(now_us)

    def _grown(self, name: str, reading: Reading) -> dict[Series, int]:
        _, before = self._last.get(name, (0, None))
        counted: Mapping[Series, int] = {}
        if before is not None and before.started_us == reading.started_us:
            counted = before.counts
        elif reading.started_us < self._buckets[0].from_us:
            counted = reading.counts  # since a time that is not watched
        grown = {series: value - counted.get(series, 0) for series, value in reading.counts.items()}
        return {series: value for series, value in grown.items() if value > 0}

    def _forget(self, now_us: int) -> None:
        while len(self._buckets) > 1 and self._buckets[0].until_us < now_us - WINDOW_US:
            self.totals.subtract(self._buckets.popleft().counts)
            self.totals = +self.totals
        for name in [name for name, (at_us, _) in self._last.items() if at_us < now_us - WINDOW_US]:
            del self._last[name]
        for name in sorted(self._last, key=lambda name: self._last[name][0])[: max(0, len(self._last) - MAX_WORKERS)]:
            del self._last[name]
