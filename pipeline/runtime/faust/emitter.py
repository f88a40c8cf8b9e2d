"""What messages lead to, on its way to Kafka: in order, bounded, acknowledged before state is saved."""

from collections import deque
from collections.abc import Callable

from confluent_kafka import KafkaError, Message

from pipeline.errors import Backpressure, ForebayError
from pipeline.runtime.faust.stage import Outgoing
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.producing import ProducerBroken, flush, produce
from pipeline.settings import Settings

# Kafka may be away for any time: a message waits for it, in a queue that is bounded, and is never dropped.
FOR_EVER = {"message.timeout.ms": 0}


class Emitter:
    """Emits messages to the partition number they were read from.

    `emit` never waits: what does not fit the client's queue stays here, in order, until `drain`. Not thread-safe.
    """

    def __init__(self, settings: Settings, stage: str, full: Callable[[], None]) -> None:
        self._producer = clients.producer(settings, f"{stage}-emit", **FOR_EVER)
        self._stage, self._full = stage, full
        self._waiting: deque[tuple[int, Outgoing]] = deque()
        self._failed: ForebayError | None = None

    @property
    def blocked(self) -> bool:
        """Whether messages wait here for space in the client's queue."""
        return bool(self._waiting)

    def emit(self, partition: int, messages: list[Outgoing]) -> None:
        """Queue messages while the client's queue has space."""
        self._waiting.extend((partition, message) for message in messages)
        self._drain(limit_s=0.0, stopped=lambda: False)

    def drain(self, limit_s: float, stopped: Callable[[], bool]) -> None:
        """Wait until all messages are queued in the client; what is not after `limit_s` stays here."""
        self._drain(limit_s, stopped)

    def _drain(self, limit_s: float, stopped: Callable[[], bool]) -> None:
        while self._waiting:
            partition, message = self._waiting[0]
            try:
                produce(
                    self._producer,
                    message.topic,
                    message.value,
                    limit_s=limit_s,
                    stopped=stopped,
                    full=self._full,
                    key=message.key,
                    partition=partition,
                    headers=list(message.headers.items()),
                    on_delivery=self._delivered,
                )
            except Backpressure:
                # Lag grows in Kafka, not in memory: whoever calls reads no further message meanwhile.
                self._full()
                return
            self._waiting.popleft()
            self._producer.poll(0)

    def acknowledge(self, stopped: Callable[[], bool]) -> None:
        """Wait until Kafka has acknowledged everything, however long it is away.

        Raises Backpressure where `stopped()` turns true meanwhile, ProducerBroken where a new producer is needed,
        MessageTooLarge or KafkaDenied where Kafka will never take a message.
        """
        while self._waiting and not stopped():
            self._drain(limit_s=1.0, stopped=stopped)
            self._raise_failure()
        if self._waiting:
            raise Backpressure(f"{self._stage}: {len(self._waiting)} messages not sent; they are led to again", 1.0)
        flush(self._producer, self._stage, limit_s=None, stopped=lambda: stopped() or self._failed is not None)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failed is None:
            where = f"{message.topic()}[{message.partition()}]"
            self._failed = errors.must_stop(error, where) or ProducerBroken(f"{where}: {error.str()}; not saved")
