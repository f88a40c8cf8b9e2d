"""What messages lead to, on its way to Kafka: in order, bounded, acknowledged before state is saved."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from threading import Lock

from confluent_kafka import KafkaError, Message

from pipeline.errors import Backpressure, ForebayError
from pipeline.runtime.faust.stage import Outgoing
from pipeline.runtime.kafka import clients, errors
from pipeline.runtime.kafka.producing import ProducerBroken, produce
from pipeline.settings import Settings

# Kafka may be away for any time: a message waits for it, in a queue that is bounded, and is never dropped.
FOR_EVER = {"message.timeout.ms": 0}
# A message goes out at once: it is a batch of rows already; what comes while requests are under way shares the next.
AT_ONCE = {"linger.ms": 0}
# How often a wait for acknowledgements checks whether it was asked to stop.
ACKNOWLEDGED_S = 0.05
Emitted = Mapping[tuple[str, int], int]
"""How many messages of each topic and partition."""


class Emitter:
    """Emits messages to the partition number they were read from.

    `emit` never waits: what does not fit the client's queue stays here, in order, until `drain`. One thread emits and
    drains; another one may wait for acknowledgements meanwhile.
    """

    def __init__(self, settings: Settings, stage: str, full: Callable[[], None], packed: bool = False) -> None:
        packing = clients.PACKED if packed else {}
        self._producer = clients.producer(settings, f"{stage}-emit", **FOR_EVER, **AT_ONCE, **packing)
        self._stage, self._full = stage, full
        self._waiting: deque[tuple[int, Outgoing]] = deque()
        self._sending = Lock()
        self._emitted: Counter[tuple[str, int]] = Counter()
        self._delivered: Counter[tuple[str, int]] = Counter()
        self._counting = Lock()
        self._failed: ForebayError | None = None

    @property
    def blocked(self) -> bool:
        """Whether messages wait here for space in the client's queue."""
        return bool(self._waiting)

    def emit(self, partition: int, messages: list[Outgoing]) -> None:
        """Queue messages while the client's queue has space."""
        self._emitted.update((message.topic, partition) for message in messages)
        with self._sending:
            self._waiting.extend((partition, message) for message in messages)
            self._drain(limit_s=0.0, stopped=lambda: False)

    def emitted(self, partition: int) -> Emitted:
        """How many messages were emitted to this partition number so far, by topic."""
        return {key: count for key, count in self._emitted.items() if key[1] == partition}

    def drain(self, limit_s: float, stopped: Callable[[], bool]) -> None:
        """Wait until all messages are queued in the client; what is not after `limit_s` stays here."""
        with self._sending:
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
                    on_delivery=self._on_delivery,
                )
            except Backpressure:
                # Lag grows in Kafka, not in memory: whoever calls reads no further message meanwhile.
                self._full()
                return
            self._waiting.popleft()
            self._producer.poll(0)

    def acknowledge(self, emitted: Emitted, stopped: Callable[[], bool]) -> None:
        """Wait until Kafka has acknowledged as many messages as that, however long it is away.

        Kafka acknowledges those of a topic's partition in the order in which they were emitted. Raises Backpressure
        where `stopped()` turns true meanwhile, ProducerBroken where a new producer is needed, MessageTooLarge or
        KafkaDenied where Kafka will never take a message.
        """
        while missing := sum(max(count - self._delivered[key], 0) for key, count in emitted.items()):
            self._raise_failure()
            if stopped():
                raise Backpressure(f"{self._stage}: {missing} messages not acknowledged; they are led to again", 1.0)
            if self._waiting:
                self.drain(limit_s=1.0, stopped=stopped)
            self._producer.poll(ACKNOWLEDGED_S)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        topic, partition = message.topic() or "", message.partition() or 0
        if error is None:
            with self._counting:  # called inside `poll`, of either thread
                self._delivered[topic, partition] += 1
        elif self._failed is None:
            where = f"{topic}[{partition}]"
            self._failed = errors.must_stop(error, where) or ProducerBroken(f"{where}: {error.str()}; not saved")
