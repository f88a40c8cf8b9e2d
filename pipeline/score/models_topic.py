"""The topic `models` as score reads it: from the beginning, then whatever is new, into the ledger of promotions."""

from collections.abc import Iterable
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from pipeline.errors import BadData
from pipeline.kafka import clients, tail
from pipeline.score.promotions import Ledger
from pipeline.settings import Settings
from pipeline.telemetry import log

PARTITION = 0


class ModelsTopic:
    """A reader of `models` and what its records amount to; it commits nothing and reads only what was committed."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self.ledger = Ledger(partitions)
        self._settings = settings
        self._topic = settings.topics.models
        self._log = log("score")
        self._reader = clients.reader(settings, "score-models", **tail.EOF_EVENTS)
        self._reader.assign([TopicPartition(self._topic, PARTITION, OFFSET_BEGINNING)])
        self._reached = 0

    def catch_up(self, timeout_s: float = 90.0) -> None:
        """Read to the topic's present end, waiting for open transactions: a vote may be on its way in one."""
        end = tail.ends(self._settings, self._topic, [PARTITION])[PARTITION]
        if end > self._reached:
            self._take(tail.read_to(self._reader, self._topic, {PARTITION: end}, timeout_s))
            self._reached = max(self._reached, end)

    def look(self) -> None:
        """Take what has arrived meanwhile; never waits."""
        messages = self._reader.consume(100, 0)
        for message in messages:
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                self._reached = max(self._reached, message.offset() or 0)
        self._take(message for message in messages if not _is_end(message))

    def _take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            record = self._record(message)
            if record is None:
                continue
            try:
                self.ledger.take(record)
            except BadData as error:
                # Nobody's data: every worker ignores it alike, and the one who wrote it gets no acceptance.
                self._log.warning("record of models ignored", offset=message.offset(), error=str(error))
            else:
                self._log.info("record of models", offset=message.offset(), **_shown(record))

    def _record(self, message: Message) -> dict[str, Any] | None:
        try:
            record = orjson.loads(message.value() or b"")
        except orjson.JSONDecodeError:
            record = None
        if isinstance(record, dict):
            return record
        self._log.warning("record of models ignored", offset=message.offset(), error="not a JSON object")
        return None

    def close(self) -> None:
        """Leave."""
        self._reader.close()


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    if error.fatal():
        raise KafkaException(error)
    return True


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("kind", "promotion", "model", "partition", "reason") if name in record}
