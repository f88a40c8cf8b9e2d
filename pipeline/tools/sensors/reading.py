"""The topic `baselines` as its readers see it: no group is joined, nothing is committed."""

import time
from collections.abc import Iterator

import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.contracts.notices import Notice
from pipeline.errors import BadData, Usage
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.sensors.histories import SensorHistory, StoredNotice, histories
from pipeline.tools.sensors.wait_words import LISTED

POLL_S = 0.2
MAX_LISTED = 5


class NoticesReader:
    """Reads the topic; messages that are no notices are counted as `unreadable`, the last one with its error."""

    def __init__(self, settings: Settings) -> None:
        self.unreadable = 0
        self.error = ""
        self._topic = settings.topics.baselines
        self._consumer: Consumer = clients.reader(settings, "sensors", **tail.EOF_EVENTS)
        try:
            with clients.asking(settings, f"topic {self._topic}"):
                self._ends = tail.ends(settings, self._topic, tail.partitions_of(self._consumer, self._topic))
        except BaseException:
            self._consumer.close()
            raise

    def stored(self) -> Iterator[StoredNotice]:
        """The notices that the topic holds now, those of a partition in their order."""
        self._consumer.assign([TopicPartition(self._topic, partition, 0) for partition in self._ends])
        for message in tail.read_to(self._consumer, self._topic, self._ends):
            yield from self._read(message)

    def following(self, wait_s: float) -> Iterator[StoredNotice]:
        """Notices written after those that `stored` gave, as they come within so many seconds."""
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            for message in self._consumer.consume(500, POLL_S):
                error = message.error()
                if error is None:
                    yield from self._read(message)
                elif error.fatal():
                    raise KafkaException(error)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _read(self, message: Message) -> Iterator[StoredNotice]:
        value = message.value()
        if value is None:
            return
        try:
            notice = Notice.of(orjson.loads(value))
        except (BadData, orjson.JSONDecodeError) as error:
            self.unreadable += 1
            self.error = str(error)
            return
        yield StoredNotice(notice, message.timestamp()[1] * 1_000, message.partition() or 0)


def history_of(reader: NoticesReader, name: str) -> SensorHistory:
    """The history of the sensor called SITE/SENSOR; Usage where the topic knows none of that name."""
    known = {"/".join(sensor): history for sensor, history in histories(reader.stored()).items()}
    if name not in known:
        listed = ", ".join(list(known)[:MAX_LISTED]) or "none yet"
        more = f" and {len(known) - MAX_LISTED} more" if len(known) > MAX_LISTED else ""
        raise Usage(
            f"sensor {printable(name, 260)}: got none of that name that is listed, expected SITE/SENSOR of one that is "
            f"({printable(listed)}{more}); {LISTED}; `forebay sensor list` names those that are not yet"
        )
    return known[name]
