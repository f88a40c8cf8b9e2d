"""Where a replay's results go beside its files: topics of the run's own, never those that people watch."""

import pyarrow as pa
from confluent_kafka import Producer

from pipeline.errors import Failed
from pipeline.kafka import clients
from pipeline.replay.request import Request
from pipeline.settings import Settings
from pipeline.wire.batches import CONTENT_TYPE, encode


def settings_of(settings: Settings, run: str) -> Settings:
    """The same cluster, with the run's own topics."""
    return settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}replay.{run}."})


class Outlet:
    """The run's topics `archive`, `suspects` and `alerts`; told again after a kill, messages carry the seq they had."""

    def __init__(self, settings: Settings, request: Request, partition: int) -> None:
        own = settings_of(settings, request.run)
        self._topics, self._partition = own.topics, partition
        self._producer: Producer | None = clients.producer(own, "replay") if request.topics else None

    def put(
        self,
        scored: pa.RecordBatch,
        suspects: pa.RecordBatch,
        events: list[tuple[str, bytes]],
        facts: dict[str, object],
    ) -> None:
        """One message's results."""
        if self._producer is None:
            return
        headers: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPE)]
        for topic, batch in ((self._topics.archive, scored), (self._topics.suspects, suspects)):
            self._send(topic, None, encode(batch, facts), headers)
        for uid, event in events:
            self._send(self._topics.alerts, uid.encode(), event, [("content-type", "application/json")])

    def _send(self, topic: str, key: bytes | None, value: bytes, headers: list[tuple[str, str | bytes | None]]) -> None:
        if self._producer is None:
            return
        while True:
            try:
                self._producer.produce(topic, value, key=key, partition=self._partition, headers=headers)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def flush(self) -> None:
        """Wait until Kafka has all of it."""
        if self._producer is not None and (left := self._producer.flush(60)):
            raise Failed(f"replay: {left} messages not acknowledged in 60 s; check the brokers")
