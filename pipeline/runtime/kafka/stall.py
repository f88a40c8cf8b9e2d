"""A consumer that hangs is noticed: Kafka answers and holds more records, and the client brings none.

After a broker's restart this happens (librdkafka #4492, #5153), and nothing but a new client helps: a session ends, and
the next one reads on from what was committed; a Faust worker ends.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message

from pipeline.errors import Stalled
from pipeline.runtime.kafka import tail
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.settings import Settings

# A fetch answers within a second, an election takes some: records that wait for so long are not fetched.
QUIET_S = 30.0
# Records may have come at the moment of the question; a client that works fetches them in less.
CONFIRM_S = 10.0
ASK_S = 5.0

Partition = tuple[str, int]
Ends = Callable[[Iterable[Partition]], Mapping[Partition, int]]


class StallDetector:
    """Asks Kafka for the ends of partitions where nothing has come for a while, and compares.

    Parameters
    ----------
    ends : callable, optional
        Replaces the question to the broker: the end of each partition for a read_committed reader. For tests.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaWatch,
        ends: Ends | None = None,
        quiet_s: float = QUIET_S,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        self._settings, self._kafka = settings, kafka
        self._ends = ends or self._ask
        self._quiet_s, self._confirm_s = quiet_s, confirm_s
        self._behind: set[Partition] = set()
        self._check_at = time.monotonic() + quiet_s

    def moved(self) -> None:
        """Something came, or nothing is to be expected."""
        self._behind = set()
        self._check_at = time.monotonic() + self._quiet_s

    @property
    def due(self) -> bool:
        """Whether nothing has come for so long that `check` is to be called; never while Kafka is away."""
        if self._kafka.away:
            self.moved()
        return time.monotonic() >= self._check_at

    def check(self, reached: Mapping[Partition, int]) -> None:
        """Stalled where a partition was behind its end the last time, and is still; nothing has come in between.

        `reached` says for each assigned partition the offset to read next, marks of transactions included.
        """
        ends = self._ends(reached)
        behind = {partition for partition, end in ends.items() if end > reached[partition]}
        still = behind & self._behind
        if still:
            where = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(still))
            raise Stalled(
                f"{where}: got no records for {self._quiet_s + self._confirm_s:.0f} s although Kafka answers and holds "
                "more, expected a client that reads them; a new one reads on from what was committed or saved"
            )
        self._behind = behind
        self._check_at = time.monotonic() + (self._confirm_s if behind else self._quiet_s)

    def _ask(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        by_topic: dict[str, list[int]] = {}
        for topic, partition in partitions:
            by_topic.setdefault(topic, []).append(partition)
        try:
            return {
                (topic, partition): end
                for topic, numbers in by_topic.items()
                for partition, end in tail.ends(
                    self._settings, topic, numbers, ASK_S, IsolationLevel.READ_COMMITTED
                ).items()
            }
        except (KafkaException, TimeoutError):
            return {}  # unknown: the watch says where Kafka is away


class ConsumerStall:
    """The detector of one consumer, which was made with `tail.EOF_EVENTS`: those show how far it has come."""

    def __init__(self, detector: StallDetector, consumer: Consumer) -> None:
        self._detector, self._consumer = detector, consumer
        self._end_reached: dict[Partition, int] = {}

    def observe(self, consumed: Sequence[Message]) -> None:
        """Note what `consume` gave back; Stalled where nothing comes although Kafka holds more."""
        for message in consumed:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                self._end_reached[message.topic() or "", message.partition() or 0] = message.offset() or 0
        if consumed:
            self._detector.moved()
        elif self._detector.due:
            assigned = [(at.topic, at.partition) for at in self._consumer.assignment()]
            self._detector.check({at: self._end_reached.get(at, 0) for at in assigned})

    def forget(self, topic: str, partitions: Iterable[int]) -> None:
        """These are read from another position from now on, or by another worker."""
        for partition in partitions:
            self._end_reached.pop((topic, partition), None)
