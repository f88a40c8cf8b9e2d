"""A sensor's files into `raw`: records in order of time, paced or as fast as Kafka takes them, then an end mark."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from pipeline.contracts import raw
from pipeline.errors import Backpressure, Failed, MessageTooLarge
from pipeline.ingest.files.source_set import SourceSet
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.producing import LEAST_WAIT_S, produce
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry
from pipeline.runtime.wire.traceparent import HEADER as TRACEPARENT_HEADER
from pipeline.settings import Settings

# One span, and so one trace, holds what is sent within so long, at most so many messages.
SPAN_S = 1.0
SPAN_MESSAGES = 4_096
# Waiting for records to fall due ends this often, to look for Ctrl-C and to let the client work.
NAP_S = 0.01
# An outage of a minute, and the broker's start, cost a sender nothing but time.
FLUSH_S = 120.0

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file is sent. `speed` 0 is as fast as possible; `start_at_us` is the event time that is due at once."""

    site: str
    sensor: str
    speed: float = 0.0
    pack: int = 1
    shift_to_now: bool = False
    arrival_order: bool = False
    start_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: records that Kafka has acknowledged, and whether the end-of-source mark followed."""

    records: int
    messages: int
    seconds: float
    finished: bool


class Deliveries:
    """What Kafka acknowledged."""

    def __init__(self) -> None:
        self.messages = 0
        self.records = 0
        self.error: KafkaError | None = None

    def of(self, records: int) -> Callable[[KafkaError | None, Message], None]:
        """The callback for a message of so many records."""

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is None:
                self.messages += 1
                self.records += records
            else:
                self.error = self.error or error

        return delivered

    def marked(self, error: KafkaError | None, _message: Message) -> None:
        """The callback for the mark, which holds no record."""
        self.error = self.error or error


def require_topic(settings: Settings) -> None:
    """KafkaUnreachable where no broker answers, Failed where there is no `raw` to send to."""
    clients.require_broker(settings)
    name = settings.topics.raw
    if clients.admin(settings).list_topics(name, timeout=10).topics[name].error is not None:
        raise Failed(f"topic {name}: got none, expected it to exist; `forebay topic create` makes it")


def send(
    settings: Settings, telemetry: Telemetry, stop: Stop, source: SourceSet, plan: Plan, progress: Progress
) -> Sent:
    """Send one sensor's records, open-loop: a slow Kafka delays no later record's due time.

    Stopped before the end, it sends no mark. Failed where Kafka refuses records.
    """
    started = time.monotonic()
    if not plan.arrival_order:
        source = source.by_end_time()
    ends = source.end_times_us()
    origin = plan.start_at_us if plan.start_at_us is not None else int(ends.min()) if len(ends) else 0
    if plan.shift_to_now:
        # Without a pace everything is sent at once: then the last record happened now, or the later ones would lie in
        # the future. Otherwise the first one did, and none is further ahead than its due time makes up for.
        anchor = origin if plan.speed == 1 or not len(ends) else int(ends.max())
        source = source.shifted(time.time_ns() // 1000 - anchor)
        started = time.monotonic()
    firsts = source.cuts(plan.pack)
    bounds = np.append(firsts, len(ends))
    if plan.speed:
        # A message is due when its last record is.
        due_s = np.maximum.accumulate((ends - origin) / 1e6 / plan.speed)[bounds[1:] - 1]
    else:
        due_s = np.zeros(len(firsts))
    producer = clients.producer(settings, "send", **{"linger.ms": 5 if plan.speed else 50})
    deliveries = Deliveries()
    output = Output(settings, producer, deliveries, source, plan, stop)
    at = 0
    while at < len(firsts) and not stop.requested and deliveries.error is None:
        if not _wait(producer, stop, started + float(due_s[at])):
            break
        with telemetry.span("send raw", sensor=f"{plan.site}/{plan.sensor}") as span:
            until, last = time.monotonic() + SPAN_S, min(at + SPAN_MESSAGES, len(firsts))
            while at < last and not stop.requested and time.monotonic() < until and deliveries.error is None:
                ready = min(last, int(np.searchsorted(due_s, time.monotonic() - started, "right")))
                output.produce(bounds[at : ready + 1].tolist(), span.traceparent)
                at = max(at, ready)
                progress(deliveries.records)
                if at < last:
                    _wait(producer, stop, min(until, started + float(due_s[at])))
    finished = at >= len(firsts) and not stop.requested and deliveries.error is None
    if finished:
        output.mark(len(source))
    left = producer.flush(FLUSH_S)
    progress(deliveries.records)
    if deliveries.error is not None or left:
        why = deliveries.error or f"{left} messages without an answer after {FLUSH_S:.0f} s"
        raise Failed(
            f"{settings.topics.raw} at {settings.bootstrap}: got {why} after {deliveries.records} records, "
            f"expected all {len(source)} to be taken; send the file again under another topic prefix, "
            "or look at the broker"
        )
    return Sent(deliveries.records, deliveries.messages, time.monotonic() - started, finished)


def _wait(producer: Producer, stop: Stop, until: float) -> bool:
    """Wait until then; False where it was cut short."""
    while not stop.requested:
        left = until - time.monotonic()
        producer.poll(max(LEAST_WAIT_S, min(left, NAP_S)) if left > 0 else 0.0)
        if left <= NAP_S:
            return True
    return False


class Output:
    """One file's way into `raw`."""

    def __init__(
        self,
        settings: Settings,
        producer: Producer,
        deliveries: Deliveries,
        source: SourceSet,
        plan: Plan,
        stop: Stop,
    ) -> None:
        self.producer = producer
        self.stop = stop
        self.deliveries = deliveries
        self.topic = settings.topics.raw
        self.end = raw.SourceInfo(raw.END_OF_SOURCE, site=plan.site, sensor=plan.sensor)
        self.records = source.records
        self.numbers = source.numbers.astype("<u8").tobytes()
        self.which = source.which.tolist()
        self.headers = [
            raw.SourceInfo(file.content_type, file.columns, plan.site, plan.sensor, time_zone=file.time_zone).headers
            for file in source.files
        ]

    def produce(self, bounds: list[int], traceparent: str) -> None:
        """Produce the messages between these records; where the local queue is full, let it empty."""
        trace = (TRACEPARENT_HEADER, traceparent.encode())
        for first, last in pairwise(bounds):
            if self.stop.requested:
                return  # what was not queued is not sent: nothing may follow it
            records = self.records[first:last]
            numbers = (raw.SOURCE_RECORDS_HEADER, self.numbers[8 * first : 8 * last])
            headers = [*self.headers[self.which[first]], trace, numbers]
            delivered = self.deliveries.of(last - first)
            try:
                self._produce(b"\n".join(records), headers, delivered)
            except MessageTooLarge as error:
                raise MessageTooLarge(
                    f"record {first}: got a message of {sum(map(len, records))} bytes, expected one that Kafka takes; "
                    "a smaller --pack helps where records are many"
                ) from error
            if first & 255 == 0:
                self.producer.poll(0)

    def mark(self, sent: int) -> None:
        """The end-of-source mark: everything of this sensor, so many records, has been sent."""
        self._produce(b"", [*self.end.headers, (raw.RECORDS_HEADER, str(sent).encode())], self.deliveries.marked)

    def _produce(self, value: bytes, headers: raw.Headers, delivered: Callable[..., None]) -> None:
        try:
            produce(
                self.producer,
                self.topic,
                value,
                stopped=lambda: self.stop.requested,
                key=self.end.key,
                headers=headers,
                on_delivery=delivered,
            )
        except Backpressure:
            if not self.stop.requested:
                raise
