"""Partitions of a topic in one order: by Kafka's timestamp, so that none is read hours ahead of the others.

A collector without a key spreads one exporter's records over all partitions. Read one partition after another, a
backlog would come out of order by as much as it is long; merged, it is out of order by no more than its senders were,
and what is left of that featurize orders within the site's lateness.

    partition 0   1s  4s  9s  | not at its end
    partition 1   2s  3s      | not at its end       released: 1s 2s 3s; what comes next in 1 may be before 4s
"""

from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

Content = TypeVar("Content")
Partition = tuple[str, int]


class _Waiting(NamedTuple, Generic[Content]):
    """What is held back of one partition, by offset."""

    messages: list[Content]
    timestamps_ms: list[int]
    sizes_bytes: list[int]


class PartitionMerge(Generic[Content]):
    """Holds messages back until none that is older can come from another partition of their topic."""

    def __init__(self) -> None:
        self._waiting: dict[Partition, _Waiting[Content]] = {}
        self._newest: dict[Partition, int] = {}
        self._at_end: set[Partition] = set()

    def assign(self, partitions: Iterable[Partition]) -> None:
        """These are read from now on; what waits of them stays."""
        for partition in partitions:
            self._waiting.setdefault(partition, _Waiting([], [], []))

    def add(
        self,
        partition: Partition,
        messages: Sequence[Content],
        timestamps_ms: Sequence[int],
        sizes_bytes: Sequence[int],
    ) -> None:
        """Messages that were read, in the order of their offsets, with Kafka's timestamps and their sizes."""
        waiting = self._waiting[partition]
        waiting.messages.extend(messages)
        waiting.timestamps_ms.extend(timestamps_ms)
        waiting.sizes_bytes.extend(sizes_bytes)
        # A sender's clock may step back; what is behind it in the partition is not older for that.
        self._newest[partition] = max(self._newest.get(partition, -1), max(timestamps_ms, default=-1))
        self._at_end.discard(partition)

    def reached_end(self, partition: Partition) -> None:
        """There is nothing more in a partition for now: no other one waits for it."""
        self._at_end.add(partition)

    def waiting(self, partition: Partition) -> int:
        """How many messages of a partition are held back."""
        return len(self._waiting[partition].messages)

    def waiting_bytes(self, partition: Partition) -> int:
        """How large the messages of a partition that are held back are."""
        return sum(self._waiting[partition].sizes_bytes)

    def released(self, limit: int, limit_bytes: int) -> list[Content]:
        """The messages that nothing older can follow, by timestamp; those of a partition by offset.

        At most `limit`, and of `limit_bytes`, but one at least.
        """
        bounds = self._bounds()
        ready: list[Content] = []
        times, sizes = [np.zeros(0, np.int64)], list[int]()
        for partition, waiting in self._waiting.items():
            stamps = np.maximum.accumulate(np.array(waiting.timestamps_ms, np.int64))
            times.append(stamps[: np.searchsorted(stamps, bounds[partition[0]], "right")])
            ready += waiting.messages[: len(times[-1])]
            sizes += waiting.sizes_bytes[: len(times[-1])]
        part = np.repeat(np.arange(len(times)), [len(each) for each in times])
        order = np.lexsort((part, np.concatenate(times)))[:limit]  # stable: offsets keep their order
        total = np.cumsum(np.array(sizes, np.int64)[order])
        order = order[: max(1, int(np.searchsorted(total, limit_bytes, "right")))]
        counts = np.bincount(part[order], minlength=len(times))[1:]
        for waiting, count in zip(self._waiting.values(), counts.tolist(), strict=True):
            del waiting.messages[:count], waiting.timestamps_ms[:count], waiting.sizes_bytes[:count]
        return [ready[index] for index in order.tolist()]

    def _bounds(self) -> dict[str, float]:
        """Of each topic, up to which timestamp its partitions have been read."""
        bounds: dict[str, float] = {}
        for partition in self._waiting:
            read_to = float("inf") if partition in self._at_end else float(self._newest.get(partition, -1))
            bounds[partition[0]] = min(bounds.get(partition[0], float("inf")), read_to)
        return bounds
