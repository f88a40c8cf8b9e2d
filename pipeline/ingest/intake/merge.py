"""Partitions of a topic in one order: by Kafka's timestamp, so that none is read hours ahead of the others.

A collector without a key spreads one exporter's records over all partitions. Read one partition after another, a
backlog would come out of order by as much as it is long; merged, it is out of order by no more than its senders were,
and what is left of that featurize orders within the site's lateness.

    partition 0   1s  4s  9s  | not at its end
    partition 1   2s  3s      | not at its end       released: 1s 2s 3s; what comes next in 1 may be before 4s
"""

from collections import deque
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

Content = TypeVar("Content")
Partition = tuple[str, int]


class Entry(NamedTuple, Generic[Content]):
    """A message that was read: Kafka's timestamp, where it stood, and the message."""

    timestamp_ms: int
    partition: Partition
    offset: int
    message: Content


class PartitionMerge(Generic[Content]):
    """Holds messages back until none that is older can come from another partition of their topic."""

    def __init__(self) -> None:
        self._waiting: dict[Partition, deque[Entry[Content]]] = {}
        self._newest: dict[Partition, int] = {}
        self._at_end: set[Partition] = set()

    def assign(self, partitions: Iterable[Partition]) -> None:
        """These are read from now on; what waits of them stays."""
        for partition in partitions:
            self._waiting.setdefault(partition, deque())

    def add(self, entry: Entry[Content]) -> None:
        """A message that was read, in the order of its partition's offsets."""
        self._waiting[entry.partition].append(entry)
        # A sender's clock may step back; what is behind it in the partition is not older for that.
        self._newest[entry.partition] = max(entry.timestamp_ms, self._newest.get(entry.partition, 0))
        self._at_end.discard(entry.partition)

    def reached_end(self, partition: Partition) -> None:
        """There is nothing more in a partition for now: no other one waits for it."""
        self._at_end.add(partition)

    def waiting(self, partition: Partition) -> int:
        """How many messages of a partition are held back."""
        return len(self._waiting[partition])

    def released(self, limit: int) -> list[Entry[Content]]:
        """At most `limit` messages that nothing older can follow, by timestamp; those of a partition by offset."""
        bounds = self._bounds()
        ready: list[Entry[Content]] = []
        order: list[tuple[int, Partition, int]] = []
        for partition, entries in self._waiting.items():
            through = 0
            for entry in entries:
                through = max(through, entry.timestamp_ms)
                if through > bounds[partition[0]]:
                    break
                order.append((through, partition, entry.offset))
                ready.append(entry)
        chosen = sorted(range(len(ready)), key=order.__getitem__)[:limit]
        result = [ready[index] for index in chosen]
        for entry in result:
            self._waiting[entry.partition].popleft()
        return result

    def _bounds(self) -> dict[str, float]:
        """Of each topic, up to which timestamp its partitions have been read."""
        bounds: dict[str, float] = {}
        for partition in self._waiting:
            read_to = float("inf") if partition in self._at_end else float(self._newest.get(partition, -1))
            bounds[partition[0]] = min(bounds.get(partition[0], float("inf")), read_to)
        return bounds
