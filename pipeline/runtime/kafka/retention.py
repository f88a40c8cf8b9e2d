"""What retention deleted before it was read: said in the log and counted, where a stage continues without it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, TopicPartition

from pipeline.runtime.telemetry import Telemetry, log

Ints = npt.NDArray[np.integer[Any]]

ASK_S = 10.0
# One offset is the mark behind a transaction, which no reader sees: nothing is lost with it.
MARK = 1


class DeletedUnread:
    """Compares the offsets that are read with those that were to come, and asks Kafka where some are missing.

    A hole alone says nothing: transactions that were aborted leave one. What lies below the partition's first offset
    has been deleted.
    """

    def __init__(self, telemetry: Telemetry, consumer: Consumer, topic: str) -> None:
        self._telemetry, self._consumer, self._topic = telemetry, consumer, topic
        self._next: dict[int, int] = {}
        telemetry.count("forebay_offsets_deleted_unread", 0, stage=telemetry.stage_name)

    def start(self, positions: Mapping[int, int]) -> None:
        """Partitions are read from these positions; of one without (negative: nothing committed) nothing is missing."""
        for partition, position in positions.items():
            self._next.pop(partition, None)
            if position >= 0:
                self._next[partition] = position

    def observe(self, partitions: Ints, offsets: Ints) -> int:
        """Note what was read, offsets ascending in each partition; how many offsets had been deleted before it.

        KafkaException where Kafka does not say what it holds.
        """
        return sum(
            self._observe(partition, offsets[partitions == partition]) for partition in np.unique(partitions).tolist()
        )

    def _observe(self, partition: int, offsets: Ints) -> int:
        expected = self._next.get(partition, int(offsets[0]))
        self._next[partition] = max(expected, int(offsets[-1]) + 1)
        if not holes(expected, offsets, int(offsets[-1])):
            return 0
        at = TopicPartition(self._topic, partition)
        first, _end = self._consumer.get_watermark_offsets(at, timeout=ASK_S)
        deleted = holes(expected, offsets, first)
        if deleted:
            stage = self._telemetry.stage_name
            self._telemetry.count("forebay_offsets_deleted_unread", deleted, stage=stage)
            log(stage).warning(
                "deleted before it was read",
                topic=self._topic,
                partition=partition,
                position=expected,
                first_offset=first,
                offsets=deleted,
                remedy="raise the topic's retention, or the worker was away for longer: send it again from its source",
            )
        return deleted


def holes(expected: int, offsets: Ints, below: int) -> int:
    """How many offsets below `below` are missing where `expected` was to come first; single ones do not count."""
    before = np.concatenate((np.array([expected], np.int64), offsets[:-1] + 1))
    missing = np.minimum(offsets, below) - before
    return int(missing[missing > MARK].sum())
