"""The topic `rejects` as its readers see it: no group is joined, nothing is committed."""

from collections.abc import Callable, Iterator

import pyarrow as pa
from confluent_kafka import IsolationLevel, KafkaException, Message, TopicPartition

from pipeline.contracts.envelope import MessagePosition, RejectsFacts
from pipeline.errors import BadData, SchemaMismatch
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.wire import messages
from pipeline.settings import Settings

POLL_S = 0.2
REQUEST_S = 10.0


class RejectsReader:
    """Reads the topic; messages that are none of ingest's are counted as `unreadable`, the last one with its error."""

    def __init__(self, settings: Settings) -> None:
        self.unreadable = 0
        self.error = ""
        self._settings = settings
        self._topic = settings.topics.rejects
        self._consumer = clients.reader(settings, "rejects", **tail.EOF_EVENTS)
        try:
            self._ends = tail.ends(
                settings,
                self._topic,
                tail.partitions_of(self._consumer, self._topic),
                isolation=IsolationLevel.READ_COMMITTED,
            )
        except BaseException:
            self._consumer.close()
            raise

    def stored(
        self, since_us: int | None = None, notify: Callable[[int, int], None] = lambda _done, _total: None
    ) -> Iterator[pa.RecordBatch]:
        """The rejects that the topic holds now; `notify` is called with how many offsets are read, of how many."""
        starts = self._starts(since_us)
        total = sum(self._ends[partition] - start for partition, start in starts.items())
        read = dict.fromkeys(starts, 0)
        self._assign(starts)
        for message in tail.read_to(self._consumer, self._topic, self._ends):
            position = _position(message)
            read[position.partition] = position.offset + 1 - starts[position.partition]
            notify(sum(read.values()), total)
            yield from self._rows(message)

    def following(self, stop: Stop, after_stored: bool) -> Iterator[pa.RecordBatch]:
        """Further rejects as they come, until asked to stop; `after_stored`: after what `stored` was read to."""
        if not after_stored:
            self._assign(self._ends)
        while not stop.requested:
            for message in self._consumer.consume(500, POLL_S):
                error = message.error()
                if error is None:
                    yield from self._rows(message)
                elif error.fatal():
                    raise KafkaException(error)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _starts(self, since_us: int | None) -> dict[int, int]:
        """First offset of each partition that may hold a reject since then.

        A message of `rejects` is sent after the raw messages it is of, by another machine's clock: clocks may differ
        by as much as ingest allows them to.
        """
        starts = {}
        for partition, end in self._ends.items():
            first, _ = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), REQUEST_S)
            starts[partition] = min(first, end)
        if since_us is not None:
            from_ms = max(0, since_us - self._settings.max_future_us) // 1_000
            asked = [TopicPartition(self._topic, partition, from_ms) for partition in starts]
            for at in self._consumer.offsets_for_times(asked, REQUEST_S):
                if at.error is not None:
                    raise KafkaException(at.error)
                end = self._ends[at.partition]
                starts[at.partition] = min(max(starts[at.partition], at.offset), end) if at.offset >= 0 else end
        return starts

    def _assign(self, offsets: dict[int, int]) -> None:
        self._consumer.assign([TopicPartition(self._topic, partition, at) for partition, at in offsets.items()])

    def _rows(self, message: Message) -> Iterator[pa.RecordBatch]:
        try:
            rows, _facts = messages.read(_payload(message), RejectsFacts, _position(message))
        except (BadData, SchemaMismatch) as error:
            self.unreadable += 1
            self.error = str(error)
            return
        yield rows


def _position(message: Message) -> MessagePosition:
    return MessagePosition(message.topic() or "", message.partition() or 0, message.offset() or 0)


def _payload(message: Message) -> bytes:
    value = message.value()
    return value if isinstance(value, bytes) else b""
