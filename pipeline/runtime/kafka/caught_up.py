"""Which partitions have been read to their end: where nothing unread waits behind what was read last."""

from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition


class CaughtUp:
    """The offset at which the client last reached each partition's end, and whether the end is still there.

    A position alone is not enough: behind the last record may stand the marker of its transaction, which no consumer
    sees. So the client's end-of-partition events are used; its consumer has them switched on.
    """

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._end_reached: dict[int, int] = {}

    def observe(self, consumed: Sequence[Message]) -> None:
        """Note the end-of-partition events among what `consume` gave back."""
        for message in consumed:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                partition, offset = message.partition(), message.offset()
                if partition is not None and offset is not None:
                    self._end_reached[partition] = offset

    def forget(self, partitions: Iterable[int]) -> None:
        """These are read from another position from now on, or by another worker."""
        for partition in partitions:
            self._end_reached.pop(partition, None)

    def partitions(self, candidates: Iterable[int]) -> set[int]:
        """Those of the candidates of which everything has been read, as far as the client knows (no request)."""
        return {partition for partition in candidates if self._caught_up(partition)}

    def _caught_up(self, partition: int) -> bool:
        reached = self._end_reached.get(partition)
        if reached is None:
            return False
        _low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return 0 <= high <= reached
