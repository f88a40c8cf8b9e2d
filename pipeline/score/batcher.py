"""Which requests go to an engine together, and when: a function of the times that are passed in.

While no engine works, what waits is dispatched at once. While some do, requests are held so that they share a batch:
until as many rows as a batch takes wait, or until the oldest of them could no longer be answered in time, by what a
batch took so far.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

TILE = 1024
"""Rows that an engine computes in one go: what a batch takes is counted in tiles."""
SMOOTHING = 0.2
"""What the newest batch counts in what a tile is thought to take."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batcher keeps to.

    Attributes
    ----------
    max_rows : rows of a batch, and so of a request
    max_waiting_rows : rows that wait at most; more are turned away
    engines : batches that can be computed at the same time
    budget_us : from a request's arrival to its answer
    """

    max_rows: int
    max_waiting_rows: int
    engines: int
    budget_us: int

    def __post_init__(self) -> None:
        if min(self.max_rows, self.engines) < 1 or self.max_waiting_rows < self.max_rows or self.budget_us < 0:
            raise ValueError(
                f"batcher: got {self}, expected a row and an engine at least, as many waiting rows as a batch has, and "
                "no negative budget"
            )


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    item: T
    rows: int
    arrived_us: int


class Batcher(Generic[T]):
    """Requests in the order they came; a batch is the longest run of them, from the oldest on, that fits.

    Times are microseconds of one clock that does not go back.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.working = 0
        """Batches that are being computed."""
        self.waiting_rows = 0
        self._waiting: deque[_Waiting[T]] = deque()
        self._tile_us = 0.0

    def offer(self, item: T, rows: int, now_us: int) -> bool:
        """Take a request in; False where too much waits. ValueError where it is larger than a batch, or has no row."""
        if not 0 < rows <= self.limits.max_rows:
            raise ValueError(f"request: got {rows} rows, expected 1 to {self.limits.max_rows}")
        if self.waiting_rows + rows > self.limits.max_waiting_rows:
            return False
        self._waiting.append(_Waiting(item, rows, now_us))
        self.waiting_rows += rows
        return True

    def next_batch(self, now_us: int) -> list[T]:
        """The requests to compute now, which then count as work until `done`; none where it is better to wait."""
        due_us = self.due_us()
        if due_us is None or now_us < due_us:
            return []
        self.working += 1
        batch, rows = [], 0
        while self._waiting and rows + self._waiting[0].rows <= self.limits.max_rows:
            first = self._waiting.popleft()
            batch.append(first.item)
            rows += first.rows
        self.waiting_rows -= rows
        return batch

    @property
    def oldest_us(self) -> int | None:
        """When the oldest of what waits came; None where nothing waits."""
        return self._waiting[0].arrived_us if self._waiting else None

    def due_us(self) -> int | None:
        """From when on `next_batch` has one; None while nothing waits or every engine works."""
        if not self._waiting or self.working >= self.limits.engines:
            return None
        oldest = self._waiting[0].arrived_us
        # Before the first batch was computed nobody knows how long one takes: nothing is held.
        if self.working == 0 or self.waiting_rows >= self.limits.max_rows or not self._tile_us:
            return oldest
        return max(oldest, oldest + self.limits.budget_us - self.predicted_us(self.waiting_rows))

    def done(self, rows: int, took_us: int) -> None:
        """A batch of so many rows was computed, in so long."""
        self.working -= 1
        a_tile = took_us / _tiles(rows)
        self._tile_us += (a_tile - self._tile_us) * (SMOOTHING if self._tile_us else 1.0)

    def failed(self) -> None:
        """A batch was not computed; nothing is learnt from it."""
        self.working -= 1

    def predicted_us(self, rows: int) -> int:
        """How long so many rows would take to compute, one batch at most; 0 before the first was."""
        return int(self._tile_us * _tiles(min(rows, self.limits.max_rows)))

    def backlog_us(self) -> int:
        """How long what waits and is being computed would take all engines."""
        tiles = _tiles(self.waiting_rows) + self.working * _tiles(self.limits.max_rows)
        return int(self._tile_us * tiles / self.limits.engines)


def _tiles(rows: int) -> int:
    return -(-rows // TILE)
