"""A scenario's records into `raw`, paced or as fast as Kafka takes them, bounded in number and time."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from loadtest.conn_json import CONTENT_TYPE, Lines, conn_json
from loadtest.scenarios import CYCLE_US, Scenario, cycle_records, records

END_OF_SOURCE = "end-of-source"
BLOCK_RECORDS = 16_384
# Two outages of a minute after each other cost the load nothing but time; librdkafka gives a message up after as long.
FLUSH_S = 300.0
# The rest of the queue is waited for this long at a time, so that Ctrl-C is heard.
NAP_S = 0.05
# Kafka's client waits for whole milliseconds: asked for less it does not wait, and a core would be spent on asking.
LEAST_WAIT_S = 0.001

PRODUCER: dict[str, Any] = {
    "batch.size": 1_000_000,
    "compression.type": "lz4",
    "enable.idempotence": True,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 262_144,
    "partitioner": "murmur2_random",
    "delivery.report.only.error": True,
}

Headers = list[tuple[str, str | bytes | None]]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: so many records of a scenario, over all its sensors in turn.

    `rate` is records a second, 0 for as many as Kafka takes; `pack` records are one message; `seconds` bounds the time.
    """

    scenario: Scenario
    records: int
    seed: int = 0
    rate: float = 0.0
    pack: int = 1
    seconds: float = 600.0
    start_us: int | None = None
    end_of_source: bool = True

    @property
    def span_us(self) -> int:
        """How much event time the records take, whole cycles."""
        sensors = len(self.scenario.sensor_names)
        return -(-self.records // (sensors * cycle_records(self.scenario, self.seed))) * CYCLE_US


@dataclass(frozen=True, slots=True)
class Sent:
    """What Kafka acknowledged; `behind_s` is how far the generator itself fell behind its pace."""

    records: int
    messages: int
    seconds: float
    finished: bool
    behind_s: float
    start_us: int
    refused: str


class Deliveries:
    """What Kafka acknowledged: what was queued, less what waits for an answer and what was refused.

    Kafka's client reports refusals only: a call for each message that was taken cost as much as encoding it.
    """

    def __init__(self) -> None:
        self.records = 0
        self.messages = 0
        self.refused = ""
        self._queued = 0
        self._unanswered: deque[tuple[int, int, int]] = deque()
        """How many messages were queued when a few more were; of these few, how many messages and records."""

    def queued(self, messages: int, records: int) -> None:
        """A few messages, with so many records together, are in the client's queue."""
        self._queued += messages
        self._unanswered.append((self._queued, messages, records))

    def answered(self, waiting: int) -> None:
        """All messages but `waiting`, the client's `len`, have an answer: the latest are taken for those that wait."""
        while self._unanswered and self._unanswered[0][0] <= self._queued - waiting:
            _, messages, records = self._unanswered.popleft()
            self.messages += messages
            self.records += records

    def refuse(self, error: KafkaError | None, message: Message) -> None:
        """The callback of every message: one that Kafka did not take was not acknowledged."""
        if error is None:
            return
        self.refused = self.refused or str(error)
        if value := message.value():  # empty in an end-of-source mark
            self.messages -= 1
            self.records -= value.count(b"\n") + 1


def messages(load: Load, start_us: int) -> Iterator[tuple[int, list[tuple[bytes, int]]]]:
    """Sensor, and its next messages with their numbers of records; sensors take turns.

    Paced, a turn is one message; otherwise it is a block, so that generating stays cheap.
    """
    sensors = len(load.scenario.sensor_names)
    shares = [load.records // sensors + (sensor < load.records % sensors) for sensor in range(sensors)]
    block = max(load.pack, BLOCK_RECORDS // sensors // load.pack * load.pack)
    for first in range(0, max(shares), block):
        parts: list[list[tuple[bytes, int]]] = []
        for sensor, share in enumerate(shares):
            count = min(block, share - first)
            if count > 0:
                lines = conn_json(records(load.scenario, load.seed, sensor, first, count, start_us))
                parts.append(_cut(lines, count, load.pack))
            else:
                parts.append([])
        if load.rate == 0:
            yield from ((sensor, part) for sensor, part in enumerate(parts) if part)
            continue
        for turn in range(max(map(len, parts))):
            yield from ((sensor, [part[turn]]) for sensor, part in enumerate(parts) if turn < len(part))


def _cut(lines: Lines, count: int, pack: int) -> list[tuple[bytes, int]]:
    if pack == 1:
        text, bounds = lines
        return [(text[bounds[at] : bounds[at + 1] - 1], 1) for at in range(count)]
    return [(lines.message(at, min(at + pack, count)), min(at + pack, count) - at) for at in range(0, count, pack)]


def send(
    load: Load,
    topic: str,
    connection: Mapping[str, Any],
    stopped: Callable[[], bool] = lambda: False,
    progress: Progress = lambda _done: None,
) -> Sent:
    """Send the load to a topic; ends early when `stopped()`, when the time is up, or where Kafka refuses.

    `connection` is librdkafka's configuration of where Kafka is. Open loop: a slow Kafka delays no record's due time.
    Without `start_us` the last cycle of event time ends now.
    """
    start_us = load.start_us if load.start_us is not None else time.time_ns() // 1000 - load.span_us
    deliveries = Deliveries()
    producer = producer_of({"linger.ms": 5 if load.rate else 50, **connection}, deliveries)
    names = load.scenario.sensor_names
    facts: list[tuple[str, Headers]] = [
        (
            f"{site}/{sensor}",
            [("content-type", CONTENT_TYPE.encode()), ("site", site.encode()), ("sensor", sensor.encode())],
        )
        for site, sensor in names
    ]
    start_s = time.monotonic()
    deadline, queued, behind = start_s + load.seconds, 0, 0.0
    finished = True
    for sensor, part in messages(load, start_us):
        now = time.monotonic()
        if load.rate:
            due = start_s + queued / load.rate
            while (left := due - now) > 0 and not stopped():
                producer.poll(max(LEAST_WAIT_S, min(left, NAP_S)))
                now = time.monotonic()
            behind = max(behind, now - due)
        if now > deadline or deliveries.refused or stopped():
            finished = False
            break
        key, headers = facts[sensor]
        for value, record_count in part:
            produce(producer, topic, value, key, headers)
            deliveries.queued(1, record_count)
            queued += record_count
            if queued & 1023 == 0:
                producer.poll(0)
        producer.poll(0)
        deliveries.answered(len(producer))
        progress(deliveries.records)
    if finished and load.end_of_source:
        for key, headers in facts:
            mark: Headers = [("content-type", END_OF_SOURCE.encode()), *headers[1:]]
            produce(producer, topic, b"", key, mark)
    flush(producer, deliveries, progress)
    seconds, finished = time.monotonic() - start_s, finished and not deliveries.refused
    return Sent(deliveries.records, deliveries.messages, seconds, finished, behind, start_us, deliveries.refused)


def flush(producer: Producer, deliveries: Deliveries, progress: Progress) -> None:
    """Wait until each message has an answer, FLUSH_S at most: what has none then counts as refused."""
    until_s = time.monotonic() + FLUSH_S
    while (left := len(producer)) and time.monotonic() < until_s:
        producer.poll(NAP_S)
        deliveries.answered(left)
        progress(deliveries.records)
    deliveries.answered(left)
    progress(deliveries.records)
    if left:
        deliveries.refused = deliveries.refused or f"{left} messages without an answer after {FLUSH_S:.0f} s"


def producer_of(configuration: Mapping[str, Any], deliveries: Deliveries) -> Producer:
    """A producer of the load, which tells `deliveries` what Kafka refuses."""
    return Producer({**PRODUCER, **configuration, "on_delivery": deliveries.refuse})


def produce(producer: Producer, topic: str, value: bytes, key: str, headers: Headers) -> None:
    """Queue one message; where the queue is full, let it empty."""
    while True:
        try:
            producer.produce(topic, value, key, headers=headers)
            return
        except BufferError:
            producer.poll(NAP_S)
